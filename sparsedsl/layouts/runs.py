"""Ranges that lie one after another, checked as one.

Takes: statements that meet every range once.  Gives: the same checks as one long loop, which
can be vectorised where short ones cannot.  Invariant: used only where each range that holds
something begins where the one before it ended, which is seen as the ranges are met.
"""

from __future__ import annotations

from sparsedsl.layouts.places import BAD, Body, flag
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Assign, Expr, For, If, Var

FIRST, LAST = lb.ivar("first"), lb.ivar("last")
"""Where the first range begins and the last one ends."""

_APART = lb.ivar("apart")
"""Not 0 once a range begins elsewhere than where the one before it ended."""

_EDGES, _COUNT = lb.ivar("edges"), lb.ivar("count")
"""Neighbours that would be wrong if they were in one range: where ranges meet, and in all."""


def track(low: Expr, high: Expr, edge: Expr = lb.FALSE) -> Body:
    """Take notice of a range; ``edge`` says what is wrong of its first place and the one before."""
    counted = Assign(_EDGES, lb.add(_EDGES, lb.cast(edge, INT)))
    meets: Body = () if edge == lb.FALSE else (counted,)
    after = If(lb.eq(low, LAST), meets, (Assign(_APART, lb.i(1)),))
    begins = If(lb.ge(LAST, 0), (after,), (Assign(FIRST, low),))
    return (If(lb.gt(high, low), (begins, Assign(LAST, high))),)


def joined(tracked: Body, flat: Body, nested: Body) -> Body:
    """``flat``, from ``FIRST`` to ``LAST``, where all ranges that ``tracked`` meets join."""
    start = [Assign(name, lb.i(0)) for name in (FIRST, _APART, _EDGES)]
    both = If(lb.eq(_APART, 0), flat, nested)
    return (*start, Assign(LAST, lb.i(-1)), *tracked, If(lb.eq(BAD, 0), (both,)))


def neighbours(here: Var, wrong: Expr) -> Body:
    """The one loop that compares neighbours: as many are wrong as where ranges meet."""
    more = Assign(_COUNT, lb.add(_COUNT, lb.cast(wrong, INT)))
    loop = For(here, lb.add(FIRST, 1), LAST, (more,))
    return (Assign(_COUNT, lb.i(0)), loop, *flag(lb.ne(_COUNT, _EDGES)))
