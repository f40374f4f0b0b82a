"""The find algorithms: what each needs proved, what it costs, and its loops.

Takes: a ``Site`` (range, key functions, sought values).  Gives: loop IR.  Invariant: after
``query``, ``hit`` is true exactly when a position in the range has the sought keys, and then
``position`` holds it.  This module is the single place to add an algorithm.

| name | needs | a query costs |
|---|---|---|
| linear | unique | half the range |
| count | unique, sorted | the range, several keys an instruction |
| merge | unique, sorted, rising | amortised: the range once a setup (a cursor that moves on) |
| gallop | unique, sorted, rising | logarithm of the gap from the last hit |
| binary | unique, ordered | logarithm of the range |
| table | unique, extent | one load (positions by key, filled once a setup) |
| bitmap | unique, sorted, extent, invariant | two loads (bits of keys, and counts of them) |
| hash | unique, invariant | one or two loads (open addressing, built once) |
| spread | unique, extent, neutral | one load (values by key, fill where none: never a miss) |
| slots | unique, extent, guiding | one load (slots of a workspace by key), often untested |

``sorted`` keys increase as tuples; ``ordered`` ones do that, or increase along the Morton curve.
``spread`` binds no position: the value found replaces the operand's own.  Where an operand has few
rows, met often, the values of all are laid out before the first query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsedsl.find import costs
from sparsedsl.find.costs import Workload
from sparsedsl.find.site import (
    EXTENT,
    GUIDING,
    INVARIANT,
    NEUTRAL,
    ORDERED,
    RISING,
    SORTED,
    UNIQUE,
    Emission,
    Rows,
    Site,
    Stored,
)
from sparsedsl.find.slots import slots
from sparsedsl.loops import build as lb
from sparsedsl.loops.hashing import home_slot
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Assign,
    Break,
    Comment,
    Expr,
    For,
    If,
    Stmt,
    Var,
    While,
)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A find algorithm: its name, the facts it needs, its cost and its code."""

    name: str
    needs: frozenset[str]
    cost: Callable[[Workload], float]
    emit: Callable[[Site], Emission]


def _search(site: Site, left: Expr, right: Expr) -> tuple[Stmt, ...]:
    """Assign ``position`` the first place in ``[left, right)`` not before the sought keys."""
    low, high, middle = site.position, site.var("end"), site.var("mid")
    halve = (
        Assign(middle, lb.shift_right(lb.add(low, high), 1)),
        If(
            site.before(middle),
            (Assign(low, lb.add(middle, 1)),),
            (Assign(high, middle),),
        ),
    )
    return (Assign(low, left), Assign(high, right), While(lb.lt(low, high), halve))


def _found(site: Site, position: Expr) -> Expr:
    return lb.conj(lb.lt(position, site.high), site.matches(position))


def _linear(site: Site) -> Emission:
    at = site.position
    search = While(
        lb.lt(at, site.high),
        (
            If(site.matches(at), (Break(),)),
            Assign(at, lb.add(at, 1)),
        ),
    )
    return Emission((), (), (Assign(at, site.low), search), lb.lt(at, site.high))


def _merge(site: Site) -> Emission:
    cursor = site.var("at")
    advance = While(
        lb.conj(lb.lt(cursor, site.high), site.before(cursor)),
        (Assign(cursor, lb.add(cursor, 1)),),
    )
    return Emission(
        (),
        (Assign(cursor, site.low),),
        (advance, Assign(site.position, cursor)),
        _found(site, site.position),
    )


def _gallop(site: Site) -> Emission:
    cursor, stride = site.var("at"), site.var("stride")
    ahead = lb.add(cursor, stride)
    leap = While(
        lb.conj(lb.lt(ahead, site.high), site.before(ahead)),
        (Assign(cursor, ahead), Assign(stride, lb.add(stride, stride))),
    )
    close = _search(site, lb.add(cursor, 1), lb.min_(ahead, site.high))
    move = If(
        lb.conj(lb.lt(cursor, site.high), site.before(cursor)),
        (Assign(stride, lb.i(1)), leap, *close, Assign(cursor, site.position)),
    )
    return Emission(
        (),
        (Assign(cursor, site.low),),
        (move, Assign(site.position, cursor)),
        _found(site, site.position),
    )


