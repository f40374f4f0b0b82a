"""Arguments as the plain arrays that calls know again.

Takes: the arguments of one call.  Gives: the same, with scalars, lists and arrays with gaps between
their elements as plain arrays.  Invariant: what binds otherwise, or is refused, stays as it is.

A scalar or a list has no place in memory to be known again by, and a column of a matrix is copied
anyway: as plain arrays all are told by dtype and shape alone, so that a call is made like those
before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.interop.passing import PLAIN
from sparsedsl.layouts.given import NATIVE_VALUES

_SCALARS = frozenset({bool, int, float, complex})

_TAKEN = _SCALARS | {list}

Numbers: TypeAlias = "tuple[tuple[int, type, np.dtype], ...]"
"""Places, types and dtypes of the Python numbers among the arguments."""


def any_numbers(given: Sequence[Any]) -> bool:
    """Whether there are Python numbers among the arguments."""
    return not _SCALARS.isdisjoint(map(type, given))


def kinds_of_numbers(given: Sequence[Any]) -> dict[int, type]:
    """The types of the Python numbers among the arguments, by their places."""
    return {place: type(x) for place, x in enumerate(given) if type(x) in _SCALARS}


def with_numbers(given: Sequence[Any], numbers: Numbers) -> list[Any] | None:
    """Return the arguments with plain arrays for Python numbers.

    None where they are others, or integers that the dtypes do not hold.

    >>> with_numbers([np.ones(3), 2.5], ((1, float, np.dtype("float32")),))
    [array([1., 1., 1.]), array(2.5, dtype=float32)]
    """
    found, count = [*given], len(given)
    for place, kind, dtype in numbers:
        if place >= count or type(found[place]) is not kind:
            return None
        try:
            found[place] = np.array(found[place], dtype)
        except OverflowError:
            return None
    return found


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
    """Return a plain array for a scalar, a list or an array with gaps, anything else as it is."""
    kind = type(x)
    if kind is np.ndarray:
        flags = x.flags
        lies = flags.num & PLAIN == PLAIN or (x.ndim > 1 and flags.f_contiguous)
        return x if lies or x.dtype not in NATIVE_VALUES else x.copy(order="C")
    if kind not in _TAKEN and not issubclass(kind, np.generic):
        return x
    try:
        array = np.asarray(x)
    except (TypeError, ValueError):  # a list of tensors, or of lists of several lengths
        return x
    return array if array.dtype in NATIVE_VALUES else x
