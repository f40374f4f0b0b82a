"""Where a coordinate of an appended output ends, and what closes it.

Takes: the steps of a nest and a place among them.  Gives: the statements that end the levels
whose coordinates became known just there.
"""

from __future__ import annotations

from sparsedsl.iteration.nodes import Guard, Let, Merge, Nest, Scan, Step
from sparsedsl.iteration.space import extent_name
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Expr, If, Stmt
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
    """Return the closings of levels whose last coordinate step ``place - 1`` bound.

    A coordinate that guards behind its definition keep in range closes nothing outside of it.
    """
    out: list[Stmt] = []
    levels = nest.assembly.levels
    for k in reversed(range(len(levels) - 1)):
        names = [nest.coordinates[m] for _, m in levels[k].coordinates]
        if bound_at(steps, names) == place:
            known = [emitter.variable(c) if c in names else lb.i(0) for c in nest.coordinates]
            closed = dl.close_level(sink, k, known)
            inside = [_in_range(emitter, c) for c in names if _is_guarded(steps, c)]
            out += [If(lb.conj(*inside), tuple(closed))] if inside else closed
    return out


def _is_guarded(steps: tuple[Step, ...], name: str) -> bool:
    """Whether guards follow the definition of a coordinate before the next loop."""
    places = [p for p, s in enumerate(steps) if isinstance(s, Let) and s.variable == name]
    for step in steps[places[0] + 1 :] if places else ():
        if isinstance(step, Guard):
            return True
        if isinstance(step, Scan | Merge):
            return False
    return False


def _in_range(emitter: Emitter, name: str) -> Expr:
    value = emitter.variable(name)
    return lb.conj(lb.ge(value, 0), lb.lt(value, emitter.variable(extent_name(name))))