def _binary(site: Site) -> Emission:
    """Keep the last position known not to be after the sought keys; halve what follows it.

    The choice at each step is a selection of a number, not a branch on the data.
    """
    at, left, half = site.position, site.var("left"), site.var("half")
    middle = lb.add(at, half)
    halve = (
        Assign(half, lb.shift_right(left, 1)),
        Assign(at, lb.select(site.after(middle), at, middle)),
        Assign(left, lb.sub(left, half)),
    )
    search = (
        Assign(at, site.low),
        Assign(left, lb.sub(site.high, site.low)),
        While(lb.gt(left, 1), halve),
    )
    return Emission((), (), search, lb.conj(lb.gt(left, 0), site.matches(at)))


def _count(site: Site) -> Emission:
    """Count the keys before the sought ones: where they are sorted, that is where it belongs.

    Every turn does the same, so that several keys are compared by one instruction.  The count is
    no wider than a position needs, since that decides how many.
    """
    entry, before = site.var("entry"), Var(site.name("before"), site.positions)
    seen = lb.cast(before, INT)
    more = lb.add(seen, lb.cast(site.before(entry), INT))
    search = (
        Assign(before, lb.const(0, before.type)),
        For(entry, site.low, site.high, (Assign(before, lb.cast(more, before.type)),)),
        Assign(site.position, lb.add(site.low, seen)),
    )
    return Emission((), (), search, _found(site, site.position))


def _table(site: Site) -> Emission:
    assert site.extent is not None
    table, entry, count = site.name("table"), site.var("entry"), site.var("count")
    (key,) = site.keys(entry)
    # the greatest number stands for no position: it is in no range, and takes no sign to extend
    narrow = site.positions == "int32"
    dtype, nowhere = ("uint32", 2**32 - 1) if narrow else (site.positions, -1)
    place = lb.cast(entry, dtype)
    fill = For(entry, site.low, site.high, (lb.store(table, (key,), place),))
    at = site.position
    # a position of an earlier range is outside this one, so that nothing is ever cleared
    hit = lb.within(site.low, at, count)
    length = lb.sub(site.high, site.low)
    if site.verify:
        hit = lb.conj(hit, site.matches(at))
    return Emission(
        (Allocate(table, dtype, (site.extent,), lb.const(nowhere, dtype)),),
        (Assign(count, length if site.forward else lb.max_(length, 0)), fill),
        (Assign(at, lb.load(table, site.sought[0])),),
        hit,
    )


def _hash(site: Site) -> Emission:
    slots, entry, slot = site.name("slots"), site.var("entry"), site.var("slot")
    room, mask, at = site.var("room"), site.var("mask"), site.position
    count = lb.sub(site.high, site.low)
    following = lb.bit_and(lb.add(slot, 1), mask)
    insert = For(
        entry,
        site.low,
        site.high,
        (
            Assign(slot, home_slot(site.keys(entry), mask)),
            While(lb.ge(lb.load(slots, slot), 0), (Assign(slot, following),)),
            lb.store(slots, (slot,), entry),
        ),
    )
    setup = (
        Assign(room, lb.i(16)),
        While(lb.lt(room, lb.mul(count, 2)), (Assign(room, lb.mul(room, 2)),)),
        Assign(mask, lb.sub(room, 1)),
        Allocate(slots, "int64", (room,), lb.i(-1)),
        insert,
    )
    probe = While(
        lb.ge(at, 0),
        (
            If(site.matches(at), (Break(),)),
            Assign(slot, following),
            Assign(at, lb.load(slots, slot)),
        ),
    )
    query = (
        Assign(slot, home_slot(site.sought, mask)),
        Assign(at, lb.load(slots, slot)),
        probe,
    )
    return Emission((), setup, query, lb.ge(at, 0))


def _spread(site: Site) -> Emission:
    """Lay the values of the range out by key; a query reads what is there, fill or not."""
    assert site.extent is not None
    assert site.stored is not None
    laid, entry, stored = site.name("values"), site.var("entry"), site.stored
    (key,) = site.keys(entry)
    if site.rows is not None:
        return _spread_rows(site, site.rows, stored, site.extent)
    fill = For(entry, site.low, site.high, (lb.store(laid, (key,), stored.at(entry)),))
    clear = For(entry, site.low, site.high, (lb.store(laid, (key,), stored.fill),))
    return Emission(
        top=(Allocate(laid, stored.dtype, (site.extent,), stored.fill),),
        setup=(fill,),
        query=(),
        hit=lb.TRUE,
        after=(clear,),
        value=lb.load(laid, site.sought[0], type=stored.dtype),
    )


