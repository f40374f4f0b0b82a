"""Ranges of up to 8 indices searched for one another's at once.

    for p in a .. b:                        met = alike(crd[a ..], b - a, other[c ..], d - c)
        j = crd[p]                          if b - a <= 8 and d - c <= 8:
        q = c                                   while met != 0:
        while q < d:                                p = a + cttz(met) // 8
            if other[q] == j:        =>             q = c + cttz(met) % 8
                break                               met: without the lowest bits, up to those of p
            q += 1                                  j = crd[p]
        if q < d:                                   work
            work                            else:
                                                the loop as it was

How long short ranges are is then not guessed one by one, and nothing is done for what is not found.
``work`` is done for the same ``p`` and ``q`` in the same order.  Takes and gives a kernel that
``loops.verify`` accepts; comes where ``packs`` does, since other passes know no vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import array_dtypes, changes, fresh, names, reads, straight_names
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Binary,
    Break,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Part,
    Stmt,
    Var,
    While,
)
from sparsedsl.loops.walk import with_bodies

LANES = 8
"""Indices of a range that are compared at once: a word has a bit for each pair."""


def meets(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with ranges searched for those of others several at once."""
    straight = straight_names(kernel.body) - set(kernel.results)
    meeting = _Meeting(array_dtypes(kernel), straight, names(kernel))
    return replace(kernel, body=meeting.block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Search:
    """What each turn seeks and where.

    A key is loaded from ``sought`` and compared with ``held``, at ``place``, from ``low`` on and
    before ``high``; where it is found, ``work`` is done.
    """

    before: tuple[Assign, ...]
    sought: Load
    held: Load
    place: Var
    low: Expr
    high: Expr
    work: tuple[Stmt, ...]


class _Meeting:
    """One pass: dtypes of arrays, names that are read in one turn alone, names already taken."""

    def __init__(self, dtypes: dict[str, str], straight: set[str], taken: set[str]) -> None:
        self.dtypes = dtypes
        self.straight = straight
        self.taken = taken

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            search = _search(statement) if isinstance(statement, For) else None
            if isinstance(statement, For) and search and self.possible(statement, search):
                found += self.met(statement, search)
            else:
                found.append(with_bodies(statement, self.block))
        return tuple(found)

    def possible(self, loop: For, found: _Search) -> bool:
        """Whether turns that find nothing do nothing, and no turn changes what others read."""
        kinds = {self.dtypes.get(load.array) for load in (found.sought, found.held)}
        moving = changes(loop.body) | {loop.variable.name}
        told = {found.sought.array, found.held.array, *reads(found.low), *reads(found.high)}
        return (
            len(kinds) == 1
            and kinds <= {"int32", "int64"}
            and all(load.proved for load in (found.sought, found.held))
            and {s.variable.name for s in found.before} <= self.straight
            and not told & moving
        )

    def met(self, loop: For, found: _Search) -> list[Stmt]:
        """Return the loop for short ranges, and as it was for others."""
        turn = loop.variable
        first, past, met, pair = (
            Var(fresh(f"{turn.name}_{what}", self.taken), INT)
            for what in ("first", "past", "met", "pair")
        )
        kind = f"{self.dtypes[found.sought.array]}*{LANES}"
        count, others = build.sub(past, first), build.sub(found.high, found.low)
        keys = Part(found.sought.array, first, count, kind), count
        held = Part(found.held.array, found.low, others, kind), others
        # of one index another range has one at most: its bits go together
        rest = Binary("<<", build.i(-2), build.bit_or(pair, LANES - 1), INT)
        body: tuple[Stmt, ...] = (
            Assign(pair, build.cttz(met)),
            Assign(met, build.bit_and(met, rest)),
            Assign(turn, build.add(first, build.shift_right(pair, 3))),
            *found.before,
            Assign(found.place, build.add(found.low, build.bit_and(pair, LANES - 1))),
            *found.work,
        )
        at_once = While(build.ne(met, 0), body)
        short = build.conj(build.le(count, LANES), build.le(others, LANES))
        return [
            Assign(first, loop.start),
            Assign(past, loop.stop),
            Assign(met, Apply("alike", (*keys, *held), INT)),
            If(short, (at_once,), (replace(loop, start=first, stop=past),)),
        ]


def _search(loop: For) -> _Search | None:
    """Return what each turn of a loop seeks in a range, None for another loop."""
    match loop.body:
        case (
            *before,
            Assign(place, low),
            While(
                Binary("<", at, high),
                (If(Binary("==", Load() as held, key), (Break(),), ()), Assign() as step),
            ),
            If(Binary("<", after, again), work, ()),
        ) if place == at == after and high == again and loop.step == 1:
            assigned = tuple(s for s in before if isinstance(s, Assign))
        case _:
            return None
    if step != Assign(place, build.add(place, 1)) or held.subscripts != (place,):
        return None
    match [s.value for s in assigned if s.variable == key]:
        case [Load(_, (turn,)) as load] if turn == loop.variable and len(assigned) == len(before):
            return _Search(assigned, load, held, place, low, high, work)
        case _:
            return None
