"""Which operands of a call hold equal index arrays, so that one pattern serves for both.

Takes: pairs of names, and bound tensors.  Gives: the pairs that share a pattern.  Invariant:
two tensors are compared once, and again when the index arrays of one were checked anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import numpy as np

from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import Watch

Pairs = tuple[tuple[str, str], ...]

SAMPLE = 64
"""Elements compared before all of two arrays are."""

MOST = 256
"""Pairs of tensors that are remembered."""

_Known = tuple["weakref.ref[Tensor]", "weakref.ref[Tensor]", "tuple[Watch | None, ...]", bool]
_compared: dict[tuple[int, int], _Known] = {}


def shared(pairs: Pairs, tensors: Mapping[str, Tensor]) -> Pairs:
    """Return the pairs whose tensors hold equal index arrays; a name leads or follows, not both.

    >>> import sparsedsl as sd
    >>> A = sd.asarray([[1.0, 0.0], [2.0, 3.0]]).convert("csr")
    >>> B = sd.from_arrays("csr", A.shape, {**A.arrays, "data": 2 * A.values})
    >>> shared((("B", "A"),), {"A": A, "B": B})
    (('B', 'A'),)
    """
    found: dict[str, str] = {}
    for name, other in pairs:
        free = name not in found and name not in found.values() and other not in found
        if free and _alike(tensors[name], tensors[other]):
            found[name] = other
    return tuple(found.items())


def _alike(x: Tensor, y: Tensor) -> bool:
    if x.values.shape != y.values.shape or x.shape != y.shape or x.sizes != y.sizes:
        return False
    for name in x.layout.functions:
        if not _begin_equal(x.held[name], y.held[name]):
            return False
    key = (id(x), id(y))
    known = _compared.get(key)
    watches = (x.watch, y.watch)
    if known is not None and known[0]() is x and known[1]() is y and known[2] == watches:
        return known[3]
    same = all(_equal(x.held[name], y.held[name]) for name in x.layout.functions)
    if len(_compared) >= MOST:
        _compared.clear()
    _compared[key] = (weakref.ref(x), weakref.ref(y), watches, same)
    return same


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of one shape are equal; the same memory is."""
    if a is b or (_address(a) == _address(b) and a.strides == b.strides):
        return True
    return np.array_equal(a, b)


def _begin_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have one shape and the same first elements; most differ here."""
    if a is b:
        return True
    if a.shape != b.shape:
        return False
    first, second = a.ravel()[:SAMPLE], b.ravel()[:SAMPLE]
    if a.dtype == b.dtype:
        return first.tobytes() == second.tobytes()
    return np.array_equal(first, second)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
