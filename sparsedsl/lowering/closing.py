"""Where a coordinate of an appended output ends, and what closes it.

Takes: the steps of a nest and a place among them.  Gives: the statements that end the levels
whose coordinates became known just there.
"""

from __future__ import annotations

from sparsedsl.iteration.nodes import Let, Merge, Nest, Scan, Step
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Stmt
from sparsedsl.lowering import deliver as dl
from sparsedsl.lowering.emitter import Emitter


def bound_at(steps: tuple[Step, ...], names: list[str]) -> int:
    """Return how many steps it takes until all of ``names`` are bound."""
    missing = set(names)
    for place, step in enumerate(steps):
        if isinstance(step, Scan | Let | Merge):
            missing.discard(step.variable)
        if not missing:
            return place + 1
    return len(steps) + 1


def closings(
    nest: Nest, sink: dl.Sink, emitter: Emitter, steps: tuple[Step, ...], place: int
) -> list[Stmt]:
    """Return the closings of levels whose last coordinate step ``place - 1`` bound."""
    out: list[Stmt] = []
    levels = nest.assembly.levels
    for k in reversed(range(len(levels) - 1)):
        names = [nest.coordinates[m] for _, m in levels[k].coordinates]
        if bound_at(steps, names) == place:
            known = [emitter.variable(c) if c in names else lb.i(0) for c in nest.coordinates]
            out += dl.close_level(sink, k, known)
    return out
