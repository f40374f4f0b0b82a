"""Deliver values to the output: dense stores, appended levels, streams.

Takes: coordinates and a value at a point.  Gives: the statements around and at that point.
Invariant: entries appended come in storage order, once each, and none equals the fill;
nothing is stored beyond the room there is.

Workspaces are in ``lowering.workspace``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparsedsl.contraction.nodes import Scalar
from sparsedsl.iteration.nodes import Assembly, Level
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    ArrayParam,
    Assign,
    Binary,
    Comment,
    Const,
    Expr,
    For,
    If,
    Stmt,
    Var,
)

NOTHING = lb.i(0)


@dataclass(frozen=True, slots=True)
class Sink:
    """The output of one nest.

    ``name`` prefixes its arrays; ``dtype`` is its values', ``index_dtype`` its index arrays';
    ``extents`` are the extents of its modes.  ``identity`` is what a workspace starts from,
    ``deep`` asks for a third level of its bitmap.  ``counted``: the room is known to hold every
    entry that can be delivered, so that none is tested.  ``pieced``: entries go to the places
    of ``piece``, which the caller gives with a piece of the loop.  ``most``: no flush has more
    entries.
    """

    name: str
    dtype: str
    index_dtype: str
    fill: Scalar
    extents: tuple[Expr, ...]
    assembly: Assembly
    identity: Scalar = 0
    deep: bool = True
    counted: bool = False
    pieced: bool = False
    most: Expr = NOTHING

    def array(self, suffix: str) -> str:
        """Return the name of one of the output's arrays."""
        return f"{self.name}_{suffix}"

    def var(self, suffix: str) -> Var:
        """Return one of the output's counters."""
        return Var(f"{self.name}_{suffix}", INT)

    @property
    def piece(self) -> tuple[Var, Var]:
        """Where the first entry of a piece goes, and where no entry goes any more."""
        return self.var("from"), self.var("until")

    @property
    def counted_before(self) -> Var:
        """The room that a piece needs, 0 where its entries are still to be counted."""
        return self.var("counted")

    @property
    def first(self) -> Expr:
        """Where the first entry goes."""
        return self.piece[0] if self.pieced else lb.i(0)

    @property
    def capacity(self) -> Var:
        """The number of entries that room is needed for."""
        return self.var("room")

    @property
    def values(self) -> str:
        """The array of values, whose length is the room there is."""
        return self.array("values" if self.assembly.kind == "stream" else self.assembly.value)

    @property
    def given(self) -> Expr:
        """The number of entries that there is room for."""
        first, past = self.piece
        return lb.sub(past, first) if self.pieced else lb.length(self.values)

    def within_room(self, place: Expr, stores: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Return ``stores`` at ``place``, left out where the arrays are too short for it."""
        if self.counted:
            return stores
        return (If(lb.lt(place, lb.length(self.values)), stores),)

    @property
    def last(self) -> Level:
        """The level whose positions are those of the values."""
        return self.assembly.levels[-1]

    def differs(self, value: Expr) -> Expr:
        """Return whether ``value`` is not the fill (NaN differs from all but a NaN fill)."""
        if self.fill != self.fill:
            return Binary("==", value, value, BOOL)
        return Binary("!=", value, constant(self.fill, self.dtype), BOOL)


def constant(value: Scalar, dtype: str) -> Const:
    """Return a literal of ``dtype``, converted as NumPy would."""
    return Const(np.asarray(value).astype(dtype).item(), dtype)


def counter(sink: Sink, level: int) -> Var:
    """Return the number of positions appended to a level so far."""
    return sink.var(f"n{level}")


def append_start(sink: Sink) -> list[Stmt]:
    """Set the counters of an appended output to the first place."""
    levels = sink.assembly.levels
    return [
        Assign(counter(sink, place), sink.first)
        for place, level in enumerate(levels)
        if not level.dense
    ]


def first_segments(sink: Sink) -> list[Stmt]:
    """Let the first segment under each appended level of a piece begin where the piece does.

    The piece before may store the same number there: the end of its last segment, when every
    place it had room for is taken.
    """
    if not sink.pieced:
        return []
    levels = sink.assembly.levels
    return [
        lb.store(sink.array(below.pointer), (sink.first,), _index(sink, sink.first))
        for level, below in pairwise(levels)
        if not level.dense and below.pointer is not None
    ]


def append_params(sink: Sink) -> list[ArrayParam]:
    """Return the arrays an appended output is written to, made by the caller.

    Coordinates and values have one length, the room; pointers one more than their parents,
    and are zero.
    """
    names: list[str] = []
    for level in sink.assembly.levels:
        if level.dense:
            continue
        names.extend(array for array, _ in level.coordinates)
        if level.pointer is not None:
            names.append(level.pointer)
    indices = [ArrayParam(sink.array(name), sink.index_dtype, 1) for name in names]
    return [*indices, ArrayParam(sink.array(sink.assembly.value), sink.dtype, 1)]


def row_params(sink: Sink) -> list[ArrayParam]:
    """Return the arrays of `append_params` that hold the entries of a row."""
    names = [sink.array(array) for array, _ in sink.last.coordinates]
    return [p for p in append_params(sink) if p.name in (*names, sink.values)]


def _index(sink: Sink, value: Expr) -> Expr:
    return lb.cast(value, sink.index_dtype)


def append_entry(sink: Sink, coordinates: Sequence[Expr], value: Expr) -> list[Stmt]:
    """Append one entry to the last level while there is room, and count it in any case.

    ``coordinates`` are those of all modes.  A count beyond the room, where that was not
    counted before, tells the caller how much to give the next time; arrays are never moved,
    which would cost each iteration.
    """
    n = counter(sink, len(sink.assembly.levels) - 1)
    stores = _entry_stores(sink, n, coordinates, value)
    return [*sink.within_room(n, stores), Assign(n, lb.add(n, 1))]


def _entry_stores(
    sink: Sink, place: Expr, coordinates: Sequence[Expr], value: Expr
) -> tuple[Stmt, ...]:
    indices = (
        lb.store(sink.array(array), (place,), _index(sink, coordinates[mode]))
        for array, mode in sink.last.coordinates
    )
    return (*indices, lb.store(sink.array(sink.assembly.value), (place,), value))


def append_value(
    sink: Sink, coordinates: Sequence[Expr], value: Expr, *, branch: bool
) -> list[Stmt]:
    """Append one entry unless it equals the fill, in a ``branch`` or without.

    A branch that is guessed rightly costs less than a place of the next entry that depends on the
    value of this one: nothing is stored before that is there, however many entries are under way.
    """
    entry = Var(f"{sink.name}_value", sink.dtype)
    append = append_if_other if branch else append_unless_fill
    return [Assign(entry, value), *append(sink, coordinates, entry)]


def append_if_other(sink: Sink, coordinates: Sequence[Expr], entry: Var) -> list[Stmt]:
    """Append ``entry`` in a branch, taken if it differs from the fill."""
    return [If(sink.differs(entry), tuple(append_entry(sink, coordinates, entry)))]


def append_unless_fill(sink: Sink, coordinates: Sequence[Expr], entry: Var) -> list[Stmt]:
    """Append ``entry`` unless it equals the fill.

    Where the room was counted there is no branch: each entry has a place, and one that equals
    the fill is written over by the next.
    """
    if not sink.counted:
        return append_if_other(sink, coordinates, entry)
    n = counter(sink, len(sink.assembly.levels) - 1)
    kept = lb.cast(sink.differs(entry), INT)
    return [*_entry_stores(sink, n, coordinates, entry), Assign(n, lb.add(n, kept))]


def close_level(sink: Sink, place: int, coordinates: Sequence[Expr]) -> list[Stmt]:
    """End one coordinate of level ``place``: point past the entries below it."""
    level, below = sink.assembly.levels[place], sink.assembly.levels[place + 1]
    assert below.pointer is not None
    done = counter(sink, place + 1)
    pointer = sink.array(below.pointer)
    if level.dense:
        at = lb.add(coordinates[level.coordinates[0][1]], 1)
        return [lb.store(pointer, (at,), _index(sink, done))]
    n = counter(sink, place)
    entry: tuple[Stmt, ...] = (
        *(
            lb.store(sink.array(array), (n,), _index(sink, coordinates[mode]))
            for array, mode in level.coordinates
        ),
        Assign(n, lb.add(n, 1)),
        lb.store(pointer, (n,), _index(sink, done)),
    )
    # every position here has an entry below, so that the room for entries is enough
    begun = lb.load(pointer, n)
    return [*sink.within_room(n, (If(lb.gt(done, begun), entry),))]


def fill_gaps(sink: Sink, place: int) -> list[Stmt]:
    """Give coordinates of a dense level that were never visited their empty segment."""
    level, below = sink.assembly.levels[place], sink.assembly.levels[place + 1]
    assert below.pointer is not None
    at = sink.var("gap")
    pointer = sink.array(below.pointer)
    here, before = lb.load(pointer, lb.add(at, 1)), lb.load(pointer, at)
    carry = If(
        lb.lt(here, before),
        (lb.store(pointer, (lb.add(at, 1),), _index(sink, before)),),
    )
    extent = sink.extents[level.coordinates[0][1]]
    return [
        Comment("coordinates never visited get an empty segment"),
        For(at, lb.i(0), extent, (carry,)),
    ]


def append_results(sink: Sink) -> tuple[str, ...]:
    """Return the counters of the appended levels, the last one that of the entries."""
    levels = enumerate(sink.assembly.levels)
    return tuple(counter(sink, place).name for place, level in levels if not level.dense)


def stream_params(sink: Sink) -> list[ArrayParam]:
    """Return the arrays an unordered stream is written to, made by the caller."""
    names = [sink.array(f"coords{m}") for m in range(len(sink.extents))]
    coordinates = [ArrayParam(name, "int64", 1) for name in names]
    return [*coordinates, ArrayParam(sink.array("values"), sink.dtype, 1)]


def stream_value(sink: Sink, coordinates: Sequence[Expr], value: Expr) -> list[Stmt]:
    """Append one entry to the stream while there is room, and count it in any case."""
    n = sink.var("n")
    arrays = [sink.array(f"coords{m}") for m in range(len(sink.extents))]
    stores = (
        *(lb.store(a, (n,), lb.cast(c, "int64")) for a, c in zip(arrays, coordinates, strict=True)),
        lb.store(sink.array("values"), (n,), value),
    )
    return [*sink.within_room(n, stores), Assign(n, lb.add(n, 1))]
