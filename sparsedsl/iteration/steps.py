"""What the steps of a chain say of the variables they bind.

Takes: steps in the order they are taken.  Gives: what variables depend on, are made of, and how
often a loop turns.
"""

from __future__ import annotations

from sparsedsl.iteration.nodes import Find, Let, Scan, Step
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


def fixed_turns(scan: Scan) -> int | None:
    """Return the constant number of turns of a scan inside a block, None of any other.

    Blocks at an edge may be cut short.
    """
    ends = [h.constant for h in scan.highs if not h.parts]
    return min(ends) if ends and terms.const(0) in scan.lows else None


def depends_on(steps: tuple[Step, ...], names: frozenset[str]) -> frozenset[str]:
    """Close ``names`` under the definitions in ``steps``: all variables they depend on."""
    for step in reversed(steps):
        names = reads_of(step, names)
    return names


def depending_on(steps: tuple[Step, ...], name: str) -> frozenset[str]:
    """Return the variables that depend on ``name``, and itself: what ``depends_on`` says of all."""
    found = frozenset({name})
    for step in steps:
        if isinstance(step, Let | Find | Scan) and not reads_of(
            step, frozenset({step.variable})
        ).isdisjoint(found):
            found |= {step.variable}
    return found


def reads_of(step: Step, names: frozenset[str]) -> frozenset[str]:
    """Return ``names`` and, where the step binds one of them, the variables that it reads."""
    match step:
        case Let(variable, value, _, _) if variable in names:
            return names | terms.variables(value)
        case Find(variable, lows, highs, keys, _) if variable in names:
            read = (*lows, *highs, *(k.value for k in keys))
        case Scan(variable, lows, highs, _) if variable in names:
            read = (*lows, *highs)
        case _:
            return names
    return names.union(*map(terms.variables, read))


def computed_from(steps: tuple[Step, ...], name: str) -> frozenset[str]:
    """Return the variables that ``name`` is computed from, ranges of scans left out."""
    names = frozenset({name})
    for step in reversed(steps):
        if isinstance(step, Let) and step.variable in names:
            names |= terms.variables(step.value)
    return names


def expand(steps: tuple[Step, ...], term: Term) -> Term:
    """Put in the definitions of variables that are determined affinely by logical indices."""
    for step in reversed(steps):
        if (
            isinstance(step, Let)
            and step.kind == "determined"
            and step.variable in terms.variables(term)
        ):
            term = terms.substitute(term, {step.variable: step.value})
    return term
