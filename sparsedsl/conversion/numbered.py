"""Entries numbered as they come, where that is the order of the target.

Takes: a stream in the order of nested levels.  Gives: statements that count the numbers of each
level, and that store its keys, where its groups end, and the values.  Invariant: a number begins
where the terms of its level, or of one around it, differ from those of the entry before.

Within a strip of entries no jump depends on where that is, which no processor foresees: what
belongs to a number is stored once more for each of its entries.  Strips of one group are told by
their last entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsedsl.conversion import passes
from sparsedsl.conversion.order import Columns
from sparsedsl.conversion.stream import Body, Stream
from sparsedsl.conversion.target import Level
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, Assign, Expr, For, If, Stmt, Var
from sparsedsl.spf import terms as t

STRIP = 64
"""Entries of a strip."""


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
        whole = (*body, *value)
        last = self.levels[-1]
        group = self._group if self.distinct else ()
        if stream.strip is None or not group or not _names(group) <= stream.at.keys():
            return [*made, *stream.visit(whole), *after]
        end: Body = ()
        few: Body = (Assign(_number(last), lb.add(_number(last), 1)),)
        if keys is not None:
            end, few = tuple(self._end(last, [])), (*few, *keys(last))
        return [*made, *self._strips(stream, group, whole, ((*few, *value), end)), *after]

    @property
    def _group(self) -> Columns:
        """The terms that tell the groups of the innermost level apart."""
        *outer, last = self.levels
        known = [term for level in outer for term in level.columns]
        return tuple(dict.fromkeys([*known, *last.columns[: last.grouped]]))

    def _strips(
        self, stream: Stream, group: Columns, whole: Body, alike: tuple[Body, Body]
    ) -> list[Stmt]:
        """Go through strips of entries: a shorter body where all are in the group before.

        The terms of groups never decrease: what is the same before a strip and at its end is so
        between.
        """
        assert stream.strip is not None
        strip, low, high = lb.ivar("strip"), lb.ivar("strip_low"), lb.ivar("strip_high")
        before = [lb.ivar(f"before_{k}") for k in range(len(group))]
        here = [lb.ivar(f"here_{k}") for k in range(len(group))]
        ends = (Assign(lb.ivar(n), stream.at[n](lb.sub(high, 1))) for n in sorted(_names(group)))
        terms = (Assign(x, self.read(term)) for x, term in zip(here, group, strict=True))
        same = lb.conj(*(lb.eq(a, b) for a, b in zip(before, here, strict=True)))
        few, end = alike
        assert stream.count is not None
        body: Body = (
            Assign(low, lb.mul(strip, STRIP)),
            Assign(high, lb.min_(lb.add(low, STRIP), stream.count)),
            *ends,
            *terms,
            If(same, (*stream.strip(low, high, few), *end), stream.strip(low, high, whole)),
            *(Assign(a, b) for a, b in zip(before, here, strict=True)),
        )
        count = lb.floordiv(lb.add(stream.count, STRIP - 1), STRIP)
        start = (Assign(x, passes.BEFORE) for x in before)
        return [*start, For(strip, lb.i(0), count, body)]

    def _end(self, level: Level, after: list[Stmt]) -> list[Stmt]:
        """Move the end of the group; ``after`` gets what fills in the ends of empty groups."""
        if level.pointer is None:
            return []
        array = f"t_{level.pointer.function}"
        place = lb.add(self.read(level.pointer.arguments[0]), 1)
        if level.parent is None or level.shares != 1:
            after.append(passes.reaching(array, lb.sub(lb.length(array), 1)))
        return [lb.store(array, [place], lb.add(_number(level), 1))]


def _names(terms: Columns) -> set[str]:
    """The coordinates in terms."""
    return {name for term in terms for name in t.variables(term)}


def _number(level: Level) -> Var:
    return lb.ivar(f"t_{level.name}")
