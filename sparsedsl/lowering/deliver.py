"""Deliver values to the output: dense stores, appended levels, workspaces, streams.

Takes: coordinates and a value at a point.  Gives: the statements around and at that point.
Invariant: entries appended come in storage order, once each, and none equals the fill; a
workspace is empty again after each flush; nothing is stored beyond the room there is.

The workspace is a dense accumulator with a bitmap in levels: walking set bits by counting
trailing zeros gives the coordinates in order without a sort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsedsl.contraction.nodes import Scalar
from sparsedsl.iteration.nodes import Assembly, Level
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Allocate,
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
    While,
)

WORD_SHIFT = 6
WORD_MASK = 63


@dataclass(frozen=True, slots=True)
class Sink:
    """The output of one nest.

    ``name`` prefixes its arrays; ``dtype`` is its values', ``index_dtype`` its index arrays';
    ``extents`` are the extents of its modes.  ``identity`` is what a workspace starts from,
    ``deep`` asks for a third level of its bitmap.
    """

    name: str
    dtype: str
    index_dtype: str
    fill: Scalar
    extents: tuple[Expr, ...]
    assembly: Assembly
    identity: Scalar = 0
    deep: bool = True

    def array(self, suffix: str) -> str:
        """Return the name of one of the output's arrays."""
        return f"{self.name}_{suffix}"

    def var(self, suffix: str) -> Var:
        """Return one of the output's counters."""
        return Var(f"{self.name}_{suffix}", INT)

    @property
    def capacity(self) -> Var:
        """The number of entries that room is needed for."""
        return self.var("room")

    @property
    def values(self) -> str:
        """The array of values, whose length is the room there is."""
        return self.array("values" if self.assembly.kind == "stream" else self.assembly.value)

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
    """Zero the counters of an appended output."""
    levels = sink.assembly.levels
    return [
        Assign(counter(sink, place), lb.i(0))
        for place, level in enumerate(levels)
        if not level.dense
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


def _index(sink: Sink, value: Expr) -> Expr:
    return lb.cast(value, sink.index_dtype)


def append_entry(sink: Sink, coordinates: Sequence[Expr], value: Expr) -> list[Stmt]:
    """Append one entry to the last level while there is room, and count it in any case.

    ``coordinates`` are those of all modes.  A count beyond the room tells the caller how much
    to give the next time; arrays are never moved, which would cost each iteration.
    """
    n = counter(sink, len(sink.assembly.levels) - 1)
    stores: list[Stmt] = [
        lb.store(sink.array(array), (n,), _index(sink, coordinates[mode]))
        for array, mode in sink.last.coordinates
    ]
    stores.append(lb.store(sink.array(sink.assembly.value), (n,), value))
    return [If(lb.lt(n, lb.length(sink.values)), tuple(stores)), Assign(n, lb.add(n, 1))]


def append_value(sink: Sink, coordinates: Sequence[Expr], value: Expr) -> list[Stmt]:
    """Append one entry unless it equals the fill."""
    entry = Var(f"{sink.name}_value", sink.dtype)
    return [
        Assign(entry, value),
        If(sink.differs(entry), tuple(append_entry(sink, coordinates, entry))),
    ]


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
    return [If(lb.lt(n, lb.length(sink.values)), (If(lb.gt(done, begun), entry),))]


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


def workspace_start(sink: Sink) -> list[Stmt]:
    """Allocate the accumulator, at the identity, and its bitmap of two or three levels."""
    extent = sink.extents[sink.last.coordinates[-1][1]]
    words = lb.add(lb.shift_right(extent, WORD_SHIFT), 1)
    groups = lb.add(lb.shift_right(extent, 2 * WORD_SHIFT), 1)
    tops = lb.add(lb.shift_right(extent, 3 * WORD_SHIFT), 1)
    zero = Const(0, "int64")
    out: list[Stmt] = [
        Comment("dense accumulator, and a bitmap in levels that orders it"),
        Allocate(sink.array("sums"), sink.dtype, (extent,), constant(sink.identity, sink.dtype)),
        Allocate(sink.array("bits"), "int64", (words,), zero),
        Allocate(sink.array("groups"), "int64", (groups,), zero),
    ]
    if sink.deep:
        out.append(Allocate(sink.array("tops"), "int64", (tops,), zero))
    return [*out, Assign(sink.var("count"), lb.i(0))]


def _mark(array: str, at: Expr) -> Stmt:
    """Set bit ``at`` of a bitmap."""
    word = lb.shift_right(at, WORD_SHIFT)
    bit = lb.shift_left(lb.i(1), lb.bit_and(at, WORD_MASK))
    return lb.store(array, (word,), lb.bit_or(lb.load(array, word), bit))


def workspace_add(sink: Sink, at: Expr, value: Expr, combine: str | None) -> list[Stmt]:
    """Combine one value into the accumulator and mark its coordinate.

    There is no test for the first visit: slots start at the identity, and marking twice does
    no harm, so nothing here is mispredicted.
    """
    word, group, count = sink.var("word"), sink.var("group"), sink.var("count")
    out: list[Stmt] = [
        lb.store(sink.array("sums"), (at,), value, combine),
        _mark(sink.array("bits"), at),
        Assign(word, lb.shift_right(at, WORD_SHIFT)),
        _mark(sink.array("groups"), word),
    ]
    if sink.deep:
        out.append(Assign(group, lb.shift_right(word, WORD_SHIFT)))
        out.append(_mark(sink.array("tops"), group))
    return [*out, Assign(count, lb.add(count, 1))]


def workspace_flush(sink: Sink, coordinates: Sequence[Expr | None]) -> list[Stmt]:
    """Append the accumulated entries in order of their coordinate, and clear the bitmap."""
    mode = sink.last.coordinates[-1][1]
    count, at = sink.var("count"), sink.var("at")
    value = Var(f"{sink.name}_value", sink.dtype)
    everything = [at if c is None or m == mode else c for m, c in enumerate(coordinates)]
    emit: tuple[Stmt, ...] = (
        Assign(value, lb.load(sink.array("sums"), at, type=sink.dtype)),
        lb.store(sink.array("sums"), (at,), constant(sink.identity, sink.dtype)),
        If(sink.differs(value), tuple(append_entry(sink, everything, value))),
    )
    words = _walk(sink, "bits", "word", at, emit)
    groups = _walk(sink, "groups", "group", sink.var("word"), words)
    outer, bitmap, walk = sink.var("group"), "groups", groups
    if sink.deep:
        outer, bitmap = sink.var("top"), "tops"
        walk = _walk(sink, "tops", "top", sink.var("group"), groups)
    tops = For(outer, lb.i(0), lb.length(sink.array(bitmap)), walk)
    body = (tops, Assign(count, lb.i(0)))
    return [If(lb.gt(count, 0), body)]


def _walk(
    sink: Sink, bitmap: str, word: str, found: Var, body: tuple[Stmt, ...]
) -> tuple[Stmt, ...]:
    """Visit the set bits of one word in order, binding ``found``, and clear the word."""
    left, at, array = sink.var(f"{bitmap}_left"), sink.var(word), sink.array(bitmap)
    bit = lb.cttz(left)
    step: tuple[Stmt, ...] = (
        Assign(found, lb.add(lb.shift_left(at, WORD_SHIFT), bit)),
        Assign(left, lb.bit_and(left, lb.sub(left, 1))),
        *body,
    )
    return (
        Assign(left, lb.load(array, at)),
        lb.store(array, (at,), lb.i(0)),
        While(lb.ne(left, 0), step),
    )


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
    return [If(lb.lt(n, lb.length(sink.values)), stores), Assign(n, lb.add(n, 1))]
