"""Ranges that lie one after another, checked as one.

Takes: statements that meet every range once.  Gives: the same checks as one long loop, which
can be vectorised where short ones cannot.  Invariant: used only where each range that holds
something begins where the one before it ended, which is seen as the ranges are met, or known
where each begins at an element of an array that never decreases and ends at the one after it.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.places import BAD, Body, flag
from sparsedsl.layouts.properties import Nondecreasing
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Assign, Expr, For, If, Var
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term

FIRST, LAST = lb.ivar("first"), lb.ivar("last")
"""Where the first range begins and the last one ends."""

_APART = lb.ivar("apart")
"""Not 0 once a range begins elsewhere than where the one before it ended."""

_EDGES, _COUNT = lb.ivar("edges"), lb.ivar("count")
"""Neighbours that would be wrong if they were in one range: where ranges meet, and in all."""

_MEETS, _AT = lb.ivar("meets"), lb.ivar("meeting")
"""1 where a range meets one before it, and the place where it does."""


def known_to_join(layout: Layout, name: str, low: Term, high: Term) -> bool:
    """Whether the ranges from ``low`` to before ``high`` join, by what was checked before them.

    ``name`` is the dim that they follow one after another.
    """
    rising = [p for p in layout.properties if isinstance(p, Nondecreasing) and p.within is None]
    starts = [t.uf(p.function, t.var(name)) for p in rising]
    following = t.substitute(low, {name: t.add(t.var(name), t.const(1))})
    return low in starts and high == following


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


def meeting(low: Expr, high: Expr, wrong: Callable[[Expr], Expr]) -> Body:
    """Take notice of what is wrong where a range meets one before it, all of them known to join.

    Nothing branches on the data: where no ranges meet, the first two neighbours are looked at,
    for nothing.
    """
    meets = lb.bit_and(lb.cast(lb.gt(high, low), INT), lb.cast(lb.gt(low, FIRST), INT))
    found = lb.bit_and(_MEETS, lb.cast(wrong(_AT), INT))
    return (
        Assign(_MEETS, meets),
        Assign(_AT, lb.select(lb.ne(_MEETS, 0), low, lb.add(FIRST, 1))),
        Assign(_EDGES, lb.add(_EDGES, found)),
    )


def together(met: Body, flat: Body) -> Body:
    """``flat`` once ``met`` has taken notice of where ranges meet; nothing without neighbours."""
    two = lb.gt(LAST, lb.add(FIRST, 1))
    return (If(two, (Assign(_EDGES, lb.i(0)), *met, *flat)),)


def neighbours(here: Var, wrong: Expr) -> Body:
    """The one loop that compares neighbours: as many are wrong as where ranges meet."""
    more = Assign(_COUNT, lb.add(_COUNT, lb.cast(wrong, INT)))
    loop = For(here, lb.add(FIRST, 1), LAST, (more,))
    return (Assign(_COUNT, lb.i(0)), loop, *flag(lb.ne(_COUNT, _EDGES)))
