"""Plan one output: which cases to visit, how each is iterated, how entries are delivered.

Takes: the additive statements of one output, layouts and sizes.  Gives: a ``Nest``.
Invariant: the chains visit every coordinate at which the expression can differ from the
output's fill, and none of them twice in the same case.

Cases come from the support of the expression, a union of conjunctions of operands: one chain
for each conjunction scans one operand of it, finds the others, probes the rest, and skips
the points an earlier chain has covered.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.iteration import classify, copies, cost, merging, output, search
from sparsedsl.iteration.nodes import (
    Assembly,
    Chain,
    Conversion,
    Nest,
    Operand,
    Scan,
    Step,
)
from sparsedsl.iteration.request import Request, accesses, accesses_of, indices_of
from sparsedsl.iteration.space import extent_name, make_operand, make_operands
from sparsedsl.iteration.state import Problem, State
from sparsedsl.spf import terms

FEWER = 500
"""States a search visits for each variant with copies, at most."""

ALL_FEWER = 4000
"""States that the searches of all variants visit."""

BAD, BAD_OF_MANY = 15.0, 40.0
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
            best = _plan(request, made)
    except PlanError as error:
        failure = error
    entries = sum(max(e.values(), default=1.0) for e in request.entries.values())
    used = accesses(request)
    bad = BAD if len(used) <= MANY else BAD_OF_MANY
    if best is None or best.cost > bad * entries:
        tried = copies.variants(request, used)
        effort = min(FEWER, ALL_FEWER // max(len(tried), 1))
        for variant, more in tried:
            conversions = (*made, *more)
            ceiling = float("inf") if best is None else best.cost - _copying(request, conversions)
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
    return _along(request, best)


def _along(request: Request, best: Nest) -> Nest:
    """Return the nest with dense operands turned so that its loops go along them, if that pays."""
    if best.conversions:
        return best
    variant, conversions = copies.turned(request, best)
    ceiling = best.cost - _copying(request, conversions)
    if not conversions or ceiling <= 0:
        return best
    try:
        other = _plan(replace(variant, effort=FEWER, ceiling=ceiling), conversions)
    except PlanError:
        return best
    return other if other.cost < best.cost else best


@dataclass(frozen=True, slots=True)
class Case:
    """One conjunction of a statement's support: what one chain iterates."""

    statement: ct.Assign
    body: ct.Expression
    monoid: str | None
    required: tuple[Operand, ...]
    total: tuple[Operand, ...]
    probed: tuple[Operand, ...]
    excluded: tuple[tuple[str, ...], ...]


def _plan(request: Request, conversions: tuple[Conversion, ...]) -> Nest:
    request = _unsplit(request)
    names = _operand_names(request)
    cases = [case for s in request.statements for case in _cases(request, s, names)]
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
    copying = _copying(request, conversions)
    return replace(nest, coordinates=coordinates, conversions=conversions, cost=nest.cost + copying)


def _copying(request: Request, conversions: tuple[Conversion, ...]) -> float:
    """Return the estimated nanoseconds of making the copies."""
    each = [(c, max(request.entries[c.source].values(), default=1.0)) for c in conversions]
    turning = cost.TURNING if any(c.tensor.total for c, _ in each) else 0.0
    each_cost = (n * cost.TRANSPOSE if c.tensor.total else cost.convert_cost(n) for c, n in each)
    return turning + sum(each_cost)


def _operand_names(request: Request) -> dict[ct.Access, str]:
    taken = {t.name for t in (*request.program.inputs, *request.program.outputs)}
    used: set[str] = set()
    names: dict[ct.Access, str] = {}
    for access in accesses(request):
        name, again = access.tensor, 1
        while name in used or (again > 1 and name in taken):
            again += 1
            name = f"{access.tensor}{again}"
        used.add(name)
        names[access] = name
    return names


