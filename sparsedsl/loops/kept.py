"""Entries that are all kept go to the places of those they are made of, several at a time.

    for i in a .. b:                        first, past = ptr[a], ptr[b]
        for p in ptr[i] .. ptr[i + 1]:      for p in first .. past:
            v = f(A[p])                         v = f(A[p])
            C[n] = v                            C[n + p - first] = v
            col[n] = j[p]             =>        kept += v != 0
            n += v != 0                     if kept == past - first:
        end[i + 1] = n                          for p: col[n + p - first] = j[p]
                                                for i: end[i + 1] = n + ptr[i + 1] - first
                                                n += kept
                                            else:
                                                the loops as they were

Where an entry goes then follows from no value before it, so that the loops can be vectors; few
results have zeros among them, and these are computed once more.  The rows make up one range where
their lengths, counted before or by an earlier call for the same rows, add up to it: no length is
negative then.  Expressions that choose between values are left alone, since they are there to drop
some.  Takes and gives a kernel that ``loops.verify`` accepts; results are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import changes, fresh, names, reads
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Apply,
    Assign,
    Binary,
    Cast,
    Comment,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Select,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.walk import expressions, with_bodies, with_children

_CHOICES = frozenset({"maximum", "minimum", "where"})
"""Operators that give the fill for many arguments."""


def kept(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with entries appended at places that no value decides, where all are."""
    taken = names(kernel)

    def block(body: tuple[Stmt, ...], counts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            before = (*counts, *found)
            match statement:
                case For():
                    found += _kept(statement, before, taken)
                case _:
                    found.append(with_bodies(statement, lambda inner, c=before: block(inner, c)))
        return tuple(found)

    return replace(kernel, body=block(kernel.body, ()))


@dataclass(frozen=True, slots=True)
class _Entries:
    """A loop that appends an entry a turn: definitions, stores at ``count``, what keeps one.

    ``rows`` is the loop around it that ends rows by the store ``end``, if there is one.
    """

    loop: For
    definitions: tuple[Assign, ...]
    stores: tuple[Store, ...]
    count: Var
    keeps: Expr
    rows: For | None = None
    end: Store | None = None


def _kept(loop: For, before: Sequence[Stmt], taken: set[str]) -> list[Stmt]:
    entries = _of_rows(loop) or _entries(loop)
    if entries is None:
        return [loop]
    length: Expr | None = None
    if entries.rows is not None:
        length = _counted(entries, before)
        if length is None:
            return [loop]
    return [_alternatives(entries, length, taken)]


def _of_rows(loop: For) -> _Entries | None:
    """Return what a loop over rows appends, each row its entries, then its end."""
    match loop:
        case For(row, _, _, (For(_, Load(array, (low,)), Load(other, (high,))) as inner, end), 1):
            pass
        case _:
            return None
    entries = _entries(inner)
    after = build.add(row, 1)
    if entries is None or array != other or (low, high) != (row, after):
        return None
    if not isinstance(end, Store) or end.subscripts != (after,) or end.combine is not None:
        return None
    stored = {s.array for s in (*entries.stores, end)}
    alone = end.value in (entries.count, build.cast(entries.count, _type(end.value)))
    if not alone or array in stored or len(stored) <= len(entries.stores):
        return None
    read = {n for d in entries.definitions for n in reads(d.value)}
    return None if row.name in read else replace(entries, rows=loop, end=end)


def _type(node: Expr) -> str:
    return node.type


def _entries(loop: For) -> _Entries | None:
    """Return what a loop appends, None where it does not have this form."""
    match loop:
        case For(step=1, body=(*first, Assign(count, Binary("+", before, Cast(keeps, "int"))))) if (
            before == count and keeps.type == BOOL
        ):
            pass
        case _:
            return None
    definitions = tuple(s for s in first if isinstance(s, Assign))
    stores = tuple(s for s in first if isinstance(s, Store))
    if len(definitions) + len(stores) < len(first) or len(stores) < 2:
        return None
    local = {d.variable.name for d in definitions}
    values = (*(d.value for d in definitions), *(s.value for s in stores), keeps)
    once = len(local) == len(definitions) and len({s.array for s in stores}) == len(stores)
    places = all(s.subscripts == (count,) and s.combine is None for s in stores)
    moved = {count.name, *(s.array for s in stores)}
    if not once or not places or any(reads(value) & moved for value in values):
        return None
    if any(_chooses(value) for value in values) or count.name in reads(loop.stop):
        return None
    return _Entries(loop, definitions, stores, count, keeps)


def _chooses(value: Expr) -> bool:
    """Whether a value is there to be the fill for many entries."""
    return any(
        isinstance(part, Select)
        or (isinstance(part, Apply) and (part.function in _CHOICES or part.type == BOOL))
        or (isinstance(part, Cast) and part.operand.type == BOOL)
        for part in expressions(value)
    )


def _counted(entries: _Entries, before: Sequence[Stmt]) -> Expr | None:
    """Return what holds the sum of the rows' lengths, none counted below zero, if anything does."""
    rows, inner = entries.rows, entries.loop
    assert rows is not None
    for place, statement in enumerate(before):
        counts, again = statement, False
        if isinstance(statement, If) and len(statement.then) == 1 and not statement.otherwise:
            (counts,), again = statement.then, True
        match counts:
            case For(row, start, stop, (Assign(room, Binary("+", old, added)),), 1) if (
                room == old and (start, stop) == (rows.start, rows.stop)
            ):
                pass
            case _:
                continue
        low, high = (_put(end, rows.variable, row) for end in (inner.start, inner.stop))
        begins = place > 0 and _begins(before[place - 1], statement if again else None, room)
        fixed = room.name not in changes(before[place + 1 :])
        if begins and fixed and added == build.max_(build.sub(high, low), 0):
            return room
    return None


def _begins(first: Stmt, asked: Stmt | None, room: Var) -> bool:
    """Whether ``room`` is 0 before it is counted: it is asked where it may have been before."""
    if asked is None:
        return first == Assign(room, build.i(0))
    counted = isinstance(first, Assign) and isinstance(first.value, Var) and first.variable == room
    return counted and isinstance(asked, If) and asked.condition == build.eq(room, 0)


def _put(node: Expr, old: Expr, new: Expr) -> Expr:
    return new if node == old else with_children(node, lambda child: _put(child, old, new))


def _alternatives(entries: _Entries, length: Expr | None, taken: set[str]) -> Stmt:
    """Return the loops for entries that are all kept, and those for others."""
    outer = entries.rows or entries.loop
    turn, name = entries.loop.variable, entries.stores[-1].array
    first = build.ivar(fresh(f"{turn.name}_first", taken))
    past = build.ivar(fresh(f"{turn.name}_past", taken))
    number = Var(fresh(f"{entries.count.name}_kept", taken), INT)
    low, high = outer.start, outer.stop
    if entries.rows is not None:
        low = _put(entries.loop.start, outer.variable, outer.start)
        high = _put(entries.loop.start, outer.variable, outer.stop)
    total = build.sub(past, first)
    values = (Assign(number, build.i(0)), *_values(entries, first, past, number))
    if length is not None:
        values, total = (If(build.eq(length, total), values),), length
    moved = (
        Comment(f"every entry of {name} is kept"),
        *_others(entries, first, past),
        Assign(entries.count, build.add(entries.count, number)),
    )
    body = (
        Assign(first, low),
        Assign(past, high),
        Assign(number, build.i(-1)),
        *values,
        If(build.eq(number, total), moved, (outer,)),
    )
    return If(build.lt(outer.start, outer.stop), body)


def _place(entries: _Entries, first: Expr) -> Expr:
    return build.add(entries.count, build.sub(entries.loop.variable, first))


def _values(entries: _Entries, first: Expr, past: Expr, number: Var) -> Iterator[Stmt]:
    """Yield the loop that stores what decides whether an entry is kept."""
    *_, value = entries.stores
    store = replace(value, subscripts=(_place(entries, first),))
    add = Assign(number, build.add(number, Cast(entries.keeps, INT)))
    needed = _needed(entries, (value.value, entries.keeps))
    yield For(entries.loop.variable, first, past, (*needed, store, add))


def _others(entries: _Entries, first: Expr, past: Expr) -> Iterator[Stmt]:
    """Yield the loops that store coordinates, then the ends of rows."""
    turn = entries.loop.variable
    for store in entries.stores[:-1]:
        moved = replace(store, subscripts=(_place(entries, first),))
        yield For(turn, first, past, (*_needed(entries, (store.value,)), moved))
    rows, end = entries.rows, entries.end
    if rows is None or end is None:
        return
    here = build.add(entries.count, build.sub(entries.loop.stop, first))
    yield replace(rows, body=(replace(end, value=build.cast(here, _type(end.value))),))


def _needed(entries: _Entries, values: Sequence[Expr]) -> list[Assign]:
    """Return the definitions that some values rest on, in order."""
    wanted = {n for value in values for n in reads(value)}
    found: list[Assign] = []
    for definition in reversed(entries.definitions):
        if definition.variable.name in wanted:
            wanted |= reads(definition.value)
            found.insert(0, definition)
    return found
