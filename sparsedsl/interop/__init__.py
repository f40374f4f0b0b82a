"""scipy, numpy, torch, pydata/sparse and binsparse in; scipy and numpy out."""

from sparsedsl.interop.arrays import from_arrays
from sparsedsl.interop.convert import argument, asarray
from sparsedsl.interop.passing import Operand, in_passing
from sparsedsl.interop.remember import Known, known, recall
from sparsedsl.interop.scipy_sparse import scipy_maker, scipy_maker_of_any_shape, to_scipy
from sparsedsl.interop.usual import (
    Numbers,
    any_numbers,
    as_arrays,
    kinds_of_numbers,
    with_numbers,
)

__all__ = [
    "Known",
    "Numbers",
    "Operand",
    "any_numbers",
    "argument",
    "as_arrays",
    "asarray",
    "from_arrays",
    "in_passing",
    "kinds_of_numbers",
    "known",
    "recall",
    "scipy_maker",
    "scipy_maker_of_any_shape",
    "to_scipy",
    "with_numbers",
]
