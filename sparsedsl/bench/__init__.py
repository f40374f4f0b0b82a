"""Benchmarks: kernels on matrices and tensors, beside peers whose results are checked first.

``inputs`` makes data, ``cases`` states kernels on them, ``peers`` are other ways to compute
the same, ``measure`` runs all of them in turn, ``run`` chooses what to measure, ``report``
writes it down.
"""
