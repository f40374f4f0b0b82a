"""Loops inside blocks have a constant range where no block is cut short at an edge.

Takes: a proved nest.  Gives: the same nest for extents that are multiples of the block sizes,
and those multiples; the caller's extents decide at run time which of the two is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sparsedsl.find import facts as fa
from sparsedsl.find import formula as fo
from sparsedsl.find.context import bound_names
from sparsedsl.find.queries import Prover
from sparsedsl.find.smt import Question
from sparsedsl.iteration.nodes import Chain, Nest, Scan, Step
from sparsedsl.iteration.steps import fixed_turns
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term, Var

Multiples = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """A nest that is right where each of these extents is a multiple of the number beside it."""

    multiples: Multiples
    nest: Nest


def whole_blocks(prover: Prover, nest: Nest) -> Whole | None:
    """Return the nest of whole blocks, or None where that changes nothing.

    A nest with a sparse result appends entry by entry and would gain little.
    """
    if nest.assembly.kind != "dense":
        return None
    assumed: dict[tuple[str, int], None] = {}
    chains: list[Chain] = []
    for chain in nest.chains:
        steps: list[Step] = []
        for step in chain.steps:
            if isinstance(step, Scan):
                step = _filled(prover, nest, chain, tuple(steps), step, assumed)
            steps.append(step)
        chains.append(replace(chain, steps=tuple(steps)))
    return Whole(tuple(assumed), replace(nest, chains=tuple(chains))) if assumed else None


def _filled(
    prover: Prover,
    nest: Nest,
    chain: Chain,
    before: tuple[Step, ...],
    scan: Scan,
    assumed: dict[tuple[str, int], None],
) -> Scan:
    """Return the scan with its constant end alone, and note what that assumes."""
    turns = fixed_turns(scan)
    if turns is None or len(scan.lows) > 1:
        return scan
    outer = nest.prefix + before
    operands = {o.name: o for o in chain.operands}
    kept: list[Term] = []
    for end in scan.highs:
        if not end.parts:
            continue
        multiple = _multiple(end, bound_names(outer))
        if multiple is None:
            kept.append(end)
            continue
        extent, size = multiple
        exact = fo.equal(terms.mod(terms.var(extent), terms.const(size)), terms.const(0))
        question = Question(
            f"{scan.variable} runs over a whole block where {extent} % {size} = 0",
            fa.axioms(chain.operands),
            (*fa.facts(outer, operands), exact),
            fo.at_most(terms.const(turns), end),
            "a constant range",
        )
        if prover.ask(question):
            assumed[multiple] = None
        else:
            kept.append(end)
    return replace(scan, highs=(*kept, terms.const(turns)))


def _multiple(end: Term, bound: frozenset[str]) -> tuple[str, int] | None:
    """Read ``(n, k)`` off an end ``n - k*(...)``, where ``n`` is an extent."""
    extents = [a.name for c, a in end.parts if isinstance(a, Var) and c == 1]
    free = [name for name in extents if name not in bound]
    others = [c for c, a in end.parts if a != Var(free[0] if free else "")]
    size = math.gcd(*others) if others else 1
    return (free[0], size) if len(free) == 1 and size > 1 else None
