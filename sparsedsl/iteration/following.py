"""Steps that follow from what is bound, without another loop: closed forms, loads, finds, probes.

Takes: a chain to plan and a state of its plan.  Gives: the state after the steps.  Invariant: a
step reads only what steps before it bind.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.iteration import classify, cost, weights
from sparsedsl.iteration.guards import with_guards
from sparsedsl.iteration.nodes import Exclude, Find, Guard, Key, Let, Operand, Probe, Scan
from sparsedsl.iteration.state import Problem, State
from sparsedsl.iteration.steps import computed_from, reads_of
from sparsedsl.spf import terms


def saturate(problem: Problem, state: State) -> State | None:
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
    follows = classify.follows(operand, state.bound)
    if follows is not None:
        name, value = follows
        let = Let(name, value, "load" if terms.ufs(value) else "determined", operand.name)
        bound = replace(
            state,
            bound=state.bound | {name},
            steps=(*state.steps, let),
            spent=state.spent + (state.visits * 0.3 if let.kind == "load" else 0.0),
            history=logical(problem, state.history, name),
        )
        return with_guards(bound, operand, let)
    if operand.total:
        return None
    leading = leader(operand, problem.required)
    if leading is not None:
        return _follow(state, operand, leading)
    for dim in operand.dims:
        if dim not in state.bound:
            found = _find(problem, state, operand, dim)
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


def _find(problem: Problem, state: State, operand: Operand, dim: str) -> State | None:
    sought = classify.keys(operand, dim, state.bound)
    limits = classify.bounds(operand, dim, state.bound) if sought.complete else None
    if limits is None:
        return None
    find = Find(dim, limits.lows, limits.highs, sought.keys, operand.name)
    sizes = problem.sizes
    length = sizes.fanout(operand.dims, dim)
    extent = sizes.room(key.value for key in sought.keys)
    setups = _setup_visits(state, find)
    several = len(sought.keys) > 1
    rising = not several or (problem.strict < 2 and _rising(state, sought.keys))
    spent = cost.find_cost(length, state.visits, extent, setups, rising=rising, several=several)
    used = frozenset((operand.name, c) for c in (*limits.used, *sought.used))
    bound = replace(
        state,
        bound=state.bound | {dim},
        steps=(*state.steps, find),
        visits=state.visits * weights.hits(state.steps, operand, find, sizes),
        spent=state.spent + spent,
        handled=state.handled | used,
    )
    return with_guards(bound, operand, find)


def _rising(state: State, keys: tuple[Key, ...]) -> bool:
    """Whether loops step tuples of keys in order, as ``output.delivery`` has it.

    Each loop from that of the key before to that of a key is one that the key is computed from.
    """
    loops = [step.variable for step in state.steps if isinstance(step, Scan)]
    passed = 0
    for key in keys:
        names = (computed_from(state.steps, name) for name in terms.variables(key.value))
        reads = frozenset[str]().union(*names)
        inner = max((n for n, name in enumerate(loops) if name in reads), default=-1)
        if not reads.issuperset(loops[passed : inner + 1]):
            return False
        passed = max(passed, inner + 1)
    return True


def _setup_visits(state: State, find: Find) -> float:
    """Return how often the range of a find changes: visits of the loop that it depends on."""
    reads = frozenset[str]().union(*(terms.variables(t) for t in find.lows + find.highs))
    for key in find.keys:
        reads |= key.reads - {find.variable}
    loop = len(state.trail)
    for step in reversed(state.steps):
        if isinstance(step, Scan):
            loop -= 1
            if step.variable in reads:
                return state.trail[loop]
        else:
            reads = reads_of(step, reads)
    return 1.0


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


def logical(problem: Problem, history: tuple[str, ...], name: str) -> tuple[str, ...]:
    return (*history, name) if name in problem.indices else history
