"""Constraints that are bound by a step, and are guarded unless something else ensures them.

Takes: a state of a plan and the step last taken.  Gives: the state with its guards.  Invariant: a
constraint is met once for each operand: when the last of its variables is bound.
"""

from __future__ import annotations

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
    guards = [
        Guard(constraint, operand.name)
        for _, constraint in met
        if not _ensured(state, operand, constraint, cause)
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
