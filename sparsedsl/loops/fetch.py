"""Rows of large arrays fetched before the loop comes to them.

    for p in a .. b:                        for p in a .. b:
        k = indices[p]                          B_soon = indices[min(p + 12, length(indices) - 1)]
        for j in 0 .. n:               =>       for B_line in 0 .. n by 8:
            ... B[k, j] ...                         prefetch B[B_soon, B_line]
                                                k = indices[p]
                                                for j in 0 .. n:
                                                    ... B[k, j] ...

and likewise for ``B[q]`` with ``q`` in ``indptr[k] .. indptr[k + 1]``, rows of a sparse operand,
that are walked or searched from there on; its pointers are fetched before (``loops.pointers``).
Rows lie where an index array says, which the processor cannot foresee, and in an array larger than
the caches each one is waited for.  Beyond the end of the loop the next rows are those of its next
run.  Where rows of a dense operand are met again soon, a look at some places of ``indices`` tells
so, and they are not fetched.

Every place that is loaded from is inside its array: ``p`` is one of ``indices``, so that the lesser
of ``p + 12`` and the last one is; a place of ``indptr`` is brought between the first and the last.
A prefetch changes no value.  Takes and gives a kernel that ``loops.verify`` accepts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads
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
from sparsedsl.loops.told import later, leaves, put, told
from sparsedsl.loops.vectors import BYTES, lanes
from sparsedsl.loops.walk import expressions, operands, with_bodies

AHEAD = 12
"""Turns after which a row that is fetched is read."""

MOST = 16
"""Cache lines of a row that are fetched: the processor itself goes on with longer ones."""

SAMPLES = 32
"""Places of an index array that are looked at."""

SHORTLY = 256
"""Entries before a place among which its own coordinate is looked for."""


def fetch(kernel: Kernel, far: Mapping[str, float]) -> Kernel:
    """Return ``kernel`` with rows of large arrays fetched a few turns before they are read.

    Parameters
    ----------
    kernel:
        A verified kernel.
    far:
        Those of its arguments that are read in rows far apart and do not stay in cache, with the
        number of elements that a row is expected to have.
    """
    dtypes = {p.name: p.dtype for p in kernel.params if isinstance(p, ArrayParam)}
    lines = {
        name: _Lines(BYTES // np.dtype(dtypes[name]).itemsize, elements)
        for name, elements in far.items()
        if name in dtypes
    }
    given = {p.name for p in kernel.params} - changes(kernel.body)
    fetching = _Fetching(lines, given, names(kernel))
    body = fetching.block(kernel.body)
    looks = [part for array, again in fetching.again.items() for part in _look(array, again)]
    return replace(kernel, body=(*looks, *body))


@dataclass(frozen=True, slots=True)
class _Lines:
    """The elements of an array that a cache line has, and those that a row has, as expected."""

    size: int
    row: float

    @property
    def expected(self) -> int:
        """Lines that a row lies in, which begins anywhere in one."""
        return max(round((self.row - 1) / self.size + 1), 1)


@dataclass(frozen=True, slots=True)
class _Row:
    """Elements that a later turn of a loop reads: along the last axis, behind the ``outer`` places.

    Those of a sparse operand ``start`` where an array of pointers says, and are as many as
    expected.  ``told`` is the index array that tells which row it is.
    """

    array: str
    outer: tuple[Expr, ...]
    start: Expr
    stop: Expr
    told: str

    @property
    def sparse(self) -> bool:
        """Whether where the elements lie is loaded."""
        return isinstance(self.start, Load)


class _Fetching:
    """One pass: arrays to fetch from, those that may tell where, and names already taken.

    ``again`` counts for each array that is looked at how many of its samples were met shortly
    before.
    """

    def __init__(self, lines: Mapping[str, _Lines], given: set[str], taken: set[str]) -> None:
        self.lines = lines
        self.given = given
        self.taken = taken
        self.again: dict[str, Var] = {}

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        inner = (with_bodies(statement, self.block) for statement in body)
        return tuple(self.loop(s) if isinstance(s, For) and s.step == 1 else s for s in inner)

    def loop(self, loop: For) -> For:
        """Return a loop that fetches rows of later turns first."""
        found = dict.fromkeys(_rows(loop, self.lines))
        rows = _joined([row for row in found if row.told in self.given])
        made: list[Stmt] = []
        for index in dict.fromkeys(row.told for row in rows):
            soon: dict[Expr, Var] = {}
            fetched = [part for r in rows if r.told == index for part in self.fetched(r, soon)]
            where = [Assign(variable, place) for place, variable in soon.items()]
            if any(r.told == index and r.sparse for r in rows):
                made += [*where, *fetched]
                continue
            again = self.again.setdefault(index, Var(f"{index}_again", INT))
            made.append(If(build.lt(again, SAMPLES // 2), (*where, *fetched)))
        if not made:
            return loop
        note = Comment(f"rows that are read {AHEAD} turns later")
        return replace(loop, body=(note, *made, *loop.body))

    def fetched(self, row: _Row, soon: dict[Expr, Var]) -> Iterator[Stmt]:
        """Yield the prefetches of a row; ``soon`` names the places that are computed first."""

        def named(place: Expr, array: str) -> Expr:
            if isinstance(place, Var | Const):
                return place
            if place not in soon:
                soon[place] = Var(fresh(f"{array}_soon", self.taken), INT)
            return soon[place]

        lines = self.lines[row.array]
        outer = tuple(named(place, row.told) for place in row.outer)
        if isinstance(row.start, Load):
            inside = tuple(named(place, row.told) for place in row.start.subscripts)
            start = named(replace(row.start, subscripts=inside), row.start.array)
            for line in range(min(lines.expected, MOST)):
                place = build.add(start, line * lines.size)
                yield Prefetch(row.array, (place,), to_store=False)
            return
        at = Var(fresh(f"{row.array}_line", self.taken), INT)
        known = isinstance(build.sub(row.stop, row.start), Const)
        most = build.add(row.start, MOST * lines.size)
        stop = row.stop if known else build.min_(row.stop, most)
        line = Prefetch(row.array, (*outer, at), to_store=False, of_row=True)
        yield For(at, row.start, stop, (line,), lines.size)


def _look(array: str, again: Var) -> Iterator[Stmt]:
    """Yield what counts the samples of an index array that are met shortly before."""
    sample, place, before, met = (
        build.ivar(f"{array}_{name}") for name in ("sample", "place", "before", "met")
    )
    length = build.length(array)
    same = build.cast(build.eq(build.load(array, before), build.load(array, place)), INT)
    window = build.max_(build.sub(place, SHORTLY), 0)
    body = (
        Assign(place, build.mul(sample, build.floordiv(length, SAMPLES))),
        Assign(met, build.i(0)),
        For(before, window, place, (Assign(met, build.bit_or(met, same)),)),
        Assign(again, build.add(again, met)),
    )
    yield Comment(f"whether rows that {array} tells of are met again shortly")
    yield Assign(again, build.i(0))
    yield For(sample, build.i(0), build.min_(length, SAMPLES), body)


def _rows(loop: For, lines: Mapping[str, _Lines]) -> Iterator[_Row]:
    """Yield the rows of large arrays that a later turn of ``loop`` reads for sure."""
    if leaves(loop.body):
        return
    moving = changes(loop.body) | {loop.variable.name}
    known: dict[str, Expr] = {}

    def walk(body: tuple[Stmt, ...], inner: Mapping[str, For]) -> Iterator[_Row]:
        for statement in body:
            for operand in operands(statement):
                for node in expressions(operand):
                    match node:
                        case Load(array) if array in lines:
                            yield from _row(node, loop.variable, known, inner, moving)
                        case Part(array, place, through=through):
                            if (array := through or array) in lines:
                                start = put(place, known)
                                yield from _pointed(array, start, loop.variable, moving)
                        case _:
                            pass
            match statement:
                case Assign(Var(name, "int"), value) if body is loop.body:
                    known[name] = put(value, known)
                case For(variable, step=1):
                    yield from walk(statement.body, {**inner, variable.name: statement})
                case While(body=searching):
                    yield from walk(searching, inner)
                case _:
                    pass

    yield from walk(loop.body, {})


def _joined(rows: list[_Row]) -> list[_Row]:
    """Return rows, of which those that go on where the one before ends are one with it."""
    found: list[_Row] = []
    for row in rows:
        if found and row == replace(found[-1], start=found[-1].stop, stop=row.stop):
            found[-1] = replace(found[-1], stop=row.stop)
        else:
            found.append(row)
    return found


def _row(
    node: Load, turn: Var, known: Mapping[str, Expr], inner: Mapping[str, For], moving: set[str]
) -> Iterator[_Row]:
    """Yield the row around an element, if an index array tells where it is some turns later."""
    *outer, last = (put(subscript, known) for subscript in node.subscripts)
    if lanes(node.type) > 1:
        start, stop = last, build.add(last, lanes(node.type))
    elif isinstance(last, Var) and last.name in inner:
        start, stop = inner[last.name].start, inner[last.name].stop
    elif isinstance(last, Load) and not outer:
        start = stop = last
    else:
        return
    others = moving - {turn.name}
    if outer:
        arrays = {array for place in outer if (array := told(place, turn)) is not None}
        soon = tuple(later(place, turn, AHEAD) for place in outer)
        fixed = [start, stop, *(place for place in outer if told(place, turn) is None)]
        sure = not any(reads(place) & moving for place in fixed)
        if len(arrays) == 1 and sure and not any(reads(place) & others for place in soon):
            yield _Row(node.array, soon, start, stop, *arrays)
        return
    yield from _pointed(node.array, put(start, known), turn, moving)


def _pointed(array: str, start: Expr, turn: Var, moving: set[str]) -> Iterator[_Row]:
    """Yield the row that begins where an array of pointers says, if it can be told."""
    match start:
        case Load(pointer, (place,), "int", True) if index := told(place, turn):
            end = build.sub(build.length(pointer), 1)
            inside = build.min_(build.max_(later(place, turn, AHEAD), 0), end)
            if not reads(inside) & (moving - {turn.name}) and pointer not in moving:
                begins = build.load(pointer, inside)
                yield _Row(array, (), begins, begins, index)
        case _:
            pass
