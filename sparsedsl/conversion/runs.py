"""Numbers that cover intervals: neighbours of a group share one.

Takes: a stream that gives the entries of each group in order, and a level whose numbers cover
intervals.  Gives: statements that count and store the intervals, and that number entries.
Invariant: a number begins where an entry does not follow the one before it of its group, or, where
a number has one value, holds another.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.conversion import passes
from sparsedsl.conversion.stream import Body, Stream, differing
from sparsedsl.conversion.target import Level, Target
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Allocate, Assign, Expr, For, If, Stmt, Var

LATEST, VALUE, NEXT = "latest", "latest_value", "next_number"


@dataclass(frozen=True, slots=True)
class Runs:
    """What the loops are made of.

    ``address`` is the number of an entry's group, ``groups`` how many there are; ``pointer`` holds
    where the numbers of each group start.
    """

    stream: Stream
    target: Target
    level: Level
    read: Reader
    address: Expr
    groups: Expr
    index: str
    value: str

    @property
    def pointer(self) -> str:
        """The array of starts."""
        assert self.level.pointer is not None
        return f"t_{self.level.pointer.function}"

    def _each(self, fresh: Body, body: Body) -> list[Stmt]:
        """Visit the entries; run ``fresh`` where a number begins, then ``body``."""
        assert self.level.along is not None
        group, place, v = lb.ivar("run_group"), lb.ivar("run_place"), Var("v", self.value)
        follows = lb.add(lb.load(LATEST, group), 1)
        begins = lb.ne(follows, place)
        keep = [lb.store(LATEST, [group], place)]
        made: list[Stmt] = [Allocate(LATEST, "int64", (self.groups,), passes.BEFORE)]
        if self.level.by_value:
            begins = lb.disj(begins, differing(v, lb.load(VALUE, group, type=self.value)))
            keep.append(lb.store(VALUE, [group], v))
            made.append(Allocate(VALUE, self.value, (self.groups,)))
        known = (Assign(group, self.address), Assign(place, self.read(self.level.along)))
        return [*made, *self.stream.visit((*known, If(begins, fresh), *keep, *body))]

    def _started(self) -> list[Stmt]:
        """``next_number``: where each group starts."""
        g = lb.ivar("g")
        start = lb.store(NEXT, [g], lb.load(self.pointer, g))
        return [Allocate(NEXT, self.index, (self.groups,)), For(g, lb.i(0), self.groups, (start,))]

    def counted(self) -> list[Stmt]:
        """Count the numbers of each group, then store what bounds them and follows from that."""
        n, b = lb.ivar("n"), lb.ivar(f"t_{self.level.name}")
        count = (passes.bump(self.pointer, lb.add(lb.ivar("run_group"), 1)),)
        made = [
            *self._each(count, ()),
            passes.running(self.pointer, self.groups),
            Assign(n, lb.load(self.pointer, self.groups)),
            *self._started(),
        ]
        edges = self.target.edges
        made += [Allocate(f"t_{edge.call.function}", self.index, (n,)) for edge in edges]
        stores = {side: self._stored(side) for side in (1, -1)}
        made += self._each((*self._numbered(), *stores[1]), (self._number(), *stores[-1]))
        for item in self.target.steps:
            array = f"t_{item.function}"
            made.append(Allocate(array, self.index, (lb.add(n, 1),)))
            made.append(lb.store(array, [0], self.read(item.first)))
            after = lb.add(lb.load(array, b), self.read(item.step))
            made.append(For(b, lb.i(0), n, (lb.store(array, [lb.add(b, 1)], after),)))
        return made

    def _stored(self, side: int) -> Body:
        """Store the least, or greatest, of what a number covers."""
        return tuple(
            lb.store(
                f"t_{edge.call.function}",
                [self.read(x) for x in edge.call.arguments],
                lb.add(self.read(edge.key), edge.slack),
            )
            for edge in self.target.edges
            if edge.side == side
        )

    def _numbered(self) -> Body:
        """Take the group's next number."""
        group, b = lb.ivar("run_group"), lb.ivar(f"t_{self.level.name}")
        return Assign(b, lb.load(NEXT, group)), lb.store(NEXT, [group], lb.add(b, 1))

    def _number(self) -> Stmt:
        """The number that an entry shares."""
        last = lb.sub(lb.load(NEXT, lb.ivar("run_group")), 1)
        return Assign(lb.ivar(f"t_{self.level.name}"), last)

    def filled(self, body: Body) -> list[Stmt]:
        """Run ``body`` for each entry with its number."""
        return [*self._started(), *self._each(self._numbered(), (self._number(), *body))]

    @property
    def made(self) -> tuple[str, ...]:
        """The arrays that ``counted`` makes."""
        names = (edge.call.function for edge in self.target.edges)
        return (*names, *(step.function for step in self.target.steps))
