"""Columns that a loop accumulates into two rows at once, one of which is held in vectors.

    for p in a .. b:                         for j_strip in 0 .. n - n % 64 by 64:
        k = indices[p]                           C_columns = C[i, j_strip ..+64]
        for j in 0 .. n:                         X_columns = X[i, j_strip ..+64]
            C[i, j] =add= A[p] * X[k, j]  =>     for p in a .. b:
        if i > k:                                    k = indices[p]
            for j in 0 .. n:                         C_columns += A[p] * X[k, j_strip ..+64]
                C[k, j] =add= A[p] * X[i, j]         if i > k:
                                                         C[k, j_strip ..+64] += A[p] * X_columns
                                                 C[i, j_strip ..+64] = C_columns

Takes: a loop.  Gives: the two rows, and the loop over strips.  Invariant: the other row is another
one wherever it is written, so that what is held is the row; every element meets the same values
in the same order.  What is read before the loop is read by its first turn, too: where that turn
writes one row alone, the loop is left as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sparsedsl.loops import build as lb
from sparsedsl.loops.effects import changes, fresh, reads, touched
from sparsedsl.loops.lifting import along, put, substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Binary,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Load,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.vectors import lanes, vector
from sparsedsl.loops.walk import statements, with_children

Body = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A loop over the columns of one row: what it stores, and the value in the loop's terms."""

    column: For
    store: Store
    value: Expr

    @property
    def place(self) -> tuple[Expr, ...]:
        """The subscripts of the row."""
        return self.store.subscripts[:-1]


@dataclass(frozen=True, slots=True)
class Halves:
    """A loop that accumulates into a row that stays, ``held``, and after that into ``other`` ones.

    Both do ``before`` in each turn; the other row is written where ``guard`` holds, if there is
    one, after ``between``.  ``turned``: the other row comes first and is written in every turn,
    the one that is held where the guard holds.
    """

    loop: For
    before: Body
    held: Row
    guard: Expr | None
    between: Body
    other: Row
    turned: bool = False


def halves(loop: For) -> Halves | None:
    """Return the rows that a loop accumulates into, None where it does not have this form."""
    before, rest = _assigned(loop.body)
    if len(rest) < 2 or not isinstance(rest[0], For):
        return None
    between, last = _assigned(rest[1:])
    guard: Expr | None = None
    if len(last) == 1 and isinstance(last[0], If) and not last[0].otherwise:
        guard = last[0].condition
        inner, last = _assigned(last[0].then)
        between += inner
    if len(last) != 1 or not isinstance(last[0], For):
        return None
    one, two = _row(rest[0]), _row(last[0])
    if one is None or two is None or one.store.array != two.store.array:
        return None
    if one.column.stop != two.column.stop:
        return None
    moving = changes(loop.body) | {loop.variable.name}
    for held, other, turned in ((one, two, False), (two, one, True)):
        found = Halves(loop, before, held, guard, between, other, turned)
        fixed = not any(reads(s) & moving for s in (*held.place, held.column.stop))
        if fixed and _are_apart(found):
            return found
    return None


def _assigned(body: Body) -> tuple[Body, Body]:
    """Cut a body where its first assignments end."""
    count = next((n for n, s in enumerate(body) if not isinstance(s, Assign)), len(body))
    return body[:count], body[count:]


def _row(loop: For) -> Row | None:
    before, last = _assigned(loop.body)
    match last:
        case (Store(_, (*_, place), _, "add", True) as store,):
            pass
        case _:
            return None
    if place != loop.variable or loop.step != 1 or loop.start != Const(0, INT):
        return None
    return Row(loop, store, substituted(store.value, before))


def _are_apart(found: Halves) -> bool:
    """Whether the rows differ in a coordinate, where both are written."""
    places = zip(found.held.place, _other_place(found), strict=True)
    return any(_exceeds(one, two, found) or _exceeds(two, one, found) for one, two in places)


def is_later(found: Halves) -> bool:
    """Whether the row that is held is a later one than all the others that are written."""
    match found.held.place, _other_place(found):
        case ((one,), (two,)) if not found.turned:
            return _exceeds(one, two, found)
        case _:
            return False


def _other_place(found: Halves) -> tuple[Expr, ...]:
    definitions = (*found.before, *found.between)
    return tuple(_plain(substituted(s, definitions)) for s in found.other.place)


