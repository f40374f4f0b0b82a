"""Bound the entries of an output before computing them, by counting visits.

Takes: a nest.  Gives: statements that add the number of visits of its delivering loops to a
variable.  Invariant: at least as many visits are counted as entries can be delivered; finds
and guards are taken to succeed always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from sparsedsl.find.parallel import Shared
from sparsedsl.iteration.counted import Counting, counted_steps, one_range
from sparsedsl.iteration.nodes import Chain, Let, Merge, Nest, Scan, Step
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Const, Expr, For, If, Stmt, Var
from sparsedsl.loops.rows import renamed
from sparsedsl.loops.told import put
from sparsedsl.lowering import pieces
from sparsedsl.lowering.emitter import Emitter
from sparsedsl.spf.nodes import Term


def count_visits(
    nest: Nest,
    signs: tuple[frozenset[str], ...],
    emitter: Emitter,
    room: Var,
    shared: Shared | None,
    *,
    by_rows: bool = False,
) -> list[Stmt]:
    """Return statements that add up the visits, or none where they cannot be counted.

    ``signs`` names the variables proved non-negative in each chain; of the loop ``shared`` a
    piece is counted.  Ranges that make up one range are counted over in one loop, so that the
    length of none is to be foreseen, unless visits are wanted ``by_rows``.
    """
    out: list[Stmt] = []
    steps = [counted_steps(nest, chain) for chain in nest.chains]
    if None in steps:
        return []  # nothing is emitted then: no parameter for ends of a piece
    for chain, known, counted in zip(nest.chains, signs, steps, strict=True):
        assert counted is not None
        emitter.nonnegative = known
        piece = None if shared is None else (nest.prefix + chain.steps)[0]
        counter = _Counter(emitter, room, counted.times, shared, piece, None if by_rows else chain)
        out += counter.count(counted.steps)
    return out


def counting_row(variable: str) -> str:
    """Return the variable of the loop that counts before the loop over ``variable`` runs."""
    return f"{variable}_counted"


def longest_row(
    nest: Nest, signs: tuple[frozenset[str], ...], emitter: Emitter, room: Var
) -> list[Stmt]:
    """Return statements that set ``room`` to the visits of the outermost loop's longest turn.

    There are none where they cannot be counted, or the outermost step is no loop.
    """
    row = Var(f"{room.name}_of_row", room.type)
    counted = count_visits(nest, signs, emitter, row, None, by_rows=True)
    loops = [s for s in counted if isinstance(s, For)]
    if not loops or len(loops) < len(counted) or len({s.variable for s in loops}) > 1:
        return []
    first = loops[0]
    turn = Var(counting_row(first.variable.name), first.variable.type)
    body = renamed(tuple(s for loop in loops for s in loop.body), {first.variable.name: turn.name})
    most = Assign(room, lb.max_(room, row))
    counting = (Assign(row, lb.i(0)), *body, most)
    return [Assign(room, lb.i(0)), For(turn, first.start, first.stop, counting)]


def by_rows(counted: list[Stmt], main: list[Stmt], enough: Expr) -> For | None:
    """Return one loop that counts the entries of a row before it delivers them.

    ``counted`` counts those of all rows, ``main`` delivers; None unless both are a loop over the
    same rows.  A row is left out, and all after it, once there is not ``enough`` room: the caller
    is told how much there must be.
    """
    match counted, main:
        case [For() as count], [For() as loop]:
            rows = (loop.variable, loop.start, loop.stop, loop.step)
            if rows == (count.variable, count.start, count.stop, count.step):
                return replace(loop, body=(*count.body, If(enough, loop.body)))
        case _:
            pass
    return None


class _Counter:
    """Emits counting loops; its own variables shadow those of the nest, assigned later."""

    def __init__(
        self,
        emitter: Emitter,
        room: Var,
        times: int,
        shared: Shared | None,
        piece: Step | None,
        chain: Chain | None,
    ) -> None:
        self.emitter = emitter
        self.room = room
        self.times = times
        self.shared = shared
        self.piece = piece
        self.chain = chain

    def count(self, steps: tuple[Counting, ...]) -> list[Stmt]:
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
                if self.shared is not None and step == self.piece:
                    low, high = pieces.ends(self.shared, step, self.emitter)
                if not rest:
                    return [self._add(low, high)]
                loop = self.emitter.bind(variable)
                joined = None if self.chain is None else one_range(self.chain, steps)
                if joined is not None and joined.later:
                    begin = self.emitter.term(joined.begin)
                    low, high = (put(begin, {loop.name: end}) for end in (low, high))
                    loop, rest = self.emitter.bind(joined.loop.variable), joined.later
                return [For(loop, low, high, tuple(self.count(rest)))]
            case Merge(_, parts):
                return [self._add(*self._ends(p.lows, p.highs)) for p in parts]
            case _:
                assert_never(step)

    def _add(self, low: Expr, high: Expr) -> Stmt:
        visits = lb.mul(lb.max_(lb.sub(high, low), 0), self.times)
        return Assign(self.room, lb.add(self.room, visits))

    def _ends(self, lows: tuple[Term, ...], highs: tuple[Term, ...]) -> tuple[Expr, Expr]:
        return self.emitter.extreme(lows, lb.max_), self.emitter.extreme(highs, lb.min_)
