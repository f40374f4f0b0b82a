"""Search the loop orders of one chain: which operand is scanned, which are found, in what order.

Takes: operands, the indices to bind and the sizes.  Gives: the cheapest sequence of steps
that binds every index and every physical dimension.  Invariant: a step reads only what
steps before it bind; each constraint of each operand is a bound of a scan, the definition of
a variable, the key of a find, an invariant of the data, or a ``Guard``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import islice

from sparsedsl.iteration import classify, cost
from sparsedsl.iteration.nodes import (
    Exclude,
    Find,
    Guard,
    Let,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.space import extent_name
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint, Term, Var

PATIENCE = 4
"""Times the limit after which a search that found nothing is given up."""

DEPARTURES = ((11, 6), (14, 3), (float("inf"), 1))
"""For up to so many indices and dimensions, departures from the cheapest next loop on a path."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One chain to plan.

    ``required`` operands are stored at every point wanted, ``total`` ones everywhere,
    ``probed`` ones perhaps.  ``bound`` is known from an enclosing prefix.  ``excluded``
    names groups of operands whose joint hit another case covers.  ``order`` forces the
    order in which logical indices are bound.  ``visits`` is how often the chain is entered,
    ``limit`` how many states are visited before the search settles for the best so far,
    ``ceiling`` the cost from which a plan is of no use.
    """

    required: tuple[Operand, ...]
    total: tuple[Operand, ...]
    probed: tuple[Operand, ...]
    indices: tuple[str, ...]
    bound: frozenset[str]
    excluded: tuple[tuple[str, ...], ...]
    sizes: cost.Sizes
    order: tuple[str, ...] | None
    visits: float
    limit: int
    finish: Callable[[State], float]
    ceiling: float = float("inf")


@dataclass(frozen=True, slots=True)
class State:
    """A partial plan.  ``visits`` counts how often the innermost point so far is reached."""

    bound: frozenset[str]
    steps: tuple[Step, ...]
    visits: float
    spent: float
    handled: frozenset[tuple[str, Constraint]]
    probed: frozenset[str]
    history: tuple[str, ...]
    trail: tuple[float, ...]


def search(problem: Problem) -> tuple[State, float] | None:
    """Return the cheapest complete plan found and its cost, or None if there is none.

    Loops are tried cheapest first.  With many dimensions the search departs from the cheapest
    next loop only so often on a path, which keeps the number of states polynomial in them.
    """
    begin = State(problem.bound, (), problem.visits, 0.0, frozenset(), frozenset(), (), ())
    best: list[tuple[State, float] | None] = [None]
    budget = [problem.limit]

    def visit(state: State, departures: int) -> None:
        budget[0] -= 1
        limit = best[0][1] if best[0] else problem.ceiling
        spent = budget[0] < (0 if best[0] else -PATIENCE * problem.limit)
        if state.spent >= limit or spent:
            return
        if _complete(problem, state):
            total = state.spent + problem.finish(state)
            if total < limit:
                best[0] = (state, total)
            return
        following = islice(_extensions(problem, state, limit), departures + 1)
        for place, state in enumerate(list(following)):
            visit(state, departures - place)

    first = _saturate(problem, begin)
    size = len(problem.indices) + sum(len(o.dims) for o in problem.required)
    departures = next(d for most, d in DEPARTURES if size <= most)
    most = max(departures, 4 * size)
    while first is not None and best[0] is None and departures <= most:
        visit(first, departures)
        if problem.ceiling < float("inf"):
            break  # a cheaper plan was hoped for, not needed
        departures *= 4
    return best[0]


def _complete(problem: Problem, state: State) -> bool:
    return (
        state.bound.issuperset(problem.indices)
        and all(state.bound.issuperset(o.dims) for o in problem.required + problem.total)
        and len(state.probed) == len(problem.probed)
    )


def _extensions(problem: Problem, state: State, limit: float) -> Iterator[State]:
    """Yield the states one loop deeper, saturated, that cost less than ``limit``, cheapest first.

    To saturate a state takes time and never makes it cheaper: one whose loop alone costs more
    than the states wanted is left as it is.
    """
    # what a loop costs at least, until the state is saturated; then what it costs
    waiting: list[tuple[float, float, int, State | None]] = []
    looped = list(_looped(problem, state, limit))
    for place, (grown, _) in enumerate(looped):
        heappush(waiting, (grown.spent, 0.0, place, None))
    while waiting:
        _, _, place, settled = heappop(waiting)
        if settled is not None:
            yield settled
            continue
        grown, scan = looped[place]
        for operand in problem.required + problem.total:
            grown = _with_guards(grown, operand, scan)
        settled = _saturate(problem, grown)
        if settled is not None and _in_order(problem, settled):
            heappush(waiting, (settled.spent, settled.visits, place, settled))


def _looped(problem: Problem, state: State, limit: float) -> Iterator[tuple[State, Scan]]:
    """Yield every state with one more loop that costs less than ``limit``, and the loop."""
    for scan, used, fanout in _candidates(problem, state):
        visits = state.visits * fanout
        grown = replace(
            state,
            bound=state.bound | {scan.variable},
            steps=(*state.steps, scan),
            visits=visits,
            spent=state.spent + cost.loop_cost(state.visits, visits, fixed_turns(scan)),
            handled=state.handled | used,
            history=_logical(problem, state.history, scan.variable),
            trail=(*state.trail, visits),
        )
        if grown.spent < limit:
            yield grown, scan


def _logical(problem: Problem, history: tuple[str, ...], name: str) -> tuple[str, ...]:
    return (*history, name) if name in problem.indices else history


def _in_order(problem: Problem, state: State) -> bool:
    if problem.order is None:
        return True
    wanted = tuple(i for i in problem.order if i in state.history)
    return state.history == wanted and set(problem.order[: len(wanted)]) == set(wanted)


def _candidates(
    problem: Problem, state: State
) -> Iterator[tuple[Scan, frozenset[tuple[str, Constraint]], float]]:
    sizes = problem.sizes
    free = [i for i in problem.indices if i not in state.bound]
    for index in free:
        whole = Scan(index, (terms.const(0),), (terms.var(extent_name(index)),), None)
        yield whole, frozenset(), sizes.extent(index)
    for operand in problem.required:
        if leader(operand, problem.required) is not None:
            continue
        # in storage order: an inner dimension before an outer one strides through memory
        for dim in [d for d in operand.dims if d not in state.bound][:1]:
            limits = classify.bounds(operand, dim, state.bound)
            if limits is None or _is_whole_index(operand, dim, limits, free, state.bound):
                continue
            used = frozenset((operand.name, c) for c in limits.used)
            scan = Scan(dim, limits.lows, limits.highs, operand.name)
            yield scan, used, _turns(problem, operand, scan, state.bound, free)


def _turns(
    problem: Problem, operand: Operand, scan: Scan, bound: frozenset[str], free: list[str]
) -> float:
    """Return how often a scan turns, from entry counts where nothing better is known.

    Counts are rounded one by one, so that their ratio may exceed the range itself, or the
    number of coordinates that the scan can tell apart.
    """
    fixed = fixed_turns(scan)
    if fixed is not None:
        return float(fixed)
    sizes = problem.sizes
    extents = {extent_name(i): terms.const(int(n)) for i, n in sizes.extents.items()}
    ends = [terms.substitute(high, extents) for high in scan.highs]
    known = bound | {scan.variable}
    told = [i for i in free if classify.closed_form(operand, i, known) is not None]
    room = math.prod(sizes.extent(i) for i in told) if told else math.inf
    rounded = sizes.fanout(operand.dims, scan.variable)
    return min([rounded, room, *(max(float(e.constant), 1.0) for e in ends if not e.parts)])


def fixed_turns(scan: Scan) -> int | None:
    """Return the constant number of turns of a scan inside a block, None of any other.

    Blocks at an edge may be cut short.
    """
    ends = [h.constant for h in scan.highs if not h.parts]
    return min(ends) if ends and terms.const(0) in scan.lows else None


def _is_whole_index(
    operand: Operand,
    dim: str,
    limits: classify.Bounds,
    free: list[str],
    bound: frozenset[str],
) -> bool:
    """Whether scanning ``dim`` is the same loop as one over a whole logical index."""
    for index in free:
        whole = limits.lows == (terms.const(0),) and limits.highs == (
            terms.var(extent_name(index)),
        )
        if whole and classify.closed_form(operand, index, bound | {dim}) == terms.var(dim):
            return True
    return False


def _saturate(problem: Problem, state: State) -> State | None:
    """Bind all that follows from what is bound: closed forms, loads, finds, probes."""
    changed = True
    while changed:
        changed = False
        for operand in problem.required + problem.total:
            # one operand to the end, so that its guards come before anyone reads its indices
            following = advance(problem, state, operand)
            while following is not None:
                state = following
                changed = True
                following = advance(problem, state, operand)
        for operand in problem.probed:
            if operand.name in state.probed or not _access_bound(operand, state.bound):
                continue
            following = _probe(problem, state, operand)
            if following is None:
                return None
            state = following
            changed = True
    return state


def _access_bound(operand: Operand, bound: frozenset[str]) -> bool:
    return all(set(s.indices) <= bound for s in operand.access.subscripts)


def advance(problem: Problem, state: State, operand: Operand) -> State | None:
    """Take one step that follows for ``operand``, or return None when there is none."""
    indices = [i for s in operand.access.subscripts for i in s.indices if i not in state.bound]
    waiting = [
        *dict.fromkeys(indices),
        *(d for d in operand.dims + operand.existentials if d not in state.bound),
    ]
    for name in waiting:
        value = classify.closed_form(operand, name, state.bound)
        if value is not None:
            let = Let(name, value, "load" if terms.ufs(value) else "determined", operand.name)
            bound = replace(
                state,
                bound=state.bound | {name},
                steps=(*state.steps, let),
                spent=state.spent + (state.visits * 0.3 if let.kind == "load" else 0.0),
                history=_logical(problem, state.history, name),
            )
            return _with_guards(bound, operand, let)
    if operand.total:
        return None
    leading = leader(operand, problem.required)
    if leading is not None:
        return _follow(state, operand, leading)
    for dim in operand.dims:
        if dim not in state.bound:
            found = _find(problem.sizes, state, operand, dim)
            if found is not None:
                return found
    return None


def leader(operand: Operand, required: tuple[Operand, ...]) -> Operand | None:
    """Return the required operand of the same pattern and subscripts that ``operand`` follows.

    Both store the same coordinates at the same places, so that neither is searched for the
    other; that a coordinate has one place is proved when the plan is.
    """
    if operand.pattern == operand.tensor.name:
        return None
    wanted = (operand.pattern, operand.access.subscripts, operand.part)
    return next(
        (o for o in required if (o.tensor.name, o.access.subscripts, o.part) == wanted), None
    )


def _follow(state: State, operand: Operand, leading: Operand) -> State | None:
    """Put an operand where its leader is; the leader's constraints are its own."""
    pairs = zip(operand.dims, leading.dims, strict=True)
    lets = tuple(
        Let(dim, terms.var(other), "determined", operand.name)
        for dim, other in pairs
        if dim not in state.bound and other in state.bound
    )
    if not lets:
        return None
    return replace(
        state,
        bound=state.bound | {let.variable for let in lets},
        steps=(*state.steps, *lets),
        handled=state.handled | {(operand.name, c) for c in operand.constraints},
    )


