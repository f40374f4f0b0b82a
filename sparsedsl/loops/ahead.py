"""Entries of large operands that are read one after another, fetched a page ahead.

    for i in 0 .. n:                        for i in 0 .. n:
        for p in a[i] .. a[i + 1]:              prefetch A[a[i] + 512]
            ... A[p] * x[j[p]]          =>      prefetch j[a[i] + 1024]
                                                for line in a[i] + 8 .. a[i + 1] by 8:
                                                    prefetch A[line + 512]
                                                    prefetch j[line + 1024]
                                                for p in a[i] .. a[i + 1]:
                                                    ... A[p] * x[j[p]]

A processor follows such a stream by itself, but not over the end of a page, and loses it between
reads that lie anywhere.  Rows that a cache line holds on average have no loop over lines, nor have
those beside which nothing is read anywhere; loops of vectors and blocks fetch in their turns.
Where an entry has a loop of its own, that takes longer than to read the entry.  What is fetched may
lie outside of the array; a prefetch changes no value.  Takes and gives a kernel that
``loops.verify`` accepts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sparsedsl.loops import build
from sparsedsl.loops.effects import fresh, names
from sparsedsl.loops.nodes import (
    INT,
    ArrayParam,
    Assign,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Part,
    Prefetch,
    Stmt,
    Var,
    While,
)
from sparsedsl.loops.vectors import BYTES
from sparsedsl.loops.walk import bodies, expressions, operands, statements, with_bodies

PAGE = 4096
"""Bytes between what is read and what is fetched: processors foresee no further.

