"""Search the loop orders of one chain: which operand is scanned, which are found, in what order.

Takes: operands, the indices to bind and the sizes.  Gives: the cheapest sequence of steps
that binds every index and every physical dimension.  Invariant: a step reads only what
steps before it bind; each constraint of each operand is a bound of a scan, the definition of
a variable, the key of a find, an invariant of the data, or a ``Guard``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice

from sparsedsl.iteration import classify, cost
from sparsedsl.iteration.following import leader, logical, saturate
from sparsedsl.iteration.guards import with_guards
from sparsedsl.iteration.nodes import Operand, Scan
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.state import Problem, State
from sparsedsl.iteration.steps import fixed_turns
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint

PATIENCE = 4
"""Times the limit after which a search that found nothing is given up."""

DEPARTURES = ((11, 6), (14, 3), (float("inf"), 1))
"""For up to so many indices and dimensions, departures from the cheapest next loop on a path."""


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
        spent = budget[0] < (0 if best[0] or hoped else -PATIENCE * problem.limit)
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

    hoped = problem.ceiling < float("inf")  # for a cheaper plan, which is not needed
    first = saturate(problem, begin)
    size = len(problem.indices) + sum(len(o.dims) for o in problem.required)
    departures = next(d for most, d in DEPARTURES if size <= most)
    most = max(departures, 4 * size)
    while first is not None and best[0] is None and departures <= most:
        visit(first, departures)
        if hoped:
            break
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
            grown = with_guards(grown, operand, scan)
        settled = saturate(problem, grown)
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
            history=logical(problem, state.history, scan.variable),
            trail=(*state.trail, visits),
        )
        if grown.spent < limit:
            yield grown, scan


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
