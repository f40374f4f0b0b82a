"""How an output is delivered: which layouts assemble in one pass, and when order allows it.

Takes: the output's layout and a complete sequence of steps.  Gives: its ``Assembly`` and the
cost of delivering.  Invariant: ``append`` and ``workspace`` are only proposed here; the order
they rest on is proved in ``find`` before they are emitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

from sparsedsl.iteration import cost
from sparsedsl.iteration.nodes import Assembly, Let, Level, Operand, Scan, Step
from sparsedsl.iteration.state import State
from sparsedsl.iteration.steps import computed_from, depending_on
from sparsedsl.layouts.layout import Layout
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
)
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, Constraint, Term, Var


@lru_cache(maxsize=1024)
def levels_of(layout: Layout) -> Assembly | None:
    """Read off a layout's relation how its arrays are filled from entries in storage order.

    Returns None when the relation is not a nest of whole dimensions and appended segments;
    such a layout is built from a stream instead.
    """
    relation = layout.relation
    if len(relation.conjuncts) != 1 or relation.conjuncts[0].exists:
        return None
    constraints = relation.conjuncts[0].constraints
    levels: list[Level] = []
    modes: list[int] = []
    used = 0
    for place, dim in enumerate(relation.inputs):
        level, count = _level(layout, constraints, dim, relation.inputs[:place])
        if level is None:
            return None
        levels.append(level)
        modes.extend(mode for _, mode in level.coordinates)
        used += count
    if sorted(modes) != list(range(layout.rank)):
        return None
    dense = all(level.dense for level in levels)
    if dense:
        places = tuple(terms.var(dim) for dim in relation.inputs)
        if layout.functions or layout.value.arguments != places:
            return None
        return Assembly("dense", tuple(levels), tuple(modes), layout.value.function)
    last = terms.var(relation.inputs[-1])
    filtered = used != len([c for c in constraints if not _is_output_range(layout, c)])
    if levels[-1].dense or layout.value.arguments != (last,) or filtered:
        return None
    if not all(_appended(item, levels) for item in layout.properties):
        return None
    return Assembly("append", tuple(levels), tuple(modes), layout.value.function)


@lru_cache(maxsize=512)
def ranges(layout: Layout) -> dict[str, tuple[str, str, int]]:
    """Return the dimensions that an array of pointers gives ranges of, and what is stored there.

    That is the array of pointers, and the array of coordinates with the mode that they are of.
    """
    levels = levels_of(layout)
    if levels is None:
        return {}
    dims = zip(layout.relation.inputs, levels.levels, strict=True)
    return {
        dim: (level.pointer, *level.coordinates[0])
        for dim, level in dims
        if level.pointer and len(level.coordinates) == 1
    }


def _appended(item: Property, levels: list[Level]) -> bool:
    """Whether a property holds of entries appended in the order of the levels' coordinates."""
    match item:
        case Morton() | Permutation() | Nonincreasing() | Disjoint():
            return False
        case Lexicographic(functions):
            orders = [tuple(name for name, _ in level.coordinates) for level in levels]
            return any(order[: len(functions)] == functions for order in orders)
        case Nondecreasing() | Increasing() | Injective() | Range() | Repeated() | Equality():
            return True
        case _:
            assert_never(item)


def _level(
    layout: Layout, constraints: tuple[Constraint, ...], dim: str, outer: tuple[str, ...]
) -> tuple[Level | None, int]:
    """Describe one dimension, and count the constraints it accounts for."""
    relation = layout.relation
    low, high = _range_of(constraints, dim)
    if low is None or high is None:
        return None, 0
    aliases = [c for c in constraints if c.equality and _alias(c, dim, relation.outputs)]
    names = [_alias(c, dim, relation.outputs) for c in aliases]
    logical = dim if dim in relation.outputs else next((n for n in names if n), None)
    if logical is not None:
        mode = relation.outputs.index(logical)
        whole = low == terms.const(0) and high == terms.var(layout.extents[mode])
        count = len(aliases) + (0 if dim in relation.outputs else 2)
        return (Level(True, (("", mode),), None), count) if whole else (None, 0)
    coordinates: list[tuple[str, int]] = []
    for constraint in constraints:
        load = _load(constraint, dim, relation.outputs)
        if load is not None:
            coordinates.append((load[0], relation.outputs.index(load[1])))
    if not coordinates:
        return None, 0
    pointer = _pointer(low, high, outer)
    if pointer == "":
        return None, 0
    return Level(False, tuple(coordinates), pointer), 2 + len(coordinates)


