"""What it takes to fill a layout by counting.

Takes: a layout to convert to.  Gives: a ``Target``: its dims as terms over the coordinates, and
its numbered dims with the arrays that hold their keys and ranges; or None for a layout whose
arrays follow in other ways, which ``layouts.construct`` builds.  Invariant: derived from
``layouts.levels`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from sparsedsl.conversion.order import Columns, coordinate, extent, renamed
from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Affine, Position, levels
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Constraint, FloorDiv, Term, Var


@dataclass(frozen=True, slots=True)
class Level:
    """A dim that numbers keys.

    ``kind``: ``"list"`` numbers them from 0 on, ``"pointer"`` goes on from group to group with
    an array of starts, ``"slots"`` begins at 0 in each group.  ``columns`` are the terms that
    tell groups apart and then the keys, ``grouped`` of them for the group; ``parent`` is the
    numbered dim that a group belongs to.  ``pointer`` is the call that holds a group's start.
    """

    name: str
    kind: Literal["list", "pointer", "slots"]
    columns: Columns
    grouped: int
    parent: str | None
    keys: tuple[tuple[UF, Term], ...]
    pointer: UF | None
    position: Position


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A layout that can be filled by counting.

    ``affine`` gives dims as terms over the coordinates; ``checks`` are the constraints an entry
    must satisfy to have a place; ``order`` is the order of entries that numbers follow.
    """

    layout: Layout
    affine: Mapping[str, Term]
    levels: tuple[Level, ...]
    checks: tuple[Constraint, ...]

    @property
    def order(self) -> Columns:
        """The terms by which entries are sorted, most significant first."""
        return tuple(term for level in self.levels for term in level.columns)

    @property
    def plain(self) -> bool:
        """Whether a value's place is a tuple of dims, which no two entries share."""
        return all(map(_plain, self.layout.value.arguments))

    @property
    def sized(self) -> frozenset[str]:
        """Index arrays whose contents are counts, ranges or what follows from them."""
        keys = {call.function for level in self.levels for call, _ in level.keys}
        return frozenset(self.layout.functions) - keys


@lru_cache(maxsize=512)
def target_of(layout: Layout) -> Target | None:
    """Describe ``layout``, or None when counting does not fill it."""
    if len(layout.structures) != 1:
        return None
    try:
        found = levels(layout)
    except LayoutError:
        return None
    affine = {x.name: _rest(renamed(layout, x.value)) for x in found if isinstance(x, Affine)}
    made: list[Level] = []
    for level in found:
        if isinstance(level, Position):
            described = _level(layout, affine, level, [x.name for x in made])
            if described is None:
                return None
            made.append(described)
    result = Target(layout, affine, tuple(made), _checks(layout, affine))
    return result if _covered(result) and _injective(result) else None


def _level(
    layout: Layout, affine: Mapping[str, Term], level: Position, earlier: list[str]
) -> Level | None:
    parents = [name for name in level.group if name in earlier]
    if level.morton or level.along is not None or not level.keys or parents != earlier[-1:]:
        return None
    group = tuple(affine[name] for name in level.group if name in affine)
    keys = tuple((call, renamed(layout, value)) for call, value in level.keys)
    columns = (*group, *(value for _, value in keys))
    start = level.start
    kind: Literal["list", "pointer", "slots"]
    if start is not None:
        if len(start.arguments) != 1:
            return None
        after = t.uf(start.function, t.add(start.arguments[0], t.ONE))
        if level.highs != (after,):
            return None
        kind = "pointer"
    elif level.low != t.ZERO:
        return None
    elif not level.group:
        kind = "list"
        if len(level.highs) != 1 or level.highs[0] not in map(t.var, layout.sizes):
            return None
    else:
        kind = "slots"
        if earlier:
            return None
    parent = parents[0] if parents else None
    return Level(level.name, kind, columns, len(group), parent, keys, start, level)


def _rest(term: Term) -> Term:
    """``x - d*floor(x/d)`` as ``x mod d``, whose range is plain."""
    for factor, node in term.parts:
        match node:
            case FloorDiv(numerator, Term((), divisor)) if factor == -divisor:
                if t.add(term, t.scale(divisor, t.atom(node))) == numerator:
                    return t.mod(numerator, divisor)
            case _:
                continue
    return term


def _checks(layout: Layout, affine: Mapping[str, Term]) -> tuple[Constraint, ...]:
    """Constraints on coordinates alone that not every coordinate of the shape satisfies."""
    box: list[Constraint] = []
    for mode in range(layout.rank):
        name, size = t.var(coordinate(mode)), t.var(extent(mode))
        box.append(Constraint(name, False))
        box.append(Constraint(t.subtract(t.subtract(size, name), t.ONE), False))
    names = {coordinate(mode) for mode in range(layout.rank)}
    names |= {extent(mode) for mode in range(layout.rank)}
    part = layout.structures[0]
    found: list[Constraint] = []
    for constraint in (*part.scan, *part.invariants):
        term = t.substitute(renamed(layout, constraint.term), affine)
        if t.ufs(term) or not t.variables(term) <= names:
            continue
        changed = Constraint(term, constraint.equality)
        if not isl.implied(changed, box):
            found.append(changed)
    return tuple(found)


def _covered(target: Target) -> bool:
    """Whether every index array is a key, a range or a count of some level, or follows later."""
    layout = target.layout
    reached = {call.function for level in target.levels for call, _ in level.keys}
    reached |= {level.pointer.function for level in target.levels if level.pointer}
    if layout.structures[0].filters:
        return False
    if any(level.kind == "slots" for level in target.levels):
        # the rest are ends, or follow from them: known before entries are stored
        return len(target.levels) == 1
    return set(layout.functions) <= reached


def _injective(target: Target) -> bool:
    """Whether a value's place tells its entry (computed places are checked when filled)."""
    layout = target.layout
    slots = any(level.kind == "slots" for level in target.levels)
    if not slots and not target.plain:
        return False
    known = set(t.variables(t.atom(layout.value)))
    for level in reversed(target.levels):
        if level.name in known:
            known |= set(level.position.group)
    return set(layout.structures[0].dims) <= known


def _plain(term: Term) -> bool:
    return (
        len(term.parts) == 1
        and term == t.atom(term.parts[0][1])
        and isinstance(term.parts[0][1], Var)
    )
