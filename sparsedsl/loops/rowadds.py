"""Products added where a row's entries say, of several rows with equal indices at once.

    for e in M[i] .. M[i + 1]:              if i is the first of rows that are equal:
        slots[crd[e]] = e - M[i]                for e in M[i] .. M[i + 1]:
    for p in A[i] .. A[i + 1]:                      slots[crd[e]] = e - M[i]
        for q in B[k[p]] ..:                        lanes[4 * (e - M[i]) ..+4] = 0
            slot = slots[j[q]]                  for p in A[i] .. A[i + 1]:
            if slot < n:              =>            for q in B[k[p]] ..:
                sums[slot] += a[p] * b[q]               slot = slots[j[q]]
    for e in M[i] .. M[i + 1]:                          if slot < n:
        slots[crd[e]] = n                                   lanes[4 * slot ..+4] += a * b[q]
                                                for e in M[i] .. M[i + 1]:
                                                    slots[crd[e]] = n
                                            if i is one of several:
                                                for e in M[i] .. M[i + 1]:
                                                    sums[e - M[i]] = lanes[4 * (e - M[i]) + r]
                                            else: as it was

Takes: a row whose entries are numbered, and a walk that adds where the numbers say.  Gives: the
walk with a lane for each row.  Invariant: every element has the same terms in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.alike import Runs
from sparsedsl.loops.effects import changes, touched, uses
from sparsedsl.loops.lifting import substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Binary,
    Cast,
    Expr,
    For,
    If,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.rowlanes import FLOATS, Facts, Row, RowLanes, Together, over, pointer_of
from sparsedsl.loops.walk import statements


@dataclass(frozen=True, slots=True)
class _Adding:
    """What a walk adds: definitions of an entry and of a product, where its slot is told, and it.

    It is added to ``sums`` at its ``slot`` if that is below a ``limit``; with others, elsewhere.
    """

    before: tuple[Assign, ...]
    inner: For
    told: tuple[Assign, ...]
    slot: Var
    limit: Expr
    defined: tuple[Assign, ...]
    sums: str
    value: Expr


@dataclass(frozen=True, slots=True)
class _Numbered:
    """How a row is set up: the store of an entry's number, that, and values stored by number."""

    store: Store
    number: Expr
    values: tuple[tuple[str, str], ...]


def adds_of_rows(row: Row, facts: Facts, found: Runs) -> Together | None:
    """Return what takes rows together that are added by slots, None for other rows."""
    numbered = _numbered(row)
    adding = _adding(row) if numbered is not None else None
    pointer = pointer_of(row.walk, row.loop.variable, row.before)
    if numbered is None or adding is None or pointer is None or not _lone(row, adding, facts):
        return None
    dtype, values = adding.value.type, [into for into, _ in numbered.values]
    fill = facts.fills.get(adding.sums)
    arrays = {adding.sums, *values, *(given for _, given in numbered.values)}
    kinds = {facts.dtypes.get(array) for array in arrays}
    if fill is None or kinds != {dtype} or dtype not in FLOATS:
        return None
    if not {pointer, *(given for _, given in numbered.values)} <= facts.given:
        return None
    lanes = RowLanes(
        *(facts, row, pointer, dtype, frozenset((adding.sums, *values)), frozenset({row.array}))
    )
    common = lanes.learnt(adding.before)
    ends = adding.inner.start, adding.inner.stop
    lanes.names.add(adding.inner.variable.name)
    told = lanes.learnt(adding.told)
    varying = (s for s in adding.before if s not in common)
    vector = lanes.vector(substituted(adding.value, [*varying, *adding.defined]))
    is_told = adding.slot.name in lanes.names and all(map(lanes.is_common, ends))
    if not is_told or vector is None or isinstance(vector, Cast):
        return None
    place = lanes.at(adding.slot)
    rows = lanes.lanes_of(adding.sums)
    old = Load(rows, (place,), lanes.kind)
    add = Store(rows, (place,), Apply("add", (old, vector), lanes.kind))
    inner = replace(adding.inner, body=(*told, If(build.lt(adding.slot, adding.limit), (add,))))
    number, start = lanes.at(numbered.number), Cast(fill, lanes.kind)
    setup = replace(row.setup, body=(numbered.store, Store(rows, (number,), start)))
    other = facts.named(f"{row.loop.variable.name}_other")
    entry = row.setup.variable
    own = build.sub(entry, build.load(row.rows.pointer, other))
    stores = (
        lanes.stored(found, other, lanes.lanes_of(into), own, Load(given, (entry,), dtype))
        for into, given in numbered.values
    )
    laid = (*lanes.laid(found, other), over(row.rows.pointer, other, entry, *stores))
    computed = (
        For(other, found.first, found.past, laid),
        setup,
        replace(row.walk, body=(*common, *lanes.loaded(), inner)),
        row.clear,
    )
    held = Load(rows, (build.add(number, found.place),), dtype)
    kept = replace(row.setup, body=(Store(adding.sums, (numbered.number,), held),))
    return Together(lanes.rows, lanes.most, lanes.made(), computed, (kept,))


