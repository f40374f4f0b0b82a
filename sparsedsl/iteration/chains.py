"""Plan one case: the cheapest order of loops, as a chain, and what it finds unreachable.

Takes: a case, what delivers its points, and sizes.  Gives: a ``Chain``.  Invariant: an operand
is ``neutral`` only if the body without it is the identity that it is accumulated by.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import same_value
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.iteration import classify, cost, output, search
from sparsedsl.iteration.cases import Case
from sparsedsl.iteration.nodes import Chain, Operand
from sparsedsl.iteration.request import Request, indices_of
from sparsedsl.iteration.state import Problem, State
from sparsedsl.iteration.work import Searched


def sizes_of(request: Request, operands: tuple[Operand, ...]) -> cost.Sizes:
    """Return what is known of the sizes of operands.

    Counts come rounded; where a dimension tells a coordinate, one value of the dimensions
    before it has no more positions than the coordinate has values.
    """
    extents = {i: float(n) for i, n in request.extents.items()}
    entries: dict[str, float] = {}
    lengths: dict[str, float] = {}
    uneven: dict[str, cost.Unevenness] = {}
    for operand in operands:
        known = request.entries.get(operand.tensor.name, {})
        ranged = request.lengths.get(operand.tensor.name, {})
        lying = request.uneven.get(operand.tensor.name, {})
        open_indices = {i for s in operand.access.subscripts for i in s.indices}
        bound, before, guessed = frozenset[str](), 1.0, False
        whole = math.prod(extents.get(i, 1.0) for i in open_indices) / operand.layout.halves
        for dim, name in zip(operand.layout.relation.inputs, operand.dims, strict=True):
            bound |= {name}
            told = {i for i in open_indices if classify.closed_form(operand, i, bound) is not None}
            open_indices -= told
            count, room = float(known.get(dim, 1.0)), math.inf
            if told:
                room = math.prod(extents.get(i, 1.0) for i in told)
                guessed = guessed or count > before * room
                count = min(count, before * room)
            count = min(count, whole) if operand.layout.halves > 1 else count
            entries[name] = before = count
            if dim in ranged and not guessed:
                lengths[name] = min(ranged[dim], room)
            if dim in lying:
                uneven[name] = lying[dim]
    return cost.Sizes(extents, entries, lengths, uneven)


def chain_of(
    request: Request,
    case: Case,
    goal: output.Target,
    bound: tuple[str, ...],
    visits: float,
) -> tuple[Chain, State]:
    """Return the cheapest chain of a case and the state that its search ended in.

    ``bound`` are the indices that loops around it bind, ``visits`` how often they reach it.

    Raises
    ------
    PlanError
        If no order of loops reaches every operand.
    """
    operands = case.required + case.total + case.probed
    targets = [s.name or "" for s in case.statement.subscripts]
    indices = tuple(dict.fromkeys([*targets, *indices_of(case.statement.expression)]))
    sizes = sizes_of(request, operands)

    def finish(state: State) -> float:
        return output.deliver_cost(state, goal, operands, frozenset(bound))

    problem = Problem(
        required=case.required,
        total=case.total,
        probed=case.probed,
        indices=indices,
        bound=frozenset(bound),
        excluded=case.excluded,
        sizes=sizes,
        order=request.order if not bound else None,
        visits=visits,
        limit=request.effort,
        finish=finish,
        ceiling=request.ceiling,
        strict=request.strict,
    )
    told = (tuple(known.items()) for known in (sizes.entries, sizes.lengths, sizes.uneven))
    asked = (
        (case.required, case.total, case.probed, case.excluded, indices),
        (problem.order, request.strict, bound, visits, goal, *told),
    )
    found = _searched(problem, request, asked)
    if found is None:
        raise _no_plan(request, case)
    state, spent = found
    chain = Chain(
        operands=operands,
        required=tuple(o.name for o in case.required),
        steps=state.steps,
        expression=case.body,
        coordinates=case.statement.subscripts,
        monoid=case.monoid,
        cost=spent,
        neutral=_neutral(request, case),
    )
    return chain, state


def _searched(problem: Problem, request: Request, asked: Hashable) -> tuple[State, float] | None:
    """Search, unless the same was searched for before: plans with copies share most cases."""
    work = request.work
    known = work.known(asked, problem.limit, problem.ceiling)
    if known is None:
        found = search.search(problem, work)
        known = work.searches[asked] = Searched(problem.limit, problem.ceiling, found)
    return known.found


def _neutral(request: Request, case: Case) -> frozenset[str]:
    """Return the operands without which the body is the identity it is accumulated by."""
    program = request.program
    dtype = program.tensor(case.statement.target).dtype
    if case.monoid is None or not (request.exact or np.dtype(dtype).kind in "biu"):
        return frozenset()
    fill = algebra.fill_of(case.body, program, request.annihilating)
    identity = MONOIDS[case.monoid].identity(dtype)
    if fill is None or not same_value(fill, identity):
        return frozenset()
    groups = algebra.support(case.body, program, request.annihilating)
    needed = frozenset[ct.Access].intersection(*groups) if groups else frozenset[ct.Access]()
    return frozenset(o.name for o in case.required if o.access in needed)


def _no_plan(request: Request, case: Case) -> PlanError:
    layouts = ", ".join(
        f"{o.tensor.name}: {o.layout.name}" for o in case.required + case.probed + case.total
    )
    if request.order is not None:
        return PlanError(
            f"expected loops in the order {' '.join(request.order)}, found no way to reach "
            f"every operand in it ({layouts})",
            span=case.statement.span,
            hint='leave order out, or convert an operand with sd.convert(x, "...")',
        )
    return PlanError(
        f"expected every coordinate to be reached by a loop or a search, found none ({layouts})",
        span=case.statement.span,
        hint="convert the operands to a sorted compressed layout first",
    )
