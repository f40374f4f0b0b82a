"""Entries put down group by group, each group then sorted where it lies.

Takes: a stream in any order, and a target of one term that tells groups apart and one of keys.
Gives: statements that count, and that store entries in order.  Invariant: beside the arrays of
the target there are as many numbers as groups, and the entries of one group.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.conversion import passes
from sparsedsl.conversion.group_sort import Groups
from sparsedsl.conversion.passes import Span
from sparsedsl.conversion.stream import Body, Stream
from sparsedsl.conversion.target import Level, Target
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Allocate, Assign, Expr, For, If, Stmt, Var

NEXT, STARTS = "next_place", "starts"


@dataclass(frozen=True, slots=True)
class Arranged:
    """What the loops are made of.

    ``group`` is the term that tells groups apart; ``distinct`` says that no coordinate comes
    twice, ``together`` that a group comes after the other, ``ordered`` that entries of a group
    come in order.
    """

    stream: Stream
    target: Target
    read: Reader
    group: Span
    index: str
    value: str
    distinct: bool
    together: bool
    ordered: bool

    @property
    def level(self) -> Level:
        """The level that numbers entries."""
        return self.target.levels[-1]

    @property
    def outer(self) -> Level | None:
        """The level that numbers groups with entries, where they are listed."""
        return self.target.levels[0] if len(self.target.levels) > 1 else None

    @property
    def listed(self) -> bool:
        """Whether where groups start is needed for this alone."""
        return self.level.pointer is None or self.outer is not None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The last numbers, which tell how much was written."""
        if self.distinct and self.outer is None:
            return ()
        return tuple(f"t_{level.name}" for level in self.target.levels)

    @property
    def number(self) -> Var:
        """The place of an entry."""
        return lb.ivar(f"t_{self.level.name}")

    @property
    def starts(self) -> str:
        """The array of where groups start: one of the target, or one that is needed for this."""
        pointer = self.level.pointer
        return STARTS if self.listed or pointer is None else f"t_{pointer.function}"

    @property
    def _values(self) -> str:
        return f"t_{self.target.layout.value.function}"

    @property
    def _address(self) -> Expr:
        """The number of an entry's group."""
        pointer = self.level.pointer
        if not self.listed and pointer is not None:
            return self.read(pointer.arguments[0])
        return lb.sub(self.read(self.group.term), self.group.low)

    @property
    def _groups(self) -> Expr:
        return lb.sub(lb.length(self.starts), 1)

    @property
    def _keys(self) -> str:
        return f"t_{self.level.keys[-1][0].function}"

    def counted(self, count: Var) -> list[Stmt]:
        """Find where groups start, and ``count`` the entries."""
        made: list[Stmt] = []
        if self.listed:
            size = lb.add(self.group.size, 1)
            made.append(Allocate(self.starts, self.index, (size,), lb.i(0)))
        add = passes.bump(self.starts, lb.add(self._address, 1))
        made += self.stream.each((add,), (self.group.term,))
        made.append(passes.running(self.starts, self._groups))
        return [*made, Assign(count, lb.load(self.starts, self._groups))]

    def filled(self) -> list[Stmt]:
        """Put the entries down, sort them, and add up those of one coordinate."""
        g, number = lb.ivar("g"), self.number
        owner = lb.add(g, self.group.low)
        whose = [] if self.outer else self.level.keys[:-1]
        own = [lb.store(f"t_{call.function}", [number], owner) for call, _ in whose]
        groups = Groups(
            *(self._keys, self._values, self.starts), self._groups, self.index, self.value
        )
        made = self._in_turn() if self.together else self._spread()
        if not self.distinct:
            made += groups.combined(number)
        elif not self.ordered:
            made += groups.sorted()
        ends = lb.load(self.starts, g), lb.load(self.starts, lb.add(g, 1))
        if own:
            made.append(For(g, lb.i(0), self._groups, (For(number, *ends, tuple(own)),)))
            made.append(Assign(number, lb.sub(lb.load(self.starts, self._groups), 1)))
        return made if self.outer is None else [*made, *self._closed(self.outer)]

    def _closed(self, outer: Level) -> list[Stmt]:
        """List the groups that have entries, and where each ends."""
        assert self.level.pointer is not None
        g, number, last = lb.ivar("g"), lb.ivar(f"t_{outer.name}"), lb.load(STARTS, self._groups)
        end = lb.load(STARTS, lb.add(g, 1))
        ((call, _),) = outer.keys
        fresh: Body = (
            Assign(number, lb.add(number, 1)),
            lb.store(f"t_{call.function}", [number], lb.add(g, self.group.low)),
            lb.store(f"t_{self.level.pointer.function}", [lb.add(number, 1)], end),
        )
        some = If(lb.gt(end, lb.load(STARTS, g)), fresh)
        closed = For(g, lb.i(0), self._groups, (some,))
        return [Assign(number, lb.i(-1)), closed, Assign(self.number, lb.sub(last, 1))]

    @property
    def _stored(self) -> Body:
        key = self.read(self.level.keys[-1][1])
        return (
            lb.store(self._keys, [self.number], key),
            lb.store(self._values, [self.number], Var("v", self.value)),
        )

    def _in_turn(self) -> list[Stmt]:
        """Put entries down as they come."""
        after = Assign(self.number, lb.add(self.number, 1))
        return [Assign(self.number, lb.i(0)), *self.stream.visit((*self._stored, after))]

    def _spread(self) -> list[Stmt]:
        """Put each entry behind the earlier ones of its group."""
        g, address = lb.ivar("g"), self._address
        put: Body = (
            *passes.fetched(self.stream, self.number, NEXT, address, self._stored),
            Assign(self.number, lb.load(NEXT, address)),
            lb.store(NEXT, [address], lb.add(self.number, 1)),
            *self._stored,
        )
        start = lb.store(NEXT, [g], lb.load(self.starts, g))
        return [
            Allocate(NEXT, self.index, (self._groups,)),
            For(g, lb.i(0), self._groups, (start,)),
            *self.stream.visit(put),
        ]
