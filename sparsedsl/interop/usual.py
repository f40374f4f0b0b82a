"""Arguments as the plain arrays that calls know again.

Takes: the arguments of one call.  Gives: the same, with scalars and arrays with gaps between their
elements as plain arrays.  Invariant: what binds otherwise, or is refused, stays as it is.

A scalar has no place in memory to be known again by, and a column of a matrix is copied anyway: as
plain arrays both are told by dtype and shape alone, so that a call is made like those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsedsl.interop.passing import PLAIN
from sparsedsl.layouts.given import NATIVE_VALUES

_SCALARS = frozenset({bool, int, float, complex})


def as_arrays(given: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return the arguments with plain arrays for some; None where all stay as they are.

    >>> as_arrays([2.5, np.ones(3)])
    (array(2.5), array([1., 1., 1.]))
    >>> as_arrays([np.ones(3), "text"]) is None
    True
    """
    found = tuple([_array(x) for x in given])
    return None if all(map(_same, found, given)) else found


def _same(one: object, other: object) -> bool:
    return one is other


def _array(x: Any) -> Any:
    """Return a plain array for a scalar or an array with gaps, anything else as it is."""
    kind = type(x)
    if kind is np.ndarray:
        flags = x.flags
        lies = flags.num & PLAIN == PLAIN or (x.ndim > 1 and flags.f_contiguous)
        return x if lies or x.dtype not in NATIVE_VALUES else x.copy(order="C")
    if kind not in _SCALARS and not issubclass(kind, np.generic):
        return x
    array = np.asarray(x)
    return array if array.dtype in NATIVE_VALUES else x
