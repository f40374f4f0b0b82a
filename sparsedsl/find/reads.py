"""Which variables a step of a plan reads."""

from __future__ import annotations

from typing import assert_never

from sparsedsl.iteration.nodes import Exclude, Find, Guard, Let, Merge, Probe, Scan, Step
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


def read_by(step: Step) -> frozenset[str]:
    """Return the variables that a step reads."""
    found: list[Term] = []
    match step:
        case Scan(_, lows, highs, _):
            found += [*lows, *highs]
        case Let(_, value, _, _):
            found.append(value)
        case Guard(constraint, _):
            found.append(constraint.term)
        case Find(_, lows, highs, keys, _):
            found += [*lows, *highs, *(k.value for k in keys)]
            found += [term for k in keys for term in k.stored]
        case Merge(_, parts):
            for part in parts:
                found += [*part.lows, *part.highs, part.key]
        case Probe(_, steps):
            return frozenset[str]().union(*(read_by(s) for s in steps))
        case Exclude():
            pass
        case _:
            assert_never(step)
    return frozenset[str]().union(*(terms.variables(t) for t in found))
