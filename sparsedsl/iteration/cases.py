"""The cases of statements: conjunctions of operands, each of which one chain iterates.

Takes: the additive statements of one output and the layouts of what they read.  Gives: ``Case``
records.  Invariant: the cases of a statement cover its support, and a later one names the groups
of operands whose joint hit an earlier one covers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import same_value
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.iteration import output
from sparsedsl.iteration.nodes import Operand
from sparsedsl.iteration.request import Request, accesses, accesses_of
from sparsedsl.iteration.space import make_operand, make_operands


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


def operand_names(request: Request) -> dict[ct.Access, str]:
    """Return a name for each access: that of its tensor, made unique.

    Dimensions begin with it, and extents with ``n_``: no name is ``n``.
    """
    taken = {t.name for t in (*request.program.inputs, *request.program.outputs)}
    used = {"n"}
    names: dict[ct.Access, str] = {}
    for access in accesses(request):
        name, again = access.tensor, 1
        while name in used or (again > 1 and name in taken):
            again += 1
            name = f"{access.tensor}{again}"
        used.add(name)
        names[access] = name
    return names


def cases_of(request: Request, statement: ct.Assign, names: dict[ct.Access, str]) -> list[Case]:
    """Return the cases of a statement, a choice of parts for each operand stored in parts.

    Raises
    ------
    PlanError
        If a reduction is accumulated by another one.
    """
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
    groups = sorted({tuple(sorted(names[a] for a in g)) for g in support_of(request, statement)})
    plain = [a for a in used if program.covers(a)]
    sparse = [a for a in used if not program.covers(a)]
    total = tuple(single(request, a, names) for a in plain)
    combine = monoid or statement.accumulate
    cases: list[Case] = []
    for place, group in enumerate(groups):
        excluded = tuple(tuple(n for n in g if n not in group) for g in groups[:place])
        probed = tuple(single(request, a, names) for a in sparse if names[a] not in group)
        parts = [_parts(request, a, names) for a in sparse if names[a] in group]
        # an operand stored in parts is in one of them: a case for each choice of parts
        for required in itertools.product(*parts):
            cases.append(Case(statement, body, combine, required, total, probed, excluded))
    return cases


def single(request: Request, access: ct.Access, names: dict[ct.Access, str]) -> Operand:
    """Return the operand of an access, whose layout is in one part."""
    tensor = request.program.tensor(access.tensor)
    pattern = request.patterns.get(tensor.name, tensor.name)
    return make_operand(names[access], tensor, access, request.layouts[access.tensor], pattern)


def _parts(request: Request, access: ct.Access, names: dict[ct.Access, str]) -> tuple[Operand, ...]:
    tensor = request.program.tensor(access.tensor)
    pattern = request.patterns.get(tensor.name, tensor.name)
    return make_operands(names[access], tensor, access, request.layouts[access.tensor], pattern)


def support_of(request: Request, statement: ct.Assign) -> tuple[frozenset[ct.Access], ...]:
    """Return where a statement delivers: its support; everywhere if its fill is another one."""
    program = request.program
    everywhere = (frozenset[ct.Access](),)
    expression = statement.expression
    support = _joined(request, algebra.support(expression, program, request.annihilating))
    target = program.tensor(statement.target)
    if statement.accumulate is not None:
        identity = MONOIDS[statement.accumulate].identity(target.dtype)
        neutral = algebra.fill_of(expression, program, request.annihilating)
        if neutral is None or not same_value(neutral, identity):
            return everywhere
    assembly = output.levels_of(request.output)
    if assembly is not None and assembly.kind == "dense":
        return support
    fill = algebra.fill_of(expression, program, request.annihilating)
    same = fill is not None and same_value(fill, target.fill)
    return support if same else everywhere


def unsplit(request: Request) -> Request:
    """Return the request of the statement before it was split, if its terms are now one case."""
    whole = request.whole
    if whole is None or not request.patterns or len(support_of(request, whole)) != 1:
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
