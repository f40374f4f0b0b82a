"""Entries of large results stored past the caches.

                                        passes = room >= ROOM
    C_indices[n] = j                    C_indices[n] = j    past the caches if passes
    C_data[n] = v               =>      C_data[n] = v       past the caches if passes
    n += 1                              n += 1

Of an array to which entries are only appended, one by one or where ``loops.kept`` puts them, each
store may go to memory by itself: nothing reads it in the kernel, and the line it is in is not
fetched first.  Pieces that are put in windows, to be moved while the caches hold them, have little
room.  Takes and gives a kernel that ``loops.verify`` accepts, of the same meaning; what the printed
Python does is the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsedsl.loops import build
from sparsedsl.loops.effects import fresh, names
from sparsedsl.loops.nodes import (
    BOOL,
    ArrayParam,
    Assign,
    Binary,
    Expr,
    For,
    Kernel,
    Load,
    Part,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.vectors import lanes
from sparsedsl.loops.walk import expressions, operands, statements, with_bodies

WIDTHS = (4, 8)
"""Bytes of what is stored so: an int or a float of a usual size."""

ROOM = 1 << 20
"""Entries that there is room for where they go past the caches."""


def passing(kernel: Kernel, room: Expr) -> Kernel:
    """Return ``kernel`` with the stores marked that append to an array nothing is read from.

    ``room`` is how many entries there is room for.
    """
    every = tuple(statements(kernel.body))
    parts = (part for s in every for e in operands(s) for part in expressions(e))
    read = {part.array for part in parts if isinstance(part, Load | Part)}
    turned = {s.variable.name for s in every if isinstance(s, For)}
    sized = {
        p.name
        for p in kernel.params
        if isinstance(p, ArrayParam) and np.dtype(p.dtype).itemsize in WIDTHS
    }
    passes = Var(fresh("passes", names(kernel)), BOOL)
    marked = False

    def step(statement: Stmt) -> Stmt:
        nonlocal marked
        if not isinstance(statement, Store):
            return with_bodies(statement, block)
        if statement.array not in sized - read or not _appends(statement, turned):
            return statement
        marked = True
        return replace(statement, passing=passes)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(map(step, body))

    body = block(kernel.body)
    large = Assign(passes, build.le(ROOM, room))
    return replace(kernel, body=(large, *body)) if marked else kernel


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