def _spread_rows(site: Site, rows: Rows, stored: Stored, extent: Expr) -> Emission:
    """Lay the values of all rows out by row and key, once a kernel."""
    laid, entry, row = site.name("values"), site.var("entry"), site.var("row")
    low, high = rows.ends(row)
    (key,) = site.keys(entry)
    # what was proved of keys, was of rows that are asked
    put = If(lb.within(lb.i(0), key, extent), (lb.store(laid, (row, key), stored.at(entry)),))
    fill = For(entry, low, high, (put,))
    return Emission(
        top=(
            Comment("values of all rows"),
            Allocate(laid, stored.dtype, (rows.count, extent), stored.fill),
            For(row, lb.i(0), rows.count, (fill,)),
        ),
        setup=(),
        query=(),
        hit=lb.TRUE,
        value=lb.load(laid, rows.row, site.sought[0], type=stored.dtype),
    )


WORD_SHIFT, WORD_MASK = 6, 63


def _bitmap(site: Site) -> Emission:
    """Set a bit for each key; a key's position is the number of bits before its own.

    A word is shifted so that the bit of the sought key is its sign: the word is then negative
    on a hit, and its bits are those of the keys up to the sought one.
    """
    assert site.extent is not None
    bits, counts, key = site.name("bits"), site.name("counts"), site.var("key")
    entry, word, seen = site.var("entry"), site.var("word"), site.var("seen")
    words = lb.add(lb.shift_right(site.extent, WORD_SHIFT), 1)
    home = lb.shift_right(key, WORD_SHIFT)
    bit = lb.shift_left(lb.i(1), lb.bit_and(key, WORD_MASK))
    mark = (
        Assign(key, site.keys(entry)[0]),
        lb.store(bits, (home,), lb.bit_or(lb.load(bits, home), bit)),
    )
    count = (
        lb.store(counts, (word,), lb.cast(seen, site.positions)),
        Assign(seen, lb.add(seen, lb.ctpop(lb.load(bits, word)))),
    )
    setup = (
        For(entry, site.low, site.high, mark),
        Assign(seen, site.low),
        For(word, lb.i(0), lb.length(bits), count),
    )
    sign = lb.bit_xor(lb.bit_and(key, WORD_MASK), WORD_MASK)
    last = lb.sub(lb.add(lb.load(counts, home), lb.ctpop(word)), 1)
    query = (
        Assign(key, site.sought[0]),
        Assign(word, lb.shift_left(lb.load(bits, home), sign)),
        Assign(site.position, last),
    )
    hit = lb.lt(word, 0)
    if site.verify:
        hit = lb.conj(hit, site.matches(site.position))
    return Emission(
        (
            Allocate(bits, "int64", (words,), lb.i(0)),
            Allocate(counts, site.positions, (words,), None),
        ),
        setup,
        query,
        hit,
    )


ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm("table", frozenset({UNIQUE, EXTENT}), costs.table, _table),
    Algorithm("spread", frozenset({UNIQUE, EXTENT, NEUTRAL}), costs.spread, _spread),
    Algorithm("bitmap", frozenset({UNIQUE, SORTED, EXTENT, INVARIANT}), costs.bitmap, _bitmap),
    Algorithm("merge", frozenset({UNIQUE, SORTED, RISING}), costs.merge, _merge),
    Algorithm("gallop", frozenset({UNIQUE, SORTED, RISING}), costs.gallop, _gallop),
    Algorithm("binary", frozenset({UNIQUE, ORDERED}), costs.binary, _binary),
    Algorithm("hash", frozenset({UNIQUE, INVARIANT}), costs.hashed, _hash),
    Algorithm("count", frozenset({UNIQUE, SORTED}), costs.count, _count),
    Algorithm("linear", frozenset({UNIQUE}), costs.linear, _linear),
)
"""Every algorithm the compiler can choose, by name unique."""


SLOTS = Algorithm("slots", frozenset({UNIQUE, EXTENT, GUIDING}), lambda _: 0.0, slots)
"""What a table becomes where its range guides a workspace, which is known once finds are chosen."""

PER_QUERY = frozenset({"linear", "count", "binary"})
"""Algorithms that keep nothing between queries: their range may change with each."""


def algorithm(name: str) -> Algorithm | None:
    """Return the algorithm called ``name``, or None."""
    return next((a for a in (*ALGORITHMS, SLOTS) if a.name == name), None)
