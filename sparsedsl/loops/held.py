"""Sums of a short row that are numbered by a range of indices, held in registers.

    for e in a .. b: table[crd[e]] = e          if b - a <= 8:
    for p in ...:                                   keys, values = crd[a ..+8], data[a ..+8]
        for r in ...:                               sums = 0
            q = table[c[r]]                         for p in ...:
            if q - a below b - a:                       for r in ...:
                sums[q - a] += data[q] * v[r]   =>          sums[k] += values[k] * v[r]
    for e in a .. b by 8:                                       where keys[k] == c[r]
        lanes = sums[e - a ..+8]                    lanes, e = sums, a
        sums[e - a ..+8] = 0                        work
        work                                    else:
                                                    the loops as they were

Each index is compared with all 8, which takes one instruction, and each of the sums is added to in
the same order: it has the same bits.  The table is neither filled nor read, and no sum goes through
memory.  Of lanes that are not used nothing is stored.  Takes and gives a kernel that
``loops.verify`` accepts; comes after ``packs``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import array_dtypes, changes, fresh, names, reads, touched, uses
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Binary,
    Cast,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Pack,
    Part,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.vectors import ARITHMETIC, element, is_vector, lanes
from sparsedsl.loops.walk import statements, with_bodies


def held(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with sums of short rows held in registers."""
    return replace(kernel, body=_Holding(array_dtypes(kernel), names(kernel)).block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: what fills a table from ``keys``, the loops that add, what empties ``sums``.

    The range of ``keys`` is from ``low`` on and before ``high``, and has as many as ``counts`` say.
    """

    keys: str
    low: Var
    high: Expr
    counts: tuple[Expr, ...]
    table: str
    middle: tuple[Stmt, ...]
    past: Assign
    at: Var
    left: Assign
    lanes: Assign
    sums: str
    work: tuple[Stmt, ...]


class _NotHeldError(Exception):
    """A row does something else with what would be held."""


class _Holding:
    """One pass: dtypes of arrays, and names already taken."""

    def __init__(self, dtypes: dict[str, str], taken: set[str]) -> None:
        self.dtypes = dtypes
        self.taken = taken

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        for start in range(len(body)):
            for stop in range(start + 2, len(body)):
                row = _row(body[:start], body[start : stop + 1])
                made = None if row is None else self.short(row)
                if row is not None and made is not None:
                    count = build.le(build.sub(row.high, row.low), lanes(row.lanes.variable.type))
                    either = If(count, made, body[start : stop + 1])
                    return (*body[:start], either, *self.block(body[stop + 1 :]))
        return tuple(with_bodies(statement, self.block) for statement in body)

    def short(self, row: _Row) -> tuple[Stmt, ...] | None:
        """Return what is done for a short row; None where that is not possible."""
        kind = row.lanes.variable.type
        index = f"{self.dtypes[row.keys]}*{lanes(kind)}"
        moving = changes(row.middle)
        fixed = {row.keys, row.low.name, *reads(row.high)}
        if fixed & moving or not is_vector(index) or self.dtypes[row.sums] != element(kind):
            return None
        keys = Var(fresh(f"{row.keys}_lanes", self.taken), index)
        sums = Var(fresh(f"{row.sums}_held", self.taken), kind)
        adding = _Adding(row, keys, sums, self.taken, {})
        try:
            middle = adding.block(row.middle)
        except _NotHeldError:
            return None
        used = {name for s in statements(middle) for name in touched(s)}
        if used & {row.table, row.sums} or set(adding.values) & moving:
            return None
        count = build.sub(row.high, row.low)
        dtype = element(kind)
        return (
            Assign(keys, Part(row.keys, row.low, count, index)),
            *(
                Assign(variable, Part(array, row.low, count, kind))
                for array, variable in adding.values.items()
            ),
            Assign(sums, Cast(Const(0.0, dtype), kind)),
            *middle,
            row.past,
            Assign(row.at, row.low),
            row.left,
            Assign(row.lanes.variable, sums),
            *row.work,
        )


@dataclass(frozen=True, slots=True)
class _Adding:
    """Writes the loops of a row with ``sums`` added to; ``values`` are arrays over the range."""

    row: _Row
    keys: Var
    sums: Var
    taken: set[str]
    values: dict[str, Var]

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        slots: dict[Var, Expr] = {}
        for statement in body:
            match statement:
                case Assign(slot, Load(array, (key,))) if array == self.row.table:
                    slots[slot] = key
                case If(Binary("below", Binary("-", Var() as slot, low), count), inner, ()) if (
                    slot in slots and low == self.row.low
                ):
                    if count not in self.row.counts:
                        raise _NotHeldError
                    found += self.added(slot, slots[slot], inner)
                case _:
                    found.append(with_bodies(statement, self.block))
        if set(slots) & {Var(name, INT) for name in uses(tuple(found))}:
            raise _NotHeldError
        return tuple(found)

    def added(self, slot: Var, key: Expr, inner: tuple[Stmt, ...]) -> list[Stmt]:
        """Return what is done where an index is in the range, done for all of it."""
        *before, last = inner
        place = build.sub(slot, self.row.low)
        match last:
            case Store(array, (at,), value, "add") if array == self.row.sums and at == place:
                pass
            case _:
                raise _NotHeldError
        found: list[Stmt] = []
        vectors: dict[Expr, Expr] = {}
        for statement in before:
            match statement:
                case Assign(variable, Load(array, (at,), dtype)) if at == slot:
                    if dtype != element(self.sums.type):
                        raise _NotHeldError
                    vectors[variable] = self.value(array)
                case Assign(_, Load(_, places)) if slot.name not in map(_named, places):
                    found.append(statement)
                case _:
                    raise _NotHeldError
        terms = self.vector(value, vectors)
        total = Apply("added", (self.sums, self.keys, key, terms), self.sums.type)
        return [*found, Assign(self.sums, total)]

    def value(self, array: str) -> Var:
        """Return the values of an array along the range."""
        if array not in self.values:
            name = fresh(f"{array}_lanes", self.taken)
            self.values[array] = Var(name, self.sums.type)
        return self.values[array]

    def vector(self, node: Expr, vectors: dict[Expr, Expr]) -> Expr:
        """Return a value for each lane."""
        kind = self.sums.type
        match node:
            case Apply(function, (left, right), type) if function in ARITHMETIC and type == element(
                kind
            ):
                sides = self.vector(left, vectors), self.vector(right, vectors)
                return Apply(function, sides, kind)
            case Var(_, type) | Const(_, type) if type == element(kind):
                return vectors.get(node, Cast(node, kind))
            case _:
                raise _NotHeldError


def _named(node: Expr) -> str:
    """Return the name of a variable, "" for another expression."""
    return node.name if isinstance(node, Var) else ""


def _row(before: tuple[Stmt, ...], body: tuple[Stmt, ...]) -> _Row | None:
    """Return the parts of statements that number a range, add and deliver, None for others."""
    match body:
        case (
            For(entry, Var() as low, high, (Store(table, (Load(keys, (at,)),), Cast(number)),)),
            *middle,
            Assign(past, end) as ending,
            For(
                Var() as turn,
                start,
                stop,
                (
                    Assign(left, Binary("-", rest, begun)) as leaving,
                    Assign(lanes_of, Part(sums, place, count, through="")) as loading,
                    Pack(cleared, again, Cast(Const(0.0))),
                    *work,
                ),
            ) as flush,
        ) if (at, number, start) == (entry, entry, low) and sums == cleared:
            pass
        case _:
            return None
    ends = end == high and past == stop == rest and begun == turn and count == left
    places = place == again == build.sub(turn, low) and flush.step == lanes(lanes_of.type)
    if (
        not ends
        or not places
        or {table, sums} & {n for s in statements(tuple(work)) for n in touched(s)}
    ):
        return None
    length = build.sub(high, low)
    counts = [s.variable for s in before if isinstance(s, Assign) and s.value == length]
    return _Row(
        *(keys, low, high, (length, *counts), table, tuple(middle)),
        *(ending, turn, leaving, loading, sums, tuple(work)),
    )
