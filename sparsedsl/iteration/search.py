"""Search the loop orders of one chain: which operand is scanned, which are found, in what order.

Takes: operands, the indices to bind and the sizes.  Gives: the cheapest sequence of steps
that binds every index and every physical dimension.  Invariant: a step reads only what
steps before it bind; each constraint of each operand is a bound of a scan, the definition of
a variable, the key of a find, an invariant of the data, or a ``Guard``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import zip_longest

from sparsedsl.iteration import classify, cost, weights
from sparsedsl.iteration.following import leader, logical, saturate
from sparsedsl.iteration.guards import with_guards
from sparsedsl.iteration.nodes import Operand, Scan
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.state import Problem, State
from sparsedsl.iteration.steps import fixed_turns
from sparsedsl.iteration.work import LIMIT, Work
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint

PATIENCE = 4
"""Times the limit after which a search that found nothing is given up."""

DEPARTURES = ((11, 6), (14, 3), (float("inf"), 1))
"""For up to so many indices and dimensions, departures from the cheapest next loop on a path."""


def search(problem: Problem, work: Work) -> tuple[State, float] | None:
    """Return the cheapest complete plan found and its cost, or None if there is none.

    ``work`` is what it may do: when that is spent, the cheapest plan so far is taken, or the first.

    Plans that scan one operand as it is stored, then the others, come first: what they cost bounds
    others.  Then loops are tried cheapest first.  The search departs from the cheapest next loop
    never on a path, then once, and so on: the first loop of a good plan may look dear.  With many
    dimensions it departs only so often, which keeps the number of states polynomial in them.
    """
    begin = State(problem.bound, (), problem.visits, 0.0, frozenset(), frozenset(), (), ())
    first = saturate(problem, begin)
    if first is None:
        return None
    hoped = problem.ceiling < float("inf")  # for a cheaper plan, which is not needed
    size = len(problem.indices) + sum(len(o.dims) for o in problem.required)
    departures = next(d for most, d in DEPARTURES if size <= most)
    looked = _Search(problem, problem.limit, work)
    for operand in problem.required:
        looked.dive(first, operand.name)
    root = looked.node(first)
    for few in range(departures + 1):
        looked.visit(root, few)
    while looked.found is None and not hoped and departures <= 4 * size:
        departures *= 4
        looked.visit(root, departures)
    return looked.found


@dataclass(slots=True)
class _Node:
    """A state, and those one loop deeper as far as they were wanted."""

    state: State
    following: Iterator[State]
    known: list[_Node] = field(default_factory=list["_Node"])


@dataclass(slots=True)
class _Search:
    """The cheapest plan so far; ``budget`` is how many states may still be visited first.

    ``dived`` is the cheapest of those that scan operands one after the other, kept unless another
    one costs no more.
    """

    problem: Problem
    budget: int
    work: Work
    best: tuple[State, float] | None = None
    dived: tuple[State, float] | None = None

    @property
    def found(self) -> tuple[State, float] | None:
        """The cheapest plan found."""
        return self.best or self.dived

    def node(self, state: State) -> _Node:
        return _Node(state, _extensions(self.problem, state, self.limit))

    @property
    def limit(self) -> float:
        """The cost from which a plan is of no use."""
        if self.best:
            return self.best[1]
        return math.nextafter(self.dived[1], math.inf) if self.dived else self.problem.ceiling

    @property
    def exhausted(self) -> bool:
        """Whether no further state is visited, though a plan may be missing."""
        found = self.found is not None or self.problem.ceiling < float("inf")
        more = 0 if found else -PATIENCE
        return self.budget < more * self.problem.limit or self.work.left < more * LIMIT

    def count(self) -> None:
        """Count a state that is visited."""
        self.budget -= 1
        self.work.left -= 1

    def dive(self, state: State, name: str) -> None:
        """Scan an operand as it is stored, then the others."""
        problem = self.problem
        while not _complete(problem, state):
            limit = self.dived[1] if self.dived else problem.ceiling
            looped = list(_looped(problem, state, limit))
            looped.sort(key=lambda one: (one[1].operand != name, one[1].operand is None))
            deeper = next(_deeper(problem, looped), None)
            if deeper is None:
                return
            self.count()
            state = deeper
        total = state.spent + problem.finish(state)
        if total < (self.dived[1] if self.dived else problem.ceiling):
            self.dived = (state, total)

    def visit(self, node: _Node, departures: int) -> None:
        """Look at what follows a state, so many departures from the cheapest next loop away."""
        state = node.state
        if state.spent >= self.limit or self.exhausted:
            return
        if _complete(self.problem, state):
            total = state.spent + self.problem.finish(state)
            if total < self.limit:
                self.best = (state, total)
            return
        for place in range(departures + 1):
            if place == len(node.known) and not self._more(node):
                return
            self.visit(node.known[place], departures - place)

    def _more(self, node: _Node) -> bool:
        """Add the next cheapest state one loop deeper, if there is one."""
        state = None if self.exhausted else next(node.following, None)
        if state is None:
            return False
        self.count()
        node.known.append(self.node(state))
        return True


def _complete(problem: Problem, state: State) -> bool:
    return (
        state.bound.issuperset(problem.indices)
        and all(state.bound.issuperset(o.dims) for o in problem.required + problem.total)
        and len(state.probed) == len(problem.probed)
    )


def _extensions(problem: Problem, state: State, limit: float) -> Iterator[State]:
    """Yield the states one loop deeper that cost less than ``limit``, cheapest first.

    Scans of operands and loops over whole indices come in turn: those over indices may all be
    cheaper, and a scan of one operand bind all of them.
    """
    looped = list(_looped(problem, state, limit))
    scans = [(grown, scan) for grown, scan in looped if scan.operand is not None]
    whole = [(grown, scan) for grown, scan in looped if scan.operand is None]
    kinds = [_settled(problem, kind) for kind in (whole, scans)]
    heads = [next(kind, None) for kind in kinds]
    first = [s for s in heads if s is not None]
    yield from sorted(first, key=lambda s: s.spent)
    for pair in zip_longest(*kinds):
        yield from (s for s in pair if s is not None)


def _settled(problem: Problem, looped: list[tuple[State, Scan]]) -> Iterator[State]:
    """Yield states with a loop more, saturated, cheapest first.

    To saturate a state takes time and never makes it cheaper: one whose loop alone costs more
    than the states wanted is left as it is.
    """
    # what a loop costs at least, until the state is saturated; then what it costs
    waiting: list[tuple[float, float, int, State | None]] = []
    for place, (grown, _) in enumerate(looped):
        heappush(waiting, (grown.spent, 0.0, place, None))
    while waiting:
        _, _, place, settled = heappop(waiting)
        if settled is not None:
            yield settled
            continue
        settled = next(_deeper(problem, looped[place : place + 1]), None)
        if settled is not None:
            heappush(waiting, (settled.spent, settled.visits, place, settled))


def _deeper(problem: Problem, looped: Iterable[tuple[State, Scan]]) -> Iterator[State]:
    """Yield states with a loop more, saturated, in the order given; those that are legal."""
    for grown, scan in looped:
        for operand in problem.required + problem.total:
            grown = with_guards(grown, operand, scan)
        settled = saturate(problem, grown)
        if settled is not None and _in_order(problem, settled):
            yield settled


def _looped(problem: Problem, state: State, limit: float) -> Iterator[tuple[State, Scan]]:
    """Yield every state with one more loop that costs less than ``limit``, and the loop."""
    for scan, used, fanout in _candidates(problem, state):
        visits, fixed = state.visits * fanout, fixed_turns(scan)
        ragged = scan.operand is not None and problem.sizes.unevenness(scan.variable).ragged
        grown = replace(
            state,
            bound=state.bound | {scan.variable},
            steps=(*state.steps, scan),
            visits=visits,
            spent=state.spent + cost.loop_cost(state.visits, visits, fixed, ragged=ragged),
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
            yield scan, used, _turns(problem, operand, scan, state, free)


def _turns(problem: Problem, operand: Operand, scan: Scan, state: State, free: list[str]) -> float:
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
    known = state.bound | {scan.variable}
    told = [i for i in free if classify.closed_form(operand, i, known) is not None]
    room = math.prod(sizes.extent(i) for i in told) if told else math.inf
    rounded = weights.length(state.steps, operand, scan, sizes)
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
