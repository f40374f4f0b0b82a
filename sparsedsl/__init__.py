"""Sparse tensor algebra compiled from layouts: write the expression, choose the layouts.

>>> import numpy as np, scipy.sparse as sp, sparsedsl as sd
>>> @sd.kernel
... def spmv(A, x):
...     i, j = sd.indices("i j")
...     y = sd.output()
...     y[i] = A[i, j] * x[j]
...     return y
>>> spmv(sp.eye_array(2, format="csr"), np.array([3.0, 4.0]))
array([3., 4.])
"""

from sparsedsl import distributed
from sparsedsl.api import convert, einsum, evaluate, kernel, storage_bytes
from sparsedsl.calls.sources import ShapeOf
from sparsedsl.errors import (
    CacheError,
    InvalidTensorError,
    LayoutError,
    NotationError,
    PlanError,
    ProofError,
    SparseDSLError,
)
from sparsedsl.frontend import *  # noqa: F403
from sparsedsl.frontend import __all__ as _notation
from sparsedsl.gradients import Gradient, grad
from sparsedsl.interop import asarray, from_arrays
from sparsedsl.interop.files import read, write
from sparsedsl.kernel import Kernel
from sparsedsl.layouts.catalogue import layouts
from sparsedsl.layouts.layout import Layout
from sparsedsl.lowered import Compiled, Lowered
from sparsedsl.operators import tensordot, transpose
from sparsedsl.options import config, options
from sparsedsl.runtime.tensor import Tensor

__version__ = "0.1.0"

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "CacheError",
    "Compiled",
    "Gradient",
    "InvalidTensorError",
    "Kernel",
    "Layout",
    "LayoutError",
    "Lowered",
    "NotationError",
    "PlanError",
    "ProofError",
    "ShapeOf",
    "SparseDSLError",
    "Tensor",
    "asarray",
    "config",
    "convert",
    "einsum",
    "evaluate",
    "distributed",
    "from_arrays",
    "grad",
    "kernel",
    "layouts",
    "options",
    "read",
    "storage_bytes",
    "tensordot",
    "transpose",
    "write",
    *_notation,
]
