"""Rows of value arrays that belong together: blocks at one place, diagonals of one offset.

Takes: tensors of one layout, whose values lie in rows that one key each tells.  Gives: the index
arrays of a result with some of these keys, and where each operand has its row.  Invariant: derived
from the layout's levels alone; rows are in the order of the keys, as the layout has them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Position, levels
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.runtime.attached import Attached
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.runtime.unchanged import Watch
from sparsedsl.spf import terms as t

Indices: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a layout has the keys of its rows: ``key``, and ``pointer`` to those of a group."""

    key: str
    pointer: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a result that the same operands have.

    ``given`` are the rows of each of them, None for the others.
    """

    rows: Indices
    given: tuple[Indices | None, ...]


@dataclass(frozen=True, slots=True)
class Aligned:
    """The index arrays and sizes of a result of ``count`` rows, and its ``parts``.

    There are none where its rows are those of every operand, one by one.
    """

    count: int
    arrays: Mapping[str, np.ndarray]
    sizes: Mapping[str, int]
    parts: tuple[Part, ...]


@lru_cache(maxsize=512)
def rows_of(layout: Layout) -> Rows | None:
    """Return how the rows of a layout are told apart; None for layouts of another kind."""
    if len(layout.structures) != 1 or layout.structures[0].filters:
        return None
    try:
        found = [level for level in levels(layout) if isinstance(level, Position)]
    except LayoutError:
        return None
    value = layout.value.arguments
    if len(found) != 1 or len(value) < 2 or value[0] != t.var(found[0].name):
        return None
    (level,) = found
    inner = [t.var(dim) for dim in layout.structures[0].dims if dim not in level.group]
    if sorted(map(t.text, value)) != sorted(map(t.text, inner)) or len(level.keys) != 1:
        return None
    ((call, _),), own = level.keys, t.var(level.name)
    read = {call.function} if call.arguments == (own,) else set[str]()
    if level.group:
        start = level.start
        if len(level.group) != 1 or start is None or start.arguments != (t.var(level.group[0]),):
            return None
        after = t.uf(start.function, t.add(start.arguments[0], t.ONE))
        if level.highs != (after,):
            return None
        read.add(start.function)
        return Rows(call.function, start.function) if read == {*layout.functions} else None
    listed = level.low == t.ZERO and level.highs[0] in map(t.var, layout.sizes)
    return Rows(call.function, None) if listed and read == {*layout.functions} else None


@dataclass(frozen=True, slots=True)
class _Met:
    """Operands that were aligned beside a first one, as they were then."""

    others: tuple[tuple[weakref.ref[Tensor], Watch | None], ...]
    needed: Sequence[frozenset[int]]
    aligned: Aligned

    def holds(self, others: Sequence[Tensor], needed: Sequence[frozenset[int]]) -> bool:
        """Whether these are the very operands, not checked anew since."""
        if len(others) != len(self.others) or needed != self.needed:
            return False
        pairs = zip(self.others, others, strict=True)
        return all(known() is x and watch is x.watch for (known, watch), x in pairs)


_met: Attached[_Met] = Attached()


def align(
    rows: Rows, tensors: Sequence[Tensor], needed: Sequence[frozenset[int]]
) -> Aligned | None:
    """Return the rows of a result: those that all operands of some set in ``needed`` have.

    None where rows differ in length, or the keys of all groups leave 64 bits.  Operands in other
    rows than those before are put together once.
    """
    first, *others = tensors
    if any(x.values.shape[1:] != first.values.shape[1:] for x in others):
        return None
    known = _met.get(first)
    if known is not None and known.holds(others, needed):
        return known.aligned
    if all(_same(first, other, rows) for other in others):
        return Aligned(len(first.held[rows.key]), _named(first), first.sizes, ())
    found = _merged(rows, tensors, needed)
    if found is not None:
        _met.put(first, _Met(tuple((weakref.ref(x), x.watch) for x in others), needed, found))
    return found


def _named(x: Tensor) -> dict[str, np.ndarray]:
    """The index arrays of a tensor by name, in the order of the layout."""
    return {name: x.held[name] for name in x.form.layout.functions}


def _same(left: Tensor, right: Tensor, rows: Rows) -> bool:
    names = (rows.key,) if rows.pointer is None else (rows.pointer, rows.key)
    return left is right or all(np.array_equal(left.held[n], right.held[n]) for n in names)


def _merged(
    rows: Rows, tensors: Sequence[Tensor], needed: Sequence[frozenset[int]]
) -> Aligned | None:
    given = [_keys(rows, x) for x in tensors]
    width = 1 + max((int(keys.max()) for _, keys in given if keys.size), default=0)
    if rows.pointer is not None and width * len(tensors[0].held[rows.pointer]) >= 2**62:
        return None
    told = [keys if group is None else group * width + keys for group, keys in given]
    every = np.concatenate(told)
    # each is in order but for diagonals, of which there are few
    order = np.argsort(every, kind="stable")
    ordered = every[order]
    fresh = np.ones(len(order), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    number = np.empty(len(order), np.intp)
    number[order] = np.cumsum(fresh) - 1
    kept = ordered[fresh]
    places = np.full((len(told), len(kept)), -1, np.intp)
    end = 0
    for at, keys in zip(places, told, strict=True):
        at[number[end : end + len(keys)]] = np.arange(len(keys))
        end += len(keys)
    there = np.zeros(len(kept), bool)
    for wanted in needed:
        there |= (places[[*wanted]] >= 0).all(axis=0)
    if not there.all():
        kept, places = kept[there], places[:, there]
    first, arrays = tensors[0], _arrays(rows, tensors, kept, width)
    sizes = {**first.sizes, **infer_sizes(first.layout, first.shape, arrays)}
    return Aligned(len(kept), arrays, MappingProxyType(sizes), _parts(places))


def _parts(places: Indices) -> tuple[Part, ...]:
    """Rows by who has them; ``places`` gives the row of each operand, -1 for none."""
    found: list[Part] = []
    present = places >= 0
    left = np.ones(places.shape[1], bool)
    while left.any():
        first = int(left.argmax())
        rows = np.flatnonzero(left & (present == present[:, first : first + 1]).all(axis=0))
        left[rows] = False
        given = tuple(at[rows] if at[first] >= 0 else None for at in places)
        found.append(Part(rows, given))
    return tuple(found)


def _keys(rows: Rows, x: Tensor) -> tuple[Indices | None, Indices]:
    """The group of each row, if there are any, and its key."""
    keys = x.held[rows.key].astype(np.intp)
    if rows.pointer is None:
        return None, keys
    pointer = x.held[rows.pointer]
    return np.repeat(np.arange(len(pointer) - 1), np.diff(pointer)), keys


def _arrays(
    rows: Rows, tensors: Sequence[Tensor], kept: Indices, width: int
) -> dict[str, np.ndarray]:
    """The index arrays of a result with these rows."""
    names = (rows.key,) if rows.pointer is None else (rows.pointer, rows.key)
    dtype = np.result_type(*[x.held[name].dtype for x in tensors for name in names])
    dtype = np.dtype(np.int64) if len(kept) > np.iinfo(np.int32).max else dtype
    if rows.pointer is None:
        return {rows.key: kept.astype(dtype)}
    groups, keys = np.divmod(kept, width)
    ends = np.zeros(len(tensors[0].held[rows.pointer]), dtype)
    np.cumsum(np.bincount(groups, minlength=len(ends) - 1), out=ends[1:])
    return {rows.pointer: ends, rows.key: keys.astype(dtype)}
