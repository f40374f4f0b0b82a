"""The first entries of short rows, computed whether a row has them or not.

    for i in 0 .. n:                    if heads:
        for p in a[i] .. a[i + 1]:          for i in 0 .. n:
            j = indices[p]        =>            for head in 0 .. 2:
            s += A[p] * x[j]                        p = min(a[i] + head, last)
                                                    j = indices[p]
                                                    if a[i] + head < a[i + 1], without a branch:
                                                        s += A[p] * x[j]
                                                for p in a[i] + heads .. a[i + 1]:
                                                    j = indices[p]
                                                    s += A[p] * x[j]
                                        else: as before

How many entries a row has is what a processor guesses wrongly row by row, and waits for longer than
for the entries.  What is computed of entries that a row does not have is of later rows', or of the
last entry; it is not kept.  Rows that are all as long are guessed rightly: the kernel looks at some
first, and ``heads`` is 0 there.  Sums have the same terms in the same order.  Rows that are sought,
not met one after another, are left as they are where they are added to elements far apart: those
that are touched in vain are not the next row's.  Takes and gives a kernel that ``loops.verify``
accepts; no pass comes after this one but ``firsts``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names, uses
from sparsedsl.loops.lifting import put, substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Prefetch,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.vectors import ARITHMETIC
from sparsedsl.loops.verify import kind
from sparsedsl.loops.walk import statements, with_bodies

MOST = 6
"""Most entries of a row that are computed anyway: more take longer than a wrong guess."""

SPREAD = 1.5
"""How many are, as a multiple of those that a row has on average.

Of rows that entries fall into by chance most have no more: 1 to 6 were the fastest for rows of 0.5
to 8 entries.
"""

ROWS = 1 << 13
"""Rows from which on their lengths are not learnt from one call to the next."""

SAMPLES = 64
"""Pairs of rows next to each other that are looked at."""

UNEVEN = 4
"""One in so many pairs has to differ in length for the first entries to be computed anyway."""


def heads(
    kernel: Kernel,
    short: Iterable[tuple[frozenset[str], float]],
    parts: tuple[str, str] | None = None,
) -> Kernel:
    """Return ``kernel`` with the first entries of short rows computed anyway.

    Parameters
    ----------
    kernel:
        A verified kernel.
    short:
        The arrays of each operand whose rows have few entries, and how many.  What ranges its
        pointers bound are all of its entries, one after another.
    parts:
        The arrays of places where a thread's parts of the rows begin and end, if there are any.
        First entries are only computed where these are the whole rows: what others are added to
        another thread writes.
    """
    counts = [(arrays, min(max(math.ceil(SPREAD * n), 1), MOST)) for arrays, n in short]
    begun = _Heads(counts, parts, kernel)
    body = begun.block(kernel.body)
    return replace(kernel, body=(*begun.begin, *body))


def without_branch(kernel: Kernel) -> int:
    """Return how many statements of a kernel add what first entries give."""
    return sum(len(s.then) for s in statements(kernel.body) if isinstance(s, If) and s.even)


@dataclass(frozen=True, slots=True)
class _Row:
    """A loop over entries, what its turns read first and what they add; an array of entries.

    ``count`` first entries are to be computed anyway.
    """

    loop: For
    begin: tuple[Assign | Prefetch, ...]
    kept: tuple[Assign | Store, ...]
    array: str
    count: int


class _Heads:
    """One pass: the arrays of short rows, those of threads' parts, names that are read or taken.

    ``begin`` is what the kernel begins with: what tells how many entries are computed anyway.
    """

    def __init__(
        self,
        short: list[tuple[frozenset[str], int]],
        parts: tuple[str, str] | None,
        kernel: Kernel,
    ) -> None:
        given = {p.name for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1}
        self.given = given - changes(kernel.body)
        self.short = short
        self.parts = parts
        self.straight = straight_names(kernel.body) - set(kernel.results)
        self.taken = names(kernel)
        self.turns = {s.variable for s in statements(kernel.body) if isinstance(s, For)}
        self.begin: list[Stmt] = []
        self.told: dict[tuple[str, str], tuple[Var, Var]] = {}

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(s for statement in body for s in self.statement(statement))

    def statement(self, statement: Stmt) -> tuple[Stmt, ...]:
        """Return a statement with first entries of rows; an outermost loop also as it was.

        In that one, nothing is asked row by row where none are computed anyway.
        """
        if not isinstance(statement, For):
            return (with_bodies(statement, self.block),)
        row = self.row(statement)
        if row is not None:
            return tuple(self.headed(row))
        headed = replace(statement, body=self.inner(statement.body))
        asked = [several for several, _ in self.told.values() if several.name in {*uses((headed,))}]
        if not asked:
            return (statement,)
        anyway = build.disj(*(build.gt(several, 0) for several in asked))
        return (If(anyway, (headed,), (statement,)),)

    def inner(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Return what is inside of a loop, with first entries of rows."""
        found: list[Stmt] = []
        for statement in body:
            row = self.row(statement) if isinstance(statement, For) else None
            found += [with_bodies(statement, self.inner)] if row is None else self.headed(row)
        return tuple(found)

    def row(self, loop: For) -> _Row | None:
        """Return a row whose turns may be computed and not be kept; None for another loop."""
        if loop.step != 1 or self.pointers(loop) is None:
            return None
        begin: list[Assign | Prefetch] = []
        kept: list[Assign | Store] = []
        read: list[Expr] = []
        for statement in loop.body:
            match statement:
                case Comment():
                    pass
                case Assign(total, Apply("add", (first, value))) if first == total:
                    kept.append(statement)
                    read.append(value)
                case Store(_, places, value, "add", True, None):
                    kept.append(statement)
                    read += [value, *places]
                case Assign(variable) if variable.name in self.straight:
                    begin.append(statement)
                case Prefetch():
                    begin.append(statement)
                case _:
                    return None
        if self.is_sought(loop) and any(isinstance(s, Store) for s in kept):
            return None
        if not kept or any(kind(value.type) not in "fiu" for value in read):
            return None
        entries = _Entries(loop.variable, {loop.variable.name, *changes(loop.body)})
        given = [s for s in begin if isinstance(s, Assign)]
        values = [substituted(value, given) for value in read]
        if changes(kept) & {name for value in values for name in reads(value)}:
            return None
        if not all(map(entries.there, values)) or not entries.arrays <= self.given:
            return None
        counts = [n for arrays, n in self.short if entries.arrays and entries.arrays <= arrays]
        array = min(entries.arrays, default="")
        return _Row(loop, tuple(begin), tuple(kept), array, counts[0]) if counts else None

    def is_sought(self, loop: For) -> bool:
        """Whether rows are not those of a loop over all of them."""
        return isinstance(loop.start, Load) and loop.start.subscripts[0] not in self.turns

    def pointers(self, loop: For) -> tuple[str, str] | None:
        """Return the arrays that tell where rows begin and end.

        A row ends where the next one begins, or is a thread's part of such a row.
        """
        match loop.start, loop.stop:
            case Load(first, (Var() as place,)), Load(past, (after,)):
                follows = first == past and after == build.add(place, 1)
                part = (first, past) == self.parts and isinstance(after, Binary)
                known = follows or part
                return (first, past) if known and {first, past} <= self.given else None
            case _:
                return None

    def headed(self, row: _Row) -> list[Stmt]:
        """Return a row's first entries, and a loop over the others."""
        loop, turn = row.loop, row.loop.variable
        pointers = self.pointers(loop)
        assert pointers is not None
        if pointers not in self.told:
            several, last = (
                Var(fresh(f"{name}_{what}", self.taken), INT)
                for name, what in ((turn.name, "heads"), (row.array, "last"))
            )
            self.told[pointers] = several, last
            self.begin += _told(row, several, last, self.taken)
        several, last = self.told[pointers]
        head = Var(fresh(f"{turn.name}_head", self.taken), INT)
        place = build.add(loop.start, head)
        kept = If(build.lt(place, loop.stop), row.kept, even=True)
        body = (Assign(turn, build.min_(place, last)), *row.begin, kept)
        return [
            If(build.gt(several, 0), (For(head, build.i(0), build.i(row.count), body),)),
            replace(loop, start=build.add(loop.start, several)),
        ]


