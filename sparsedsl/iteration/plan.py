"""Plan one output: which cases to visit, how each is iterated, how entries are delivered.

Takes: the additive statements of one output, layouts and sizes.  Gives: a ``Nest``.
Invariant: the chains visit every coordinate at which the expression can differ from the
output's fill, and none of them twice in the same case.

Cases come from the support of the expression, a union of conjunctions of operands: one chain
for each conjunction scans one operand of it, finds the others, probes the rest, and skips
the points an earlier chain has covered.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.iteration import copies, cost, merging, output
from sparsedsl.iteration.cases import Case, cases_of, operand_names, single, support_of, unsplit
from sparsedsl.iteration.chains import chain_of
from sparsedsl.iteration.nodes import Assembly, Chain, Conversion, Nest, Scan, Step
from sparsedsl.iteration.request import Request, accesses, accesses_of
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.state import State
from sparsedsl.spf import terms

FEWER = 500
"""States a search visits for each variant with copies, at most."""

ALL_FEWER = 4000
"""States that the searches of all variants visit."""

BAD, BAD_OF_MANY = 5.0, 40.0
"""Nanoseconds an entry above which copies in other layouts are considered, of few and of many."""

MANY = 3
"""Operands that are few: with more a search takes seconds, and fewer plans are looked at."""


def plan(request: Request) -> Nest:
    """Return the cheapest nest found, with copies in other layouts where they pay.

    Raises
    ------
    PlanError
        If no order of loops binds every index, or a forced order is impossible.
    """
    best: Nest | None = None
    failure = PlanError("no copy of an operand helps")
    request, made = copies.summed(request, accesses(request))
    try:
        if request.copying == 0:
            best = _along(request, _plan(request, made))
    except PlanError as error:
        failure = error
    entries = sum(max(e.values(), default=1.0) for e in request.entries.values())
    used = accesses(request)
    bad = BAD if len(used) <= MANY else BAD_OF_MANY
    if best is None or best.cost > bad * entries or request.calls > 1:
        tried = copies.variants(request, used)
        effort = min(FEWER, ALL_FEWER // max(len(tried), 1))
        for variant, more in tried:
            if best is not None and request.work.left < 0:
                break  # no search would look beyond its first plans
            conversions = (*made, *more)
            ceiling = float("inf") if best is None else best.cost - copying(request, conversions)
            if ceiling <= 0:
                continue  # the copies alone cost more than the best plan
            try:
                other = _plan(replace(variant, effort=effort, ceiling=ceiling), conversions)
            except PlanError:
                continue
            if best is None or other.cost < best.cost:
                best = other
    if best is None:
        raise failure
    best = _along(request, _united(request, made, best))
    return replace(best, cut=request.work.left < 0)


def _united(request: Request, made: tuple[Conversion, ...], best: Nest) -> Nest:
    """Return a merge of copies of operands of a union, if that costs less than a workspace.

    Loops over rows reach every operand without a search, so that copies are made row by row.
    """
    if best.assembly.kind != "workspace" or request.whole is None or best.conversions != made:
        return best
    order = best.assembly.modes
    for variant, more in copies.variants(request, accesses(request)):
        if request.work.left < 0:
            break
        conversions = (*made, *more)
        ceiling = best.cost - copying(request, conversions, rows=True)
        if ceiling <= 0 or any(c.order != order or c.thin for c in more):
            continue
        try:
            bounded = replace(variant, effort=FEWER, ceiling=ceiling)
            other = _plan(bounded, conversions, rows=True)
        except PlanError:
            continue
        if other.assembly.kind == "append" and other.cost < best.cost:
            best = other
    return best


def _along(request: Request, best: Nest) -> Nest:
    """Return the nest with dense operands turned so that its loops go along them, if that pays."""
    if best.conversions:
        return best
    variant, conversions = copies.turned(request, best)
    ceiling = best.cost - copying(request, conversions)
    if not conversions or ceiling <= 0:
        return best
    try:
        other = _plan(replace(variant, effort=FEWER, ceiling=ceiling), conversions)
    except PlanError:
        return best
    return other if other.cost < best.cost else best


def _plan(request: Request, conversions: tuple[Conversion, ...], *, rows: bool = False) -> Nest:
    request = unsplit(request)
    names = operand_names(request)
    cases = [case for s in request.statements for case in cases_of(request, s, names)]
    target = request.statements[0]
    coordinates = tuple(s.name or "" for s in target.subscripts)
    assembly = output.levels_of(request.output)
    order = assembly.modes if assembly else tuple(range(len(coordinates)))
    goal = output.Target(tuple(coordinates[m] for m in order), assembly, request.strict)
    dense = assembly is not None and assembly.kind == "dense"
    merged = None if dense or request.whole is None else _merged(request, request.whole, goal)
    if merged is not None:
        nest = merged
    elif dense or len(cases) == 1:
        nest = _separate(request, cases, goal)
    else:
        nest = _shared(request, cases, goal)
    total = nest.cost + copying(request, conversions, rows=rows)
    made = copies.of_operands(conversions)
    return replace(nest, coordinates=coordinates, conversions=made, cost=total)


def copying(request: Request, conversions: tuple[Conversion, ...], *, rows: bool = False) -> float:
    """Return the estimated nanoseconds a call of making the copies, ``rows`` of them in order.

    Those of dense operands are made at each call, others once for all that are expected.
    """
    each = [(c, copies.held(request, c.source)) for c in conversions]
    turning = cost.TURNING if any(c.tensor.total for c, _ in each) else 0.0
    convert = cost.rows_cost if rows else cost.convert_cost
    each_cost = (
        n * cost.TRANSPOSE if c.tensor.total else convert(n) / request.calls for c, n in each
    )
    return turning + sum(each_cost)


def _separate(request: Request, cases: list[Case], goal: output.Target) -> Nest:
    """Plan cases that need no shared loop: a dense output, or a single case."""
    chains: list[Chain] = []
    prefix: tuple[Step, ...] = ()
    assembly = goal.assembly or Assembly("stream", (), (), "")
    for chain, state in _chains(request, cases, goal, (), 1.0):
        if assembly.kind != "dense":
            kind, depth = output.delivery(state.steps, goal, frozenset())
            sort = goal.assembly is None or (kind == "workspace" and request.workspace == "sort")
            assembly = replace(assembly, kind="stream" if sort else kind)
            if assembly.kind == "workspace":
                prefix = chain.steps[:depth]
                chain = replace(chain, steps=chain.steps[depth:])
        chains.append(chain)
    total = sum(c.cost for c in chains)
    return _nest(request, assembly, prefix, tuple(chains), total)


def _shared(request: Request, cases: list[Case], goal: output.Target) -> Nest:
    """Plan several cases of a sparse output: shared loops and a workspace, or a stream."""
    streamed = _streamed(request, cases, goal)
    forced = request.order is not None or request.workspace == "sort" or request.strict > 2
    if goal.assembly is None or forced:
        gathered = None
    else:
        most = request.ceiling if streamed is None else streamed.cost
        gathered = _gathered(request, cases, goal, goal.assembly, most)
    if gathered is None or (streamed is not None and streamed.cost < gathered.cost):
        gathered = streamed
    if gathered is None:
        raise PlanError("every plan costs more than the one that is known")
    return gathered


def _streamed(request: Request, cases: list[Case], goal: output.Target) -> Nest | None:
    """Plan cases that deliver to one stream; None if that costs more than the ceiling."""
    stream = Assembly("stream", (), (), "")
    unordered = output.Target(goal.coordinates, None)
    try:
        chains = tuple(chain for chain, _ in _chains(request, cases, unordered, (), 1.0))
    except PlanError:
        if request.ceiling == float("inf"):
            raise
        return None
    return _nest(request, stream, (), chains, sum(c.cost for c in chains))


def _gathered(
    request: Request, cases: list[Case], goal: output.Target, assembly: Assembly, most: float
) -> Nest | None:
    """Plan cases in shared loops; None if these alone, or all of it, cost too much."""
    outer = goal.coordinates[:-1]
    visits = 1.0
    steps: list[Step] = []
    for index in outer:
        visits *= max(float(request.extents.get(index, 1)), 1.0)
        steps.append(Scan(index, (terms.const(0),), (terms.var(extent_name(index)),), None))
    if visits > 8.0 * most:
        return None
    around = visits * (cost.LOOP + cost.START)
    inside = replace(request, ceiling=request.ceiling - around)
    try:
        found = _chains(inside, cases, replace(goal, shared=True), outer, visits)
    except PlanError:
        if request.ceiling == float("inf"):
            raise
        return None
    chains = tuple(chain for chain, _ in found)
    total = around + sum(c.cost for c in chains)
    return _nest(request, replace(assembly, kind="workspace"), tuple(steps), chains, total)


def _chains(
    request: Request,
    cases: list[Case],
    goal: output.Target,
    bound: tuple[str, ...],
    visits: float,
) -> list[tuple[Chain, State]]:
    """Plan cases one after the other, each for what those before it leave of the ceiling.

    Raises
    ------
    PlanError
        If one has no plan, or together they cost more.
    """
    made: list[tuple[Chain, State]] = []
    left = request.ceiling
    for case in cases:
        made.append(chain_of(replace(request, ceiling=left), case, goal, bound, visits))
        left -= made[-1][0].cost
    return made


def _merged(request: Request, whole: ct.Assign, goal: output.Target) -> Nest | None:
    """Plan a union of sorted ranges as one merge inside loops over the other coordinates.

    Returns None unless every case is a single operand that is reached, given the outer
    coordinates, by one range whose coordinates are loaded.
    """
    if goal.assembly is None or request.order is not None:
        return None
    names = operand_names(replace(request, statements=(whole,)))
    support = support_of(request, whole)
    used = accesses_of(whole.expression)
    if any(len(request.layouts[a.tensor].relation.conjuncts) > 1 for a in used):
        return None
    operands = {a: single(request, a, names) for a in used}
    sparse = tuple(o for o in operands.values() if not o.total)
    if len(support) < 2 or {frozenset({o.access}) for o in sparse} != set(support):
        return None
    total = tuple(o for o in operands.values() if o.total)
    outer, last = goal.coordinates[:-1], goal.coordinates[-1]
    visits = 1.0
    prefix: list[Step] = []
    for index in outer:
        visits *= max(float(request.extents.get(index, 1)), 1.0)
        prefix.append(Scan(index, (terms.const(0),), (terms.var(extent_name(index)),), None))
    entries = sum(max(request.entries[o.tensor.name].values(), default=1.0) for o in sparse)
    if visits > 16.0 * entries:
        return None
    found = merging.merge_steps(sparse, total, outer, last, entries / visits)
    if found is None:
        return None
    chain = Chain(
        operands=sparse + total,
        required=(),
        steps=found,
        expression=whole.expression,
        coordinates=whole.subscripts,
        monoid=None,
        cost=visits * cost.START * 2 + entries * cost.APPEND * 2,
    )
    assembly = replace(goal.assembly, kind="append")
    return _nest(request, assembly, tuple(prefix), (chain,), chain.cost)


def _nest(
    request: Request,
    assembly: Assembly,
    prefix: tuple[Step, ...],
    chains: tuple[Chain, ...],
    total: float,
) -> Nest:
    statement = request.statements[0]
    target = request.program.tensor(statement.target)
    return Nest(
        output=target,
        layout=request.output,
        coordinates=(),
        assembly=assembly,
        initial=_initial(request.program, statement, target, request.annihilating),
        conversions=(),
        prefix=prefix,
        chains=chains,
        cost=total,
    )


def _initial(
    program: ct.Program, statement: ct.Assign, target: ct.Tensor, annihilating: bool
) -> ct.Scalar:
    expression = statement.expression
    if isinstance(expression, ct.Reduce):
        return MONOIDS[expression.monoid].identity(target.dtype)
    fill = algebra.fill_of(expression, program, annihilating)
    with np.errstate(all="ignore"):  # a value that the dtype does not hold is cast as NumPy does
        return target.fill if fill is None else np.asarray(fill).astype(target.dtype).item()
