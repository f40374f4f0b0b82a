"""Layouts of several alternatives with arrays of their own, and which entries each stores.

Takes: a layout; a stream.  Gives: a layout for each alternative; the stream of the entries that one
takes.  Invariant: an entry is in the first alternative that has room for it: coordinates satisfy
its constraints, and fewer entries of its group come before than there are slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sparsedsl.conversion.order import Columns, coordinate, extent, implies, renamed
from sparsedsl.conversion.spans import span_of
from sparsedsl.conversion.stream import Body, Stream, looked_at
from sparsedsl.conversion.target import Target
from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Position, levels
from sparsedsl.layouts.patterns import first_value
from sparsedsl.layouts.properties import (
    Increasing,
    Nondecreasing,
    Property,
    Within,
    functions_of,
    property_text,
)
from sparsedsl.layouts.reader import Reader
from sparsedsl.layouts.structure import Structure
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Allocate, Assign, Expr, If, Stmt
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Atom, Constraint, Relation, Term, Var
from sparsedsl.spf.text import relation_text


@dataclass(frozen=True, slots=True)
class Rule:
    """Which entries an alternative takes of those that are left.

    ``checks`` are constraints on coordinates; ``room`` is how many entries of a ``group`` it has
    slots for, those of the least ``keys``; None where it has one for each.
    """

    checks: tuple[Constraint, ...]
    group: Columns
    keys: Columns
    room: Term | None


@lru_cache(maxsize=128)
def alternatives(layout: Layout) -> tuple[Layout, ...]:
    """Return a layout for each alternative; none unless arrays and places are its own alone.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> [part.arrays for part in alternatives(resolve("hyb", 2))]
    [('counts', 'cols', 'data'), ('rest0', 'rest1', 'data')]
    """
    called = [frozenset(c.function for c in part.calls) for part in layout.structures]
    pairs = [(a, b) for a in range(len(called)) for b in range(a)]
    own = all(not called[a] & called[b] and _apart(layout, a, b) for a, b in pairs)
    if len(called) < 2 or not own or t.all_ufs(layout.value.arguments):
        return ()
    return tuple(alone(layout, place) for place in range(len(called)))


def alone(layout: Layout, place: int) -> Layout:
    """Return one alternative as a layout, with the properties of its arrays."""
    called = {call.function for call in layout.structures[place].calls}
    relation, conjunct = layout.relation, layout.relation.conjuncts[place]
    names = frozenset[str]().union(*(t.variables(c.term) for c in conjunct.constraints))
    names |= t.variables(t.atom(layout.value))
    kept = (*layout.extents, *(n for n in relation.parameters[layout.rank :] if n in names))
    only = Relation(kept, relation.inputs, relation.outputs, (conjunct,))
    properties = [x for x in layout.properties if set(functions_of(x)) <= called]
    for level in _further(layout, place):
        only, properties = _from_start(only, properties, level)
    return Layout(
        f"part {place} of {layout.label}",
        relation_text(only),
        value=t.text(t.atom(layout.value)),
        properties=map(property_text, properties),
    )


def _further(layout: Layout, place: int) -> list[Position]:
    """Dims of an alternative that begin further on than pointers say, by a term over sizes."""
    try:
        found = [level for level in levels(layout, place) if isinstance(level, Position)]
    except LayoutError:
        return []
    sizes = {*layout.relation.parameters}
    moved = [level for level in found if level.pointer is not None and level.shift != t.ZERO]
    return [x for x in moved if t.variables(x.shift) <= sizes and not t.ufs(x.shift)]


def _from_start(
    relation: Relation, properties: list[Property], level: Position
) -> tuple[Relation, list[Property]]:
    """Number the entries of groups from where pointers say, though their values lie further on.

    ``N + ptr(u) <= p < N + ptr(u + 1)`` becomes ``ptr(u) <= p_0 < ptr(u + 1)``, ``p = N + p_0``.
    """
    dim, shift, new = level.name, level.shift, f"{level.name}_0"
    taken = {*relation.inputs, *relation.outputs, *relation.parameters}
    while new in taken:
        new += "0"
    further, (conjunct,) = t.add(t.var(new), shift), relation.conjuncts
    moved = [_replaced(c, {Var(dim): further}) for c in conjunct.constraints]
    moved.append(Constraint(t.subtract(t.var(dim), further), True))
    at = relation.inputs.index(dim)
    changed = replace(
        relation,
        inputs=(*relation.inputs[:at], new, *relation.inputs[at:]),
        conjuncts=(replace(conjunct, constraints=tuple(moved)),),
    )
    return changed, [_along(item, dim, new, shift) for item in properties]


def _along(item: Property, dim: str, new: str, shift: Term) -> Property:
    """A property of what lies along a dim, said along one that is ``shift`` less."""
    match item:
        case Increasing(_, Within(variable, low, high)) if variable == dim:
            within = Within(new, t.subtract(low, shift), t.subtract(high, shift))
            return replace(item, within=within)
        case _:
            return item


def _apart(layout: Layout, first: int, second: int) -> bool:
    """Whether it is proved that two alternatives have no place for values in common."""
    parts = [layout.structures[place] for place in (first, second)]
    sides = [[f"{name}#{k}" for name in part.dims] for k, part in enumerate(parts)]
    known: list[Constraint] = []
    places: list[tuple[Term, ...]] = []
    for part, names in zip(parts, sides, strict=True):
        change: dict[Atom, Term] = {
            Var(name): t.var(new) for name, new in zip(part.dims, names, strict=True)
        }
        known += [_replaced(c, change) for c in (*part.scan, *_counts(layout, part))]
        places.append(tuple(t.replace(x, change) for x in layout.value.arguments))
    same = [Constraint(t.subtract(a, b), True) for a, b in zip(*places, strict=True)]
    sizes = [Constraint(t.var(name), False) for name in layout.relation.parameters]
    return isl.is_empty([*known, *same, *sizes])


def _counts(layout: Layout, part: Structure) -> list[Constraint]:
    """What is read of arrays that rise from 0 is not negative."""
    found: list[Constraint] = []
    for call in part.calls:
        rises = Nondecreasing(call.function) in layout.properties
        if rises and any(first_value(x, call.function) == t.ZERO for x in layout.properties):
            found.append(Constraint(t.atom(call), False))
    return found


def _replaced(constraint: Constraint, change: dict[Atom, Term]) -> Constraint:
    return Constraint(t.replace(constraint.term, change), constraint.equality)


def rule_of(target: Target) -> Rule | None:
    """Return which entries an alternative takes; None where that is not counted group by group."""
    slots = [level for level in target.levels if level.kind == "slots"]
    if not slots:
        return Rule(target.checks, (), (), None)
    (level,) = slots
    sizes = {extent(mode) for mode in range(target.layout.rank)}
    highs = [renamed(target.layout, x) for x in level.position.highs if not t.ufs(x)]
    rooms = [high for high in highs if t.variables(high) <= sizes]
    group, keys = level.columns[: level.grouped], level.columns[level.grouped :]
    if len(rooms) > 1:
        return None
    return Rule(target.checks, group, keys, rooms[0] if rooms else None)


def ranked(rank: int, order: Columns, rules: Sequence[Rule]) -> bool:
    """Whether entries in ``order`` come by rising keys in each group that has limited room."""
    return all(
        implies(rank, (*rule.group, *order), (*rule.group, *rule.keys))
        for rule in rules
        if rule.room is not None
    )


def taken(stream: Stream, rules: Sequence[Rule], rank: int, bad: Body) -> Stream:
    """Return the entries that the last of ``rules`` takes; others of those left run ``bad``."""
    names: dict[str, Expr] = {coordinate(m): lb.ivar(coordinate(m)) for m in range(rank)}
    names |= {extent(mode): lb.ivar(extent(mode)) for mode in range(rank)}
    read, left = Reader(names, "t_"), lb.ivar("left")

    def visit(body: Body) -> Body:
        before: list[Stmt] = []
        inner: list[Stmt] = [Assign(left, lb.i(1))]
        for place, rule in enumerate(rules):
            last = place == len(rules) - 1
            take: Body = (Assign(left, lb.i(0)), *(body if last else ()))
            if rule.room is not None:
                counts, seen = f"seen{place}", lb.ivar(f"number{place}")
                address, groups = _address(rule.group, rank, read)
                before.append(Allocate(counts, "int64", (groups,), lb.i(0)))
                group = lb.ivar(f"group{place}")
                take = (
                    Assign(group, address),
                    Assign(seen, lb.load(counts, group)),
                    lb.store(counts, [group], lb.add(seen, 1)),
                    If(lb.lt(seen, read(rule.room)), take),
                )
            fits = lb.conj(lb.eq(left, 1), *(read.holds(check) for check in rule.checks))
            inner.append(If(fits, take))
        if bad:
            inner.append(If(lb.eq(left, 1), bad))
        return (*before, *stream.visit(tuple(inner)))

    return replace(looked_at(stream, visit), count=None)


def _address(group: Columns, rank: int, read: Reader) -> tuple[Expr, Expr]:
    """The number of a group, and of groups."""
    address, groups = lb.expr(0), lb.expr(1)
    for term in group:
        low, size = (read(part) for part in span_of(rank, term))
        address = lb.add(lb.mul(address, size), lb.sub(read(term), low))
        groups = lb.mul(groups, size)
    return address, groups
