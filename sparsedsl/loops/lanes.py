"""Sums of what index arrays point to, several entries an instruction, the last ones masked.

    y_sum = 0                           y_sum = 0
    for p in a .. b:                    y_lanes = A[a ..+8, at most b - a] * x[j[a ..+8, ..]]
        y_sum += A[p] * x[j[p]]    =>   for p in a + 8 .. b by 8:
                                            y_lanes += A[p ..+8, at most b - p] * x[j[p ..+8, ..]]
                                        y_sum += total(y_lanes)

A row that fits in a vector takes no turn of a loop, and no row ends in turns for single entries:
what would be guessed wrongly row by row, how long a row is, is not guessed.  Lanes that are not
used add zero, whatever is multiplied by.  Sums are taken in another order than one by one, the
same for every number of threads.  Takes and gives a kernel that ``loops.verify`` accepts; no pass
comes after this one but ``columns`` and ``fetch``, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names
from sparsedsl.loops.lifting import put, substituted
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Cast,
    Expr,
    For,
    Kernel,
    Load,
    Part,
    Stmt,
    Var,
)
from sparsedsl.loops.vectors import ARITHMETIC, element, lanes, vector
from sparsedsl.loops.walk import expressions, statements, with_bodies


def sums_in_lanes(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with sums over entries of what an index array points to in vectors."""
    given = [p for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1]
    made = [s for s in statements(kernel.body) if isinstance(s, Allocate) and len(s.shape) == 1]
    one = {p.name for p in given} | {s.array for s in made}
    indices = {p.name for p in given if p.dtype in ("int32", "int64")}
    straight = straight_names(kernel.body) - set(kernel.results)
    summing = _Summing(one, indices, straight, names(kernel))
    return replace(kernel, body=summing.block(kernel.body))


class _Summing:
    """One pass: arrays with one axis, index arrays, names that are read in one turn alone."""

    def __init__(
        self, one: set[str], indices: set[str], straight: set[str], taken: set[str]
    ) -> None:
        self.one = one
        self.indices = indices
        self.straight = straight
        self.taken = taken

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            made = self.summed(statement) if isinstance(statement, For) else None
            found += [with_bodies(statement, self.block)] if made is None else made
        return tuple(found)

    def summed(self, loop: For) -> list[Stmt] | None:
        """Return a sum in vectors, or None for another loop."""
        match loop:
            case For(step=1, body=(*assigns, Assign(total, Apply("add", (first, value))))) if (
                first == total and total.type in ("float64", "float32")
            ):
                pass
            case _:
                return None
        local = {s.variable.name for s in assigns if isinstance(s, Assign)}
        if len(local) < len(assigns) or not local <= self.straight or total.name in reads(value):
            return None
        value = substituted(value, assigns)
        kind = vector(total.type)
        count = build.ivar(fresh(f"{loop.variable.name}_left", self.taken))
        arrays = self.one, self.indices
        found = entries_from(value, loop.variable, kind, count, changes(loop.body), arrays)
        if found is None or not is_gathered(found):
            return None
        if any(isinstance(part, Cast) for part in expressions(found)):
            found = Apply("first", (found, count, build.const(0.0, total.type)), kind)
        return self.loops(loop, total, found, count)

    def loops(self, loop: For, total: Var, value: Expr, count: Var) -> list[Stmt]:
        """Return the first vector, a loop over the others, and their total."""
        start = Var(fresh(f"{loop.variable.name}_first", self.taken), INT)
        past = Var(fresh(f"{loop.variable.name}_past", self.taken), INT)
        added = Var(fresh(f"{total.name}_lanes", self.taken), value.type)
        width = lanes(value.type)
        more = (
            Assign(count, build.sub(past, loop.variable)),
            Assign(added, Apply("add", (added, value), value.type)),
        )
        return [
            Assign(start, loop.start),
            Assign(past, loop.stop),
            Assign(count, build.sub(past, start)),
            Assign(added, put(value, loop.variable, start)),
            For(loop.variable, build.add(start, width), past, more, width),
            Assign(total, Apply("add", (total, Apply("total", (added,), total.type)), total.type)),
        ]


def entries_from(
    node: Expr,
    turn: Var,
    kind: str,
    count: Expr,
    moving: set[str],
    arrays: tuple[Container[str], Container[str]],
) -> Expr | None:
    """Return a value as a vector of ``count`` entries from ``turn`` on, None where it has none.

    ``moving`` is what differs from entry to entry, ``arrays`` are those of one axis that may be
    read, and those of indices.
    """
    if turn.name not in reads(node) and not reads(node) & moving:
        return Cast(build.cast(node, element(kind)), kind)
    one, indices = arrays
    match node:
        case Load(array, (place,), type, True) if array in one and type in kind:
            if place == turn:
                return Part(array, turn, count, kind)
            match place:
                case Load(through, (inner,), "int", True) if inner == turn:
                    return Part(array, turn, count, kind, through) if through in indices else None
                case _:
                    return None
        case Apply(function, arguments) if function in ARITHMETIC:
            parts = [entries_from(a, turn, kind, count, moving, arrays) for a in arguments]
            found = tuple(part for part in parts if part is not None)
            return Apply(function, found, kind) if len(found) == len(parts) else None
        case _:
            return None


def is_gathered(node: Expr) -> bool:
    """Whether some part of a value lies where an index array says."""
    return any(isinstance(part, Part) and part.through for part in expressions(node))
