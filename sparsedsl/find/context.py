"""What a question is asked in: the steps passed so far, and the operands.

Takes: steps and operands of a plan.  Gives: a ``Context``, and the part of it that some variables
rest on.  Invariant: what is known in a part is known in the whole, so that a proof in a part
holds in the whole.

With many operands most of what is known has nothing to do with a question, and to state it takes
most of the time: each part of it would be said once more for each of as many questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsedsl.find.reads import read_by
from sparsedsl.iteration.nodes import (
    Exclude,
    Find,
    Guard,
    Let,
    Merge,
    Operand,
    Probe,
    Scan,
    Step,
)
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


@dataclass(frozen=True, slots=True)
class Context:
    """The steps executed so far, and the operands by name."""

    steps: tuple[Step, ...]
    operands: Mapping[str, Operand]

    def about(self, known: Iterable[Term]) -> Context:
        """Return the part that says what terms are: their arrays, and what variables come from.

        Guards of the operands that are left stay, those in probes, too: what an operand's layout
        ensures of its entries is known only after they were passed.
        """
        asked = tuple(known)
        names = frozenset[str]().union(*map(terms.variables, asked))
        needed, steps = _sources(self.steps, names)
        arrays = {call.function for call in terms.all_ufs(asked)}
        operands = {
            name: operand
            for name, operand in self.operands.items()
            if not needed.isdisjoint(operand.dims)
            or not arrays.isdisjoint(used for _, used in operand.functions)
        }
        sizes = names.difference(*(_sizes(operand) for operand in operands.values()))
        operands |= {n: o for n, o in self.operands.items() if not sizes.isdisjoint(_sizes(o))}
        merged = {p.operand for s in steps if isinstance(s, Merge) for p in s.parts}
        operands |= {n: self.operands[n] for n in merged}
        if len(operands) == len(self.operands):
            return self
        left = {id(step) for step in steps}
        kept = tuple(s for s in self.steps if id(s) in left or _guarded(s) in operands)
        return Context(kept, operands)


def _sources(
    steps: tuple[Step, ...], names: frozenset[str]
) -> tuple[frozenset[str], tuple[Step, ...]]:
    """Return what the names come from, and the steps that bind or test any of it."""
    tells = [
        (s, read_by(s), read_by(s) if isinstance(s, Guard) else bound_names((s,))) for s in steps
    ]
    before = frozenset[str]()
    while names != before:  # a guard may read what steps before it turn out to need
        before = names
        for _, reads, told in reversed(tells):
            if not names.isdisjoint(told):
                names |= reads
    return names, tuple(step for step, _, told in tells if not names.isdisjoint(told))


def _sizes(operand: Operand) -> tuple[str, ...]:
    return tuple(used for _, used in operand.parameters)


def _guarded(step: Step) -> str:
    """Return the operand that a step may tell entries of from padding."""
    return step.operand if isinstance(step, Guard | Probe) else ""


def bound_names(steps: tuple[Step, ...]) -> frozenset[str]:
    """Return the variables that the steps bind."""
    names: set[str] = set()
    for step in steps:
        match step:
            case Scan() | Let() | Find():
                names.add(step.variable)
            case Probe(_, inner):
                names |= bound_names(inner)
            case Merge():
                names |= {step.variable, *(p.variable for p in step.parts)}
            case Guard() | Exclude():
                pass
    return frozenset(names)
