"""Constraints that are bound by a step, and are guarded unless something else ensures them.

Takes: a state of a plan and the step last taken.  Gives: the state with its guards.  Invariant: a
constraint is met once for each operand: when the last of its variables is bound.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.iteration import classify
from sparsedsl.iteration.nodes import Find, Guard, Let, Operand, Scan
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.state import State
from sparsedsl.iteration.steps import expand
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Constraint, Term, Var


def with_guards(state: State, operand: Operand, cause: Let | Find | Scan) -> State:
    """Add a guard for each constraint that is bound now and that nothing else ensures."""
    names = state.bound | classify.parameters(operand)
    met = [
        constraint
        for constraint in operand.constraints
        if terms.variables(constraint.term) <= names
        and (operand.name, constraint) not in state.handled
    ]
    if not met:
        return state
    guards = [
        Guard(constraint, operand.name)
        for constraint in dict.fromkeys(met)
        if not _ensured(state, operand, constraint, cause)
    ]
    handled = state.handled.union((operand.name, constraint) for constraint in met)
    return replace(state, steps=(*state.steps, *guards), handled=handled)


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
