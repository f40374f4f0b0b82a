"""Loops that check data against the layout it claims.

Takes: a layout.  Gives: a kernel of the loop IR over its parameters and arrays, whose result is 0
only for data that ``check.validate`` accepts.  Invariant: no subscript is followed before it is
known to lie inside its array, whatever the data; ranges that overlap end the check, so that it
takes time linear in the arrays.

What is wrong, and where, is for ``check.validate`` to say.  Properties that need a sort have no
such kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from sparsedsl.layouts.arithmetic import divides
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.places import BAD, Body, Place, flag, length_name
from sparsedsl.layouts.properties import (
    Disjoint,
    Equality,
    Increasing,
    Injective,
    Lexicographic,
    Morton,
    Nondecreasing,
    Nonincreasing,
    Permutation,
    Property,
    Range,
    Repeated,
    Within,
    before_ranges,
    within_of,
)
from sparsedsl.layouts.runs import joined, meeting, neighbours, together, track
from sparsedsl.layouts.scan import closure
from sparsedsl.layouts.sizes import inside_by_lengths
from sparsedsl.layouts.structure import Structure, call_over
from sparsedsl.layouts.walking import (
    LIMIT,
    WALKED,
    Leaf,
    Span,
    bounded,
    checked_walk,
    in_order,
    joint,
    walk,
)
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    ArrayParam,
    Assign,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Stmt,
)
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF

Columns: TypeAlias = "Sequence[Expr]"

REACH = "reach"
"""The parameter that values of wide index arrays must not be above, nor below its negative."""


def check_kernel(layout: Layout, dtypes: Mapping[str, str]) -> Kernel | None:
    """Return the loops that check index arrays of ``dtypes``, or None where loops cannot.

    Its parameters are those of the layout, prefixed by ``s_``, the lengths of the value array,
    ``LIMIT``, ``REACH`` and the index arrays, prefixed by ``s_``.  That no coordinate is stored
    twice is checked only where a property says so.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> kernel = check_kernel(resolve("csr", 2), {"indptr": "int32", "indices": "int32"})
    >>> kernel.results
    ('bad',)
    """
    if not (all(map(_has_loops, layout.properties)) and divides(layout)):
        return None
    body = _Checks(layout).all(dtypes)
    value = layout.value.function
    params = (
        *(IntParam(f"s_{name}") for name in layout.relation.parameters),
        *(IntParam(length_name(value, k)) for k in range(len(layout.value.arguments))),
        IntParam(LIMIT),
        IntParam(REACH),
        *(ArrayParam(f"s_{name}", dtypes[name], n) for name, n in layout.functions.items()),
    )
    return Kernel("check", params, body, ("bad",), (f"check {layout.label}",))


def _has_loops(item: Property) -> bool:
    match item:
        case Permutation() | Morton():
            return False
        case Nondecreasing() | Nonincreasing() | Increasing() | Lexicographic() | Injective():
            return True
        case Disjoint() | Range() | Equality() | Repeated():
            return True
        case _:
            assert_never(item)


@dataclass(frozen=True, slots=True)
class _Checks:
    """The checks of a layout; each phase runs only where those before it found nothing wrong."""

    layout: Layout

    def all(self, dtypes: Mapping[str, str]) -> Body:
        parameters = frozenset(self.layout.relation.parameters)
        root = Place(self.layout, None, {p: lb.ivar(f"s_{p}") for p in parameters})
        local = [p for p in self.layout.properties if before_ranges(p, parameters)]
        phases = [
            *(self._reach(name) for name, dtype in dtypes.items() if dtype == "int64"),
            self._lengths(root, called=False),
            *(_property(self.layout, root, item) for item in local),
            self._lengths(root, called=True),
            *(_scan(self.layout, root, part) for part in self.layout.structures),
            *(
                _property(self.layout, root, item)
                for item in self.layout.properties
                if item not in local
            ),
        ]
        found: Body = ()
        for phase in reversed([phase for phase in phases if phase]):
            found = lb.block(phase, If(lb.eq(BAD, 0), found)) if found else phase
        return (Assign(BAD, lb.i(0)), Assign(WALKED, lb.i(0)), *found)

    def _lengths(self, root: Place, *, called: bool) -> Body:
        found: list[Stmt] = []
        for name, axes in self.layout.lengths.items():
            for axis, length in enumerate(axes):
                if length is not None and bool(t.ufs(length)) == called:
                    wanted = lb.max_(root.read(length), 0)
                    wrong = lb.ne(root.length(name, axis), wanted)
                    found += root.guarded((length,), flag(wrong))
        return tuple(found)

    def _reach(self, name: str) -> Body:
        reach = lb.ivar(REACH)

        def wrong(value: Expr) -> Body:
            outside = lb.disj(lb.gt(value, reach), lb.lt(value, lb.sub(0, reach)))
            return flag(outside)

        return _elements(self.layout, name, wrong)


def _elements(layout: Layout, name: str, wrong: Callable[[Expr], Body]) -> Body:
    """Loops over all elements of an index array."""
    axes = range(layout.functions[name])
    places = [lb.ivar(f"at{axis}") for axis in axes]
    body = wrong(lb.load(f"s_{name}", *places))
    for axis in reversed(axes):
        body = (For(places[axis], lb.i(0), lb.length(f"s_{name}", axis), body),)
    return body


def _property(layout: Layout, root: Place, item: Property) -> Body:
    """The check of one property."""
    within = within_of(item)
    match item:
        case Repeated() | Permutation() | Morton():
            return ()  # it allows, and promises nothing; or has no loops
        case Range(function, low, high):
            ends = (root.read(low), root.read(high))

            def outside(value: Expr) -> Body:
                return flag(lb.disj(lb.lt(value, ends[0]), lb.ge(value, ends[1])))

            return root.guarded((low, high), _elements(layout, function, outside))
        case Equality(left, right):
            names = t.variables(left) | t.variables(right)

            def equal(place: Place) -> Body:
                differ = lb.ne(place.read(left), place.read(right))
                return place.guarded((left, right), flag(differ))

            return _in_parts(layout, root, names, equal)
        case _:
            if within is None:
                return _whole_arrays(layout, root, item)
            return _ranges(layout, root, item, within)


Order: TypeAlias = "Callable[[Columns, Columns], Expr]"


def _order(item: Property) -> tuple[tuple[str, ...], Order]:
    """The arrays that a property compares, and what is wrong of two neighbours."""
    match item:
        case Nondecreasing(function):
            return (function,), lambda before, after: lb.lt(after[0], before[0])
        case Nonincreasing(function):
            return (function,), lambda before, after: lb.gt(after[0], before[0])
        case Increasing(function):
            return (function,), lambda before, after: lb.le(after[0], before[0])
        case Lexicographic(functions) | Injective(functions):
            # what increases comes once; data where it comes once otherwise are looked at closely
            return functions, lambda before, after: lb.not_(_above(after, before))
        case Disjoint(start, stop):
            return (start, stop), _overlap
        case Permutation() | Morton() | Range() | Equality() | Repeated():
            raise AssertionError(f"{item} compares no neighbours")
        case _:
            assert_never(item)


def _overlap(before: Columns, after: Columns) -> Expr:
    """An interval begins in the one before it."""
    return lb.lt(after[0], before[1])


def _above(after: Columns, before: Columns) -> Expr:
    """Whether one tuple is strictly above another."""
    pairs = list(zip(after, before, strict=True))
    result = lb.gt(*pairs.pop())
    for high, low in reversed(pairs):
        result = lb.disj(lb.gt(high, low), lb.conj(lb.eq(high, low), result))
    return result


def _alone(item: Property, columns: Columns) -> Expr:
    """What is wrong of one place by itself: an interval that ends before it begins."""
    return lb.lt(columns[1], columns[0]) if isinstance(item, Disjoint) else lb.FALSE


def _whole_arrays(layout: Layout, root: Place, item: Property) -> Body:
    """Compare all neighbours in arrays of one axis and one length."""
    functions, _ = _order(item)
    if any(layout.functions[name] != 1 for name in functions):
        return (Assign(BAD, lb.i(1)),)
    first, *others = (lb.length(f"s_{name}") for name in functions)
    equal = lb.conj(*(lb.eq(first, other) for other in others))
    calls = [UF(name, (t.var("at"),)) for name in functions]
    sure = replace(root, inside=frozenset((name, 0, "at") for name in functions))
    body = _neighbours(sure, item, calls, "at", (lb.i(0), first))
    return body if equal == lb.TRUE else (If(equal, body, (Assign(BAD, lb.i(1)),)),)


def _ranges(layout: Layout, root: Place, item: Property, within: Within) -> Body:
    """Compare neighbours in each range that the data give."""
    functions, _ = _order(item)
    value, name = layout.value, within.variable
    found: list[Stmt] = []
    for part in layout.structures:
        chosen = [call_over(part, value, function, name) for function in functions]
        calls = [call for call in chosen if call is not None]
        if len(calls) < len(functions):
            continue

        names = t.variables(within.low) | t.variables(within.high)
        names = names.union(*(t.variables(t.atom(call)) for call in calls)) - {name}
        dims = closure(part, in_order(part, names), name)
        found += _Ranges(item, part, within, tuple(calls)).checks(root, dims)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Neighbours that a property compares within the ranges of one alternative."""

    item: Property
    part: Structure
    within: Within
    calls: tuple[UF, ...]

    def checks(self, root: Place, dims: Sequence[str]) -> Body:
        """Compare them range by range, or all at once where the ranges turn out to join."""
        nested = walk(root, self.part, dims, self._each)
        name = self.within.variable
        lie = all(call.arguments == (t.var(name),) for call in self.calls)
        if not (dims and lie) or isinstance(self.item, Disjoint):
            return nested
        here = lb.ivar(f"s_{name}")
        flat = neighbours(here, self._wrong(root, here))
        limits = self.within.low, self.within.high
        # the last window of those that fall may be cut short
        falls = isinstance(self.item, Nonincreasing)
        ends = None if falls else joint(root, self.part, dims, name, limits)
        if ends is None:
            return joined(walk(root, self.part, dims, self._tracked), flat, nested)
        met = walk(root, self.part, dims, self._meeting)
        return (*ends, If(lb.eq(BAD, 0), together(met, flat)))

    def _meeting(self, place: Place) -> Body:
        low, high = place.read(self.within.low), place.read(self.within.high)
        body = meeting(low, high, lambda at: self._wrong(place, at))
        return place.guarded((self.within.low, self.within.high), body)

    def _each(self, place: Place) -> Body:
        span = self._span(place)
        ends = (span.low, span.high)
        body = _neighbours(span.inner, self.item, self.calls, self.within.variable, ends)
        return span.around(place, body)

    def _tracked(self, place: Place) -> Body:
        span = self._span(place)
        return span.around(place, track(span.low, span.high, self._wrong(place, span.low)))

    def _span(self, place: Place) -> Span:
        within = self.within
        top = place.read(within.high)
        if isinstance(self.item, Nonincreasing):
            # the last window may be cut short by the end of the array
            last = place.layout.functions[self.item.function] - 1
            top = lb.min_(top, place.length(self.item.function, last))
        reads, ends = (within.low, within.high), (place.read(within.low), top)
        return bounded(place, within.variable, reads, ends, self.part.calls)

    def _wrong(self, place: Place, at: Expr) -> Expr:
        """What is wrong of the values at a place and before it."""
        name, (_, wrong) = self.within.variable, _order(self.item)
        terms = [t.atom(call) for call in self.calls]
        before, after = (
            [place.with_variable(name, x).read(term) for term in terms] for x in (lb.sub(at, 1), at)
        )
        return wrong(before, after)


