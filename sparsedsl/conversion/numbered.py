"""Entries numbered as they come, where that is the order of the target.

Takes: a stream in the order of nested levels.  Gives: statements that count the numbers of each
level, and that store its keys, where its groups end, and the values.  Invariant: a number begins
where the terms of its level, or of one around it, differ from those of the entry before.

No jump depends on where that is, which no processor foresees: what belongs to a number is stored
once more for each of its entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsedsl.conversion import passes
from sparsedsl.conversion.stream import Body, Stream
from sparsedsl.conversion.target import Level
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, Assign, Expr, Stmt, Var


@dataclass(frozen=True, slots=True)
class Numbered:
    """The levels, outermost first; ``distinct`` says that each entry has a number of its own."""

    levels: Sequence[Level]
    read: Reader
    distinct: bool

    def counted(self, stream: Stream) -> list[Stmt]:
        """Number the entries, and store nothing."""
        return self._loops(stream, None, ())

    def stored(
        self, stream: Stream, keys: Callable[[Level], list[Stmt]], value: Body
    ) -> list[Stmt]:
        """Store the ``keys`` of each number of a level, and the ``value`` of each entry."""
        return self._loops(stream, keys, value)

    def _loops(
        self, stream: Stream, keys: Callable[[Level], list[Stmt]] | None, value: Body
    ) -> list[Stmt]:
        made: list[Stmt] = [Assign(_number(level), lb.i(-1)) for level in self.levels]
        body: list[Stmt] = []
        after: list[Stmt] = []
        fresh: Expr = lb.FALSE
        for depth, level in enumerate(self.levels):
            number = _number(level)
            if depth == len(self.levels) - 1 and self.distinct:
                body.append(Assign(number, lb.add(number, 1)))
            else:
                columns = [self.read(term) for term in level.columns]
                latest = [lb.ivar(f"latest_{level.name}_{k}") for k in range(len(columns))]
                made += [Assign(name, passes.BEFORE) for name in latest]
                pairs = list(zip(latest, columns, strict=True))
                new = Var(f"new_{level.name}", BOOL)
                body.append(Assign(new, lb.disj(fresh, *(lb.ne(a, b) for a, b in pairs))))
                body += [Assign(name, column) for name, column in pairs]
                body.append(Assign(number, lb.add(number, lb.select(new, 1, 0))))
                fresh = new
            if keys is not None:
                body += [*keys(level), *self._end(level, after)]
        return [*made, *stream.visit((*body, *value)), *after]

    def _end(self, level: Level, after: list[Stmt]) -> list[Stmt]:
        """Move the end of the group; ``after`` gets what fills in the ends of empty groups."""
        if level.pointer is None:
            return []
        array = f"t_{level.pointer.function}"
        place = lb.add(self.read(level.pointer.arguments[0]), 1)
        if level.parent is None or level.shares != 1:
            after.append(passes.reaching(array, lb.sub(lb.length(array), 1)))
        return [lb.store(array, [place], lb.add(_number(level), 1))]


def _number(level: Level) -> Var:
    return lb.ivar(f"t_{level.name}")
