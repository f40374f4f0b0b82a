"""Sums along the last axis of dense operands, in vectors as wide as a row is likely to be.

    for p in a .. b:                        if n >= 64 and n % 8 == 0:
        j = indices[p]                          P_row = P[i, 0 ..+64]
        s = 0                                   for p in a .. b:
        for k in 0 .. n:                            j = indices[p]
            s += P[i, k] * Q[j, k]      =>          s = total(P_row * Q[j, 0 ..+64])
        y[p] = s                                    s_rest = 0
                                                    for k in 64 .. n by 8:
                                                        s_rest += P[i, k ..+8] * Q[j, k ..+8]
                                                    s += total(s_rest)
                                                    y[p] = s
                                            else:
                                                for p in a .. b: ... as it was

How often the inner loop turns is the same for all entries, but not known when it is compiled.  In
vectors of one width it is straight code: nothing is counted, and a row that does not change from
entry to entry is read once and held.  There is a version for each width that is likely, and the
loop as it was for other extents.  Sums are taken in another order, which the extent decides: it is
the same for every number of threads.  Takes and gives a kernel that ``loops.verify`` accepts; no
pass comes after this one but those of vectors and ``fetch``, since others know no vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads, straight_names
from sparsedsl.loops.lifting import along, substituted
from sparsedsl.loops.nodes import (
    INT,
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
from sparsedsl.loops.walk import statements, with_bodies, with_children

STEPS = {16: 4, 8: 1, 4: 1, 2: 1, 1: 1, 0.5: 0.5}
"""Registers that a row fills, with those that the columns behind it are taken by."""

WIDEST = 256
"""The largest extent expected of which there are versions; rows of more do not fit in registers."""

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


@dataclass(frozen=True, slots=True)
class _Width:
    """The first columns of a row, as many as are taken at once, and the registers they fill."""

    registers: float
    columns: int

    def row(self, dtype: str) -> str:
        """Return the type of the first columns."""
        return vector(dtype, self.registers)

    def step(self, dtype: str) -> str:
        """Return the type by which the columns behind them are taken."""
        return vector(dtype, STEPS[self.registers])


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
            if sums and len(list(statements(statement.body))) <= STATEMENTS:
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
        for registers in reversed(STEPS):
            width = _Width(registers, lanes(vector(dtype, registers)))
            if near <= 2 * width.columns < 4 * near:
                whole = build.eq(build.mod(extent, lanes(width.step(dtype))), 0)
                fits = build.conj(build.le(width.columns, extent), whole)
                found = If(fits, self.version(loop, sums, width), (found,))
        return found

    def version(self, loop: For, sums: list[_Sum], width: _Width) -> tuple[Stmt, ...]:
        """Return the loop with its sums in vectors of one width."""
        moving = changes(loop.body) | {loop.variable.name}
        whole = not any(isinstance(s, Break) for s in statements(loop.body))
        held: dict[Expr, Var] = {}
        body: list[Stmt] = []
        for part in loop.body:
            sum = next((s for s in sums if s.loop is part), None)
            if sum is None:
                body.append(part)
                continue
            row = _of(sum, build.i(0), width.row(sum.total.type))
            body.append(_added(sum, self.held(row, moving, held) if whole else row))
            rest = tuple(self.rest(sum, width))
            body.append(If(build.lt(width.columns, sum.extent), rest))
        note = Comment(f"rows of {width.columns} columns and more, in vectors")
        made = replace(loop, body=tuple(body))
        if not held:
            return note, made
        before = tuple(Assign(variable, value) for value, variable in held.items())
        runs = build.lt(loop.start, loop.stop)
        return note, If(runs, (*before, made))

    def rest(self, sum: _Sum, width: _Width) -> Iterator[Stmt]:
        """Yield what adds up the columns behind the first."""
        kind = width.step(sum.total.type)
        at = Var(fresh(f"{sum.loop.variable.name}_strip", self.taken), INT)
        rest = Var(fresh(f"{sum.total.name}_rest", self.taken), kind)
        more = Assign(rest, Apply("add", (rest, _of(sum, at, kind)), kind))
        yield Assign(rest, Cast(Const(0.0, sum.total.type), kind))
        yield For(at, build.i(width.columns), sum.extent, (more,), lanes(kind))
        yield _added(sum, rest)

    def held(self, node: Expr, moving: set[str], held: dict[Expr, Var]) -> Expr:
        """Return an expression with vectors that do not change in variables."""
        if isinstance(node, Load) and lanes(node.type) > 1 and not reads(node) & moving:
            if node not in held:
                held[node] = Var(fresh(f"{node.array}_row", self.taken), node.type)
            return held[node]
        return with_children(node, lambda child: self.held(child, moving, held))


def _kind(sum: _Sum) -> tuple[Var, str]:
    return sum.extent, sum.total.type


def _of(sum: _Sum, at: Expr, type: str) -> Expr:
    """Return what the columns from ``at`` on add, as a vector."""
    value = along(sum.value, sum.loop.variable, at, type)
    assert value is not None
    return value


def _added(sum: _Sum, value: Expr) -> Stmt:
    """Return the addition of a vector's elements to a sum."""
    more = Apply("total", (value,), sum.total.type)
    return Assign(sum.total, Apply("add", (sum.total, more), sum.total.type))
