"""scipy, numpy, torch, pydata/sparse and binsparse in; scipy and numpy out."""

from sparsedsl.interop.arrays import from_arrays
from sparsedsl.interop.convert import asarray
from sparsedsl.interop.scipy_sparse import to_scipy

__all__ = ["asarray", "from_arrays", "to_scipy"]
