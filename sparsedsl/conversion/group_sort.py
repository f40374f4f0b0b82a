"""Groups of entries that are sorted where they lie.

Takes: the arrays of keys and values of entries put down group by group, and where groups start.
Gives: statements that sort the entries of each group, and that add up those of one key.
Invariant: sorting is stable, and what is taken apart at a time is one group, so that no second
list of all entries is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsedsl.conversion import passes
from sparsedsl.conversion.stream import Body
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Allocate,
    Assign,
    Comment,
    Expr,
    For,
    If,
    Select,
    Stmt,
    Var,
    While,
)

SHORT = 64
"""Entries up to which each key of a group is compared with all of them."""

TOGETHER = 16
"""Keys that are compared at a time: what a loop does at once, so that none are left over."""

DIGIT = 8
"""Bits that a pass over the keys of a long group looks at."""

HELD, MOVED, RANKS, SAME, DIGITS = "held", "moved", "ranks", "same", "digits"

FIRST, END, COUNT = lb.ivar("first"), lb.ivar("end"), lb.ivar("count")

REPEATED = lb.ivar("repeated")
"""1 once a group has had two entries of one key."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Arrays of ``keys`` (not negative) and ``values``, and the ``groups`` they lie in.

    Group ``g`` is at ``starts[g]`` up to ``starts[g + 1]``; ``index`` and ``value`` are dtypes.
    """

    keys: str
    values: str
    starts: str
    groups: Expr
    index: str
    value: str

    def sorted(self) -> list[Stmt]:
        """Sort the groups that are out of order; ``REPEATED`` tells whether any key repeats."""
        g, longest, p = lb.ivar("g"), lb.ivar("longest"), lb.ivar("p")
        size = lb.sub(lb.load(self.starts, lb.add(g, 1)), lb.load(self.starts, g))
        falls = Var("falls", self.index)
        not_above = lb.le(self._key(p), self._key(lb.sub(p, 1)))
        more = lb.add(lb.cast(falls, INT), lb.cast(not_above, INT))
        group: Body = (
            Assign(FIRST, lb.load(self.starts, g)),
            Assign(END, lb.load(self.starts, lb.add(g, 1))),
            Assign(falls, lb.const(0, self.index)),
            For(p, lb.add(FIRST, 1), END, (Assign(falls, lb.cast(more, self.index)),)),
            If(lb.ne(lb.cast(falls, INT), 0), self._sort()),
        )
        return [
            Comment("each group is sorted by itself"),
            Assign(REPEATED, lb.i(0)),
            Assign(longest, lb.i(0)),
            For(g, lb.i(0), self.groups, (Assign(longest, lb.max_(longest, size)),)),
            Allocate(HELD, self.index, (lb.max_(longest, SHORT),)),
            Allocate(MOVED, self.value, (longest,)),
            Allocate(RANKS, self.index, (lb.i(SHORT),)),
            Allocate(SAME, self.index, (lb.i(SHORT),)),
            Allocate(DIGITS, "int64", (lb.i((1 << DIGIT) + 1),)),
            For(g, lb.i(0), self.groups, group),
        ]

    def combined(self, number: Var, also: Body) -> list[Stmt]:
        """Add the values of neighbours of one key up; ``starts`` follow.

        ``number`` counts the keys from -1 on; ``also`` runs where it goes on to another.
        """
        g, p, latest, begin = (lb.ivar(name) for name in ("g", "p", "latest", "begin"))
        key, fresh = lb.ivar("key"), Var("fresh", BOOL)
        v, total = Var("v", self.value), Var("total_value", self.value)
        # without branches, which nobody could foresee
        entry: Body = (
            Assign(key, self._key(p)),
            Assign(v, self._held(self.values, p)),
            Assign(fresh, lb.ne(key, latest)),
            Assign(total, Select(fresh, v, lb.apply("add", total, v, type=self.value), self.value)),
            Assign(number, lb.add(number, lb.cast(fresh, INT))),
            Assign(latest, key),
            lb.store(self.keys, [number], key),
            lb.store(self.values, [number], total),
            *also,
        )
        group: Body = (
            Assign(END, lb.load(self.starts, lb.add(g, 1))),
            Assign(latest, passes.BEFORE),
            For(p, begin, END, entry),
            lb.store(self.starts, [lb.add(g, 1)], lb.add(number, 1)),
            Assign(begin, END),
        )
        zero = lb.const(np.zeros((), self.value).item(), self.value)
        start: Body = (Assign(number, lb.i(-1)), Assign(begin, lb.i(0)), Assign(total, zero))
        return [*start, For(g, lb.i(0), self.groups, group)]

    def _key(self, place: Expr) -> Expr:
        return lb.load(self.keys, place)

    def _held(self, array: str, place: Expr) -> Expr:
        return lb.load(array, place, type=self.value)

    def _sort(self) -> Body:
        size = Assign(COUNT, lb.sub(END, FIRST))
        return (size, If(lb.le(COUNT, SHORT), self._ranked(), self._by_digits()))

    def _ranked(self) -> Body:
        """Put each entry behind as many as have a lower key, and those of its key before it.

        Keys above all others are put behind those of the group, so that a multiple of what is
        compared at a time is compared.  The ranks of different keys are 0, 1, ...; if their sum is
        less, some keys are equal.
        """
        x, y, key, total, to = (lb.ivar(name) for name in ("x", "y", "key", "total", "to"))
        rank, compared = Var("rank", self.index), lb.ivar("compared")
        less = lb.cast(lb.lt(lb.load(HELD, y), key), INT)
        more = lb.cast(lb.add(lb.cast(rank, INT), less), self.index)
        count: Body = (
            Assign(key, lb.load(HELD, x)),
            Assign(rank, lb.const(0, self.index)),
            For(y, lb.i(0), compared, (Assign(rank, more),)),
            lb.store(RANKS, [x], lb.cast(rank, INT)),
            Assign(total, lb.add(total, lb.cast(rank, INT))),
        )
        put: Body = (Assign(to, lb.add(FIRST, lb.load(RANKS, x))), *self._stored(to, x))
        pairs = lb.mul(COUNT, lb.sub(COUNT, 1))
        above = lb.store(HELD, [x], int(np.iinfo(self.index).max))
        return (
            self._taken(x),
            Assign(compared, lb.bit_and(lb.add(COUNT, TOGETHER - 1), -TOGETHER)),
            For(x, COUNT, compared, (above,)),
            Assign(total, lb.i(0)),
            For(x, lb.i(0), COUNT, count),
            If(
                lb.eq(lb.mul(total, 2), pairs),
                (For(x, lb.i(0), COUNT, put),),
                self._put_apart(x),
            ),
        )

    def _taken(self, x: Var) -> Stmt:
        """Take the entries of the group out."""
        place = lb.add(FIRST, x)
        take: Body = (
            lb.store(HELD, [x], self._key(place)),
            lb.store(MOVED, [x], self._held(self.values, place)),
        )
        return For(x, lb.i(0), COUNT, take)

    def _stored(self, to: Expr, x: Expr) -> Body:
        """Store entry ``x`` of those taken out."""
        return (
            lb.store(self.keys, [to], lb.load(HELD, x)),
            lb.store(self.values, [to], self._held(MOVED, x)),
        )

    def _put_apart(self, x: Var) -> Body:
        """Put the entries that were taken out behind those of their rank that came before.

        Some keys are equal.
        """
        rank, to = lb.ivar("own_rank"), lb.ivar("to")
        put: Body = (
            Assign(rank, lb.load(RANKS, x)),
            Assign(to, lb.add(lb.add(FIRST, rank), lb.load(SAME, rank))),
            passes.bump(SAME, rank),
            *self._stored(to, x),
        )
        clear = For(x, lb.i(0), COUNT, (lb.store(SAME, [x], 0),))
        return (Assign(REPEATED, lb.i(1)), clear, For(x, lb.i(0), COUNT, put))

    def _by_digits(self) -> Body:
        """Sort by one digit after the other, the lowest first, there and back in a turn."""
        seen, shift, x = lb.ivar("seen"), lb.ivar("shift"), lb.ivar("x")
        look = Assign(seen, lb.bit_or(seen, self._key(lb.add(FIRST, x))))
        own, other = (self.keys, self.values, FIRST), (HELD, MOVED, lb.i(0))
        turn: Body = (
            *self._pass(own, other, shift),
            *self._pass(other, own, lb.add(shift, DIGIT)),
            Assign(shift, lb.add(shift, 2 * DIGIT)),
        )
        more = lb.conj(lb.lt(shift, 64), lb.gt(lb.shift_right(seen, shift), 0))
        start: Body = (Assign(seen, lb.i(0)), Assign(shift, lb.i(0)))
        p = lb.ivar("p")
        equal = lb.cast(lb.eq(self._key(p), self._key(lb.sub(p, 1))), INT)
        told = Assign(REPEATED, lb.bit_or(REPEATED, equal))
        again = For(p, lb.add(FIRST, 1), END, (told,))
        return (*start, For(x, lb.i(0), COUNT, (look,)), While(more, turn), again)

    def _pass(
        self, source: tuple[str, str, Expr], target: tuple[str, str, Expr], shift: Expr
    ) -> Body:
        """Move entries in the order of the digit at ``shift``; arrays come with where to begin."""
        x, digit, place, key = (lb.ivar(name) for name in ("x", "digit", "place", "key"))
        keys, values, begin = source
        read: Body = (
            Assign(place, lb.add(begin, x)),
            Assign(key, lb.load(keys, place)),
            Assign(digit, lb.bit_and(lb.shift_right(key, shift), (1 << DIGIT) - 1)),
        )
        after, to = lb.add(digit, 1), lb.ivar("to")
        move: Body = (
            Assign(to, lb.add(target[2], lb.load(DIGITS, digit))),
            passes.bump(DIGITS, digit),
            lb.store(target[0], [to], key),
            lb.store(target[1], [to], self._held(values, place)),
        )
        clear = lb.store(DIGITS, [digit], 0)
        carry = lb.store(DIGITS, [after], lb.load(DIGITS, digit), "add")
        return (
            For(digit, lb.i(0), lb.length(DIGITS), (clear,)),
            For(x, lb.i(0), COUNT, (*read, passes.bump(DIGITS, after))),
            For(digit, lb.i(0), lb.i(1 << DIGIT), (carry,)),
            For(x, lb.i(0), COUNT, (*read, *move)),
        )
