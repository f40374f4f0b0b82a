"""What holds of all stored values: that they are finite, bounded, not zero, or positive.

Takes: arrays of values.  Gives: yes or no, at the speed of memory.  Invariant: exact; an
answer of the fast pass that may be due to overflow is checked value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite

import numpy as np

from sparsedsl.contraction.demands import least_positive
from sparsedsl.errors import InvalidTensorError, PlanError

CHUNK = 8192
"""Values looked at before stopping early; BLAS uses one thread for so few."""


def all_finite(values: np.ndarray) -> bool:
    """Whether no value is infinite or NaN.

    The sum of squares decides it: it is finite only if every value is, and BLAS computes it
    as fast as memory is read.

    >>> all_finite(np.array([1.0, 1e200])), all_finite(np.array([1.0, np.nan]))
    (True, False)
    """
    kind = values.dtype.kind
    if kind not in "fc":
        return True
    flat = values if values.ndim == 1 else values.ravel()
    if kind == "c":
        flat = np.ascontiguousarray(flat).view(f"f{values.dtype.itemsize // 2}")
    count = len(flat)
    if count <= CHUNK:
        return _finite(flat)
    return all(_finite(flat[start : start + CHUNK]) for start in range(0, count, CHUNK))


def _finite(values: np.ndarray) -> bool:
    # vdot warns of no overflow, and it is a sum for finite values alone
    return isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def all_nonzero(values: np.ndarray) -> bool:
    """Whether no value is zero."""
    return bool(values.all())


def all_above(values: np.ndarray) -> bool:
    """Whether no value is NaN or minus infinity."""
    return values.dtype.kind != "f" or not values.size or bool(values.min() > -np.inf)


def all_below(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinity."""
    return values.dtype.kind != "f" or not values.size or bool(values.max() < np.inf)


def all_positive(values: np.ndarray) -> bool:
    """Whether no value is NaN, zero or below it, or so small that a product of two is zero."""
    if values.dtype.kind not in "iuf":
        return False
    return not values.size or bool(values.min() >= least_positive(values.dtype.name))


FACTS: Mapping[str, Callable[[np.ndarray], bool]] = {
    "finite": all_finite,
    "nonzero": all_nonzero,
    "above": all_above,
    "below": all_below,
    "positive": all_positive,
}
"""What a kernel may need of stored values, by name."""


def holds(fact: str, values: np.ndarray) -> bool:
    """Whether a fact of ``FACTS`` holds of all values."""
    return FACTS[fact](values)


def refused(error: ValueError | MemoryError) -> Exception:
    """Return the error of a user for what a kernel raised on the values it met.

    Kernels raise for one reason of their own, as NumPy does: an integer to a negative power.
    The arrays they make for themselves may be too large.
    """
    if isinstance(error, MemoryError):
        return PlanError(
            "expected a kernel whose arrays fit into memory, found that they do not",
            hint='ask for a result that stores entries alone, such as out="coo", or gather it '
            'by sorting: workspace="sort"',
        )
    if type(error) is not ValueError or "negative integer powers" not in str(error):
        return error
    return InvalidTensorError(
        "expected exponents of at least 0 for integers, found a negative one",
        hint="make the base or the exponent floating: 1.0 * x",
    )
