"""How a layout is filled by counting.

Takes: a layout to convert to.  Gives: its ``Target``, or None for a layout whose arrays follow in
other ways, which ``layouts.construct`` builds.  Invariant: derived from ``layouts.levels`` alone;
passes that follow a target write each element within its array.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from sparsedsl.conversion.order import Columns, code, coordinate, extent, renamed
from sparsedsl.conversion.spans import span_of
from sparsedsl.conversion.target import Edge, Level, Permuted, Step, Target
from sparsedsl.errors import LayoutError
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Affine, Position, levels
from sparsedsl.layouts.patterns import first_value, interval_bound, recurrence
from sparsedsl.layouts.properties import Equality, Permutation, property_text
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Atom, Constraint, FloorDiv, Term
from sparsedsl.spf.text import relation_text


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
    codes: dict[str, Columns] = {}
    derived: dict[str, Term] = {}
    groups = {name: (value, t.var(name)) for name, value in affine.items()}
    permuted: Permuted | None = None
    for level in found:
        if isinstance(level, Affine):
            continue
        again = None if made or permuted else _permuted(layout, level)
        if again is not None:
            permuted = again
            groups[level.name] = (again.key, t.atom(again.call))
        elif level.highs == (t.add(level.low, t.ONE),) and not t.ufs(level.low):
            derived[level.name] = level.low
        else:
            described = _level(layout, groups, derived, level, [x.name for x in made], codes)
            if described is None or (permuted and described.columns[:1] != (permuted.key,)):
                return None
            made.append(described)
    kinds = [level.kind for level in made]
    if (permuted and kinds != ["slots"]) or (derived and len(kinds) != 1):
        return None
    keys = {call: value for level in made for call, value in level.keys}
    marks = _marks(layout, keys)
    if marks is None:
        return None
    checks = _checks(layout, affine, keys)
    run = next((level for level in made if level.along is not None), None)
    edges = _edges(layout, affine, run) if run is not None or not made else ()
    steps = () if run is None else _steps(layout, run, edges)
    rest = marks, permuted, derived, edges, steps
    result = Target(layout, affine, tuple(made), checks, codes, *rest)
    told = _covered(result) and _in_step(result) and all(map(result.measures, layout.functions))
    return result if told and _injective(result) else None


@lru_cache(maxsize=128)
def first_of(layout: Layout) -> Layout | None:
    """The first alternative of a layout whose others read its arrays and none of their own."""
    first, *more = layout.structures
    names = {call.function for call in first.calls}
    if not more or any({call.function for call in part.calls} - names for part in more):
        return None
    relation = replace(layout.relation, conjuncts=layout.relation.conjuncts[:1])
    value, properties = t.text(t.atom(layout.value)), map(property_text, layout.properties)
    name = f"first of {layout.label}"
    return Layout(name, relation_text(relation), value=value, properties=properties)


def _permuted(layout: Layout, level: Position) -> Permuted | None:
    """Describe a dim whose numbers a permutation gives all coordinates of a mode."""
    if len(level.keys) != 1 or level.start is not None:
        return None
    call, value = level.keys[0]
    ends = dict(zip(layout.relation.outputs, map(t.var, layout.extents), strict=True))
    if Permutation(call.function) not in layout.properties or call.arguments != (
        t.var(level.name),
    ):
        return None
    mode = next((name for name in ends if value == t.var(name)), None)
    if mode is None or ends[mode] not in level.highs:
        return None
    return Permuted(level.name, call, renamed(layout, value), level)


def _level(
    layout: Layout,
    groups: Mapping[str, tuple[Term, Term]],
    derived: Mapping[str, Term],
    level: Position,
    earlier: list[str],
    codes: dict[str, Columns],
) -> Level | None:
    """Describe a numbered dim; a new code is added to ``codes``."""
    parents = [name for name in level.group if name in earlier]
    if (level.along is None and not level.keys) or parents != earlier[-1:]:
        return None
    if level.along is not None and (earlier or level.along not in groups):
        return None
    if not all(t.variables(derived[x]) <= set(level.group) for x in level.group if x in derived):
        return None
    grouped = [groups[name] for name in level.group if name in groups]
    group = tuple(term for term, _ in grouped)
    keys = tuple((call, renamed(layout, value)) for call, value in level.keys)
    values = tuple(value for _, value in keys)
    if level.morton:
        name = code(len(codes))
        codes[name], values = values, (t.var(name),)
    columns = (*group, *values)
    start, shares = level.start, 1
    kind: Literal["list", "pointer", "slots"]
    if start is not None:
        if len(start.arguments) != 1:
            return None
        after = t.uf(start.function, t.add(start.arguments[0], t.ONE))
        if parents:
            shares = _shares(layout.rank, start.arguments[0], parents[0], groups)
        if level.highs != (after,) or not shares:
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
    if level.along is not None and kind != "pointer":
        return None
    parent = parents[0] if parents else None
    located = tuple(term for _, term in grouped)
    along = None if level.along is None else groups[level.along][0]
    told = keys, start, level, located, along, shares
    return Level(level.name, kind, columns, len(group), parent, *told)


def _shares(rank: int, place: Term, parent: str, groups: Mapping[str, tuple[Term, Term]]) -> int:
    """How many groups each number of a parent has, by where a pointer is read; 0 for other places.

    It is read at the number itself, or at ``n*number + r`` where ``r`` takes ``n`` values.
    """
    count = t.coefficient(place, parent)
    rest = t.subtract(place, t.scale(count, t.var(parent)))
    if rest == t.ZERO and count == 1:
        return 1
    names = t.variables(rest)
    if count < 1 or not names or not names <= {*groups} or t.ufs(rest):
        return 0
    inside = t.substitute(rest, {name: groups[name][0] for name in names})
    return count if span_of(rank, inside) == (t.ZERO, t.const(count)) else 0


def _edges(layout: Layout, affine: Mapping[str, Term], run: Level | None) -> tuple[Edge, ...]:
    """Describe the arrays that bound dims which are terms over the coordinates.

    They have an element for each number of ``run``, or where dims of that kind say.
    """
    part = layout.structures[0]
    found: list[Edge] = []
    for name in part.dims:
        for constraint in part.scan if name in affine else ():
            bound = interval_bound(constraint, name)
            if bound is None:
                continue
            call, side, slack = bound
            known = {*affine, *layout.relation.parameters}
            inside = t.variables(t.atom(call)) <= known and not t.all_ufs(call.arguments)
            if inside if run is None else call.arguments == (t.var(run.name),):
                found.append(Edge(call, name, affine[name], side, slack))
    return tuple(found)


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


def _marks(layout: Layout, keys: Mapping[UF, Term]) -> tuple[tuple[UF, Term], ...] | None:
    """What filters want arrays to hold that are no keys; None where one wants something else."""
    found: list[tuple[UF, Term]] = []
    for constraint in layout.structures[0].filters:
        calls = [call for call in t.ufs(constraint.term) if call not in keys]
        if not calls:
            continue
        factor = {node: c for c, node in constraint.term.parts}.get(calls[0], 0)
        if len(calls) != 1 or abs(factor) != 1:
            return None
        rest = t.subtract(constraint.term, t.atom(calls[0], factor))
        if t.ufs(rest):
            return None
        found.append((calls[0], renamed(layout, t.scale(-factor, rest))))
    return tuple(found)


def _checks(
    layout: Layout, affine: Mapping[str, Term], keys: Mapping[UF, Term]
) -> tuple[Constraint, ...]:
    """Constraints on coordinates alone that not every coordinate of the shape satisfies.

    That dims give back the coordinates is one, too.
    """
    box: list[Constraint] = []
    for mode in range(layout.rank):
        name, size = t.var(coordinate(mode)), t.var(extent(mode))
        box.append(Constraint(name, False))
        box.append(Constraint(t.subtract(t.subtract(size, name), t.ONE), False))
    names = {coordinate(mode) for mode in range(layout.rank)}
    names |= {extent(mode) for mode in range(layout.rank)}
    part = layout.structures[0]
    found: list[Constraint] = []
    held = dict[Atom, Term](keys.items())
    given = (t.subtract(part.definition(x), t.var(x)) for x in layout.relation.outputs)
    same = [Constraint(difference, True) for difference in given]
    for constraint in (*part.scan, *part.filters, *part.invariants, *same):
        term = t.substitute(renamed(layout, t.replace(constraint.term, held)), affine)
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
    reached |= {call.function for call, _ in target.marks}
    reached |= {edge.call.function for edge in target.edges}
    reached |= {step.function for step in target.steps}
    if not target.levels:
        reached |= _defined(layout, reached)
    if any(level.kind == "slots" for level in target.levels):
        # the rest are ends, or follow from them: known before entries are stored
        reached |= {target.permuted.call.function} if target.permuted is not None else set()
        orders = {x.function for x in layout.properties if isinstance(x, Permutation)}
        return len(target.levels) == 1 and orders <= reached
    return set(layout.functions) <= reached


def _in_step(target: Target) -> bool:
    """Whether arrays with an element for each number of a level are read at that number itself.

    How long they are, and how much of them is written, is the count of the level.
    """
    value = target.layout.value
    for level in target.levels:
        place = t.var(level.name)
        calls = [call for call, _ in level.keys] if level.kind != "slots" else []
        if level.kind != "slots" or value.arguments == (place,):
            calls.append(value)
        read = [argument for call in calls for argument in call.arguments]
        if any(t.coefficient(x, level.name) and x != place for x in read):
            return False
    return True


def _defined(layout: Layout, reached: set[str]) -> set[str]:
    """Arrays that equalities define by sizes and arrays that are ``reached``."""
    found: set[str] = set()
    for _ in layout.properties:
        for item in layout.properties:
            step = recurrence(item) if isinstance(item, Equality) else None
            if step is not None and {call.function for call in t.ufs(step.step)} <= found | reached:
                name = step.call.function
                if any(first_value(other, name) is not None for other in layout.properties):
                    found.add(name)
    return found


def _steps(layout: Layout, run: Level, edges: Iterable[Edge]) -> tuple[Step, ...]:
    """Arrays that equalities tell from each number of ``run`` to the next, by edges and the like.

    Each reads edges and arrays before it.
    """
    known = {edge.call for edge in edges}
    after = t.add(t.var(run.name), t.ONE)
    found: list[Step] = []
    equalities = [item for item in layout.properties if isinstance(item, Equality)]
    for _ in equalities:
        for told in filter(None, map(recurrence, equalities)):
            function = told.call.function
            firsts = (first_value(item, function) for item in equalities)
            first = next((value for value in firsts if value is not None), None)
            own = UF(function, (t.var(run.name),))
            if first is None or own in known or told.call.arguments != (after,):
                continue
            if set(t.ufs(told.step)) <= known:
                known.add(own)
                found.append(Step(function, renamed(layout, first), renamed(layout, told.step)))
    return tuple(found)


def _injective(target: Target) -> bool:
    """Whether a value's place tells its entry (computed places are checked when filled)."""
    layout = target.layout
    if not target.layout.value.arguments:
        return True  # one value for all: that it is the same is checked too
    looked = any(level.kind == "slots" or level.along is not None for level in target.levels)
    if target.levels and not looked and not target.plain:
        return False
    known = set(t.variables(t.atom(layout.value)))
    known |= {level.position.along or "" for level in target.levels if level.by_value}
    for name, term in reversed([*target.derived.items()]):
        known |= t.variables(term) if name in known else set()
    known |= _told(target, known)
    for level in reversed(target.levels):
        if level.name in known:
            known |= set(level.position.group)
    known |= _told(target, known)
    if target.permuted is not None and target.permuted.name in known:
        told = {*t.variables(target.permuted.key), *layout.extents}
        told |= {extent(mode) for mode in range(layout.rank)}
        known |= {name for name, term in target.affine.items() if t.variables(term) <= told}
    return set(layout.structures[0].dims) <= known


def _told(target: Target, known: Collection[str]) -> set[str]:
    """The dims that are terms over the coordinates which dims that are known give."""
    layout = target.layout
    told = {*layout.extents, *(extent(mode) for mode in range(layout.rank))}
    for mode in range(layout.rank):
        if any(target.affine.get(name) == t.var(coordinate(mode)) for name in known):
            told.add(coordinate(mode))
    return {name for name, term in target.affine.items() if t.variables(term) <= told}
