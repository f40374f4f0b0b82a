"""Sums along rows of dense operands, in vectors as wide as a row is likely to be.

    for p in a .. b:                        if n == 16:
        j = indices[p]                          P_row, P_row2 = P[i, 0 ..+8], P[i, 8 ..+8]
        s = 0                                   for p in a .. b:
        for k in 0 .. n:                =>          j = indices[p]
            s += P[i, k] * Q[j, k]                  s = 0
        y[p] = s                                    s_vector = P_row * Q[j, 0 ..+8]
                                                    s_vector += P_row2 * Q[j, 8 ..+8]
                                                    s += total(s_vector)
                                                    y[p] = s
                                            else:
                                                for p in a .. b: ... as it was

How often the inner loop turns is the same for all entries, but not known when it is compiled.  In
vectors it is straight code: nothing is counted, and a row that does not change from entry to entry
is read once and held, so that more of the other rows, which lie anywhere, is under way.  Vectors
fill one register each, and are read in the order in which they lie, as processors expect.  There is
a version for each width that is likely, and the loop as it was for other extents; none where no row
is held or the others lie one behind the other, since nothing is gained then.  Sums are taken in
another order, which the extent decides: it is the same for every number of threads.  Takes and
gives a kernel that ``loops.verify`` accepts; no pass comes after this one but those of vectors and
``fetch``, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names
from sparsedsl.loops.lifting import along, substituted
from sparsedsl.loops.nodes import (
    Apply,
    Assign,
    Break,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Stmt,
    Var,
)
from sparsedsl.loops.vectors import lanes, vector
from sparsedsl.loops.walk import expressions, statements, with_bodies, with_children

WIDTHS = (0.5, 1, 2, 3, 4, 6, 8, 12, 16)
"""Registers that a row fills: as many again hold what it is multiplied by."""

WIDEST = 256
"""The largest extent expected that has versions: longer rows do not fit in registers."""

STATEMENTS = 24
"""Most statements of a loop that has versions."""


def dots(kernel: Kernel, likely: Mapping[str, int]) -> Kernel:
    """Return ``kernel`` with versions of loops that sum along rows, in vectors.

    Parameters
    ----------
    kernel:
        A verified kernel.
    likely:
        Parameters that are extents, each with what it is expected to be half of at least, and less
        than the double of.
    """
    straight = straight_names(kernel.body) - set(kernel.results)
    return replace(kernel, body=_Dots(likely, straight, names(kernel)).block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Sum:
    """A loop over the columns of rows, the variable that it adds to, and what each turn adds."""

    loop: For
    total: Var
    value: Expr
    extent: Var


class _Dots:
    """One pass: likely extents, names that are read in one turn alone, names already taken."""

    def __init__(self, likely: Mapping[str, int], straight: set[str], taken: set[str]) -> None:
        self.likely = likely
        self.straight = straight
        self.taken = taken

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(self.statement(s) for s in body)

    def statement(self, statement: Stmt) -> Stmt:
        if isinstance(statement, For):
            found = [s for part in statement.body if (s := self.sum(part)) is not None]
            sums = [s for s in found if (s.extent, s.total.type) == _kind(found[0])]
            inner = list(statements(statement.body))
            whole = not any(isinstance(s, Break) for s in inner)
            if sums and whole and len(inner) <= STATEMENTS:
                return self.versions(statement, sums)
        return with_bodies(statement, self.block)

    def sum(self, loop: Stmt) -> _Sum | None:
        """Return what a loop adds up along rows, None for another loop."""
        match loop:
            case For(
                column,
                Const(0),
                Var(name) as extent,
                (*assigns, Assign(total, Apply("add", (first, value)))),
                1,
            ) if first == total and total.type in ("float64", "float32") and name in self.likely:
                pass
            case _:
                return None
        local = {s.variable.name for s in assigns if isinstance(s, Assign)}
        if len(local) < len(assigns) or not local <= self.straight:
            return None
        value = substituted(value, assigns)
        if total.name in reads(value):
            return None
        row = along(value, column, build.i(0), vector(total.type))
        return None if row is None or isinstance(row, Cast) else _Sum(loop, total, value, extent)

    def versions(self, loop: For, sums: list[_Sum]) -> Stmt:
        """Return a loop with versions for likely widths of the rows that it sums along."""
        extent, dtype = _kind(sums[0])
        near = self.likely[extent.name]
        found: Stmt = loop
        for width in WIDTHS:
            kind, count = vector(dtype, min(width, 1)), max(int(width), 1)
            columns = lanes(kind) * count
            if near <= 2 * columns < 4 * near:
                version = self.version(loop, sums, kind, count)
                if version is not None:
                    found = If(build.eq(extent, columns), version, (found,))
        return found

    def version(
        self, loop: For, sums: list[_Sum], kind: str, count: int
    ) -> tuple[Stmt, ...] | None:
        """Return the loop with its sums in so many vectors of a type, None where no row is held."""
        moving = changes(loop.body) | {loop.variable.name}
        held: dict[Expr, Var] = {}
        body: list[Stmt] = []
        rows: list[Expr] = []
        for part in loop.body:
            own = next((s for s in sums if s.loop is part), None)
            if own is None:
                body.append(part)
                continue
            row = [self.held(x, moving, held) for x in _vectors(own, kind, count)]
            body += self.summed(own.total, row)
            rows += row
        if not held or not any(_scattered(row, loop.variable) for row in rows):
            return None
        note = Comment(f"rows of {lanes(kind) * count} columns, in vectors")
        before = tuple(Assign(variable, value) for value, variable in held.items())
        runs = build.lt(loop.start, loop.stop)
        return note, If(runs, (*before, replace(loop, body=tuple(body))))

    def summed(self, total: Var, row: list[Expr]) -> Iterator[Stmt]:
        """Yield what adds the vectors of a row, one by one, and then what they add up to."""
        first, *others = row
        if others:
            vectors = Var(fresh(f"{total.name}_vector", self.taken), first.type)
            yield Assign(vectors, first)
            for more in others:
                yield Assign(vectors, Apply("add", (vectors, more), vectors.type))
            first = vectors
        yield Assign(total, Apply("add", (total, Apply("total", (first,), total.type)), total.type))

    def held(self, node: Expr, moving: set[str], held: dict[Expr, Var]) -> Expr:
        """Return an expression with vectors that do not change in variables."""
        if isinstance(node, Load) and lanes(node.type) > 1 and not reads(node) & moving:
            if node not in held:
                held[node] = Var(fresh(f"{node.array}_row", self.taken), node.type)
            return held[node]
        return with_children(node, lambda child: self.held(child, moving, held))


def _vectors(own: _Sum, kind: str, count: int) -> Iterator[Expr]:
    """Yield what a sum adds up, in vectors of a type."""
    for start in range(0, lanes(kind) * count, lanes(kind)):
        row = along(own.value, own.loop.variable, build.i(start), kind)
        assert row is not None
        yield row


def _scattered(value: Expr, turn: Var) -> bool:
    """Whether a value reads rows that do not lie one behind the other, turn by turn."""
    loads = (part for part in expressions(value) if isinstance(part, Load) and lanes(part.type) > 1)
    return any(place != turn for load in loads for place in load.subscripts[:-1])


def _kind(sum: _Sum) -> tuple[Var, str]:
    return sum.extent, sum.total.type
