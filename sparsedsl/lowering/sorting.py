"""Sort places of a list by the coordinates in it.

Takes: ``touched``, a list of different coordinates, and how many they are.  Gives: statements
that write the places ``0, 1 ..`` of the list to ``order``, those of lower coordinates first.
"""

from __future__ import annotations

from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Allocate, Assign, Expr, For, Stmt, Var, While
from sparsedsl.lowering.deliver import Sink

DIGIT = 8
"""Bits that one pass of a sort by digits looks at."""


def digit_counts(array: str) -> tuple[Stmt, ...]:
    """Allocate what a sort by digits counts in."""
    return (Allocate(array, "int64", (lb.i((1 << DIGIT) + 1),)),)


def by_insertion(sink: Sink, count: Expr) -> tuple[Stmt, ...]:
    """Put each place where it belongs among those before."""
    again, to, at = sink.var("again"), sink.var("to"), sink.var("at")
    order, touched = sink.array("order"), sink.array("touched")
    before = lb.load(order, lb.sub(to, 1))
    shift = (lb.store(order, (to,), before), Assign(to, lb.sub(to, 1)))
    behind = lb.gt(lb.load(touched, before), at)
    insert = (
        Assign(at, lb.load(touched, again)),
        Assign(to, again),
        While(lb.conj(lb.gt(to, 0), behind), shift),
        lb.store(order, (to,), again),
    )
    return (For(again, lb.i(0), count, insert),)


def by_digits(sink: Sink, count: Expr) -> tuple[Stmt, ...]:
    """Sort by one digit after the other, the lowest first, each time keeping ties in order.

    Two passes a turn, so that the places end where they began; digits above the highest bit of
    every coordinate are not looked at.
    """
    again, shift, seen = sink.var("again"), sink.var("shift"), sink.var("seen")
    order, moved = sink.array("order"), sink.array("moved")
    listed = (
        lb.store(order, (again,), again),
        Assign(seen, lb.bit_or(seen, lb.load(sink.array("touched"), again))),
    )
    turn = (
        *_pass(sink, count, order, moved, shift),
        *_pass(sink, count, moved, order, lb.add(shift, DIGIT)),
        Assign(shift, lb.add(shift, 2 * DIGIT)),
    )
    return (
        Assign(seen, lb.i(0)),
        For(again, lb.i(0), count, listed),
        Assign(shift, lb.i(0)),
        While(lb.conj(lb.lt(shift, 64), lb.gt(lb.shift_right(seen, shift), 0)), turn),
    )


def _pass(sink: Sink, count: Expr, source: str, target: str, shift: Expr) -> tuple[Stmt, ...]:
    """Move places from ``source`` to ``target``, in order of the digit at ``shift``."""
    again, digit, place = sink.var("again"), sink.var("digit"), sink.var("place")
    digits = sink.array("digits")
    of = lb.bit_and(lb.shift_right(lb.load(sink.array("touched"), place), shift), (1 << DIGIT) - 1)
    read: tuple[Stmt, ...] = (Assign(place, lb.load(source, again)), Assign(digit, of))
    clear = lb.store(digits, (digit,), lb.i(0))
    following = lb.add(digit, 1)
    return (
        For(digit, lb.i(0), lb.length(digits), (clear,)),
        For(again, lb.i(0), count, (*read, lb.store(digits, (following,), lb.i(1), "add"))),
        For(digit, lb.i(0), lb.i(1 << DIGIT), (_carry(digits, digit, following),)),
        For(
            again,
            lb.i(0),
            count,
            (
                *read,
                lb.store(target, (lb.load(digits, digit),), place),
                lb.store(digits, (digit,), lb.i(1), "add"),
            ),
        ),
    )


def _carry(digits: str, digit: Var, following: Expr) -> Stmt:
    return lb.store(digits, (following,), lb.load(digits, digit), "add")
