"""Guards and bounds that follow from others are dropped (Q3).

Takes: a chain.  Gives: the chain without what is proved to hold anyway.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.find import formula as fo
from sparsedsl.find.context import Context
from sparsedsl.find.queries import Prover
from sparsedsl.iteration.nodes import Chain, Find, Guard, Let, Probe, Scan, Step
from sparsedsl.spf.nodes import Term


def without_proved_guards(prover: Prover, prefix: tuple[Step, ...], chain: Chain) -> Chain:
    """Drop the guards that what was passed before them is proved to ensure."""
    operands = {o.name: o for o in chain.operands}
    kept: list[Step] = []
    for place, step in enumerate(chain.steps):
        if isinstance(step, Guard):
            later = tuple(s for s in chain.steps[place:] if isinstance(s, Guard))
            if prover.follows(
                f"guard {fo.text(fo.holds(step.constraint))}",
                Context((*prefix, *kept), operands),
                fo.holds(step.constraint),
                "no guard",
                pending=later,
            ):
                continue
        if isinstance(step, Probe):
            inner: list[Let | Guard | Find] = []
            for part in step.steps:
                later = tuple(s for s in step.steps if isinstance(s, Guard))
                if isinstance(part, Guard) and prover.follows(
                    f"guard {fo.text(fo.holds(part.constraint))}",
                    Context((*prefix, *kept, *inner), operands),
                    fo.holds(part.constraint),
                    "no guard",
                    pending=later,
                ):
                    continue
                inner.append(part)
            step = replace(step, steps=tuple(inner))
        kept.append(step)
    return replace(chain, steps=tuple(kept))


def tightened(prover: Prover, prefix: tuple[Step, ...], chain: Chain) -> Chain:
    """Drop the bounds of scans that another bound is proved to imply."""
    operands = {o.name: o for o in chain.operands}
    steps: list[Step] = []
    for step in chain.steps:
        if isinstance(step, Scan | Find) and len(step.lows) + len(step.highs) > 2:
            here = Context((*prefix, *steps), operands)
            lows = _needed(prover, here, step.lows, low=True)
            step = replace(step, lows=lows, highs=_needed(prover, here, step.highs, low=False))
        steps.append(step)
    return replace(chain, steps=tuple(steps))


def _needed(
    prover: Prover, context: Context, ends: tuple[Term, ...], *, low: bool
) -> tuple[Term, ...]:
    kept = list(ends)
    for end in ends:
        for other in kept:
            if other == end or len(kept) == 1:
                continue
            goal = fo.at_most(end, other) if low else fo.at_most(other, end)
            if prover.follows(f"bound {fo.text(goal)}", context, goal, "a simpler range"):
                kept.remove(end)
                break
    return tuple(kept)


def ensuring(steps: tuple[Step, ...], place: int) -> tuple[Step, ...]:
    """Return the guards, and the definitions between them, that follow a step at once.

    Nothing is loaded before them, so what they ensure holds wherever the variable is read.
    """
    end = place
    for at, step in enumerate(steps[place:], place):
        if isinstance(step, Guard):
            end = at + 1
        elif not (isinstance(step, Let) and step.kind == "determined"):
            break
    return steps[place:end]
