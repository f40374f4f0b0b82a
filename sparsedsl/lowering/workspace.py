"""Workspaces: an accumulator for the last mode, and what puts its entries in order.

Takes: coordinates and values between two flushes.  Gives: statements that allocate, add and
flush.  Invariant: an accumulator is at the identity and a bitmap empty after each flush.

Nothing here tests for the first visit of a coordinate: slots start at the identity, and
marking or listing one twice does no harm, so that no branch depends on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sparsedsl.find.ordering import BLOCK, FULL
from sparsedsl.find.site import APART
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    Allocate,
    Assign,
    Comment,
    Const,
    Expr,
    For,
    If,
    Stmt,
    Var,
    While,
)
from sparsedsl.lowering import hashed
from sparsedsl.lowering.deliver import Sink, append_unless_fill, constant, counter
from sparsedsl.lowering.run import insert_in_run, is_run, keep_run

WORD_SHIFT = 6
WORD_MASK = 63

SHORT, LONG = 20, 48
"""Touched coordinates up to which a list is always sorted by insertion, and beyond which never."""

SHIFTS = 8
"""Entries that insertion moves in the time that a word of the bitmap's second level is looked at.

A list of ``n`` moves about a quarter of the square of ``n``, whatever the extent of the mode.
"""


BLOCK_SHIFT = BLOCK.bit_length() - 1


@dataclass(frozen=True, slots=True)
class Guide:
    """The sorted range that entries are a part of: its ends, and the coordinate at a position."""

    position: Expr
    low: Expr
    high: Expr
    key: Callable[[Expr], Expr]


def start(sink: Sink) -> list[Stmt]:
    """Allocate the accumulator, at the identity, and the bitmap if there is one."""
    extent = sink.extents[sink.last.coordinates[-1][1]]
    padded = sink.assembly.ordering in ("range", "blocks")
    room = lb.add(extent, APART) if padded else extent
    sums = Allocate(sink.array("sums"), sink.dtype, (room,), constant(sink.identity, sink.dtype))
    match sink.assembly.ordering:
        case "hash":
            return hashed.start(sink)
        case "range" | "word" | "whole":
            return [Comment("dense accumulator"), sums]
        case "blocks":
            blocks = lb.add(lb.shift_right(extent, BLOCK_SHIFT), 1)
            note = Comment("dense accumulator, and which of its blocks are touched")
            return [
                note,
                sums,
                Allocate(sink.array("blocks"), "uint8", (blocks,), lb.const(0, "uint8")),
            ]
        case ordering:
            pass
    zero = Const(0, "int64")
    words = lb.add(lb.shift_right(extent, WORD_SHIFT), 1)
    groups = lb.add(lb.shift_right(extent, 2 * WORD_SHIFT), 1)
    out: list[Stmt] = [
        Comment("dense accumulator, and a bitmap in levels that orders it"),
        sums,
        Allocate(sink.array("bits"), "int64", (words,), zero),
        Allocate(sink.array("groups"), "int64", (groups,), zero),
    ]
    if ordering == "list":
        square = lb.min_(lb.mul(lb.length(sink.array("groups")), SHIFTS), LONG * LONG)
        return [*out, Assign(sink.var("short"), lb.max_(square, SHORT * SHORT))]
    if ordering == "run":
        return out
    if sink.deep:
        tops = lb.add(lb.shift_right(extent, 3 * WORD_SHIFT), 1)
        out.append(Allocate(sink.array("tops"), "int64", (tops,), zero))
    return [*out, Assign(sink.var("count"), lb.i(0))]


def begin(sink: Sink) -> list[Stmt]:
    """Begin what a flush ends: an empty list behind the entries appended so far, or no bits."""
    match sink.assembly.ordering:
        case "list" | "run":
            return [Assign(sink.var("end"), _entries(sink))]
        case "word":
            return [Assign(sink.var("touched"), lb.i(0))]
        case "whole":
            at, start = sink.var("at"), constant(sink.identity, sink.dtype)
            extent = sink.extents[sink.last.coordinates[-1][1]]
            return [For(at, lb.i(0), extent, (lb.store(sink.array("sums"), (at,), start),))]
        case _:
            return []


def add(
    sink: Sink, coordinate: Expr, value: Expr, combine: str | None, guide: Guide | None
) -> list[Stmt]:
    """Combine one value into the accumulator, and note its coordinate."""
    sums = sink.array("sums")
    match sink.assembly.ordering:
        case "range":
            assert guide is not None
            at = lb.sub(guide.position, guide.low)
            return [lb.store(sums, (at,), value, combine)]
        case "whole":
            return [lb.store(sums, (coordinate,), value, combine)]
        case "word":
            touched = sink.var("touched")
            return [
                lb.store(sums, (coordinate,), value, combine),
                Assign(touched, lb.bit_or(touched, _bit(coordinate))),
            ]
        case "blocks":
            block = lb.shift_right(coordinate, BLOCK_SHIFT)
            touch = lb.store(sink.array("blocks"), (block,), lb.const(1, "uint8"))
            return [lb.store(sums, (coordinate,), value, combine), touch]
        case "list":
            return _note(sink, coordinate, value, combine)
        case "hash":
            return hashed.add(sink, coordinate, value, combine)
        case "run":
            term = Var(f"{sink.name}_term", sink.dtype)
            insert = insert_in_run(sink, _entries(sink), coordinate, term, combine)
            note = tuple(_note(sink, coordinate, term, combine))
            return [Assign(term, value), If(is_run(sink, _entries(sink)), insert, note)]
        case _:
            return [
                lb.store(sums, (coordinate,), value, combine),
                *_marks(sink, coordinate, deep=sink.deep),
                Assign(sink.var("count"), lb.add(sink.var("count"), 1)),
            ]


def flush(sink: Sink, coordinates: Sequence[Expr | None], guide: Guide | None) -> list[Stmt]:
    """Append the accumulated entries in order of their coordinate, and clear what they used.

    ``coordinates`` are those of all modes; the last one is not read.
    """
    at = sink.var("at")
    match sink.assembly.ordering:
        case "range":
            assert guide is not None
            emit = _take(sink, coordinates, lb.sub(at, guide.low), guide.key(at))
            return [For(at, guide.low, guide.high, emit)]
        case "word":
            return _flush_word(sink, coordinates)
        case "whole":
            extent = sink.extents[sink.last.coordinates[-1][1]]
            return [For(at, lb.i(0), extent, _read(sink, coordinates, at, at))]
        case "blocks":
            return [_flush_blocks(sink, coordinates)]
        case "hash":
            return hashed.flush(sink, coordinates)
        case "list":
            n, end, first = _entries(sink), sink.var("end"), sink.var("first")
            length = sink.var("length")
            is_short = lb.le(lb.mul(length, length), sink.var("short"))
            order = If(is_short, _insertion_sort(sink, first, end), _order_by_bits(sink))
            measure = Assign(first, n), Assign(length, lb.sub(end, first))
            return [*measure, order, _take_list(sink, coordinates)]
        case "run":
            first = sink.var("first")
            kept = keep_run(sink, first, coordinates)
            long = (*_order_by_bits(sink), _take_list(sink, coordinates))
            return [Assign(first, _entries(sink)), If(is_run(sink, first), kept, long)]
        case _:
            count = sink.var("count")
            outer, bitmap = ("top", "tops") if sink.deep else ("group", "groups")
            walk = _walk_groups(sink, _take(sink, coordinates, at, at))
            if sink.deep:
                walk = _walk(sink, "tops", "top", sink.var("group"), walk)
            all_words = For(sink.var(outer), lb.i(0), lb.length(sink.array(bitmap)), walk)
            return [If(lb.gt(count, 0), (all_words, Assign(count, lb.i(0))))]


def _entries(sink: Sink) -> Var:
    """Return the number of entries appended so far."""
    return counter(sink, len(sink.assembly.levels) - 1)


def _list(sink: Sink) -> str:
    """Return the output's own array of last coordinates, which holds the list meanwhile."""
    return sink.array(sink.last.coordinates[-1][0])


