"""Rows of which entries are looked up in another row, read from their ends to where that begins.

    for e in A[i] .. A[i + 1]:              first = the row's first index
        values[crd[e]] = a[e]               for e in A[i] .. A[i + 1]: as it was
    for p in M[i] .. M[i + 1]:              for p in M[i] .. M[i + 1]:
        s = 0                                   s = 0
        for q in B[j[p]] .. B[j[p] + 1]:  =>    at = B[j[p] + 1]
            s += values[k[q]] * b[q]            while at - B[j[p]] >= 4 and k[at - 1] >= first:
                                                    at -= 4
                                                    s += the four terms from there on
                                                if at - B[j[p]] < 4:
                                                    s += the terms that are left

Indices rise in both rows, so that entries further down are left of all that are looked up, where
the array holds zeros.  In bands that is a good part of them: of triangles in a grid's matrix half
and more.  A sum has the same terms but for zeros, in an order that the two rows tell.  Takes and
gives a kernel that ``loops.verify`` accepts; comes after ``sums_by_loops``, before vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from sparsedsl.loops import build
from sparsedsl.loops.lifting import put
from sparsedsl.loops.nodes import (
    Apply,
    Assign,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Stmt,
    Store,
    While,
)
from sparsedsl.loops.rowlanes import FLOATS, Facts, facts_of, row_of
from sparsedsl.loops.rowsums import Walk, total_of, walk_of
from sparsedsl.loops.walk import expressions, with_bodies

TERMS = 4
"""Terms that are added at a time, each to a sum of its own."""

_NONE = int(np.iinfo("int64").max)


def backwards(kernel: Kernel, near: Collection[str]) -> Kernel:
    """Return ``kernel`` with rows read backwards whose entries are looked up in others.

    Parameters
    ----------
    kernel:
        A verified kernel.
    near:
        Index arrays that rise along rows, which are long, lie in bands, and end left of the
        diagonal: much of a row is left of those further down.
    """
    facts = facts_of(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            made = _row(statement, near, facts) if isinstance(statement, For) else None
            found.append(with_bodies(statement, block) if made is None else made)
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


def _row(loop: For, near: Collection[str], facts: Facts) -> For | None:
    """Return a loop over rows with those looked up in them read backwards, or None."""
    row = row_of(loop)
    walk = walk_of(row, facts) if row is not None else None
    if row is None or walk is None or walk.total.type not in FLOATS:
        return None
    match row.setup.body, row.clear.body[-1]:
        case (Store(),), Store(_, _, Const(0.0) as fill) if facts.fills.get(row.array) == fill:
            pass
        case _:
            return None
    (array,) = row.rows.indices
    keys = _keys(walk.value, row.array)
    match keys:
        case [Load(through, (turn,), "int", True)] if turn == walk.inner.variable:
            known = {array, through} <= facts.given and {array, through} <= {*near}
        case _:
            return None
    if not known or not _is_factor(walk.value, row.array):
        return None
    first = facts.named(f"{loop.variable.name}_begins")
    start, stop = row.setup.start, row.setup.stop
    least = build.select(build.lt(start, stop), build.load(array, start), _NONE)
    read = tuple(_read(walk, through, first, facts))
    inside = tuple(s for part in row.walk.body for s in (read if part is walk.inner else (part,)))
    body = (*row.before, row.setup, Assign(first, least), replace(row.walk, body=inside), row.clear)
    return replace(loop, body=(*body, *row.after))


def _keys(value: Expr, array: str) -> list[Expr]:
    """Return the places at which a value reads an array."""
    found = (e for e in expressions(value) if isinstance(e, Load) and e.array == array)
    return [place for load in found for place in load.subscripts]


def _is_factor(value: Expr, array: str) -> bool:
    """Whether a value is a product, one factor of which an array holds."""
    match value:
        case Load():
            return value.array == array
        case Apply("mul", (left, right)):
            return _is_factor(left, array) or _is_factor(right, array)
        case _:
            return False


def _read(walk: Walk, through: str, first: Expr, facts: Facts) -> Iterator[Stmt]:
    """Yield what takes the sum of an entry, from the end of its row on."""
    inner, total = walk.inner, walk.total
    low, at = (facts.named(f"{inner.variable.name}_{what}") for what in ("lo", "at"))
    parts = [facts.named(f"{total.name}_part", total.type) for _ in range(TERMS)]

    def added(part: int, turn: Expr) -> Assign:
        term = put(walk.value, inner.variable, turn)
        return Assign(parts[part], Apply("add", (parts[part], term), total.type))

    yield Assign(low, inner.start)
    yield Assign(at, inner.stop)
    for part in parts:
        yield Assign(part, Const(0.0, total.type))
    left = build.sub(at, low)
    more = build.conj(build.le(TERMS, left), build.le(first, build.load(through, build.sub(at, 1))))
    terms = (added(part, build.add(at, part)) for part in range(TERMS))
    yield While(more, (Assign(at, build.sub(at, TERMS)), *terms))
    yield If(build.lt(left, TERMS), (For(inner.variable, low, at, (added(0, inner.variable),)),))
    yield Assign(total, Apply("add", (total, total_of(parts)), total.type))