def _find(sizes: cost.Sizes, state: State, operand: Operand, dim: str) -> State | None:
    sought = classify.keys(operand, dim, state.bound)
    limits = classify.bounds(operand, dim, state.bound) if sought.complete else None
    if limits is None:
        return None
    find = Find(dim, limits.lows, limits.highs, sought.keys, operand.name)
    length = sizes.fanout(operand.dims, dim)
    extent = sizes.room(key.value for key in sought.keys)
    setups = _setup_visits(state, find)
    spent = cost.find_cost(length, state.visits, extent, setups)
    used = frozenset((operand.name, c) for c in (*limits.used, *sought.used))
    bound = replace(
        state,
        bound=state.bound | {dim},
        steps=(*state.steps, find),
        visits=state.visits * min(1.0, length / extent),
        spent=state.spent + spent,
        handled=state.handled | used,
    )
    return _with_guards(bound, operand, find)


def _setup_visits(state: State, find: Find) -> float:
    """Return how often the range of a find changes: visits of the loop that it depends on."""
    reads = frozenset[str]().union(*(terms.variables(t) for t in find.lows + find.highs))
    for key in find.keys:
        reads |= key.reads - {find.variable}
    reads = depends_on(state.steps, reads)
    visits, loop = 1.0, 0
    for step in state.steps:
        if isinstance(step, Scan):
            if step.variable in reads:
                visits = state.trail[loop]
            loop += 1
    return visits


