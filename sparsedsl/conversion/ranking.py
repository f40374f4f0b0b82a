"""Short groups of entries that are sorted by rank: how many keys of the group are lower.

Takes: the arrays of keys and values, and where a group lies in them.  Gives: statements that sort
the entries of the group.  Invariant: sorting is stable, and one key is compared with a register of
others at a time, so that nobody guesses which of two is lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsedsl.conversion.stream import Body
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Assign, Expr, For, If, Part, Stmt, Store, Var
from sparsedsl.loops.vectors import DTYPES, lanes, vector

FEW = 32
"""Entries up to which the keys of a group lie in registers while they are compared."""

SHORT = 256
"""Entries up to which each key of a group is compared with all of them."""

HELD, MOVED, SAME = "held", "moved", "same"
"""Arrays of the keys and values of one group, as they were, and of how many have had each rank."""

FIRST, END, COUNT = lb.ivar("first"), lb.ivar("end"), lb.ivar("count")

REPEATED = lb.ivar("repeated")
"""1 once a group has had two entries of one key."""

_X, _Y, _KEY, _RANK, _TOTAL = (lb.ivar(name) for name in ("x", "y", "key", "rank", "total"))


@dataclass(frozen=True, slots=True)
class Ranking:
    """Arrays of ``keys`` and ``values``, and their dtypes: ``index`` and ``value``.

    A group is at ``FIRST`` up to ``END``, ``COUNT`` entries.
    """

    keys: str
    values: str
    index: str
    value: str

    def few(self) -> Body:
        """Sort a group of at most ``FEW`` entries, unless its keys rise."""
        width = lanes(self._vector)
        starts = range(0, FEW, width)
        made: list[Stmt] = []
        take: list[Stmt] = []
        rising: Expr = lb.i(0)
        rank: Expr = lb.i(0)
        for start in starts:
            keys, left = Var(f"near{start}", self._vector), lb.sub(COUNT, start)
            made.append(Assign(keys, self._part(lb.add(FIRST, start), left)))
            after = self._part(lb.add(FIRST, start + 1), lb.sub(left, 1))
            rising = lb.add(rising, _lower(keys, after, lb.sub(left, 1)))
            rank = lb.add(rank, _lower(keys, _KEY, left))
            take.append(Store(HELD, (lb.i(start),), keys))
        sort = (*take, *self._moved(), *self._put((Assign(_RANK, rank),), lb.i(FEW)))
        return (*made, If(lb.lt(rising, lb.sub(COUNT, 1)), sort))

    def several(self) -> Body:
        """Sort a group of at most ``SHORT`` entries.

        Keys above all others are put behind those of the group, so that registers are full.
        """
        width = lanes(self._vector)
        compared = lb.ivar("compared")
        above = lb.store(HELD, [_X], int(np.iinfo(self.index).max))

        others = lb.load(HELD, _Y, type=self._vector)
        more = Assign(_RANK, lb.add(_RANK, _lower(others, _KEY, lb.i(width))))
        ranked = (Assign(_RANK, lb.i(0)), For(_Y, lb.i(0), compared, (more,), width))
        return (
            self._taken(self.keys, HELD),
            self._taken(self.values, MOVED),
            Assign(compared, lb.bit_and(lb.add(COUNT, width - 1), -width)),
            For(_X, COUNT, compared, (above,)),
            *self._put(ranked, COUNT),
        )

    @property
    def _vector(self) -> str:
        return vector(self.index)

    def _part(self, place: Expr, count: Expr) -> Expr:
        return Part(self.keys, place, count, self._vector)

    def _moved(self) -> list[Stmt]:
        """Take the values of at most ``FEW`` entries, by registers where those can hold them."""
        if self.value not in DTYPES:
            return [self._taken(self.values, MOVED)]
        kind = vector(self.value)
        made: list[Stmt] = []
        for start in range(0, FEW, lanes(kind)):
            place, left = lb.add(FIRST, start), lb.sub(COUNT, start)
            made.append(Store(MOVED, (lb.i(start),), Part(self.values, place, left, kind)))
        return made

    def _taken(self, array: str, apart: str) -> Stmt:
        """Take one array's part of the group."""
        held = lb.load(array, lb.add(FIRST, _X), type=self._type(array))
        return For(_X, lb.i(0), COUNT, (lb.store(apart, [_X], held),))

    def _type(self, array: str) -> str:
        return self.value if array in (self.values, MOVED) else INT

    def _put(self, ranked: Body, ranks: Expr) -> Body:
        """Put each entry where its rank says, which ``ranked`` finds and is below ``ranks``.

        The ranks of different keys are 0, 1, ...; if their sum is less, some keys are equal.  Then
        and from then on each is put behind those of its key that came before.
        """
        to, earlier = lb.ivar("to"), lb.ivar("earlier")
        put: Body = (
            lb.store(self.keys, [to], _KEY),
            lb.store(self.values, [to], lb.load(MOVED, _X, type=self.value)),
        )
        known = (Assign(_KEY, lb.load(HELD, _X)), *ranked)
        place = Assign(to, lb.add(FIRST, _RANK))
        pairs = lb.mul(COUNT, lb.sub(COUNT, 1))
        different = (
            Assign(_TOTAL, lb.i(0)),
            For(_X, lb.i(0), COUNT, (*known, Assign(_TOTAL, lb.add(_TOTAL, _RANK)), place, *put)),
            If(lb.ne(lb.mul(_TOTAL, 2), pairs), (Assign(REPEATED, lb.i(1)),)),
        )
        behind = (
            *known,
            Assign(earlier, lb.load(SAME, _RANK)),
            lb.store(SAME, [_RANK], lb.add(earlier, 1)),
            Assign(to, lb.add(lb.add(FIRST, _RANK), earlier)),
            *put,
        )
        again = (
            For(_X, lb.i(0), ranks, (lb.store(SAME, [_X], 0),)),
            For(_X, lb.i(0), COUNT, behind),
        )
        return (If(lb.eq(REPEATED, 0), different), If(lb.ne(REPEATED, 0), again))


def _lower(keys: Expr, other: Expr, count: Expr) -> Expr:
    """How many of the first ``count`` keys are less than ``other``."""
    return lb.ctpop(lb.apply("lower", keys, other, count, type=INT))
