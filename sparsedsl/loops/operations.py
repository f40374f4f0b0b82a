"""What one scalar operation of the loop IR means, in NumPy: conversions, operators, monoids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.loops import vectors
from sparsedsl.loops.nodes import BOOL, INT

INTRINSICS = frozenset({"cttz", "ctpop"})


class ExecutionError(AssertionError):
    """A kernel did what its IR promises not to do, such as reading outside an array."""


def wrapped(value: int) -> int:
    """Return ``value`` modulo 2**64 in the range of int64.

    >>> wrapped(2**63)
    -9223372036854775808
    """
    if -(2**63) <= value < 2**63:
        return value
    return (value + 2**63) % 2**64 - 2**63


def converted(value: Any, type: str) -> Any:
    """Return a value as ``type``: a Python int or bool, a NumPy scalar, an array for a vector."""
    if type == INT:
        return wrapped(int(value))
    if type == BOOL:
        return bool(value)
    if vectors.lanes(type) > 1:
        return np.full(vectors.lanes(type), value, vectors.element(type))
    dtype = np.dtype(type)
    if isinstance(value, dtype.type):
        return value
    if isinstance(value, int) and dtype.kind in "iu":
        # NumPy refuses a Python int that does not fit; converting scalars wraps
        return (
            np.asarray(wrapped(value), np.int64).astype(dtype)[()]
            if value < 2**63
            else (np.asarray(value % 2**64, np.uint64).astype(dtype)[()])
        )
    array = np.asarray(value)
    if array.dtype.kind == "c" and dtype.kind != "c":
        array = np.real(array)
    return array.astype(dtype)[()]


def combine(monoid: str, left: Any, right: Any, type: str) -> Any:
    """Return ``left`` combined with ``right`` by a monoid, as ``type``."""
    if type == INT:
        left, right = np.int64(left), np.int64(right)
    return converted(MONOIDS[monoid].ufunc(left, right), type)


def _larger(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the larger elements of two vectors, those on the left where one is NaN."""
    return np.where(right > left, right, left)


def _smaller(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the smaller elements of two vectors, those on the left where one is NaN."""
    return np.where(right < left, right, left)


_FARTHER: Mapping[str, Callable[[Any, Any], Any]] = {"maximum": _larger, "minimum": _smaller}


def apply(function: str, arguments: tuple[Any, ...], type: str) -> Any:
    """Return an intrinsic or an elementwise operator of ``arguments``, as ``type``."""
    if function == "cttz":
        (word,) = arguments
        if word == 0:
            raise ExecutionError("cttz of zero")
        return (word & -word).bit_length() - 1 if word != -(2**63) else 63
    if function == "ctpop":
        (word,) = arguments
        return (word % 2**64).bit_count()
    if function == "first":
        value, count, other = arguments
        return np.where(np.arange(len(value)) < count, value, np.full_like(value, other))
    if function == "nans":
        return sum(int(x != x) << k for k, x in enumerate(arguments[0]))
    if function == "differing":
        value, other, count = arguments
        return sum(int(x != other) << k for k, x in enumerate(value[: max(count, 0)]))
    if function == "lower":
        value, other, count = arguments
        return sum(int(less) << k for k, less in enumerate((value < other)[: max(count, 0)]))
    if function == "alike":
        value, count, other, others = arguments
        if min(*value, *other) < 0:
            raise ExecutionError("alike of a negative index")
        equal = value[: max(count, 0), None] == other[None, : max(others, 0)]
        return wrapped(sum(1 << int(8 * i + k) for i, k in np.argwhere(equal)))
    if function == "added":
        value, keys, key, term = arguments
        return np.where(keys == key, value + term, value)
    if function in vectors.FOLDS:
        (value,) = arguments
        operator = vectors.FOLDS[function]
        combined = _FARTHER.get(operator, OPERATORS[operator].numpy)
        while len(value) > 1:
            value = combined(value[: len(value) // 2], value[len(value) // 2 :])
        return value[0]
    if vectors.lanes(type) > 1 and function in _FARTHER:
        return _FARTHER[function](*arguments)
    typed = [_typed(argument) for argument in arguments]
    if type == "float32" and all(a.dtype.kind in "biu" for a in typed):
        # NumPy would compute in half precision, which no value has
        typed = [a.astype(np.float32) for a in typed]
    return converted(OPERATORS[function].numpy(*typed), type)


def _typed(value: Any) -> Any:
    """Return a scalar of the machine as a NumPy scalar."""
    if isinstance(value, bool):
        return np.bool_(value)
    return np.int64(value) if isinstance(value, int) else value