def _range_of(constraints: tuple[Constraint, ...], dim: str) -> tuple[Term | None, Term | None]:
    lows: list[Term] = []
    highs: list[Term] = []
    for constraint in constraints:
        slope = terms.coefficient(constraint.term, dim)
        if constraint.equality or abs(slope) != 1:
            continue
        rest = terms.subtract(constraint.term, terms.scale(slope, terms.var(dim)))
        if dim in terms.variables(rest):
            continue
        if slope == 1:
            lows.append(terms.scale(-1, rest))
        else:
            highs.append(terms.add(rest, terms.const(1)))
    one = len(lows) == 1 and len(highs) == 1
    return (lows[0], highs[0]) if one else (None, None)


def _alias(constraint: Constraint, dim: str, outputs: tuple[str, ...]) -> str | None:
    """Name the output that an equality makes the same as ``dim``."""
    for output in outputs:
        same = terms.subtract(terms.var(output), terms.var(dim))
        if constraint.term in (same, terms.scale(-1, same)):
            return output
    return None


def _load(constraint: Constraint, dim: str, outputs: tuple[str, ...]) -> tuple[str, str] | None:
    """Read ``output = f(dim)`` off an equality, as ``(f, output)``."""
    if not constraint.equality or len(constraint.term.parts) != 2:
        return None
    for output in outputs:
        for call in terms.ufs(constraint.term):
            gap = terms.subtract(terms.var(output), Term(((1, call),)))
            if call.arguments == (terms.var(dim),) and constraint.term in (
                gap,
                terms.scale(-1, gap),
            ):
                return call.function, output
    return None


def _pointer(low: Term, high: Term, outer: tuple[str, ...]) -> str | None:
    """Return the pointer array of a segment, None at the root, "" if it is neither."""
    if not outer:
        root = low == terms.const(0) and len(high.parts) == 1 and isinstance(high.parts[0][1], Var)
        return None if root else ""
    calls = (*terms.ufs(low), *terms.ufs(high))
    if len(calls) != 2 or calls[0].function != calls[1].function:
        return ""
    parent = terms.var(outer[-1])
    after = terms.add(parent, terms.const(1))
    exact = low == terms.uf(calls[0].function, parent) and high == terms.uf(
        calls[0].function, after
    )
    return calls[0].function if exact else ""


def _is_output_range(layout: Layout, constraint: Constraint) -> bool:
    """Whether the constraint is a plain range of one logical coordinate."""
    if constraint.equality or any(isinstance(a, UF) for _, a in constraint.term.parts):
        return False
    names = terms.variables(constraint.term) - set(layout.extents)
    return len(names) == 1 and names <= set(layout.relation.outputs)


@dataclass(frozen=True, slots=True)
class Target:
    """What a chain delivers to: coordinates in storage order, and the layout's assembly.

    ``strict``: from 1 on coordinates computed from several loops are taken to come out of order,
    from 2 on those loaded from arrays too, from 3 on all.  ``shared``: other chains deliver to
    the same rows, so that a workspace gathers what one chain alone would append.
    """

    coordinates: tuple[str, ...]
    assembly: Assembly | None
    strict: int = 0
    shared: bool = False


