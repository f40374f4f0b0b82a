"""Sums of what is looked up in a row, of several rows with equal indices at once.

Takes: a row that is spread out in an array, and a walk over entries that each have such a sum.
Gives: the walk with a lane for each row, as ``loops.supernodes`` shows it.  Invariant: a sum has
the same terms, in an order that how many there are tells alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.alike import Runs
from sparsedsl.loops.effects import fresh, reads, touched, uses
from sparsedsl.loops.lifting import put, substituted
from sparsedsl.loops.nodes import (
    Apply,
    Assign,
    Cast,
    Const,
    Expr,
    For,
    Load,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.rowlanes import FLOATS, Facts, Row, RowLanes, Together, over, pointer_of

SUMS = 4
"""Sums of every so many terms, which do not wait for each other."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk does for an entry: definitions, a sum that ``inner`` takes, what is done then."""

    before: tuple[Assign, ...]
    total: Var
    first: Const
    inner: For
    value: Expr
    after: tuple[Stmt, ...]


def sums_of_rows(row: Row, facts: Facts, found: Runs) -> Together | None:
    """Return what takes rows together whose entries are looked up, None for other rows."""
    walk = walk_of(row, facts)
    pointer = pointer_of(row.walk, row.loop.variable, row.before)
    match row.setup.body, row.clear.body:
        case (
            (Store(value=Load(values, (at,), dtype, True)),),
            (Store(value=Const() as fill),),
        ) if at == row.setup.variable and dtype in FLOATS:
            pass
        case _:
            return None
    if walk is None or pointer is None or walk.total.type != dtype or walk.first.type != dtype:
        return None
    known = {pointer, values} <= facts.given and facts.fills.get(row.array) == fill
    if not known or {facts.dtypes[row.array], facts.dtypes[values]} != {dtype}:
        return None
    lanes = RowLanes(facts, row, pointer, dtype, frozenset({row.array}))
    common = lanes.learnt(walk.before)
    lanes.names.add(walk.inner.variable.name)
    vector = lanes.vector(substituted(walk.value, [s for s in walk.before if s not in common]))
    if vector is None or isinstance(vector, Cast):
        return None
    if not lanes.is_common(walk.inner.start) or not lanes.is_common(walk.inner.stop):
        return None
    sums = fresh(f"{walk.total.name}_rows", facts.taken)
    other = facts.named(f"{row.loop.variable.name}_other")
    rows = lanes.lanes_of(row.array)
    spread, clear = row.setup.variable, row.clear.variable

    def key(turn: Expr) -> Expr:
        return build.load(row.rows.indices[0], turn)

    spread_out = lanes.stored(found, other, rows, key(spread), Load(values, (spread,), dtype))
    cleared = lanes.stored(found, other, rows, key(clear), fill)
    first = row.rows.pointer
    body = (*common, *lanes.loaded(), *_summed(walk, lanes, vector, sums))
    computed = (
        For(
            *(other, found.first, found.past),
            (*lanes.laid(found, other), over(first, other, spread, spread_out)),
        ),
        replace(row.walk, body=body),
        For(other, found.first, found.past, (over(first, other, clear, cleared),)),
    )
    held = Load(sums, (build.add(lanes.at(lanes.entry), found.place),), dtype)
    needed = {*uses(walk.after)}
    again = tuple(s for s in walk.before if s.variable.name in needed)
    kept = replace(row.walk, body=(*again, Assign(walk.total, held), *walk.after))
    made = (*lanes.made(**{row.array: fill}), lanes.room(sums))
    return Together(lanes.rows, lanes.most, made, computed, (kept,))


def walk_of(row: Row, facts: Facts) -> Walk | None:
    """Return what a row's walk does for each entry, None where it takes no sum of look-ups."""
    body = row.walk.body
    place = next((k for k, s in enumerate(body) if isinstance(s, For)), 0)
    match body[max(place - 1, 0) : place + 1]:
        case (
            Assign(total, Const() as first),
            For(body=(*assigns, Assign(again, Apply("add", (old, value)))), step=1) as inner,
        ) if total == again == old:
            pass
        case _:
            return None
    given = [s for s in assigns if isinstance(s, Assign)]
    before = tuple(s for s in body[: place - 1] if isinstance(s, Assign))
    if len(given) < len(assigns) or len(before) < place - 1:
        return None
    if not {s.variable.name for s in (*given, *before)} <= facts.straight:
        return None
    looked_up = sum(touched(s).count(row.array) for s in inner.body)
    if not row.keeps(row.array, looked_up + 2) or total.name in reads(value):
        return None
    return Walk(before, total, first, inner, substituted(value, given), body[place + 1 :])


def _summed(walk: Walk, lanes: RowLanes, value: Expr, sums: str) -> Iterator[Stmt]:
    """Yield what takes the sum of an entry in all lanes, and stores it."""
    facts, inner, kind = lanes.facts, walk.inner, lanes.kind
    totals = [facts.named(f"{walk.total.name}_lanes", kind) for _ in range(SUMS)]
    low, high, whole = (
        facts.named(f"{inner.variable.name}_{what}") for what in ("lo", "hi", "whole")
    )

    def added(total: Var, turn: Expr) -> Assign:
        return Assign(total, Apply("add", (total, put(value, inner.variable, turn)), kind))

    zero = Const(0.0, lanes.dtype)
    for number, total in enumerate(totals):
        yield Assign(total, Cast(zero if number else walk.first, kind))
    yield Assign(low, inner.start)
    yield Assign(high, inner.stop)
    even = build.sub(high, build.mod(build.sub(high, low), SUMS))
    yield Assign(whole, build.max_(low, even))
    turns = [build.add(inner.variable, number) for number in range(SUMS)]
    body = tuple(added(total, turn) for total, turn in zip(totals, turns, strict=True))
    yield For(inner.variable, low, whole, body, SUMS)
    yield For(inner.variable, whole, high, (added(totals[0], inner.variable),))
    yield Store(sums, (lanes.at(lanes.entry),), total_of(totals))


def total_of(parts: Sequence[Expr]) -> Expr:
    """Return the sum of parts: that of each half, added."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return Apply("add", (total_of(parts[:half]), total_of(parts[half:])), parts[0].type)