def _told(row: _Row, several: Var, last: Var, taken: set[str]) -> Iterator[Stmt]:
    """Yield what tells how many entries are computed anyway, and the last place of an entry.

    None are unless the lengths of rows differ, of which those that are longer count as one.
    """
    start, stop = row.loop.start, row.loop.stop
    assert isinstance(start, Load)
    (turn,) = start.subscripts
    sample, at, after, differ = (
        Var(fresh(f"{row.loop.variable.name}_{name}", taken), INT)
        for name in ("sample", "row", "next", "differ")
    )
    rows = build.sub(build.length(start.array), 2)

    def long(place: Expr) -> Expr:
        turns = build.sub(put(stop, turn, place), put(start, turn, place))
        return build.min_(turns, row.count + 1)

    look = (
        Assign(at, build.mul(sample, build.floordiv(rows, SAMPLES))),
        Assign(after, build.add(at, 1)),
        Assign(differ, build.add(differ, build.cast(build.ne(long(at), long(after)), INT))),
    )
    uneven = build.le(SAMPLES // UNEVEN, differ)
    enough = (
        Assign(differ, build.i(0)),
        For(sample, build.i(0), build.i(SAMPLES), look),
        Assign(several, build.select(uneven, build.i(row.count), build.i(0))),
    )
    yield Comment("whether rows differ in length, so that first entries are computed anyway")
    yield Assign(several, build.i(0))
    yield Assign(last, build.sub(build.length(row.array), 1))
    yield If(build.conj(build.le(ROWS, rows), build.le(0, last), *_whole(start, stop)), enough)


def _whole(start: Expr, stop: Expr) -> Iterator[Expr]:
    """Yield what tells that parts of rows are whole: both ends are in the array of pointers."""
    match start, stop:
        case Load(first), Load(past, (Binary("-", _, split),)) if first != past:
            yield build.eq(split, 0)
            yield build.eq(build.length(first), build.length(past))
        case _:
            pass


@dataclass(slots=True)
class _Entries:
    """What turns of a loop read, ``moving`` being what changes: their arrays of entries."""

    turn: Var
    moving: set[str]
    arrays: set[str] = field(default_factory=set[str])

    def there(self, node: Expr) -> bool:
        """Whether what an expression reads is there in a turn of any entry, of whichever row.

        So is what is the same in every turn, what an entry holds, and what its index tells alone.
        """
        match node:
            case Const():
                return True
            case Var(name):
                return name not in self.moving
            case Cast(operand):
                return self.there(operand)
            case Apply(function, arguments) if function in ARITHMETIC:
                return all(map(self.there, arguments))
            case Load(_, places, proved=True):
                return self.is_entry(node) or all(map(self.is_place, places))
            case _:
                return False

    def is_place(self, node: Expr) -> bool:
        """Whether a subscript is an entry's index, or the same in every turn."""
        return self.is_entry(node) or not reads(node) & self.moving

    def is_entry(self, node: Expr) -> bool:
        """Whether an expression is what an entry holds."""
        match node:
            case Load(array, (place,), proved=True) if place == self.turn:
                self.arrays.add(array)
                return True
            case _:
                return False
