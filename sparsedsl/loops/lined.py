"""Rows of dense matrices copied to where each begins a cache line, if they are read often.

    for p in a .. b:                            for row in 0 .. length(B):
        k = indices[p]                              for column in 0 .. length(B, 1):
        s += B[k, 0 .. 8]              =>               B_lined[row, column] = B[row, column]
                                                for p in a .. b:
                                                    k = indices[p]
                                                    s += B_lined[k, 0 .. 8]

A vector of a cache line's length that begins elsewhere lies in two lines, so that each load takes
as long as two, and NumPy's arrays begin anywhere.  Takes and gives a kernel that ``loops.verify``
accepts.  Invariant: every value is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    ArrayParam,
    Comment,
    Expr,
    For,
    Kernel,
    Load,
    Prefetch,
    Stmt,
    Var,
)
from sparsedsl.loops.vectors import BYTES, lanes
from sparsedsl.loops.walk import (
    expressions,
    operands,
    statements,
    with_bodies,
    with_children,
    with_operands,
)


def lined(kernel: Kernel, arrays: Collection[str]) -> Kernel:
    """Return ``kernel`` with rows in lines of their own.

    Parameters
    ----------
    kernel:
        A verified kernel.
    arrays:
        Those that are small and whose rows are read often.  Others than matrices that are read in
        vectors are left as they are.
    """
    given = {p.name: p for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 2}
    loads = (e for s in statements(kernel.body) for o in operands(s) for e in expressions(o))
    in_vectors = {e.array for e in loads if isinstance(e, Load) and lanes(e.type) > 1}
    chosen = sorted({*arrays} & {*given} & in_vectors - changes(kernel.body))
    taken = names(kernel)
    renamed = {array: fresh(f"{array}_lined", taken) for array in chosen}
    if not renamed:
        return kernel
    made = (s for old, new in renamed.items() for s in _copied(given[old], new, taken))

    def expression(node: Expr) -> Expr:
        node = with_children(node, expression)
        if isinstance(node, Load) and node.array in renamed:
            return replace(node, array=renamed[node.array])
        return node

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(map(statement, body))

    def statement(old: Stmt) -> Stmt:
        new = with_bodies(with_operands(old, expression), block)
        if isinstance(new, Prefetch) and new.array in renamed:
            return replace(new, array=renamed[new.array])
        return new

    return replace(kernel, body=(*made, *block(kernel.body)))


def _copied(old: ArrayParam, new: str, taken: set[str]) -> Iterator[Stmt]:
    """Yield what copies a matrix, its rows made longer by what fills their last line."""
    row, column = (Var(fresh(f"{new}_{axis}", taken), INT) for axis in ("row", "column"))
    rows, columns = build.length(old.name), build.length(old.name, 1)
    line = BYTES // np.dtype(old.dtype).itemsize
    whole = build.mul(build.floordiv(build.add(columns, line - 1), line), line)
    value = Load(old.name, (row, column), old.dtype)
    store = build.store(new, (row, column), value)
    yield Comment(f"rows of {old.name}, each from the beginning of a cache line on")
    yield Allocate(new, old.dtype, (rows, whole))
    yield For(row, build.i(0), rows, (For(column, build.i(0), columns, (store,)),))
