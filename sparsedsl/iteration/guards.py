"""Constraints that are bound by a step, and are guarded unless something else ensures them.

Takes: a state of a plan and the step last taken.  Gives: the state with its guards.  Invariant: a
constraint is met once for each operand: when the last of its variables is bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from sparsedsl.iteration import classify
from sparsedsl.iteration.nodes import Find, Guard, Let, Operand, Scan
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.state import State
from sparsedsl.iteration.steps import expand
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint, Term, Var


def with_guards(state: State, operand: Operand, cause: Let | Find | Scan) -> State:
    """Add a guard for each constraint that is bound now and that nothing else ensures."""
    met = [item for item in _met(operand, state.bound) if item not in state.handled]
    if not met:
        return state
    lets = [step for step in reversed(state.steps) if isinstance(step, Let)]
    guards = [
        Guard(constraint, operand.name)
        for _, constraint in met
        if not _ensured(state, operand, constraint, cause, lets)
    ]
    return replace(state, steps=(*state.steps, *guards), handled=state.handled.union(met))


def _met(operand: Operand, bound: frozenset[str]) -> tuple[tuple[str, Constraint], ...]:
    return _met_by(operand, bound & classify.mentioned(operand))


@lru_cache(maxsize=65536)
def _met_by(operand: Operand, bound: frozenset[str]) -> tuple[tuple[str, Constraint], ...]:
    """Return the constraints, each once, all of whose variables are bound."""
    names = bound | classify.parameters(operand)
    constraints = dict.fromkeys(operand.constraints)
    return tuple((operand.name, c) for c in constraints if terms.variables(c.term) <= names)


def _ensured(
    state: State,
    operand: Operand,
    constraint: Constraint,
    cause: Let | Find | Scan,
    lets: Iterable[Let],
) -> bool:
    """Whether the definition itself, the data's invariants or an index's range say it.

    ``lets`` are the definitions of the state, the last first.
    """
    names, read = terms.variables(constraint.term), list[Let]()
    for let in lets:
        if let.variable in names:
            names |= terms.variables(let.value)
            read.append(let)
    if constraint.equality:
        return _is_equal(
            operand, constraint, cause if isinstance(cause, Let) else None, tuple(reversed(read))
        )
    ensured, range_ = _in_range(operand, constraint, tuple(reversed(read)))
    # a guard may have stated it of the array that the coordinate was loaded from
    return ensured or any(isinstance(s, Guard) and s.constraint == range_ for s in state.steps)


@lru_cache(maxsize=65536)
def _is_equal(
    operand: Operand, constraint: Constraint, cause: Let | None, lets: tuple[Let, ...]
) -> bool:
    """Whether an equality says what a definition does, or is one of the data's invariants."""
    if cause is not None:
        gap = terms.substitute(constraint.term, {cause.variable: cause.value})
        if gap == terms.const(0):
            return True
    return constraint in operand.invariants or expand(lets, constraint.term) == terms.const(0)


@lru_cache(maxsize=65536)
def _in_range(
    operand: Operand, constraint: Constraint, lets: tuple[Let, ...]
) -> tuple[bool, Constraint]:
    """Whether an inequality is an index's range, or the validated one of a loaded coordinate.

    With it comes what it says of the arrays that the operand's coordinates were loaded from.
    ``lets`` are the definitions that its variables depend on, in their order.
    """
    own = [let for let in lets if let.operand == operand.name]
    loads = {let.variable: let.value for let in own if let.kind == "load"}
    range_ = Constraint(terms.substitute(constraint.term, loads), equality=False)
    if constraint in operand.invariants or range_ in operand.invariants:
        return True, range_
    expanded = expand(lets, constraint.term)
    return _is_index_range(expanded, {let.variable for let in own}), range_


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
