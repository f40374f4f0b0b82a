"""NumPy's functions of tensors; ``protocol`` registers what NumPy's protocols ask for."""
