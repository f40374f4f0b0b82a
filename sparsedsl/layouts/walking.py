"""Loops over the dims of a layout whose data is not yet known to be right.

Takes: an alternative of a layout, the dims to walk, what to do at each place.  Gives: statements
of the loop IR.  Invariant: a range stays inside the arrays that it subscripts, and ranges hold no
more places together than the arrays could without overlaps; else data is bad and the walk ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.places import BAD, Body, Place, flag
from sparsedsl.layouts.runs import FIRST, LAST, joined, known_to_join, track
from sparsedsl.layouts.scan import enforced
from sparsedsl.layouts.structure import Structure
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Expr, For, If, Stmt
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Constraint, Term

Leaf: TypeAlias = "Callable[[Place], Body]"

WALKED = lb.ivar("walked")
"""Places that ranges held so far."""

LIMIT = "limit"
"""The parameter that says how many places all ranges may hold together."""


def in_order(part: Structure, names: Iterable[str]) -> tuple[str, ...]:
    chosen = set(names)
    return tuple(name for name in part.dims if name in chosen)


def axes_of(calls: Iterable[UF], name: str) -> list[tuple[str, int]]:
    """The axes of arrays that a dim by itself subscripts."""
    return [
        (call.function, axis)
        for call in calls
        for axis, argument in enumerate(call.arguments)
        if argument == t.var(name)
    ]


@dataclass(frozen=True, slots=True)
class Span:
    """The range of a variable at a place.

    ``reads`` are its bounds, ``ends`` assigns them, ``room`` checks them; ``inner`` is the place
    where subscripts by the variable are known to be inside.
    """

    reads: tuple[Term, ...]
    ends: Body
    room: Body
    inner: Place
    low: Expr
    high: Expr

    def around(self, place: Place, body: Body) -> Body:
        """``body`` where the range is known and right."""
        kept: Body = (If(lb.eq(BAD, 0), body),) if self.room else body
        return place.guarded(self.reads, (*self.ends, *self.room, *kept))


def bounded(
    place: Place,
    name: str,
    reads: Sequence[Term],
    ends: tuple[Expr, Expr],
    calls: Iterable[UF],
) -> Span:
    """The range of a variable that subscripts the arrays of ``calls``.

    It is checked to stay inside the arrays it subscripts, and not to overlap too many others.
    """
    low, high = lb.ivar(f"low_{name}"), lb.ivar(f"high_{name}")
    before = (Assign(low, ends[0]), Assign(high, ends[1]))
    axes = axes_of(calls, name)
    if not axes:
        return Span(tuple(reads), before, (), place, low, high)
    lengths = [place.length(function, axis) for function, axis in dict.fromkeys(axes)]
    outside = [lb.lt(low, 0), *(lb.gt(high, length) for length in lengths)]
    walked = Assign(WALKED, lb.add(WALKED, lb.max_(lb.sub(high, low), 0)))
    room = (
        *flag(lb.conj(lb.gt(high, low), lb.disj(*outside))),
        If(lb.eq(BAD, 0), (walked, *flag(lb.gt(WALKED, lb.ivar(LIMIT))))),
    )
    inside = place.inside | {(function, axis, name) for function, axis in axes}
    return Span(tuple(reads), before, room, replace(place, inside=inside), low, high)


def walk(root: Place, part: Structure, dims: Sequence[str], leaf: Leaf) -> Body:
    """Loops over ``dims`` around ``leaf``, padding left out."""
    return _Walk(part, tuple(dims), leaf, False, ()).at(replace(root, part=part), frozenset(), 0)


def checked_walk(root: Place, part: Structure, dims: Sequence[str], calls: Sequence[UF]) -> Body:
    """Loops over ``dims`` that check what is promised of coordinates, and subscripts of ``calls``.

    Where nothing checked innermost depends on the loops outside, and the innermost ranges are
    known to lie one after another, or turn out to, they are walked as one.
    """
    start = replace(root, part=part)
    whole = _Walk(part, tuple(dims), lambda _: (), True, tuple(calls))
    nested = whole.at(start, frozenset(), 0)
    if not whole.apart():
        return nested
    *outer, name = dims
    here, axes = lb.ivar(f"s_{name}"), axes_of((*part.calls, root.layout.value), name)
    inside = frozenset((function, axis, name) for function, axis in axes)
    inner = replace(start, inside=inside).with_variable(name, here)
    flat = For(here, FIRST, LAST, whole.at(inner, frozenset(start.variables), len(dims)))
    lows, highs = whole.limits(start, name)
    if len(lows) == len(highs) == 1:
        limits = lows[0], t.add(highs[0], t.const(1))
        ends = joint(root, part, outer, name, limits, calls)
        if ends is not None:
            return (*ends, If(lb.eq(BAD, 0), (flat,)))

    def leaf(place: Place) -> Body:
        span = whole.span(place, name)
        return span.around(place, track(span.low, span.high))

    tracked = replace(whole, dims=tuple(outer), leaf=leaf).at(start, frozenset(), 0)
    return joined(tracked, (flat,), nested)


def joint(
    root: Place,
    part: Structure,
    outer: Sequence[str],
    name: str,
    limits: tuple[Term, Term],
    calls: Sequence[UF] | None = None,
) -> Body | None:
    """Find where ranges of ``name`` that are known to join begin and end, and check that.

    ``limits`` are where each begins, and where it ends.  None where they are not known to join,
    or there is something to check on the way: subscripts of ``calls``, with all promises.
    """
    low, high = limits
    if len(outer) != 1 or not known_to_join(root.layout, outer[0], low, high):
        return None
    loop = _Walk(part, tuple(outer), lambda _: (), calls is not None, tuple(calls or ()))
    start = replace(root, part=part)
    if not loop.bare(start):
        return None
    rows = loop.span(start, outer[0])
    first = rows.inner.with_variable(outer[0], rows.low)
    last = rows.inner.with_variable(outer[0], lb.sub(rows.high, 1))
    ends = (
        *first.guarded((low,), (Assign(FIRST, first.read(low)),)),
        *last.guarded((high,), (Assign(LAST, last.read(high)),)),
    )
    some = (If(lb.gt(rows.high, rows.low), ends),)
    every = bounded(start, name, (), (FIRST, LAST), (*part.calls, root.layout.value))
    none = (Assign(FIRST, lb.i(0)), Assign(LAST, lb.i(0)))
    room = (If(lb.eq(BAD, 0), (*every.ends, *every.room)),)
    return (*none, *rows.around(start, some), *room)


@dataclass(frozen=True, slots=True)
class _Walk:
    part: Structure
    dims: tuple[str, ...]
    leaf: Leaf
    checks: bool
    calls: tuple[UF, ...]

    def at(self, place: Place, before: frozenset[str], level: int) -> Body:
        """What is done at a place where the dims up to ``level`` are known."""
        known = frozenset(place.variables)
        body: list[Stmt] = []
        if self.checks:
            for constraint in self._due(self.part.invariants, known, before):
                wrong = lb.not_(place.holds(constraint))
                body += place.guarded((constraint.term,), flag(wrong))
            due = [t.atom(c) for c in self.calls if _fresh(t.variables(t.atom(c)), known, before)]
            body += place.guarded(due, ())
        body += self.leaf(place) if level == len(self.dims) else self._loop(place, level)
        name = self.dims[level - 1] if level else ""
        exact = self._due(self.part.scan, known, before)
        kept = [c for c in exact if not (level and enforced(c, name))]
        kept += self._due(self.part.filters, known, before)
        for constraint in reversed(kept):
            condition = place.holds(constraint)
            body = list(place.guarded((constraint.term,), (If(condition, tuple(body)),)))
        return tuple(body)

    def _loop(self, place: Place, level: int) -> Body:
        name, span = self.dims[level], self.span(place, self.dims[level])
        here = lb.ivar(f"s_{name}")
        known = frozenset(place.variables)
        body = self.at(span.inner.with_variable(name, here), known, level + 1)
        return span.around(place, (For(here, span.low, span.high, body),))

    def limits(self, place: Place, name: str) -> tuple[list[Term], list[Term]]:
        """Terms that a dim is not below, and not above, given those that are known before it."""
        before = self.dims[: self.dims.index(name)]
        known = frozenset((*place.variables, *before))
        bounds = Bounds(self.part.scan, place.layout.relation.parameters)
        return bounds.lower(name, known), bounds.upper(name, known)

    def span(self, place: Place, name: str) -> Span:
        """The range of a dim, given those that are known at ``place``."""
        lows, highs = self.limits(place, name)
        ends = (
            reduce(lb.max_, map(place.read, lows)),
            lb.add(reduce(lb.min_, map(place.read, highs)), 1),
        )
        return bounded(place, name, (*lows, *highs), ends, (*self.part.calls, place.layout.value))

    def bare(self, place: Place) -> bool:
        """Whether the loop over the one dim leaves nothing out, and checks nothing on the way."""
        known, nothing = frozenset((*place.variables, *self.dims)), frozenset[str]()
        (name,) = self.dims
        met = [c for c in self._due(self.part.scan, known, nothing) if not enforced(c, name)]
        met += self._due(self.part.filters, known, nothing)
        if self.checks:
            met += self._due(self.part.invariants, known, nothing)
        return not met and not any(t.variables(t.atom(c)) <= known for c in self.calls)

    def apart(self) -> bool:
        """Whether what is checked in the innermost of several loops reads no other dim."""
        if len(self.dims) < len("ij"):
            return False
        *outer, last = self.dims
        known = frozenset((*self.part.parameters, *self.dims))
        before = frozenset((*self.part.parameters, *outer))
        constraints = [*self.part.invariants, *self.part.filters]
        constraints += [c for c in self.part.scan if not enforced(c, last)]
        names = [t.variables(c.term) for c in self._due(constraints, known, before)]
        names += [n for c in self.calls if _fresh(n := t.variables(t.atom(c)), known, before)]
        return not any(n & set(outer) for n in names)

    @staticmethod
    def _due(
        constraints: Iterable[Constraint], known: frozenset[str], before: frozenset[str]
    ) -> list[Constraint]:
        return [c for c in constraints if _fresh(t.variables(c.term), known, before)]


def _fresh(names: frozenset[str], known: frozenset[str], before: frozenset[str]) -> bool:
    """Whether all names are known now, and were not before."""
    return names <= known and (not names <= before or not before)
