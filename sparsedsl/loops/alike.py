"""Runs of rows with equal indices, found as a loop comes to them.

    for i in a .. b:                    past = a
        row i                =>         for i in a .. b:
                                            if i == past:
                                                first = i
                                                past = the row after those that equal row i
                                                together = there are such rows, or the one before
                                            row i

Rows ``first .. past`` have as many entries each, with the same indices in the same order, and are
at most ``most``.  Whether a row is taken ``together`` with others is the same wherever the loop
begins: it has neighbours that equal it, or has not.  How many are taken at once is not: what
is computed of a row must not depend on the others.  Takes and gives statements of the loop IR.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sparsedsl.loops import build
from sparsedsl.loops.effects import fresh
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Assign,
    Binary,
    Comment,
    Expr,
    For,
    If,
    Kernel,
    Stmt,
    Var,
    While,
)
from sparsedsl.loops.walk import statements

TOLD = "rows with equal indices from here on, which are taken together"
"""What a kernel says where it looks for them."""

ROOM = 1024
"""Most entries of rows that are taken together: what is kept of them stays in the first cache."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The arrays of a sparse operand that tell where rows begin, and the indices of entries."""

    pointer: str
    indices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """A loop's variable, and those that say which rows are taken together with its row.

    ``same`` is 1 where a row was found to equal the one before, or it was not asked, and ``asked``
    what that was; ``entry``, ``length`` and ``differ`` compare two rows.
    """

    row: Var
    first: Var
    past: Var
    together: Var
    same: Var
    asked: Var
    entry: Var
    length: Var
    differ: Var

    @property
    def place(self) -> Expr:
        """The number of the loop's row among those that are taken together."""
        return build.sub(self.row, self.first)


def takes_rows_together(kernel: Kernel) -> bool:
    """Whether a kernel takes rows together that turn out to have equal indices."""
    return any(s == Comment(TOLD) for s in statements(kernel.body))


def runs(row: Var, taken: set[str]) -> Runs:
    """Return variables for a loop over rows, their names not among those ``taken``."""

    def named(what: str, type: str = INT) -> Var:
        return Var(fresh(f"{row.name}_{what}", taken), type)

    return Runs(
        *(row, named("first"), named("past"), named("together", BOOL), named("same")),
        *(named("asked"), named("entry"), named("length"), named("differ")),
    )


def begun(found: Runs, start: Expr) -> tuple[Stmt, ...]:
    """Return what comes before a loop over rows from ``start`` on."""
    return (
        Assign(found.first, start),
        Assign(found.past, start),
        Assign(found.together, build.FALSE),
        Assign(found.same, build.i(1)),
    )


def looked_for(
    found: Runs, rows: Iterable[Rows], most: int, then: tuple[Stmt, ...] = ()
) -> tuple[Stmt, ...]:
    """Return what a turn of the loop begins with: which rows are taken together from it on.

    Parameters
    ----------
    found:
        The loop's variables.
    rows:
        Operands whose rows are to be equal, each.
    most:
        Rows that are taken together.
    then:
        What is done once for rows that are.
    """
    several = tuple(rows)
    count = build.sub(found.past, found.first)
    ends = [
        build.sub(build.length(pointer), 1) for pointer in dict.fromkeys(r.pointer for r in several)
    ]
    goes_on = build.conj(
        *(build.ne(found.same, 0), build.lt(count, most)),
        *(build.lt(found.past, end) for end in ends),
    )
    # a row that is not like the next one may be like the one before, of another part or run
    before = build.conj(build.eq(count, 1), build.ne(found.asked, 0), build.lt(0, found.first))
    return (
        Comment(TOLD),
        Assign(found.asked, found.same),
        Assign(found.first, found.row),
        Assign(found.past, build.add(found.row, 1)),
        Assign(found.same, build.i(1)),
        While(
            goes_on,
            (
                *_compared(found, several, found.past),
                Assign(found.past, build.add(found.past, found.same)),
            ),
        ),
        Assign(found.together, build.lt(1, count)),
        If(
            before,
            (
                Assign(found.asked, found.same),
                *_compared(found, several, found.first),
                Assign(found.together, build.ne(found.same, 0)),
                Assign(found.same, found.asked),
            ),
        ),
        *((If(found.together, then),) if then else ()),
    )


def _compared(found: Runs, several: tuple[Rows, ...], row: Expr) -> tuple[Stmt, ...]:
    """Return what sets ``same`` to whether a row equals the one before, which is there."""
    before = build.sub(row, 1)

    def length(rows: Rows, row: Expr) -> Expr:
        return build.sub(build.load(rows.pointer, build.add(row, 1)), build.load(rows.pointer, row))

    lengths = [build.eq(length(rows, row), length(rows, before)) for rows in several]
    short = [build.le(length(rows, row), ROOM) for rows in several]
    body: tuple[Stmt, ...] = ()
    for rows in reversed(several):
        low, past = build.load(rows.pointer, before), build.load(rows.pointer, row)
        differ: Expr = found.differ
        for array in rows.indices:
            other = build.load(array, build.add(found.entry, found.length))
            pair = Binary("^", build.load(array, found.entry), other, INT)
            differ = build.bit_or(differ, pair)
        body = (
            Assign(found.length, length(rows, before)),
            Assign(found.differ, build.i(0)),
            For(found.entry, low, past, (Assign(found.differ, differ),)),
            Assign(found.same, build.cast(build.eq(found.differ, 0), INT)),
            *((If(build.ne(found.same, 0), body),) if body else ()),
        )
    return (
        Assign(found.same, build.cast(build.conj(*lengths, *short), INT)),
        If(build.ne(found.same, 0), body),
    )