def depends_on(steps: tuple[Step, ...], names: frozenset[str]) -> frozenset[str]:
    """Close ``names`` under the definitions in ``steps``: all variables they depend on."""
    for step in reversed(steps):
        match step:
            case Let(variable, value, _, _) if variable in names:
                names |= terms.variables(value)
            case Find(variable, lows, highs, keys, _) if variable in names:
                for term in (*lows, *highs, *(k.value for k in keys)):
                    names |= terms.variables(term)
            case Scan(variable, lows, highs, _) if variable in names:
                for term in (*lows, *highs):
                    names |= terms.variables(term)
            case _:
                pass
    return names


def _with_guards(state: State, operand: Operand, cause: Let | Find | Scan) -> State:
    """Add a guard for each constraint that is bound now and that nothing else ensures."""
    names = state.bound | classify.parameters(operand)
    met = [
        constraint
        for constraint in operand.constraints
        if terms.variables(constraint.term) <= names
        and (operand.name, constraint) not in state.handled
    ]
    if not met:
        return state
    guards = [
        Guard(constraint, operand.name)
        for constraint in dict.fromkeys(met)
        if not _ensured(state, operand, constraint, cause)
    ]
    handled = state.handled.union((operand.name, constraint) for constraint in met)
    return replace(state, steps=(*state.steps, *guards), handled=handled)


