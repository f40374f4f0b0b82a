"""What loops do once for several: rows with equal indices, both halves, outputs of one pass.

Takes: a nest and what is known of it.  Gives: ``Rows`` that are taken together, which part of rows
is read, and which loops of a chain another one has gone through.  Invariant: a guess of what
``loops.supernodes``, ``grouped``, ``backwards`` and ``mirror`` make of a nest, for estimates alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.find.fetching import near_rows
from sparsedsl.find.known import Known
from sparsedsl.find.site import WHOLE
from sparsedsl.iteration.nodes import Chain, Find, Operand, Scan, Step

HALF_REGISTER = 32
"""Bytes of a vector that has an element for each row."""

ABREAST = 3.0
"""Rows of a second operand that are added to sums at once, at most (``loops.abreast``)."""


BEYOND = 0.5
"""Part of a row of a band that is not left of where another row begins, which it names."""


@dataclass(frozen=True, slots=True)
class Rows:
    """So many rows are taken ``at_once``, on average, by the loops from step ``place`` on.

    The rows that are added to these come so many ``abreast``.
    """

    place: int
    at_once: float
    abreast: float = 1.0


SINGLE = Rows(0, 1.0)


def rows_together(of: Known, chain: Chain) -> Rows:
    """Return how many rows with equal indices the loops of a chain take together."""
    steps = of.nest.prefix + chain.steps
    scans = [k for k, s in enumerate(steps) if isinstance(s, Scan)]
    kind = of.nest.output.dtype
    if len(scans) < 3 or kind not in ("float64", "float32"):
        return SINGLE
    most = HALF_REGISTER / of.width
    operands = {o.name: o for o in chain.operands}
    walked, added = (_of(steps[k], operands) for k in scans[1:3])
    if walked is None:
        return SINGLE
    length = min(run(of, walked), most)
    if of.nest.assembly.kind == "workspace" and of.nest.assembly.ordering == "blocks":
        beside = 1.0 if added is None or length == 1.0 else min(run(of, added), ABREAST)
        return Rows(scans[1], length, beside)
    found = [s for s in steps if isinstance(s, Find)]
    if len(found) != 1 or of.nest.assembly.kind == "dense":
        return SINGLE
    choice, sought = of.choices.get(found[0].variable), operands[found[0].operand]
    if choice is None or choice.algorithm not in ("spread", "slots") or WHOLE in choice.facts:
        return SINGLE
    if not scans[0] < choice.depth <= scans[1]:
        return SINGLE
    return Rows(scans[1], min(length, run(of, sought)))


def part_read(of: Known, chain: Chain, place: int) -> float:
    """Return which part of a row a loop goes over, 1.0 unless it ends where another one begins.

    Rows of a band that are read from their ends, as those of lower triangles are
    (``loops.backwards``), lie beyond it by anything from nothing to all of what is looked up.
    """
    steps = of.nest.prefix + chain.steps
    scans = [k for k, s in enumerate(steps) if isinstance(s, Scan)]
    operands = {o.name: o for o in chain.operands}
    scanned = _of(steps[place], operands)
    if scanned is None or len(scans) < 3 or place != scans[-1]:
        return 1.0
    near = set(near_rows(of.nest, of.sizes))
    found = [s for s in steps[place:] if isinstance(s, Find)]
    chosen = [of.choices.get(s.variable) for s in found]
    looked_up = [c for c in chosen if c is not None and c.algorithm == "spread"]
    rising = any(name in near for _, name in scanned.functions)
    return BEYOND if rising and len(looked_up) == len(found) == 1 else 1.0


def gone_through(of: Known, place: int) -> int:
    """Return before which step the loops of a chain are those of another one.

    Loops around all chains are, those over a tensor that is read for another output in the same
    pass, and those over one of which the chain before visits both halves.
    """
    around = len(of.nest.prefix)
    if place and around:
        return around
    known = of.warm | halved(of) if place else of.warm
    chain = of.nest.chains[place]
    operands = {o.name: o for o in chain.operands}
    scanned = (_of(s, operands) for s in (*of.nest.prefix, *chain.steps))
    again = [k for k, o in enumerate(scanned) if o is not None and o.tensor.name in known]
    return again[-1] + 1 if again else 0


def halved(of: Known) -> frozenset[str]:
    """Return the tensors of which two chains go over the same entries, for both halves."""
    if of.nest.assembly.kind != "dense" or len(of.nest.chains) != 2 or of.nest.prefix:
        return frozenset()
    first, second = (
        {o.tensor.name for o in chain.operands if o.layout.halves > 1} for chain in of.nest.chains
    )
    return frozenset(first & second)


def _of(step: Step, operands: dict[str, Operand]) -> Operand | None:
    """Return the operand whose entries a loop goes over."""
    return operands.get(step.operand or "") if isinstance(step, Scan) else None


def run(of: Known, operand: Operand) -> float:
    """Return how many rows of an operand in a row have equal indices, if they often do."""
    if operand.total or not operand.dims or not of.sizes.unevenness(operand.dims[-1]).alike:
        return 1.0
    known = of.sizes.changes.get(operand.dims[-1])
    return 2.0 if known is None else known.run
