"""Bound the entries of an output before computing them, by counting visits.

Takes: a nest.  Gives: statements that add the number of visits of its delivering loops to a
variable.  Invariant: at least as many visits are counted as entries can be delivered; finds
and guards are taken to succeed always.
"""

from __future__ import annotations

from sparsedsl.iteration.nodes import (
    Chain,
    Find,
    Guard,
    Let,
    Merge,
    Nest,
    Probe,
    Scan,
    Step,
)
from sparsedsl.iteration.search import depends_on
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Const, Expr, For, Stmt, Var
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term

DEEPEST = 3
"""Loops that counting may nest; deeper counts cost more than growing the output."""


def count_visits(
    nest: Nest, signs: tuple[frozenset[str], ...], emitter: Emitter, room: Var
) -> list[Stmt]:
    """Return statements that add up the visits, or none where they cannot be counted.

    ``signs`` names the variables proved non-negative in each chain.
    """
    out: list[Stmt] = []
    for chain, known in zip(nest.chains, signs, strict=True):
        steps = _delivering(nest, chain)
        if steps is None:
            return []
        emitter.nonnegative = known
        out += _Counter(emitter, room).count(steps)
    return out


def _delivering(nest: Nest, chain: Chain) -> tuple[Step, ...] | None:
    """Return the scans and definitions up to the point where the coordinates are known."""
    missing = {c.name for c in chain.coordinates}
    kept: list[Step] = []
    unknown: set[str] = set()
    for step in nest.prefix + chain.steps:
        if not missing:
            break
        match step:
            case Find(variable):
                unknown.add(variable)
            case Probe():
                unknown |= {s.variable for s in step.steps if isinstance(s, Find | Let)}
            case Guard(constraint):
                # not taken here, so what it keeps in range must not be a subscript
                names = terms.variables(constraint.term)
                loops = {s.variable for s in kept if isinstance(s, Scan | Merge)}
                unknown |= names | (depends_on(tuple(kept), names) - loops)
            case Scan(variable) | Let(variable) | Merge(variable):
                if _reads(step) & unknown:
                    if isinstance(step, Let):
                        unknown.add(variable)
                        missing.discard(variable)
                        continue
                    return None
                kept.append(step)
                missing.discard(variable)
            case _:
                pass
    loops = [place for place, s in enumerate(kept) if isinstance(s, Scan | Merge)]
    if not loops or len(loops) > DEEPEST:
        return None
    return tuple(kept[: loops[-1] + 1])


def _reads(step: Scan | Let | Merge) -> frozenset[str]:
    found: list[Term] = []
    match step:
        case Scan(_, lows, highs, _):
            found += [*lows, *highs]
        case Let(_, value, _, _):
            found.append(value)
        case Merge(_, parts):
            for part in parts:
                found += [*part.lows, *part.highs]
    return frozenset[str]().union(*(terms.variables(t) for t in found))


class _Counter:
    """Emits counting loops; its own variables shadow those of the nest, assigned later."""

    def __init__(self, emitter: Emitter, room: Var) -> None:
        self.emitter = emitter
        self.room = room

    def count(self, steps: tuple[Step, ...]) -> list[Stmt]:
        """Return the loops over all but the last range, and the addition of that one."""
        step, rest = steps[0], steps[1:]
        match step:
            case Let(variable, value, _, _):
                found = self.emitter.term(value)
                if isinstance(found, Var | Const):
                    self.emitter.aliases[variable] = found
                    return self.count(rest)
                return [Assign(self.emitter.bind(variable), found), *self.count(rest)]
            case Scan(variable, lows, highs, _):
                low, high = self._ends(lows, highs)
                if not rest:
                    return [self._add(low, high)]
                loop = self.emitter.bind(variable)
                return [For(loop, low, high, tuple(self.count(rest)))]
            case Merge(_, parts):
                return [self._add(*self._ends(p.lows, p.highs)) for p in parts]
            case _:
                raise AssertionError(f"{step} was not kept")

    def _add(self, low: Expr, high: Expr) -> Stmt:
        length = lb.max_(lb.sub(high, low), 0)
        return Assign(self.room, lb.add(self.room, length))

    def _ends(self, lows: tuple[Term, ...], highs: tuple[Term, ...]) -> tuple[Expr, Expr]:
        return self.emitter.extreme(lows, lb.max_), self.emitter.extreme(highs, lb.min_)