def _take(
    sink: Sink, coordinates: Sequence[Expr | None], slot: Expr, coordinate: Expr
) -> tuple[Stmt, ...]:
    """Append the value of a slot unless it is the fill, and put the slot back."""
    load, *append = _read(sink, coordinates, slot, coordinate)
    back = lb.store(sink.array("sums"), (slot,), constant(sink.identity, sink.dtype))
    return (load, back, *append)


def _read(
    sink: Sink, coordinates: Sequence[Expr | None], slot: Expr, coordinate: Expr
) -> tuple[Stmt, ...]:
    """Append the value of a slot unless it is the fill."""
    mode = sink.last.coordinates[-1][1]
    value = Var(f"{sink.name}_value", sink.dtype)
    everything = [coordinate if c is None or m == mode else c for m, c in enumerate(coordinates)]
    load = Assign(value, lb.load(sink.array("sums"), slot, type=sink.dtype))
    return (load, *append_unless_fill(sink, everything, value))


def _flush_word(sink: Sink, coordinates: Sequence[Expr | None]) -> list[Stmt]:
    """Look at each coordinate whose bit is set; in an extent beyond a word, bits are shared."""
    extent = sink.extents[sink.last.coordinates[-1][1]]
    base, at, left = sink.var("base"), sink.var("at"), sink.var("left")
    step = (
        Assign(at, lb.add(base, lb.cttz(left))),
        Assign(left, lb.bit_and(left, lb.sub(left, 1))),
        If(lb.lt(at, extent), _take(sink, coordinates, at, at)),
    )
    block = (Assign(left, sink.var("touched")), While(lb.ne(left, 0), step))
    return [For(base, lb.i(0), extent, block, step=WORD_MASK + 1)]


def rows_are_full(sink: Sink, flushes: Expr) -> Expr:
    """Whether the entries counted for so many flushes are many for the extent they lie in."""
    extent = sink.extents[sink.last.coordinates[-1][1]]
    return lb.ge(lb.mul(sink.capacity, FULL), lb.mul(flushes, extent))


