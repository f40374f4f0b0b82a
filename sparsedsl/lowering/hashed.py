"""A hash table of the coordinates between two flushes, for extents that are no array's length.

Takes: coordinates and values between two flushes.  Gives: statements that allocate, add and
flush.  Invariant: ``touched`` lists each coordinate once, as they came, ``sums`` holds what was
combined there; a slot holds a place in that list, or is free; at most half the slots up to the
mask are taken, none is after a flush.  Slots beyond the mask were not written.

Open addressing with linear probing.  A table doubles when it is half full, and halves after a
row that filled less than an eighth of it, so that the slots of short rows stay in the nearest
cache whatever the longest row took.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsedsl.loops import build as lb
from sparsedsl.loops.hashing import home_slot
from sparsedsl.loops.nodes import Allocate, Assign, Comment, Expr, For, If, Stmt, Var, While
from sparsedsl.lowering.deliver import Sink, append_unless_fill, constant
from sparsedsl.lowering.sorting import by_digits, by_insertion, digit_counts

LEAST = 32
"""Entries that the smallest table has room for, twice as many slots."""

SHORT = 48
"""Entries up to which a row is sorted by insertion."""

FREE = -1


def start(sink: Sink) -> list[Stmt]:
    """Allocate the lists and the slots for the longest row there may be, the least ones free.

    What no row comes to use is never written, and takes no memory.
    """
    room, mask = sink.var("entries"), sink.var("mask")
    listed = [Allocate(sink.array(a), "int64", (room,)) for a in ("touched", "order", "moved")]
    return [
        Comment("hash table: a slot holds a place in the list of touched coordinates"),
        Assign(room, lb.i(LEAST)),
        While(lb.le(room, sink.most), (Assign(room, lb.mul(room, 2)),)),
        Allocate(sink.array("slots"), "int64", (lb.mul(room, 2),)),
        Allocate(sink.array("sums"), sink.dtype, (room,)),
        *listed,
        *digit_counts(sink.array("digits")),
        Assign(mask, lb.i(2 * LEAST - 1)),
        _free_slots(sink),
        Assign(sink.var("end"), lb.i(0)),
    ]


def add(sink: Sink, coordinate: Expr, value: Expr, combine: str | None) -> list[Stmt]:
    """Combine one value into the entry of its coordinate, listed when it is met first."""
    end, slot, place = sink.var("end"), sink.var("slot"), sink.var("place")
    touched, sums = sink.array("touched"), sink.array("sums")
    enter = (
        Assign(place, end),
        lb.store(sink.array("slots"), (slot,), end),
        lb.store(touched, (end,), coordinate),
        lb.store(sums, (end,), constant(sink.identity, sink.dtype)),
        Assign(end, lb.add(end, 1)),
        If(lb.gt(lb.mul(end, 2), sink.var("mask")), _grow(sink)),
    )
    other = lb.conj(lb.ge(place, 0), lb.ne(lb.load(touched, place), coordinate))
    return [
        *_seek(sink, coordinate, place, other),
        If(lb.lt(place, 0), enter),
        lb.store(sums, (place,), value, combine),
    ]


def flush(sink: Sink, coordinates: Sequence[Expr | None]) -> list[Stmt]:
    """Append the listed entries in order of their coordinate, and free every slot.

    ``coordinates`` are those of all modes; the last one is not read.
    """
    mode = sink.last.coordinates[-1][1]
    end, place, at = sink.var("end"), sink.var("place"), sink.var("at")
    value = Var(f"{sink.name}_value", sink.dtype)
    known = [at if c is None or m == mode else c for m, c in enumerate(coordinates)]
    take = (
        Assign(place, lb.load(sink.array("order"), sink.var("next"))),
        Assign(at, lb.load(sink.array("touched"), place)),
        Assign(value, lb.load(sink.array("sums"), place, type=sink.dtype)),
        *append_unless_fill(sink, known, value),
    )
    mask = sink.var("mask")
    roomy = lb.conj(lb.gt(mask, 2 * LEAST - 1), lb.lt(lb.mul(end, 8), mask))
    return [
        If(
            lb.gt(end, 0),
            (
                If(lb.le(end, SHORT), by_insertion(sink, end), by_digits(sink, end)),
                For(sink.var("next"), lb.i(0), end, take),
                _free_slots(sink),
                While(roomy, (Assign(mask, lb.shift_right(mask, 1)),)),
                Assign(end, lb.i(0)),
            ),
        )
    ]


def _seek(sink: Sink, coordinate: Expr, found: Var, taken: Expr) -> tuple[Stmt, ...]:
    """Go from the home slot of a coordinate on while ``taken`` holds of what is ``found``."""
    slot, slots, mask = sink.var("slot"), sink.array("slots"), sink.var("mask")
    following = lb.bit_and(lb.add(slot, 1), mask)
    load = Assign(found, lb.load(slots, slot))
    return (
        Assign(slot, home_slot((coordinate,), mask)),
        load,
        While(taken, (Assign(slot, following), load)),
    )


def _grow(sink: Sink) -> tuple[Stmt, ...]:
    """Double the table, and enter what is listed again."""
    end, mask, again, other = (sink.var(v) for v in ("end", "mask", "again", "other"))
    enter = (
        *_seek(sink, lb.load(sink.array("touched"), again), other, lb.ge(other, 0)),
        lb.store(sink.array("slots"), (sink.var("slot"),), again),
    )
    return (
        Assign(mask, lb.add(lb.mul(mask, 2), 1)),
        _free_slots(sink),
        For(again, lb.i(0), end, enter),
    )


def _free_slots(sink: Sink) -> Stmt:
    slot = sink.var("slot")
    free = lb.store(sink.array("slots"), (slot,), lb.i(FREE))
    return For(slot, lb.i(0), lb.add(sink.var("mask"), 1), (free,))