def delivery(steps: tuple[Step, ...], target: Target, bound: frozenset[str]) -> tuple[str, int]:
    """Return how a chain can deliver, ``append``, ``workspace`` or ``stream``, and a depth.

    The depth is that of the step after which all but the last coordinate are bound.  The
    condition is syntactic: each loop outside a coordinate's definition is one that the
    definition reads, so that loops step the coordinates in lexicographic order.
    """
    depth = 0
    first_loop = 0
    if target.strict > 2:
        return "stream", 0
    for place, name in enumerate(target.coordinates):
        last = place == len(target.coordinates) - 1
        if name in bound:
            continue
        at = _binding(steps, name)
        here = [s.variable for s in steps[: at + 1] if isinstance(s, Scan)]
        owned = here[first_loop:]
        reads = computed_from(steps[: at + 1], name)
        doubted = (target.strict and len(owned) > 1) or (target.strict > 1 and _loaded(steps[at]))
        if doubted or not all(v in reads for v in owned):
            return ("workspace", depth) if last else ("stream", 0)
        first_loop = len(here)
        if not last:
            depth = max(depth, at + 1)
    return "append", depth


def _binding(steps: tuple[Step, ...], name: str) -> int:
    for place, step in enumerate(steps):
        if isinstance(step, Scan | Let) and step.variable == name:
            return place
    raise AssertionError(f"{name} is not bound")


def _loaded(step: Step) -> bool:
    """Whether a step loads a coordinate from an array."""
    return isinstance(step, Let) and step.kind == "load"


def deliver_cost(
    state: State, target: Target, operands: tuple[Operand, ...], bound: frozenset[str]
) -> float:
    """Estimate delivering every point of a complete chain, reading the operands' values."""
    scans = [s for s in state.steps if isinstance(s, Scan)]
    inner = scans[-1].variable if scans else ""
    turning = depending_on(state.steps, inner)
    cost_of_reads = sum(_access_cost(state, o.value.arguments, inner, turning) for o in operands)
    total = state.visits * cost_of_reads
    assembly = target.assembly
    if assembly is not None and assembly.kind == "dense":
        at = _visits_when_bound(state, target)
        coordinates = tuple(terms.var(c) for c in target.coordinates)
        return total + at * _access_cost(state, coordinates, inner, turning)
    kind, _ = delivery(state.steps, target, bound)
    at = _visits_when_bound(state, target)
    if assembly is None or kind == "stream":
        return total + cost.stream_cost(at)
    if kind == "workspace" or target.shared:
        return total + at * (cost.WORKSPACE + cost.FLUSH)
    return total + at * cost.APPEND


def _visits_when_bound(state: State, target: Target) -> float:
    """Return how often a value is delivered: sums over later loops are delivered once."""
    wanted = set(target.coordinates)
    visits, loop = 1.0, 0
    for step in state.steps:
        if isinstance(step, Scan):
            if not wanted:
                return visits
            visits = state.trail[loop]
            loop += 1
        if isinstance(step, Scan | Let):
            wanted.discard(step.variable)
    return state.visits


def _access_cost(
    state: State, arguments: tuple[Term, ...], inner: str, turning: frozenset[str]
) -> float:
    """Return the cost of one read or write: free if invariant, cheap if contiguous.

    ``turning`` are the variables that change with the ``inner`` loop.
    """
    if not arguments or not inner:
        return 0.1
    moving = [not turning.isdisjoint(terms.variables(a)) for a in arguments]
    if not any(moving):
        return 0.02
    last = arguments[-1]
    direct = any(inner in computed_from(state.steps, name) for name in terms.variables(last))
    loaded = any(
        isinstance(s, Let) and s.kind == "load" and s.variable in terms.variables(last)
        for s in state.steps
    )
    ranges = frozenset[str]().union(
        *(terms.variables(a) for f in terms.ufs(last) for a in f.arguments)
    )
    loaded = loaded or not turning.isdisjoint(ranges)  # where each turn's range begins
    contiguous = moving == [False] * (len(moving) - 1) + [True] and direct and not loaded
    return 0.15 if contiguous else cost.SCATTER
