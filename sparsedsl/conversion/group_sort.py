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
from sparsedsl.conversion.ranking import (
    COUNT,
    END,
    FEW,
    FIRST,
    HELD,
    MOVED,
    REPEATED,
    SAME,
    SHORT,
    Ranking,
)
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

DIGIT = 8
"""Bits that a pass over the keys of a long group looks at."""

DIGITS = "digits"


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
        """Sort the groups that are out of order."""
        return self._each(())

    def combined(self, number: Var) -> list[Stmt]:
        """Sort the groups, and add the values of one key up; ``starts`` follow.

        ``number`` is that of the last key in the end, from 0 on.
        """
        combine = If(lb.ne(REPEATED, 0), self._combined(number), (Assign(number, lb.sub(END, 1)),))
        return [Assign(number, lb.i(-1)), *self._each((combine,))]

    def _each(self, after: Body) -> list[Stmt]:
        """Sort each group, then run ``after``, which may store where the group ends now."""
        g, longest = lb.ivar("g"), lb.ivar("longest")
        size = lb.sub(lb.load(self.starts, lb.add(g, 1)), lb.load(self.starts, g))
        group: Body = (
            Assign(FIRST, END),
            Assign(END, lb.load(self.starts, lb.add(g, 1))),
            Assign(COUNT, lb.sub(END, FIRST)),
            *self._sort(),
            *after,
        )
        return [
            Comment("each group is sorted by itself"),
            Assign(REPEATED, lb.i(0)),
            Assign(longest, lb.i(0)),
            For(g, lb.i(0), self.groups, (Assign(longest, lb.max_(longest, size)),)),
            Allocate(HELD, self.index, (lb.max_(longest, SHORT),)),
            Allocate(MOVED, self.value, (lb.max_(longest, FEW),)),
            Allocate(SAME, self.index, (lb.i(SHORT),)),
            Allocate(DIGITS, "int64", (lb.i((1 << DIGIT) + 1),)),
            Assign(END, lb.i(0)),
            For(g, lb.i(0), self.groups, group),
        ]

    def _combined(self, number: Var) -> Body:
        """Move the keys of a group behind those of the groups before, each once."""
        p, latest, key = (lb.ivar(name) for name in ("p", "latest", "key"))
        fresh = Var("fresh", BOOL)
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
        )
        return (
            Assign(latest, passes.BEFORE),
            Assign(total, lb.const(np.zeros((), self.value).item(), self.value)),
            For(p, FIRST, END, entry),
            lb.store(self.starts, [lb.add(lb.ivar("g"), 1)], lb.add(number, 1)),
        )

    def _key(self, place: Expr) -> Expr:
        return lb.load(self.keys, place)

    def _held(self, array: str, place: Expr) -> Expr:
        return lb.load(array, place, type=self.value)

    def _sort(self) -> Body:
        ranking = Ranking(self.keys, self.values, self.index, self.value)
        longer = If(lb.le(COUNT, SHORT), ranking.several(), self._by_digits())
        return (If(lb.le(COUNT, FEW), ranking.few(), self._where_falling((longer,))),)

    def _where_falling(self, body: Body) -> Body:
        """Run ``body`` for a group whose keys do not rise."""
        p, falls = lb.ivar("p"), Var("falls", self.index)
        not_above = lb.le(self._key(p), self._key(lb.sub(p, 1)))
        more = lb.add(lb.cast(falls, INT), lb.cast(not_above, INT))
        return (
            Assign(falls, lb.const(0, self.index)),
            For(p, lb.add(FIRST, 1), END, (Assign(falls, lb.cast(more, self.index)),)),
            If(lb.ne(lb.cast(falls, INT), 0), body),
        )

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