def _exceeds(one: Expr, two: Expr, found: Halves) -> bool:
    """Whether one subscript is known to be larger than the other where both rows are written."""
    if two == found.loop.variable and one == found.loop.stop:
        return True
    match found.guard:
        case Binary(">=", left, Binary("+", right, Const(1))) | Binary(">", left, right):
            return (_plain(left), _plain(right)) == (one, two)
        case _:
            return False


def _plain(node: Expr) -> Expr:
    """Return an expression that does not tell how it is subscripted."""
    node = with_children(node, _plain)
    return replace(node, natural=False) if isinstance(node, Load) else node


def strips(
    found: Halves, dtype: str, widths: Iterable[float], first: Expr | None, taken: set[str]
) -> Body | None:
    """Return statements that do the same strip by strip, None where vectors cannot.

    ``first`` is what every column begins with, if that is known.
    """
    loop, array = found.loop, found.held.store.array
    uses = sum(touched(part).count(array) for part in statements((loop,)))
    if dtype not in ("float32", "float64") or uses != 2:
        return None
    whole = vector(dtype)
    for row in (found.held, found.other):
        if along(row.value, row.column.variable, row.column.variable, whole) is None:
            return None
    count, start = found.held.column.stop, lb.i(0)
    body: list[Stmt] = [Comment("columns of both rows in vectors, then those left")]
    for type in (*(vector(dtype, width) for width in widths), dtype):
        stop = lb.sub(count, lb.mod(count, lanes(type))) if type != dtype else count
        body.append(_strip(found, type, (start, stop), first, taken))
        start = stop
    both: Body = tuple(body)
    begun: Body = () if first is None else (opening(found, first),)
    if found.guard is not None and not found.turned:
        guard = put(substituted(found.guard, found.before), loop.variable, loop.start)
        both = (If(guard, both, (*begun, loop)),)
    return (If(lb.lt(loop.start, loop.stop), both, begun),)


def opening(found: Halves, first: Expr) -> For:
    """Return the loop that sets the row that is held to what it begins with."""
    column, store = found.held.column, found.held.store
    return replace(column, body=(replace(store, value=first, combine=None),))


def _strip(
    found: Halves, type: str, ends: tuple[Expr, Expr], first: Expr | None, taken: set[str]
) -> Stmt:
    """Return the loop over strips of columns, each of ``type``: a vector, or one element."""
    array = found.held.store.array
    at = Var(fresh(f"{found.held.column.variable.name}_strip", taken), INT)
    total = Var(fresh(f"{array}_columns", taken), type)
    place = (*found.held.place, at)
    begin = Load(array, place, type) if first is None else Cast(first, type)
    fixed = _Fixed(changes(found.loop.body) | {found.loop.variable.name, array}, taken)
    there = (*found.other.place, at)
    value = fixed.outside(_lifted(found.other, at, type))
    add = Assign(total, Apply("add", (total, _lifted(found.held, at, type)), type))
    other = Store(array, there, Apply("add", (Load(array, there, type), value), type))
    if found.guard is None:
        turn: Body = (add, *found.between, other)
    elif not found.turned:
        turn = (add, If(found.guard, (*found.between, other)))
    else:  # elsewhere it may be the row that is held
        row = Store(array, place, total), other, Assign(total, Load(array, place, type))
        turn = (If(found.guard, (*found.between, add, other), row),)
    body = (
        *fixed.assigned,
        Assign(total, begin),
        replace(found.loop, body=(*found.before, *turn)),
        Store(array, place, total),
    )
    return For(at, *ends, body, lanes(type))


def _lifted(row: Row, at: Var, type: str) -> Expr:
    """Return the value added to a row, of the columns from ``at`` on."""
    if lanes(type) == 1:
        return put(row.value, row.column.variable, at)
    value = along(row.value, row.column.variable, at, type)
    assert value is not None
    return value


class _Fixed:
    """Assigns what a value reads of columns in the same way in each turn, for before the loop."""

    def __init__(self, moving: set[str], taken: set[str]) -> None:
        self.moving = moving
        self.taken = taken
        self.assigned: list[Assign] = []

    def outside(self, node: Expr) -> Expr:
        """Return a value that reads variables instead."""
        if isinstance(node, Load) and len(node.subscripts) > 1 and not reads(node) & self.moving:
            variable = Var(fresh(f"{node.array}_columns", self.taken), node.type)
            self.assigned.append(Assign(variable, node))
            return variable
        return with_children(node, self.outside)