def _cases(request: Request, statement: ct.Assign, names: dict[ct.Access, str]) -> list[Case]:
    program = request.program
    expression = statement.expression
    monoid, body = None, expression
    if isinstance(expression, ct.Reduce):
        monoid, body = expression.monoid, expression.body
    if monoid is not None and statement.accumulate not in (None, monoid):
        raise PlanError(
            f"expected one kind of accumulation, found a {monoid} reduction accumulated by "
            f"{statement.accumulate}",
            span=statement.span,
            hint="reduce into an intermediate output first",
        )
    used = accesses_of(body)
    groups = sorted({tuple(sorted(names[a] for a in g)) for g in _support(request, statement)})
    plain = [a for a in used if program.covers(a)]
    sparse = [a for a in used if not program.covers(a)]
    total = tuple(_single(request, a, names) for a in plain)
    combine = monoid or statement.accumulate
    cases: list[Case] = []
    for place, group in enumerate(groups):
        excluded = tuple(tuple(n for n in g if n not in group) for g in groups[:place])
        probed = tuple(_single(request, a, names) for a in sparse if names[a] not in group)
        parts = [_parts(request, a, names) for a in sparse if names[a] in group]
        # an operand stored in parts is in one of them: a case for each choice of parts
        for required in itertools.product(*parts):
            cases.append(Case(statement, body, combine, required, total, probed, excluded))
    return cases


def _single(request: Request, access: ct.Access, names: dict[ct.Access, str]) -> Operand:
    tensor = request.program.tensor(access.tensor)
    pattern = request.patterns.get(tensor.name, tensor.name)
    return make_operand(names[access], tensor, access, request.layouts[access.tensor], pattern)


def _parts(request: Request, access: ct.Access, names: dict[ct.Access, str]) -> tuple[Operand, ...]:
    tensor = request.program.tensor(access.tensor)
    pattern = request.patterns.get(tensor.name, tensor.name)
    return make_operands(names[access], tensor, access, request.layouts[access.tensor], pattern)


def _support(request: Request, statement: ct.Assign) -> tuple[frozenset[ct.Access], ...]:
    program = request.program
    everywhere = (frozenset[ct.Access](),)
    expression = statement.expression
    support = _joined(request, algebra.support(expression, program, request.annihilating))
    target = program.tensor(statement.target)
    if statement.accumulate is not None:
        identity = MONOIDS[statement.accumulate].identity(target.dtype)
        neutral = algebra.fill_of(expression, program, request.annihilating)
        if neutral is None or not algebra.same_value(neutral, identity):
            return everywhere
    assembly = output.levels_of(request.output)
    if assembly is not None and assembly.kind == "dense":
        return support
    fill = algebra.fill_of(expression, program, request.annihilating)
    same = fill is not None and algebra.same_value(fill, target.fill)
    return support if same else everywhere


def _unsplit(request: Request) -> Request:
    """Return the request of the statement before it was split, if its terms are now one case."""
    whole = request.whole
    if whole is None or not request.patterns or len(_support(request, whole)) != 1:
        return request
    return replace(request, statements=(whole,), whole=None)


def _joined(
    request: Request, support: tuple[frozenset[ct.Access], ...]
) -> tuple[frozenset[ct.Access], ...]:
    """Join the cases of a support into one, where operands of one pattern make them the same."""

    def place(access: ct.Access) -> tuple[str, tuple[ct.Affine, ...]]:
        return request.patterns.get(access.tensor, access.tensor), access.subscripts

    used = {a for group in support for a in group}
    closed = [frozenset(a for a in used if place(a) in map(place, group)) for group in support]
    return (closed[0],) if len(set(closed)) == 1 else support


def sizes_of(request: Request, operands: tuple[Operand, ...]) -> cost.Sizes:
    """Return what is known of the sizes of operands.

    Counts come rounded; where a dimension tells a coordinate, one value of the dimensions
    before it has no more positions than the coordinate has values.
    """
    extents = {i: float(n) for i, n in request.extents.items()}
    entries: dict[str, float] = {}
    for operand in operands:
        known = request.entries.get(operand.tensor.name, {})
        open_indices = {i for s in operand.access.subscripts for i in s.indices}
        bound, before = frozenset[str](), 1.0
        for dim, name in zip(operand.layout.relation.inputs, operand.dims, strict=True):
            bound |= {name}
            told = {i for i in open_indices if classify.closed_form(operand, i, bound) is not None}
            open_indices -= told
            count = float(known.get(dim, 1.0))
            if told:
                count = min(count, before * math.prod(extents.get(i, 1.0) for i in told))
            entries[name] = before = count
    return cost.Sizes(extents, entries)