def _ensured(
    state: State, operand: Operand, constraint: Constraint, cause: Let | Find | Scan
) -> bool:
    """Whether the definition itself, the data's invariants or an index's range say it."""
    if constraint.equality and isinstance(cause, Let):
        gap = terms.substitute(constraint.term, {cause.variable: cause.value})
        if gap == terms.const(0):
            return True
    if constraint in operand.invariants or _is_loaded_range(operand, constraint, state):
        return True
    expanded = expand(state.steps, constraint.term)
    if constraint.equality:
        return expanded == terms.const(0)
    own = {s.variable for s in state.steps if isinstance(s, Let) and s.operand == operand.name}
    return _is_index_range(expanded, own)


def _is_loaded_range(operand: Operand, constraint: Constraint, state: State) -> bool:
    """Whether the constraint is the validated range of a coordinate this operand loaded.

    So is one that a guard has stated of the array that the coordinate was loaded from.
    """
    loads = {
        s.variable: s.value
        for s in state.steps
        if isinstance(s, Let) and s.kind == "load" and s.operand == operand.name
    }
    stated = [s.constraint for s in state.steps if isinstance(s, Guard)]
    range_ = Constraint(terms.substitute(constraint.term, loads), equality=False)
    return not constraint.equality and range_ in (*operand.invariants, *stated)


def _is_index_range(term: Term, own: set[str]) -> bool:
    """Whether ``term >= 0`` is ``0 <= i`` or ``i < n_i`` for an index bound elsewhere."""
    names = [a.name for _, a in term.parts if isinstance(a, Var)]
    for index in names:
        if index in own:
            continue
        low = terms.var(index)
        high = terms.add(terms.var(extent_name(index)), terms.scale(-1, low), terms.const(-1))
        if term in (low, high):
            return True
    return False


def expand(steps: tuple[Step, ...], term: Term) -> Term:
    """Put in the definitions of variables that are determined affinely by logical indices."""
    for step in reversed(steps):
        if isinstance(step, Let) and step.kind == "determined":
            term = terms.substitute(term, {step.variable: step.value})
    return term


def _probe(problem: Problem, state: State, operand: Operand) -> State | None:
    """Look a perhaps stored operand up; every dimension must follow without a loop."""
    inner = replace(state, steps=state.steps)
    while not inner.bound.issuperset(operand.dims):
        following = advance(problem, inner, operand)
        if following is None:
            return None
        inner = following
    steps = inner.steps[len(state.steps) :]
    kept = tuple(s for s in steps if isinstance(s, Let | Guard | Find))
    probed = state.probed | {operand.name}
    result = replace(
        state,
        steps=(*state.steps, Probe(operand.name, kept)),
        spent=inner.spent,
        probed=probed,
    )
    excluded = [
        g
        for g in problem.excluded
        if set(g) <= probed | _names(problem.required) and operand.name in g
    ]
    return replace(result, steps=(*result.steps, *(Exclude(g) for g in excluded)))


def _names(operands: tuple[Operand, ...]) -> frozenset[str]:
    return frozenset(o.name for o in operands)
