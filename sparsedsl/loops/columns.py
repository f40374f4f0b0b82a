"""Columns that a loop accumulates into, held in vectors, strip by strip.

    for p in a .. b:                        for j_strip in 0 .. n - n % 64 by 64:
        k = indices[p]                          C_columns = C[i, j_strip ..+64]
        for j in 0 .. n:                =>      for p in a .. b:
            C[i, j] =add= A[p] * B[k, j]            k = indices[p]
                                                    C_columns += A[p] * B[k, j_strip ..+64]
                                                C[i, j_strip ..+64] = C_columns

and the columns that are left likewise in narrower strips, then one by one.  The loop then touches
no element of the result, and several rows of ``B`` are on their way at once.  Where a loop before
sets the row to a constant, strips begin with that and need not be loaded.  Every element meets
the same values in the same order.  Takes and gives a kernel that ``loops.verify`` accepts; no pass
comes after this one, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import (
    array_dtypes,
    changes,
    fresh,
    names,
    reads,
    straight_names,
    touched,
)
from sparsedsl.loops.lifting import along, substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.reflected import Halves, Row, halves, strips
from sparsedsl.loops.vectors import lanes, vector
from sparsedsl.loops.walk import statements, with_bodies

WIDTHS = (8, 4, 2, 1, 0.5)
"""Registers that a strip fills, most first: four hide the latency of an addition, eight read rows
of 64 columns in one go, and half of one reads rows of 4."""


def columns(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with accumulations over rows of a dense operand done in vectors."""
    held, taken = array_dtypes(kernel), names(kernel)
    straight = straight_names(kernel.body) - set(kernel.results)

    def reflected(both: Halves, opening: For | None) -> tuple[Stmt, ...] | None:
        loop = both.loop
        if not (changes((loop,)) - _loops(loop) - {both.held.store.array}) <= straight:
            return None
        first = None if opening is None else _constant(opening)
        return strips(both, held[both.held.store.array], WIDTHS, first, taken)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            rows = _rows(statement, held, straight) if isinstance(statement, For) else None
            both = halves(statement) if rows is None and isinstance(statement, For) else None
            form = rows or (both and both.held)
            opening = _opening(found[-1], form) if form is not None and found else None
            if rows is not None:
                wide = _strips(replace(rows, opening=opening), taken)
            elif both is not None:
                wide = reflected(both, opening)
            else:
                wide = None
            if wide is None:
                found.append(with_bodies(statement, block))
                continue
            if opening is not None:
                found.pop()
            found += wide
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Loops that accumulate rows: the outermost, the one over columns, what it stores.

    ``value`` is what is added, definitions of the innermost loop put in; ``opening`` is the loop
    before that sets the row, where there is one.
    """

    loop: For
    column: For
    store: Store
    value: Expr
    dtype: str
    opening: For | None = None

    @property
    def first(self) -> Expr | None:
        """What every column begins with, if that is known."""
        return None if self.opening is None else _constant(self.opening)


def _constant(opening: For) -> Expr:
    """Return what a loop sets columns to."""
    (store,) = opening.body
    assert isinstance(store, Store)
    return store.value


def _opening(statement: Stmt, rows: _Rows | Row) -> For | None:
    """Return the loop before, if it sets the columns of the row to a constant and no others."""
    match statement:
        case For(variable, start, stop, (Store(array, (*outer, last), Const(), None, True),), 1):
            same = (array, tuple(outer)) == (rows.store.array, rows.store.subscripts[:-1])
            whole = (start, stop) == (rows.column.start, rows.column.stop)
            return statement if same and whole and last == variable else None
        case _:
            return None


def _rows(loop: For, dtypes: Mapping[str, str], straight: set[str]) -> _Rows | None:
    """Return what a loop accumulates, or None where it does not have this form."""
    column, *outside = _nested(loop) or (None,)
    if column is None or not outside:
        return None
    *assigns, store = column.body
    if not isinstance(store, Store) or store.combine != "add" or not store.proved:
        return None
    dtype = dtypes[store.array]
    moving = (changes(loop.body) | {loop.variable.name}) - {store.array}
    uses = sum(touched(part).count(store.array) for part in statements((loop,)))
    fixed = not any(reads(s) & moving for s in (*store.subscripts[:-1], column.stop))
    if dtype not in ("float32", "float64") or uses != 1 or not fixed:
        return None
    if store.subscripts[-1] != column.variable or column.start != Const(0, INT):
        return None
    if column.step != 1 or not moving - _loops(loop) <= straight:
        return None
    value = substituted(store.value, assigns)
    rows = _Rows(loop, column, store, value, dtype)
    whole = along(value, column.variable, column.variable, vector(dtype)) is not None
    return rows if whole else None


def _nested(loop: For) -> tuple[For, ...] | None:
    """Return the loops from the innermost out, if definitions are all else there is."""
    *before, last = loop.body
    if not all(isinstance(s, Assign) for s in before):
        return None
    if not isinstance(last, For):
        return (loop,)
    inner = _nested(last)
    return None if inner is None else (*inner, loop)


def _loops(loop: For) -> set[str]:
    return {s.variable.name for s in statements((loop,)) if isinstance(s, For)}


def _strips(rows: _Rows, taken: set[str]) -> Iterator[Stmt]:
    """Yield the loops over strips of columns, the widest first, then the columns left."""
    count = rows.column.stop
    start: Expr = build.i(0)
    body: list[Stmt] = []
    for width in WIDTHS:
        type = vector(rows.dtype, width)
        stop = build.sub(count, build.mod(count, lanes(type)))
        body.append(_strip(rows, type, (start, stop), taken))
        start = stop
    left = replace(rows.column, start=start)
    store = rows.store
    first = Load(store.array, store.subscripts, rows.dtype) if rows.first is None else rows.first
    body.append(_singly(rows, left, first, taken))
    yield Comment("columns in vectors, then those left")
    runs = build.lt(rows.loop.start, rows.loop.stop)
    always = runs == build.TRUE or rows.opening is not None
    yield from body if always else (If(runs, tuple(body)),)


def _strip(rows: _Rows, type: str, ends: tuple[Expr, Expr], taken: set[str]) -> Stmt:
    """Return the loop over strips of columns, each a vector of ``type``."""
    store, name = rows.store, rows.column.variable.name
    at = Var(fresh(f"{name}_strip", taken), INT)
    total = Var(fresh(f"{store.array}_columns", taken), type)
    place = (*store.subscripts[:-1], at)
    value = along(rows.value, rows.column.variable, at, type)
    assert value is not None
    add = Assign(total, Apply("add", (total, value), type))
    first = Load(store.array, place, type) if rows.first is None else Cast(rows.first, type)
    body = (
        Assign(total, first),
        _replaced(rows.loop, rows.column, add),
        Store(store.array, place, total),
    )
    return For(at, *ends, body, lanes(type))


def _singly(rows: _Rows, left: For, first: Expr, taken: set[str]) -> Stmt:
    """Return the loop over the columns left, the sum of each in a register."""
    total = Var(fresh(f"{rows.store.array}_sum", taken), rows.dtype)
    add = Assign(total, Apply("add", (total, rows.value), rows.dtype))
    store = replace(rows.store, value=total, combine=None)
    return replace(left, body=(Assign(total, first), _replaced(rows.loop, rows.column, add), store))


def _replaced(loop: For, old: Stmt, new: Stmt) -> For:
    """Return ``loop`` with the statement ``old`` replaced wherever it stands in it."""

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(new if s == old else with_bodies(s, block) for s in body)

    return replace(loop, body=block(loop.body))
