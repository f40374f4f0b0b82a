"""The first entries of short rows taken in one vector, less those that a row does not have.

    for i in 0 .. n:                        whole = n, without rows that begin too near the end
        for p in a[i] .. a[i + 1]:          for i in 0 .. whole:
            s += A[p] * x[j[p]]    =>           lanes = A[a[i] ..+4] * x[j[a[i] ..+4]]
                                                s += total(lanes, the first a[i + 1] - a[i])
                                                for p in a[i] + 4 .. a[i + 1]:
                                                    s += A[p] * x[j[p]]
                                            for i in whole .. n: as it was

One instruction multiplies four entries, and rows of up to four have no turns of a loop.  What is
read of entries that a row does not have is of later rows, which are there: rows with less than four
entries from their first one to the last of all are left as they were.  What else a loop does stays
a loop.  Sums are taken in another order than one by one, which follows from the pointers alone: it
is the same for every number of threads, and beside other outputs.  Takes and gives a kernel that
``loops.verify`` accepts; no pass comes after this one, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names, uses
from sparsedsl.loops.lanes import entries_from, is_gathered
from sparsedsl.loops.lifting import put, substituted
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Comment,
    Expr,
    For,
    Kernel,
    Load,
    Part,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.vectors import lanes, vector
from sparsedsl.loops.walk import expressions, statements, with_bodies

FEWEST, MOST = 2.5, 7.0
"""Entries of a row on average from which on, and up to which, it is faster."""

KIND = vector("float64", 0.5)
"""The type of four entries; with eight, most lanes would be of other rows."""

WIDTH = lanes(KIND)


def firsts(kernel: Kernel, short: Iterable[tuple[frozenset[str], float]]) -> Kernel:
    """Return ``kernel`` with sums over what an index array points to begun by a vector.

    Parameters
    ----------
    kernel:
        A verified kernel.
    short:
        The arrays of each operand whose rows have few entries, and how many.  What ranges its
        pointers bound are all of its entries, one after another.
    """
    entries = [arrays for arrays, row in short if FEWEST <= row <= MOST]
    return replace(kernel, body=_Firsts(kernel, entries).block(kernel.body)) if entries else kernel


def begun_by_vectors(kernel: Kernel) -> int:
    """Return how many sums of a kernel are begun by a vector."""
    found = 0
    for statement in statements(kernel.body):
        match statement:
            case Assign(_, Apply("add", (_, Apply("total", (Apply("first", type=kind),))))) if (
                kind == KIND
            ):
                found += 1
            case _:
                pass
    return found


@dataclass(frozen=True, slots=True)
class _Sum:
    """A sum of a row, the entries it begins with, and an array as long as they are."""

    statement: Assign
    value: Expr
    array: str


class _Firsts:
    """One pass: arrays of one axis, those of indices and of short rows, names read or taken."""

    def __init__(self, kernel: Kernel, entries: Sequence[frozenset[str]]) -> None:
        given = {
            p.name: p.dtype for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1
        }
        made = {
            s.array: s.dtype
            for s in statements(kernel.body)
            if isinstance(s, Allocate) and len(s.shape) == 1
        }
        self.given = given.keys() - changes(kernel.body)
        self.one = {name for name, dtype in (given | made).items() if dtype == "float64"}
        self.indices = {x for x in self.given if given[x] in ("int32", "int64")}
        self.entries = entries
        self.straight = straight_names(kernel.body) - set(kernel.results)
        self.taken = names(kernel)

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            made = self.rows(statement) if isinstance(statement, For) else None
            found += [with_bodies(statement, self.block)] if made is None else made
        return tuple(found)

    def rows(self, rows: For) -> list[Stmt] | None:
        """Return a loop over rows twice, first with sums begun by vectors; None for another one."""
        if rows.step != 1 or changes(rows.body) & (reads(rows.start) | reads(rows.stop)):
            return None
        body: list[Stmt] = []
        ends: list[tuple[str, str]] = []
        for statement in rows.body:
            sums = self.sums(statement, rows.variable) if isinstance(statement, For) else ()
            if not sums or not isinstance(statement, For):
                body.append(statement)
                continue
            body += self.begun(statement, sums)
            assert isinstance(statement.start, Load)
            ends += [(statement.start.array, each.array) for each in sums]
        if not ends:
            return None
        whole = build.ivar(fresh(f"{rows.variable.name}_whole", self.taken))
        before = build.sub(whole, 1)
        near = build.disj(
            *(
                build.lt(build.length(array), build.add(build.load(pointers, before), WIDTH))
                for pointers, array in dict.fromkeys(ends)
            )
        )
        return [
            Comment("rows that begin too near the end have no four entries to be read"),
            Assign(whole, rows.stop),
            While(build.conj(build.lt(rows.start, whole), near), (Assign(whole, before),)),
            replace(rows, stop=whole, body=tuple(body)),
            replace(rows, start=build.max_(rows.start, whole)),
        ]

    def sums(self, loop: For, row: Var) -> tuple[_Sum, ...]:
        """Return the sums of a row that can be begun by a vector."""
        match loop.start, loop.stop:
            case Load(first, (place,)), Load(past, (after,)) if (
                first == past and place == row and after == build.add(row, 1) and loop.step == 1
            ):
                pass
            case _:
                return ()
        steps: list[Assign] = []
        found: list[_Sum] = []
        for at, statement in enumerate(loop.body):
            match statement:
                case Comment() | Store(combine="add", passing=None):
                    pass
                case Assign(total, Apply("add", (start, value))) if start == total:
                    others = (*loop.body[:at], *loop.body[at + 1 :])
                    if total.name in {*uses(others), *changes(others), *reads(value)}:
                        return ()
                    begin = self.vector(substituted(value, steps), total, loop)
                    found += [] if begin is None else [_Sum(statement, *begin)]
                case Assign(variable) if variable.name in self.straight:
                    steps.append(statement)
                case _:
                    return ()
        return tuple(found) if first in self.given else ()

    def vector(self, value: Expr, total: Var, loop: For) -> tuple[Expr, str] | None:
        """Return the first entries of a row and an array of entries; None if they are no vector."""
        if total.type != "float64":
            return None
        moving = {loop.variable.name, *changes(loop.body)}
        found = entries_from(
            value, loop.variable, KIND, build.i(WIDTH), moving, (self.one, self.indices)
        )
        if found is None or not is_gathered(found):
            return None
        read = {e for e in expressions(found) if isinstance(e, Part)}
        arrays = {e.through or e.array for e in read}
        if not arrays <= self.given or not any(arrays <= known for known in self.entries):
            return None
        if any(e.array in changes(loop.body) for e in read):
            return None
        left = build.sub(loop.stop, loop.start)
        first = put(found, loop.variable, loop.start)
        return Apply("first", (first, left, build.const(0.0, "float64")), KIND), min(arrays)

    def begun(self, loop: For, sums: Sequence[_Sum]) -> list[Stmt]:
        """Return the first vectors, what else the loop does for those entries, and the others."""
        own = {id(each.statement) for each in sums}
        past = build.add(loop.start, WIDTH)
        found: list[Stmt] = []
        for each in sums:
            total = each.statement.variable
            lone = Apply("total", (each.value,), total.type)
            found.append(Assign(total, Apply("add", (total, lone), total.type)))
        rest = tuple(s for s in loop.body if id(s) not in own)
        steps = [s for s in rest if isinstance(s, Assign) and s.variable.name in self.straight]
        if any(s not in steps and not isinstance(s, Comment) for s in rest):
            found.append(replace(loop, stop=build.min_(loop.stop, past), body=rest))
        return [*found, replace(loop, start=past)]