For blocks it is twice as much: they are read as fast as memory gives them.
"""


def ahead(kernel: Kernel, streams: Mapping[str, float]) -> Kernel:
    """Return ``kernel`` with entries fetched ahead of the loops that read them row by row.

    Parameters
    ----------
    kernel:
        A verified kernel.
    streams:
        Those of its arguments that are larger than caches, with the elements a row is expected to
        have.
    """
    sizes = {
        p.name: np.dtype(p.dtype).itemsize
        for p in kernel.params
        if isinstance(p, ArrayParam) and p.name in streams
    }
    fetching = _Ahead(sizes, streams, names(kernel))
    return replace(kernel, body=fetching.block(kernel.body, None, {})) if sizes else kernel


@dataclass(frozen=True, slots=True)
class _Ahead:
    """One pass: bytes of elements, expected lengths of rows, and names already taken."""

    sizes: Mapping[str, int]
    rows: Mapping[str, float]
    taken: set[str]

    def block(
        self, body: tuple[Stmt, ...], turn: Var | None, known: Mapping[Expr, Expr]
    ) -> tuple[Stmt, ...]:
        """Change statements in a turn of a loop; each row of an array is fetched once.

        ``known`` are variables with what they were assigned in this turn.
        """
        found: list[Stmt] = []
        fetched: set[tuple[str, Expr]] = set()
        starts = dict(known)
        for statement in body:
            if isinstance(statement, Assign):
                starts[statement.variable] = statement.value
                found += self.compared(statement, starts, turn)
            if not isinstance(statement, For):
                found.append(with_bodies(statement, lambda inner: self.block(inner, turn, starts)))
                continue
            if turn is not None and _follows(statement.start, turn) and _short(statement):
                read = dict.fromkeys(_read(statement.body, statement.variable))
                new = [a for a in read if a in self.sizes and (a, statement.start) not in fetched]
                fetched |= {(array, statement.start) for array in new}
                found += self.fetched(statement, new)
                statement = self.fetching(statement, new)
                statement = self.blocks(statement)
            turning = statement.variable if statement.step == 1 else None
            found.append(replace(statement, body=self.block(statement.body, turning, {})))
        return tuple(found)

    def compared(
        self, statement: Assign, starts: Mapping[Expr, Expr], turn: Var | None
    ) -> Iterator[Stmt]:
        """Yield what fetches the elements after those of short rows that are read at once."""
        rows = [node for node in expressions(statement.value) if isinstance(node, Part)]
        for node in rows:
            start = starts.get(node.place, node.place)
            if turn is not None and node.array in self.sizes and _follows(start, turn):
                place = build.add(node.place, PAGE // self.sizes[node.array])
                yield Prefetch(node.array, (place,), to_store=False)

    def fetching(self, loop: For, arrays: list[str]) -> For:
        """Return a loop of vectors, each a line, that fetches one in each turn."""
        if loop.step == 1:
            return loop
        places = ((a, build.add(loop.variable, PAGE // self.sizes[a])) for a in arrays)
        lines = (Prefetch(array, (place,), to_store=False) for array, place in places)
        return replace(loop, body=(*lines, *loop.body))

    def blocks(self, loop: For) -> For:
        """Return a loop that fetches the lines of one later block in each turn."""
        found: list[Stmt] = []
        for array, shape in _blocks(loop):
            if array in self.sizes:
                size = self.sizes[array]
                later = build.add(loop.variable, math.ceil(2 * PAGE / (size * math.prod(shape))))
                for at in range(0, math.prod(shape), BYTES // size):
                    inside = (build.i(at // shape[1]), build.i(at % shape[1]))
                    found.append(Prefetch(array, (later, *inside), to_store=False))
        return replace(loop, body=(*found, *loop.body))

    def fetched(self, loop: For, arrays: list[str]) -> Iterator[Stmt]:
        """Yield what fetches the elements of a row of some arrays, each a page ahead."""
        if not arrays:
            return
        yield Comment("entries that are read a page later")
        for array in arrays:
            place = build.add(loop.start, PAGE // self.sizes[array])
            yield Prefetch(array, (place,), to_store=False)
        long = [a for a in arrays if self.rows[a] * self.sizes[a] > BYTES]
        if not long or not _points(loop) or loop.step > 1:
            return
        step = BYTES // max(self.sizes[a] for a in long)
        line = Var(fresh(f"{long[0]}_line", self.taken), INT)
        body = tuple(
            Prefetch(a, (build.add(line, PAGE // self.sizes[a]),), to_store=False) for a in long
        )
        yield For(line, build.add(loop.start, step), loop.stop, body, step)


def _follows(start: Expr, turn: Var) -> bool:
    """Whether a row starts where the row of the turn before ends: a pointer of this turn says."""
    return isinstance(start, Load) and start.subscripts == (turn,)


def _short(loop: For) -> bool:
    """Whether little is done for an entry: nothing that loops."""
    return not any(isinstance(s, For | While) for s in statements(loop.body))


def _points(loop: For) -> bool:
    """Whether a loop reads indices, by which it reads or writes anywhere."""
    loads = (e for s in loop.body for o in operands(s) for e in expressions(o))
    return any(isinstance(e, Load) and e.type == INT for e in loads)


def _blocks(loop: For) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the arrays of which a block is read in each turn, and its shape."""
    shapes: dict[str, tuple[int, int]] = {}
    for statement in loop.body:
        for node in (e for operand in operands(statement) for e in expressions(operand)):
            match node:
                case Load(array, (place, Const(row, "int"), Const(column, "int"))) if (
                    place == loop.variable
                ):
                    rows, columns = shapes.get(array, (0, 0))
                    shapes[array] = max(rows, int(row.real) + 1), max(columns, int(column.real) + 1)
                case _:
                    pass
    yield from shapes.items()


def _read(body: Iterable[Stmt], place: Var) -> Iterator[str]:
    """Yield the arrays that are read at ``place``, whatever conditions there are."""
    for statement in body:
        for operand in operands(statement):
            for node in expressions(operand):
                match node:
                    case Load(array, (subscript,)) if subscript == place:
                        yield array
                    case Part(array, subscript, through=through) if subscript == place:
                        yield through or array
                    case _:
                        pass
        if not isinstance(statement, If):
            for inner in bodies(statement):
                yield from _read(inner, place)
