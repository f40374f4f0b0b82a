"""Entries numbered as they come, where that is the order of the target.

Takes: a stream in the order of nested levels.  Gives: statements that count the numbers of each
level, and that store its keys, where its groups end, and the values.  Invariant: a number begins
where the terms of its level differ from those of the entry before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsedsl.conversion import passes
from sparsedsl.conversion.stream import Body, Stream
from sparsedsl.conversion.target import Level
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, If, Stmt


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
        """Store the ``keys`` of each new number of a level, and the ``value`` of each entry."""
        return self._loops(stream, keys, value)

    def _loops(
        self, stream: Stream, keys: Callable[[Level], list[Stmt]] | None, value: Body
    ) -> list[Stmt]:
        levels = self.levels
        made: list[Stmt] = [Assign(lb.ivar(f"t_{level.name}"), lb.i(-1)) for level in levels]
        body: list[Stmt] = []
        after: list[Stmt] = []
        for depth, level in enumerate(levels):
            number = lb.ivar(f"t_{level.name}")
            new: list[Stmt] = [Assign(number, lb.add(number, 1))]
            if keys is not None:
                new += [*keys(level), *self._end(level, after)]
            if depth == len(levels) - 1 and self.distinct:
                body += new
                continue
            columns = [self.read(term) for term in level.columns]
            latest = [lb.ivar(f"latest_{level.name}_{k}") for k in range(len(columns))]
            made += [Assign(name, passes.BEFORE) for name in latest]
            pairs = list(zip(latest, columns, strict=True))
            new += [Assign(name, column) for name, column in pairs]
            if depth + 1 < len(levels):
                below = levels[depth + 1]
                names = (f"latest_{below.name}_{k}" for k in range(len(below.columns)))
                if depth + 2 < len(levels) or not self.distinct:
                    new += [Assign(lb.ivar(name), passes.BEFORE) for name in names]
            body.append(If(lb.disj(*(lb.ne(a, b) for a, b in pairs)), tuple(new)))
        return [*made, *stream.visit((*body, *value)), *after]

    def _end(self, level: Level, after: list[Stmt]) -> list[Stmt]:
        """Move the end of the group; ``after`` gets what adds counts up in the end."""
        if level.pointer is None:
            return []
        array, number = f"t_{level.pointer.function}", lb.ivar(f"t_{level.name}")
        place = lb.add(self.read(level.pointer.arguments[0]), 1)
        if level.parent is not None and level.shares == 1:
            # every parent has children: the last one to come is where they end
            return [lb.store(array, [place], lb.add(number, 1))]
        after.append(passes.running(array, lb.sub(lb.length(array), 1)))
        return [passes.bump(array, place)]
