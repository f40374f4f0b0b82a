"""Entries of large results stored past the caches.

    C_indices[n] = j                    C_indices[n] = j  (past the caches)
    C_data[n] = v               =>      C_data[n] = v     (past the caches)
    n += 1                              n += 1

Of an array to which entries are only appended, one by one or where ``loops.kept`` puts them, each
store may go to memory by itself: nothing reads it in the kernel, and the line it is in is not
fetched first.  Takes and gives a kernel that ``loops.verify`` accepts, of the same meaning; what
the printed Python does is the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsedsl.loops.effects import reads
from sparsedsl.loops.nodes import ArrayParam, Binary, For, Kernel, Stmt, Store, Var
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import operands, statements, with_bodies

WIDTHS = (4, 8)
"""Bytes of what is stored so: an int or a float of a usual size."""


def passing(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with the stores marked that append to an array nothing is read from."""
    every = tuple(statements(kernel.body))
    read = {name for s in every for e in operands(s) for name in reads(e)}
    turned = {s.variable.name for s in every if isinstance(s, For)}
    sized = {
        p.name
        for p in kernel.params
        if isinstance(p, ArrayParam) and np.dtype(p.dtype).itemsize in WIDTHS
    }
    appended = {
        s.array
        for s in every
        if isinstance(s, Store) and _appends(s, turned) and s.array in sized - read
    }
    if not appended:
        return kernel

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(step(s) for s in body)

    def step(statement: Stmt) -> Stmt:
        if isinstance(statement, Store) and statement.array in appended:
            return replace(statement, passing=_appends(statement, turned))
        return with_bodies(statement, block)

    note = f"past the caches: {', '.join(sorted(appended))}"
    return replace(kernel, body=block(kernel.body), notes=(*kernel.notes, note))


def _appends(store: Store, turned: set[str]) -> bool:
    """Whether a store is of one element at a counter of entries, or as far behind it as a loop is.

    The latter are those of ``loops.kept``.
    """
    one = lanes(store.value.type) == 1 and store.combine is None
    match store.subscripts:
        case (Var(name) | Binary("+", Var(name), Binary("-", Var(), Var())),):
            return one and name not in turned
        case _:
            return False