def _chain(
    request: Request,
    case: Case,
    goal: output.Target,
    bound: tuple[str, ...],
    visits: float,
) -> tuple[Chain, State]:
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
    )
    found = search.search(problem)
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


def _neutral(request: Request, case: Case) -> frozenset[str]:
    """Return the operands without which the body is the identity it is accumulated by."""
    program = request.program
    dtype = program.tensor(case.statement.target).dtype
    if case.monoid is None or not (request.exact or np.dtype(dtype).kind in "biu"):
        return frozenset()
    fill = algebra.fill_of(case.body, program, request.annihilating)
    identity = MONOIDS[case.monoid].identity(dtype)
    if fill is None or not algebra.same_value(fill, identity):
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


def _separate(request: Request, cases: list[Case], goal: output.Target) -> Nest:
    """Plan cases that need no shared loop: a dense output, or a single case."""
    chains: list[Chain] = []
    prefix: tuple[Step, ...] = ()
    assembly = goal.assembly or Assembly("stream", (), (), "")
    for case in cases:
        chain, state = _chain(request, case, goal, (), 1.0)
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
    stream = Assembly("stream", (), (), "")
    free = [_chain(request, c, output.Target(goal.coordinates, None), (), 1.0)[0] for c in cases]
    streamed = _nest(request, stream, (), tuple(free), sum(c.cost for c in free))
    forced = request.order is not None or request.workspace == "sort" or request.strict > 2
    if goal.assembly is None or forced:
        return streamed
    outer = goal.coordinates[:-1]
    visits = 1.0
    steps: list[Step] = []
    for index in outer:
        visits *= max(float(request.extents.get(index, 1)), 1.0)
        steps.append(Scan(index, (terms.const(0),), (terms.var(extent_name(index)),), None))
    if visits > 8.0 * streamed.cost:
        return streamed
    chains = [_chain(request, c, goal, outer, visits)[0] for c in cases]
    total = visits * (cost.LOOP + cost.START) + sum(c.cost for c in chains)
    assembly = replace(goal.assembly, kind="workspace")
    shared = _nest(request, assembly, tuple(steps), tuple(chains), total)
    return shared if shared.cost <= streamed.cost else streamed


def _merged(request: Request, whole: ct.Assign, goal: output.Target) -> Nest | None:
    """Plan a union of sorted ranges as one merge inside loops over the other coordinates.

    Returns None unless every case is a single operand that is reached, given the outer
    coordinates, by one range whose coordinates are loaded.
    """
    if goal.assembly is None or request.order is not None:
        return None
    names = _operand_names(replace(request, statements=(whole,)))
    support = _support(request, whole)
    used = accesses_of(whole.expression)
    if any(len(request.layouts[a.tensor].relation.conjuncts) > 1 for a in used):
        return None
    operands = {a: _single(request, a, names) for a in used}
    sparse = tuple(o for o in operands.values() if not o.total)
    if len(support) < 2 or {frozenset({o.access}) for o in sparse} != set(support):
        return None
    total = tuple(o for o in operands.values() if o.total)
    outer, last = goal.coordinates[:-1], goal.coordinates[-1]
    found = merging.merge_steps(sparse, total, outer, last)
    if found is None:
        return None
    visits = 1.0
    prefix: list[Step] = []
    for index in outer:
        visits *= max(float(request.extents.get(index, 1)), 1.0)
        prefix.append(Scan(index, (terms.const(0),), (terms.var(extent_name(index)),), None))
    entries = sum(max(request.entries[o.tensor.name].values(), default=1.0) for o in sparse)
    if visits > 16.0 * entries:
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
