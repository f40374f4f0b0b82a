"""Loops that visit every entry of a tensor.

Takes: a layout, or a list of entries.  Gives: a ``Stream``, which puts loops around a body that
reads the coordinates ``c0, c1, ...`` and the value ``v``.  Invariant: the loops are those of the
relation, in storage order; padding is not visited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from sparsedsl.conversion.order import Columns, coordinate, extent, scanned
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact, packed
from sparsedsl.layouts.reader import Reader
from sparsedsl.layouts.scan import enforced
from sparsedsl.layouts.structure import Structure
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, Assign, Binary, Const, Expr, For, If, Stmt, Var
from sparsedsl.loops.walk import expressions, with_children
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Constraint, Term

Body: TypeAlias = "tuple[Stmt, ...]"

AHEAD = 64
"""Entries between one that is stored and the one whose place is fetched meanwhile."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Entries one after another.

    ``visit(body)`` is the loops; ``order`` the terms whose tuple never decreases; ``count`` the
    number of entries where it is known beforehand; ``unique`` whether no coordinate comes twice.
    ``flat(body)`` is one loop over all entries, where they lie side by side, for a body that
    reads only the coordinates in ``near`` (or the value).  ``rows(before, body, after)`` is the
    loops with ``before`` and ``after`` run at the beginning and at the end of each turn of the
    outermost, which steps the coordinate ``row``.
    ``everywhere`` says that it takes every value of the mode; ``between(low, high, body)`` is then
    the loops for its values from ``low`` up to ``high``.
    ``further`` reads the coordinates in ``near`` of the entry ``AHEAD`` places on, the last one at
    the end, for a body that ``visit`` puts loops around; it is empty where that is not known.
    ``strip(low, high, body)`` is the loop over the entries from number ``low`` up to ``high`` of a
    list, and ``at`` reads the coordinate of an entry by its number.
    """

    visit: Callable[[Body], Body]
    order: Columns
    count: Expr | None
    unique: bool
    flat: Callable[[Body], Body] | None = None
    near: frozenset[str] = frozenset()
    row: Term | None = None
    rows: Callable[[Body, Body, Body], Body] | None = None
    further: Body = ()
    everywhere: bool = False
    between: Callable[[Expr, Expr, Body], Body] | None = None
    strip: Callable[[Expr, Expr, Body], Body] | None = None
    at: Mapping[str, Callable[[Expr], Expr]] = field(
        default_factory=dict[str, Callable[[Expr], Expr]]
    )

    def each(self, body: Body, terms: Columns) -> Body:
        """The shortest loops for a body that reads only the coordinates in ``terms``."""
        names = {name for term in terms for name in t.variables(term) if name[0] == "c"}
        if self.flat is not None and names <= self.near:
            return self.flat(body)
        return self.visit(body)

    def ahead(self, node: Expr, known: Mapping[str, Expr] | None = None) -> Expr | None:
        """``node`` for the entry that ``further`` reads; None where that does not tell it.

        ``known`` are other variables, and what they will be.
        """
        names = {name: lb.ivar(_further(name)) for name in self.near} | dict(known or {})
        extents = (extent(mode) for mode in range(len(self.order) + len(names) + 1))
        read = {part.name for part in expressions(node) if isinstance(part, Var)}
        if not self.further or not read <= names.keys() | set(extents):
            return None

        def put(part: Expr) -> Expr:
            if isinstance(part, Var):
                return names.get(part.name, part)
            return with_children(part, put)

        return put(node)


def _further(name: str) -> str:
    """The name of a coordinate of an entry further on."""
    return f"further_{name}"


def _read_further(place: Var, count: Expr, loads: Mapping[str, Callable[[Expr], Expr]]) -> Body:
    """Read coordinates ``AHEAD`` of ``place`` in arrays of ``count`` elements."""
    later = lb.ivar("further")
    reach = Assign(later, lb.min_(lb.add(place, AHEAD), lb.sub(count, 1)))
    return (reach, *(Assign(lb.ivar(_further(n)), load(later)) for n, load in loads.items()))


def of_layout(layout: Layout, dtype: str, fill: object) -> Stream:
    """The stream of a tensor whose arrays are parameters named ``s_...``.

    A bound tensor stores no coordinate twice unless its layout says so.
    """
    keep = None if exact(layout) else stored(Var("v", dtype), fill)

    def rows(before: Body, body: Body, after: Body) -> Body:
        kept = body if keep is None else (If(keep, body),)
        parts = (_nest(layout, part, dtype, before, kept, after) for part in layout.structures)
        return tuple(statement for part in parts for statement in part)

    def visit(body: Body) -> Body:
        return rows((), body, ())

    def between(low: Expr, high: Expr, body: Body) -> Body:
        kept = body if keep is None else (If(keep, body),)
        (part,) = layout.structures
        return _nest(layout, part, dtype, (), kept, (), (low, high))

    row, everywhere = _row(layout)
    order, unique = scanned(layout), not layout.repeats
    cut = between if everywhere else None
    if not packed(layout):
        known = Stream(visit, order, None, unique, row=row, rows=rows, everywhere=everywhere)
        return replace(known, between=cut)
    count = lb.length(f"s_{layout.value.function}")
    (part,), (place,) = layout.structures, layout.value.arguments
    loads = [(coordinate(k), part.definition(x)) for k, x in enumerate(layout.relation.outputs)]
    loads = [(name, term) for name, term in loads if t.variables(term) <= t.variables(place)]
    (dim,) = t.variables(place)
    read = Reader({dim: lb.ivar(f"s_{dim}")}, "s_")

    def flat(body: Body) -> Body:
        known = [Assign(lb.ivar(name), read(term)) for name, term in loads]
        return (For(lb.ivar(f"s_{dim}"), lb.i(0), count, (*known, *body)),)

    def load_at(term: Term) -> Callable[[Expr], Expr]:
        return lambda at: Reader({dim: at}, "s_")(term)

    at = {name: load_at(term) for name, term in loads}
    further = _read_further(lb.ivar(f"s_{dim}"), count, at)
    known = Stream(visit, order, count, unique, flat, frozenset(at), row, rows, further, everywhere)
    listed = between if part.dims == (dim,) and keep is None else None
    return replace(known, between=cut, strip=listed, at=at)


def _row(layout: Layout) -> tuple[Term | None, bool]:
    """The coordinate that the outermost dim is, if it is one, and whether it takes every value."""
    if len(layout.structures) != 1 or not layout.structures[0].dims:
        return None, False
    (part,) = layout.structures
    name, bounds = part.dims[0], Bounds(part.scan, part.parameters)
    for mode, (output, size) in enumerate(
        zip(layout.relation.outputs, layout.extents, strict=True)
    ):
        if part.definition(output) == t.var(name):
            ends = bounds.lower(name, part.parameters), bounds.upper(name, part.parameters)
            whole = ends == ([t.ZERO], [t.subtract(t.var(size), t.ONE)])
            known = {*part.parameters, name}
            alone = [c for c in part.scan if name in (x := t.variables(c.term)) and x <= known]
            alone = [c for c in alone if not enforced(c, name)]
            padding = [c for c in part.filters if t.variables(c.term) <= known]
            return t.var(coordinate(mode)), whole and not alone and not padding
    return None, False


def constant(value: object, dtype: str) -> Const:
    """A number as a literal of ``dtype``."""
    return Const(np.asarray(value).astype(dtype)[()].item(), dtype)


def stored(value: Expr, fill: object) -> Expr:
    """Whether a value is not the fill: NaN equals NaN, but -0.0 is not 0.0."""
    dtype, held = value.type, constant(fill, value.type)
    background = held.value
    if dtype == BOOL:
        return lb.not_(value) if background else value
    if background != background:
        return Binary("==", value, value, BOOL)
    other: Expr = Binary("!=", value, held, BOOL)
    if np.dtype(dtype).kind == "f" and background == 0:
        # of the two zeros the one with the other sign is a value: its reciprocal tells
        sign = "<" if not np.signbit(background) else ">"
        reciprocal = Binary("/", Const(1.0, dtype), value, dtype)
        other = lb.disj(other, Binary(sign, reciprocal, Const(0.0, dtype), BOOL))
    return other


def differing(left: Expr, right: Expr) -> Expr:
    """Whether two values of one type differ: NaN equals NaN, but -0.0 is not 0.0."""
    other: Expr = Binary("!=", left, right, BOOL)
    if np.dtype(left.type).kind != "f":
        return other
    zero, one = Const(0.0, left.type), Const(1.0, left.type)
    numbers = (Binary("==", x, x, BOOL) for x in (left, right))
    first, second = (Binary("/", one, x, left.type) for x in (left, right))
    signs = lb.conj(Binary("==", left, zero, BOOL), Binary("!=", first, second, BOOL))
    return lb.disj(lb.conj(other, lb.disj(*numbers)), signs)


def _nest(
    layout: Layout,
    part: Structure,
    dtype: str,
    before: Body,
    body: Body,
    after: Body,
    ends: tuple[Expr, Expr] | None = None,
) -> Body:
    """The loops of one alternative, ``before`` and ``after`` in each turn of the outermost.

    ``ends`` are what the outermost goes between, by default all that the layout has.
    """
    names: dict[str, Expr] = {name: lb.ivar(f"s_{name}") for name in part.dims}
    names |= {name: lb.ivar(f"s_{name}") for name in layout.sizes}
    names |= {name: lb.ivar(extent(mode)) for mode, name in enumerate(layout.extents)}
    read = Reader(names, "s_")
    bounds = Bounds(part.scan, part.parameters)
    known: set[str] = set(part.parameters)
    heads: list[tuple[Var, Expr, Expr]] = []
    inner: list[tuple[list[Stmt], list[Expr]]] = []
    outputs = {name: part.definition(name) for name in layout.relation.outputs}
    for name in part.dims:
        lows = [read(term) for term in bounds.lower(name, known)]
        highs = [read(t.add(term, t.ONE)) for term in bounds.upper(name, known)]
        low, high = lows[0], highs[0]
        for term in lows[1:]:
            low = lb.max_(low, term)
        for term in highs[1:]:
            high = lb.min_(high, term)
        if ends is not None and not heads:
            low, high = ends
        earlier = frozenset(known)
        known.add(name)
        heads.append((lb.ivar(f"s_{name}"), low, high))
        due = [c for c in part.scan if _due(c, earlier, known) and not enforced(c, name)]
        due += [c for c in part.filters if _due(c, earlier, known)]
        assigns: list[Stmt] = []
        for mode, term in enumerate(outputs.values()):
            if t.variables(term) <= known and not (heads[:-1] and t.variables(term) <= earlier):
                assigns.append(Assign(lb.ivar(coordinate(mode)), read(term)))
        inner.append((assigns, [read.holds(c) for c in due]))
    place = [read(term) for term in layout.value.arguments]
    value = lb.load(f"s_{layout.value.function}", *place, type=dtype)
    made: Body = (Assign(Var("v", dtype), value), *body)
    for (variable, low, high), (assigns, due) in zip(reversed(heads), reversed(inner), strict=True):
        outermost = variable == heads[0][0]
        made = (*assigns, *before, *made, *after) if outermost else (*assigns, *made)
        made = (If(lb.conj(*due), made),) if due else made
        made = (For(variable, low, high, made),)
    return made


def _due(constraint: Constraint, before: frozenset[str], known: set[str]) -> bool:
    names = t.variables(constraint.term)
    return names <= known and not names <= before


def coded(stream: Stream, codes: Mapping[str, tuple[Sequence[Term], int]], read: Reader) -> Stream:
    """``stream`` with numbers whose bits are those of terms in turn.

    ``codes`` gives each the terms, the most significant first, and how many bits they have.
    """
    if not codes:
        return stream
    made: list[Stmt] = []
    for name, (keys, width) in codes.items():
        total: Expr = lb.i(0)
        for place, key in enumerate(keys):
            part = lb.ivar(f"{name}_{place}")
            made += [Assign(part, read(key)), *_spread(part, width, len(keys))]
            total = lb.bit_or(total, lb.shift_left(part, len(keys) - 1 - place))
        made.append(Assign(lb.ivar(name), total))

    def visit(body: Body) -> Body:
        return stream.visit((*made, *body))

    return looked_at(stream, visit)


def looked_at(stream: Stream, visit: Callable[[Body], Body]) -> Stream:
    """``stream`` with other loops, of which nothing else is known."""
    plain = Stream(visit, stream.order, stream.count, stream.unique)
    return replace(plain, near=stream.near)


def _spread(number: Var, width: int, rank: int) -> list[Stmt]:
    """Put ``rank - 1`` zeros above each of the lowest ``width`` bits, halves moved apart first."""
    made: list[Stmt] = []
    half = 1 << max(width - 1, 1).bit_length() - 1
    while half and rank > 1 and width > 1:
        moved = lb.bit_or(number, lb.shift_left(number, half * (rank - 1)))
        groups = range(-(-width // half))
        mask = sum(((1 << half) - 1) << (group * half * rank) for group in groups)
        made.append(Assign(number, lb.bit_and(moved, mask)))
        half >>= 1
    return made


def of_list(
    stem: str,
    coordinates: Mapping[int, Expr | None],
    dtype: str,
    groups: Expr,
    order: Columns,
    single: bool,
) -> Stream:
    """The stream of entries kept in arrays, group after group.

    ``stem + "starts"`` holds the end of each of ``groups`` groups.  A coordinate is in an array
    ``stem + mode`` (None), or an expression over ``group``, the group's number.
    """
    place = lb.ivar("q")

    def visit(body: Body) -> Body:
        group, begin = lb.ivar("group"), lb.ivar("begin")
        end = lb.load(f"{stem}starts", group)
        known: list[Stmt] = []
        reads: list[Stmt] = []
        for mode, value in coordinates.items():
            if value is not None:
                known.append(Assign(lb.ivar(coordinate(mode)), value))
            else:
                reads.append(Assign(lb.ivar(coordinate(mode)), lb.load(f"{stem}{mode}", place)))
        value = Assign(Var("v", dtype), lb.load(f"{stem}v", place, type=dtype))
        inner = For(place, begin, end, (*reads, value, *body))
        start: Stmt = Assign(begin, lb.i(0))
        return (start, For(group, lb.i(0), groups, (*known, inner, Assign(begin, end))))

    def load_of(mode: int) -> Callable[[Expr], Expr]:
        return lambda at: lb.load(f"{stem}{mode}", at)

    read = {coordinate(mode): load_of(mode) for mode, x in coordinates.items() if x is None}
    further = _read_further(place, lb.length(f"{stem}v"), read)
    return Stream(visit, order, None, single, near=frozenset(read), further=further)
