"""Steps that visit the union of several operands' sorted ranges in one merge.

Takes: operands, the coordinates bound outside, and the one to merge over.  Gives: the steps,
or None where an operand does not come down to a single range of loaded coordinates.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.iteration import classify, cost
from sparsedsl.iteration.following import advance
from sparsedsl.iteration.nodes import Guard, Let, Merge, MergePart, Operand, Step
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.state import Problem, State
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term, Var

SHORT = 3.0
"""Entries of all operands below which there is little to guess wrongly in a merge of them."""


def merge_steps(
    sparse: tuple[Operand, ...],
    total: tuple[Operand, ...],
    outer: tuple[str, ...],
    last: str,
    length: float,
) -> tuple[Step, ...] | None:
    """Return definitions, the merge over ``last``, and definitions of dense operands.

    ``length`` is how many entries of all operands each merge is expected to visit.
    """
    problem = Problem(
        required=sparse,
        total=total,
        probed=(),
        indices=(*outer, last),
        bound=frozenset(outer),
        excluded=(),
        sizes=cost.Sizes({}, {}),
        order=None,
        visits=1.0,
        limit=1,
        finish=lambda _: 0.0,
    )
    state = State(problem.bound, (), 1.0, 0.0, frozenset(), frozenset(), (), ())
    parts: list[MergePart] = []
    for operand in sparse:
        # one that tells the coordinate is merged as a range of one place
        if classify.closed_form(operand, last, state.bound) is None:
            state = _settled(problem, state, operand)
        part = _part(state, operand, outer, last)
        if part is None:
            return None
        parts.append(part)
    if any(not isinstance(s, Let) for s in state.steps):
        return None
    merge = Merge(last, tuple(parts), short=length < SHORT)
    bound = state.bound | {last, *(p.variable for p in parts)}
    after = replace(state, bound=bound, steps=(*state.steps, merge))
    for operand in total:
        after = _settled(problem, after, operand)
    complete = all(after.bound.issuperset(o.dims) for o in (*sparse, *total))
    guarded = any(isinstance(s, Guard) for s in after.steps)
    return after.steps if complete and not guarded else None


def _settled(problem: Problem, state: State, operand: Operand) -> State:
    following = advance(problem, state, operand)
    while following is not None:
        state = following
        following = advance(problem, state, operand)
    return state


def _is_range(term: Term, outer: tuple[str, ...]) -> bool:
    """Whether a term is not negative since the loops outside run over whole extents."""
    ends = (terms.subtract(terms.var(extent_name(i)), terms.var(i)) for i in outer)
    lasts = (terms.add(end, terms.const(-1)) for end in ends)
    return term in [terms.var(i) for i in outer] or term in [*lasts]


def _coefficient(term: Term, name: str) -> int:
    return next((c for c, atom in term.parts if atom == Var(name)), 0)


def _part(state: State, operand: Operand, outer: tuple[str, ...], last: str) -> MergePart | None:
    """Return the one range an operand comes down to, every constraint accounted for."""
    open_dims = [d for d in operand.dims if d not in state.bound]
    if len(open_dims) != 1 or operand.existentials:
        return None
    (dim,) = open_dims
    limits = classify.bounds(operand, dim, state.bound)
    key = classify.closed_form(operand, last, state.bound | {dim})
    only = classify.closed_form(operand, dim, state.bound)
    if limits is None or key is None or (only is None and not terms.ufs(key)):
        return None
    ensured = {c for name, c in state.handled if name == operand.name} | set(limits.used)
    lows, highs = limits.lows, limits.highs
    if only is not None:
        lows, highs = (*lows, only), (*highs, terms.add(only, terms.const(1)))
        ensured |= {
            c
            for c in operand.constraints
            if c.equality and terms.substitute(c.term, {dim: only}) == terms.const(0)
        }
    for constraint in operand.constraints:
        at_key = terms.substitute(constraint.term, {last: key})
        valid = any(at_key == c.term and not constraint.equality for c in operand.invariants)
        defines = constraint.equality and at_key == terms.const(0)
        if constraint in ensured or valid or defines or _is_range(at_key, outer):
            continue
        coefficient = _coefficient(at_key, dim)
        if only is None or constraint.equality or abs(coefficient) != 1:
            return None
        # a limit of the coordinate is one of the place
        rest = terms.subtract(at_key, terms.scale(coefficient, terms.var(dim)))
        if coefficient == 1:
            lows = (*lows, terms.scale(-1, rest))
        else:
            highs = (*highs, terms.add(rest, terms.const(1)))
    return MergePart(operand.name, dim, lows, highs, key)