def _neighbours(
    place: Place, item: Property, calls: Sequence[UF], name: str, ends: tuple[Expr, Expr]
) -> Body:
    """Compare what calls read at each value of a variable with what they read before."""
    _, wrong = _order(item)
    low, high = ends
    here = lb.ivar(f"s_{name}")
    terms = [t.atom(call) for call in calls]
    at = place.with_variable(name, here)
    before = place.with_variable(name, lb.sub(here, 1))
    columns, earlier = ([p.read(term) for term in terms] for p in (at, before))
    body = before.guarded(terms, at.guarded(terms, flag(wrong(earlier, columns))))
    loops: Body = (For(here, lb.add(low, 1), high, body),)
    alone = _alone(item, columns)
    if alone != lb.FALSE:
        loops = (For(here, low, high, at.guarded(terms, flag(alone))), *loops)
    return loops


def _in_parts(layout: Layout, root: Place, names: Iterable[str], leaf: Leaf) -> Body:
    """Loops over the dims named, in each alternative, around ``leaf``."""
    parts = layout.structures
    chosen = [(part, closure(part, in_order(part, names))) for part in parts]
    return tuple(s for part, dims in chosen for s in walk(root, part, dims, leaf))


def _scan(layout: Layout, root: Place, part: Structure) -> Body:
    """Check what an alternative promises of coordinates, and every subscript it reads."""
    calls = [c for c in (*part.calls, layout.value) if not inside_by_lengths(layout, c, part)]
    needed = [t.variables(t.atom(call)) for call in calls]
    needed += [t.variables(c.term) for c in (*part.invariants, *part.filters)]
    depth = max(
        (level + 1 for level, name in enumerate(part.dims) if any(name in n for n in needed)),
        default=0,
    )
    return checked_walk(root, part, part.dims[:depth], calls)
