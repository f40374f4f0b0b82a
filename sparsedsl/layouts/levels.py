"""How each physical dim follows from the logical coordinates.

Takes: a layout.  Gives: one ``Level`` per dim: an affine function of the coordinates, or a
position that is numbered among the entries with equal keys.  Invariant: derived from the
specification alone; what cannot be derived is a ``LayoutError`` that names the dim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import (
    Disjoint,
    Equality,
    Increasing,
    Injective,
    Lexicographic,
    Morton,
    Permutation,
    Range,
    Within,
)
from sparsedsl.layouts.structure import Structure
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Atom, Constraint, Relation, Term, Var


@dataclass(frozen=True, slots=True)
class Affine:
    """A dim that is ``value``, a term over logical coordinates and parameters."""

    name: str
    value: Term


@dataclass(frozen=True, slots=True)
class Position:
    """A dim that numbers the distinct ``keys`` of the entries that share ``group``.

    ``keys`` pairs a call with what it holds, a term over coordinates; the first is most
    significant.  The numbers start at ``low`` in each group; when ``low`` is a call they go
    on from group to group, in storage order.  Without keys, ``along`` is a dim whose values
    one number covers as an interval, bounded by the arrays ``edges``; ``by_value`` says that the
    interval has one value.
    """

    name: str
    keys: tuple[tuple[UF, Term], ...]
    group: tuple[str, ...]
    low: Term
    highs: tuple[Term, ...]
    morton: bool = False
    along: str | None = None
    by_value: bool = False
    edges: frozenset[str] = frozenset()

    @property
    def start(self) -> UF | None:
        """The call that holds the first number of each group, if any."""
        return self.pointer if self.shift == t.ZERO else None

    @property
    def pointer(self) -> UF | None:
        """The call that holds the first number of each group but for ``shift``, if any."""
        calls = t.ufs(self.low)
        alone = len(calls) == 1 and t.atom(calls[0]) in (t.atom(x, c) for c, x in self.low.parts)
        return calls[0] if alone else None

    @property
    def shift(self) -> Term:
        """What the first number of a group is beside ``pointer``."""
        return self.low if self.pointer is None else t.subtract(self.low, t.atom(self.pointer))


Level: TypeAlias = "Affine | Position"


@lru_cache(maxsize=1024)
def levels(layout: Layout, alternative: int = 0) -> tuple[Level, ...]:
    """The levels of one alternative of ``layout``, affine ones first, then storage order.

    Raises
    ------
    LayoutError
        When a dim follows neither from the coordinates nor from a key.
    """
    part = layout.structures[alternative]
    solver = _Solver(layout, alternative)
    affine: dict[str, Term] = {}
    lone: set[str] = set()
    for name in part.dims:
        value = solver.solve(Var(name))
        if value is None or _follows(part, name, lone):
            continue  # its place is that of a number, though the only one
        if _lone(part, solver, name, value):
            lone.add(name)
        else:
            affine[name] = value
    positions: list[Position] = []
    known = {*part.parameters, *affine}
    for name in part.dims:
        if name not in affine:
            positions.append(_position(layout, part, solver, name, known, affine))
            known.add(name)
    return (*(Affine(*item) for item in affine.items()), *positions)


@lru_cache(maxsize=1024)
def permutations(layout: Layout, alternative: int = 0) -> tuple[tuple[UF, Term], ...]:
    """The calls of permutations with what each holds, where coordinates tell that."""
    names = {item.function for item in layout.properties if isinstance(item, Permutation)}
    solver = _Solver(layout, alternative)
    calls = layout.structures[alternative].calls
    found = ((call, solver.solve(call)) for call in calls if call.function in names)
    return tuple((call, value) for call, value in found if value is not None)


def _follows(part: Structure, name: str, others: set[str]) -> bool:
    """Whether an equality gives a dim by some of the others."""
    told = (t.variables(c.term) for c in part.scan if c.equality)
    return any(name in names and names & others for names in told)


def _lone(part: Structure, solver: _Solver, name: str, value: Term) -> bool:
    """Whether a dim of one value numbers entries all the same: there is one at most.

    An array that the coordinates do not tell says whether it is there, as the counts of a table of
    one column do, or one that they tell holds its key, as the offset of a single diagonal.
    """
    if t.variables(value):
        return False
    ends = (c.term for c in part.scan if not c.equality and t.coefficient(c.term, name) < 0)
    counts = (x for term in ends for _, x in term.parts if isinstance(x, UF))
    keys = (solver.solve(call) for call in part.calls if call.arguments == (t.var(name),))
    found = any(key is not None and t.variables(key) - {*part.parameters} for key in keys)
    return found or any(solver.solve(call) is None for call in counts)


@dataclass(slots=True)
class _Solver:
    """Closed forms in the logical coordinates, index arrays being unknown."""

    layout: Layout
    alternative: int

    def solve(self, node: Atom) -> Term | None:
        """What a dim or a call is, given the coordinates."""
        relation = self.layout.relation
        if isinstance(node, Var) and node.name in relation.outputs:
            return t.atom(node)
        change, constraints = _hidden(self.layout, relation, self.alternative)
        target = change.get(node, t.atom(node)).parts[0][1]
        if not isinstance(target, Var):
            return None
        known = (*relation.parameters, *relation.outputs)
        return isl.closed_form(constraints, known, target.name)


def _hidden(
    layout: Layout, relation: Relation, alternative: int
) -> tuple[dict[Atom, Term], tuple[Constraint, ...]]:
    """The constraints with a fresh variable for every call, ranges of arrays added."""
    constraints = relation.conjuncts[alternative].constraints
    calls = t.all_ufs(c.term for c in constraints)
    change: dict[Atom, Term] = {call: t.var(f"{call.function}#{k}") for k, call in enumerate(calls)}
    found = [Constraint(t.replace(c.term, change), c.equality) for c in constraints]
    ranges = {item.function: item for item in layout.properties if isinstance(item, Range)}
    for call in calls:
        item = ranges.get(call.function)
        if item is not None:
            found.append(Constraint(t.subtract(change[call], item.low), False))
            top = t.subtract(t.subtract(item.high, t.ONE), change[call])
            found.append(Constraint(top, False))
    return change, tuple(found)


def _position(
    layout: Layout,
    part: Structure,
    solver: _Solver,
    name: str,
    known: set[str],
    affine: Mapping[str, Term],
) -> Position:
    keys: list[tuple[UF, Term]] = []
    group: set[str] = set()
    marks = t.all_ufs(c.term for c in part.filters)
    for call in (*part.calls, *t.all_ufs(layout.value.arguments)):
        names = t.variables(t.atom(call))
        if name not in names or not names <= {*known, name}:
            continue
        value = solver.solve(call)
        if value is not None and not t.variables(value) - {*part.parameters} and call in marks:
            continue  # the same at every entry: it tells none apart
        if value is not None:
            keys.append((call, value))
        group |= names
    bounds = Bounds(part.scan, part.parameters)
    lows, highs = _apart(bounds.lower(name, known), affine), bounds.upper(name, known)
    if len(lows) != 1 or not highs:
        raise LayoutError(
            f"'{layout.label}' cannot be built: the dim '{name}' has {len(lows)} lower bounds",
            hint=f"give it one range such as 0 <= {name} < N",
        )
    ends = tuple(t.add(high, t.ONE) for high in highs)
    for term in (lows[0], *ends):
        group |= t.variables(term)
    group -= {name, *part.parameters}
    ordered, morton = _ordered_keys(layout, keys)
    dims = tuple(dim for dim in part.dims if dim in group)
    if Position(name, (), dims, lows[0], ends).pointer is not None:
        dims = tuple(dim for dim in dims if dim in t.variables(lows[0]))
    along, edges = (None, frozenset[str]()) if ordered else _interval(part, name)
    by_value = along is not None and along not in t.variables(t.atom(layout.value))
    return Position(name, ordered, dims, lows[0], ends, morton, along, by_value, edges)


def _apart(bounds: Sequence[Term], affine: Mapping[str, Term]) -> list[Term]:
    """Bounds that differ once dims are written in the coordinates: blocks may coincide."""
    values: dict[Atom, Term] = {Var(name): value for name, value in affine.items()}
    return list({t.replace(bound, values): bound for bound in reversed(bounds)}.values())[::-1]


def _interval(part: Structure, name: str) -> tuple[str | None, frozenset[str]]:
    """The dim that ``name`` bounds on both sides by index arrays: ``lo(b) <= j < hi(b)``."""
    for dim in part.dims:
        edges = {
            (t.coefficient(c.term, dim), call.function)
            for c in part.scan
            for call in t.ufs(c.term)
            if not c.equality and t.var(name) in call.arguments
        }
        if {1, -1} <= {sign for sign, _ in edges}:
            return dim, frozenset(function for sign, function in edges if sign)
    return None, frozenset()


def _ordered_keys(
    layout: Layout, keys: list[tuple[UF, Term]]
) -> tuple[tuple[tuple[UF, Term], ...], bool]:
    """Keys in the order a property sorts them by; whether by interleaved bits."""
    by_name = {call.function: (call, value) for call, value in keys}
    for item in layout.properties:
        match item:
            case Lexicographic(functions) | Injective(functions) | Morton(functions):
                names = functions
            case Increasing(function):
                names = (function,)
            case _:
                continue
        if set(names) <= set(by_name):
            first = [by_name[name] for name in names]
            rest = [key for key in keys if key not in first]
            return (*first, *rest), isinstance(item, Morton)
    return tuple(keys), False


@lru_cache(maxsize=1024)
def unique(layout: Layout) -> bool:
    """Whether the properties alone exclude that a coordinate is stored twice."""
    if len(layout.structures) != 1:
        return False
    try:
        found = levels(layout)
    except LayoutError:
        return False
    return all(isinstance(level, Affine) or _keyed(layout, level) for level in found)


@lru_cache(maxsize=1024)
def exact(layout: Layout) -> bool:
    """Whether every stored value was given: no slot exists but for an entry.

    False for layouts that also hold padding at coordinates of their own (blocks, diagonals,
    plain arrays), and where the specification does not tell.
    """
    if len(layout.structures) != 1:
        return False
    try:
        found = levels(layout)
    except LayoutError:
        return False
    grouped = {name for level in found if isinstance(level, Position) for name in level.group}
    grouped |= {level.along or "" for level in found if isinstance(level, Position)}
    for constraint in layout.structures[0].filters:
        grouped |= t.variables(constraint.term)
    return bool(grouped or any(isinstance(level, Position) for level in found)) and all(
        isinstance(level, Position) or level.name in grouped for level in found
    )


@lru_cache(maxsize=1024)
def packed(layout: Layout) -> bool:
    """Whether the value array holds one slot per entry and nothing else."""
    if not exact(layout) or layout.structures[0].filters:
        return False
    (length, *others) = layout.lengths.get(layout.value.function, ()) or (None,)
    level = next((x for x in levels(layout) if layout.value.arguments == (t.var(x.name),)), None)
    if others or length is None or not isinstance(level, Position) or level.along:
        return False
    if level.start is None:
        return level.low == t.ZERO
    first = t.uf(level.start.function, t.ZERO)
    return any(
        isinstance(item, Equality) and {item.left, item.right} == {first, t.ZERO}
        for item in layout.properties
    )


@lru_cache(maxsize=1024)
def total(layout: Layout) -> bool:
    """Whether every coordinate of the shape is stored, so that no fill value is ever read.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> total(resolve("dense", 2)), total(resolve("csr", 2))
    (True, False)
    """
    if len(layout.structures) != 1 or layout.structures[0].filters:
        return False
    try:
        found = levels(layout)
    except LayoutError:
        return False
    values = {level.name: level.value for level in found if isinstance(level, Affine)}
    if len(values) != len(found):
        return False
    box: list[Constraint] = []
    for name, extent in zip(layout.relation.outputs, layout.extents, strict=True):
        box.append(Constraint(t.var(name), False))
        top = t.subtract(t.subtract(t.var(extent), t.var(name)), t.ONE)
        box.append(Constraint(top, False))
    part = layout.structures[0]
    return all(
        isl.implied(Constraint(t.substitute(c.term, values), c.equality), box)
        for c in (*part.scan, *part.invariants)
    )


def _keyed(layout: Layout, level: Position) -> bool:
    """Whether some property says that the keys differ along the level's range."""
    names = {call.function for call, _ in level.keys}
    for item in layout.properties:
        match item:
            case Disjoint(start, stop, within) if level.edges == frozenset((start, stop)):
                functions = ()
            case Increasing(function, within):
                functions = (function,)
            case Lexicographic(functions, within) | Injective(functions, within):
                pass
            case Permutation(function):
                functions, within = (function,), None
            case Morton(functions):
                within = None
            case _:
                continue
        if set(functions) <= names and _covers(within, level):
            return True
    return False


def _covers(within: Within | None, level: Position) -> bool:
    if within is None:
        return True
    return within.variable == level.name and within.low == level.low and within.high in level.highs