def _flush_blocks(sink: Sink, coordinates: Sequence[Expr | None]) -> Stmt:
    """Look at all coordinates of each block that was touched.

    A vector waits for its elements where one was just written by itself: that blocks come one after
    another with tests in between, and not all of them, leaves time for that.  More are looked at
    than entries were counted for: in the last rows, where places may be beyond the room there is or
    in another thread's piece, each is tested before it is stored.
    """
    block, at, touched = sink.var("block"), sink.var("at"), sink.array("blocks")
    begin = lb.shift_left(block, BLOCK_SHIFT)
    past = lb.add(begin, BLOCK)
    some = lb.ne(lb.load(touched, block), 0)

    def flush(into: Sink) -> Stmt:
        taken = For(at, begin, past, _take(into, coordinates, at, at))
        look = lb.store(touched, (block,), lb.const(0, "uint8")), taken
        return For(block, lb.i(0), lb.length(touched), (If(some, look),))

    most = lb.add(counter(sink, len(sink.assembly.levels) - 1), lb.length(sink.array("sums")))
    end = sink.piece[1] if sink.pieced else lb.length(sink.values)
    return If(lb.le(most, end), (flush(sink),), (flush(replace(sink, counted=False)),))


def _note(sink: Sink, coordinate: Expr, value: Expr, combine: str | None) -> list[Stmt]:
    """Combine a value into the accumulator, and list its coordinate if that was untouched."""
    end, sums = sink.var("end"), sink.array("sums")
    untouched = lb.eq(
        lb.load(sums, coordinate, type=sink.dtype), constant(sink.identity, sink.dtype)
    )
    return [
        lb.store(_list(sink), (end,), lb.cast(coordinate, sink.index_dtype)),
        Assign(end, lb.add(end, lb.cast(untouched, "int"))),
        lb.store(sums, (coordinate,), value, combine),
    ]


def _take_list(sink: Sink, coordinates: Sequence[Expr | None]) -> Stmt:
    """Take the entries of a list, which are appended over the part that was read already."""
    place, at = sink.var("place"), sink.var("at")
    listed = Assign(at, lb.load(_list(sink), place))
    body = (listed, *_take(sink, coordinates, at, at))
    return For(place, sink.var("first"), sink.var("end"), body)


def _order_by_bits(sink: Sink) -> tuple[Stmt, ...]:
    """Send a list through the bitmap, which gives it back in order."""
    end, first, place = (sink.var(v) for v in ("end", "first", "place"))
    at, low, high, to = (sink.var(v) for v in ("at", "low", "high", "to"))
    listed = Assign(at, lb.load(_list(sink), place))
    again = (
        lb.store(_list(sink), (to,), lb.cast(at, sink.index_dtype)),
        Assign(to, lb.add(to, 1)),
    )
    group = lb.shift_right(at, 2 * WORD_SHIFT)
    mark = (
        listed,
        *_marks(sink, at, deep=False),
        Assign(low, lb.min_(low, group)),
        Assign(high, lb.max_(high, group)),
    )
    return (
        Assign(low, lb.length(sink.array("groups"))),
        Assign(high, lb.i(0)),
        For(place, first, end, mark),
        Assign(to, first),
        For(sink.var("group"), low, lb.add(high, 1), _walk_groups(sink, again)),
    )


def _insertion_sort(sink: Sink, first: Var, end: Var) -> tuple[Stmt, ...]:
    at, place, to = sink.var("at"), sink.var("place"), sink.var("to")
    listed = _list(sink)
    before = lb.load(listed, lb.sub(to, 1))
    shift = (
        lb.store(listed, (to,), lb.cast(before, sink.index_dtype)),
        Assign(to, lb.sub(to, 1)),
    )
    insert = (
        Assign(at, lb.load(listed, place)),
        Assign(to, place),
        While(lb.conj(lb.gt(to, first), lb.gt(before, at)), shift),
        lb.store(listed, (to,), lb.cast(at, sink.index_dtype)),
    )
    return (For(place, lb.add(first, 1), end, insert),)


def _marks(sink: Sink, at: Expr, *, deep: bool) -> tuple[Stmt, ...]:
    """Set the bits of a coordinate at each level of the bitmap."""
    word, group = sink.var("word"), sink.var("group")
    out: tuple[Stmt, ...] = (
        _mark(sink.array("bits"), at),
        Assign(word, lb.shift_right(at, WORD_SHIFT)),
        _mark(sink.array("groups"), word),
    )
    if not deep:
        return out
    return (
        *out,
        Assign(group, lb.shift_right(word, WORD_SHIFT)),
        _mark(sink.array("tops"), group),
    )


def _mark(array: str, at: Expr) -> Stmt:
    """Set bit ``at`` of a bitmap."""
    word = lb.shift_right(at, WORD_SHIFT)
    return lb.store(array, (word,), lb.bit_or(lb.load(array, word), _bit(at)))


def _bit(at: Expr) -> Expr:
    return lb.shift_left(lb.i(1), lb.bit_and(at, WORD_MASK))


def _walk_groups(sink: Sink, emit: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Visit in order the coordinates under one word of the second level."""
    words = _walk(sink, "bits", "word", sink.var("at"), emit)
    return _walk(sink, "groups", "group", sink.var("word"), words)


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