def _numbered(row: Row) -> _Numbered | None:
    """Return how a row's entries are numbered, from 0 on, and None where they are not."""
    entry = row.setup.variable
    first, *others = row.setup.body
    match first:
        case Store(_, _, Cast(number) | number):
            pass
        case _:
            return None
    given = [s for s in row.before if isinstance(s, Assign)]
    match substituted(number, given):
        case Binary("-", counted, low) if counted == entry and row.begins(low):
            pass
        case _:
            return None
    values: list[tuple[str, str]] = []
    for store in others:
        match store:
            case Store(into, (place,), Load(array, (at,)), None) if place == number and at == entry:
                values.append((into, array))
            case _:
                return None
    return _Numbered(first, number, tuple(values))


def _adding(row: Row) -> _Adding | None:
    """Return what a row's walk adds, None where it does anything else but count."""
    match row.walk.body:
        case (
            *before,
            For(
                body=(
                    *told,
                    If(
                        Binary("or", Var(), Binary("<", Var() as slot, limit)),
                        (*noted, Store(sums, (place,), value, "add", True, None)),
                        (),
                    ),
                ),
                step=1,
            ) as inner,
        ):
            pass
        case _:
            return None
    given = tuple(s for s in told if isinstance(s, Assign))
    defined = tuple(s for s in before if isinstance(s, Assign))
    slots = [s.variable for s in given if isinstance(s.value, Load) and s.value.array == row.array]
    if slots != [slot] or len(given) < len(told) or len(defined) < len(before):
        return None
    floats = tuple(s for s in noted if isinstance(s, Assign) and s.variable.type != INT)
    counts = list(statements(tuple(s for s in noted if s not in floats)))
    if any(isinstance(s, Assign) and s.variable.type != INT for s in (*given, *counts)):
        return None
    if not all(isinstance(s, Assign | If) for s in counts) or not _is_beyond(row, limit):
        return None
    # a place is told from where the row begins, and back again
    match substituted(place, [s for s in given if s.variable != slot]):
        case Binary("-", Binary("+", low, number), again) if low == again and number == slot:
            return _Adding(defined, inner, given, slot, limit, floats, sums, value)
        case _:
            return None


def _is_beyond(row: Row, limit: Expr) -> bool:
    """Whether a key has a slot from a limit on after the row."""
    match row.clear.body[-1]:
        case Store(_, _, Cast(Binary("+", first, Binary("&"))) | Binary("+", first, Binary("&"))):
            return first == limit
        case _:
            return False


def _lone(row: Row, adding: _Adding, facts: Facts) -> bool:
    """Whether what the loops over entries change is read by them alone, but for the sums.

    What they count is read before them, too, to decide which of the next ones are tested.
    """
    inside = [*uses(row.inside), *uses(row.before)]
    changed = changes(row.inside) - {adding.sums, row.array} - facts.straight
    variables = {s.variable.name for s in (*adding.before, *adding.defined)}
    touching = [name for s in statements(row.inside) for name in touched(s)]
    return (
        all(facts.used.count(name) == inside.count(name) for name in changed)
        and variables <= facts.straight
        and row.keeps(row.array, 3)
        and touching.count(adding.sums) == 1
    )
