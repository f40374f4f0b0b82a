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
``spread`` binds no position: the value found replaces the operand's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
    Site,
)
from sparsedsl.find.slots import slots
from sparsedsl.loops import build as lb
from sparsedsl.loops.hashing import home_slot
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Assign,
    Break,
    Expr,
    For,
    If,
    Stmt,
    Var,
    While,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Expected sizes: ``length`` of the range, ``queries`` a setup, number of ``setups``.

    ``met`` is the length of the range that a query searches, ``hits`` the part of the queries that
    find something; ``known`` says that they rest on how the entries lie.  Queries come in ``loops``
    a setup, of which so many ``idle`` ones find nothing and deliver nothing but for that.
    ``curved`` says that comparing keys means comparing their interleaved bits.
    """

    length: float
    queries: float
    setups: float
    extent: float
    met: float
    hits: float
    known: bool = False
    loops: float = 0.0
    idle: float = 0.0
    curved: bool = False


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


MISTAKEN = 10.0
"""A branch predicted wrongly."""

TESTED = 0.15
"""A branch predicted well."""

WASTED, FETCHED_IN_VAIN = 0.05, 0.3
"""Combining a value that was not needed, and one that is read for nothing else from far away."""

SUMMED = 2.5
"""Beginning and ending a loop of such values."""

DELIVERED = 6.0
"""An entry of a result that another find would have left out."""

CLEARED = 0.5
"""Taking a value out of an array again."""

COUNTED = 0.6
"""Counting the bits of a word."""

COMPARED = 0.04
"""Comparing one of several keys that an instruction compares."""

APART = 0.25
"""Comparing a key that is left over, alone."""

INSTRUCTION = 8
"""Keys that an instruction compares, about: as many are left over on average, at most."""

LINE = 64
"""Bytes of a cache line."""

QUICK = 1 << 17
"""Bytes of an array whose lines come back before stores wait for them: a few first caches."""

NEAREST = 1 << 15
"""Bytes that stay in the first cache."""

NEAR = 1 << 21
"""Bytes that stay in the second cache."""

FETCHED = 0.4
"""Waiting for such a line of a larger array: 0.1 where stores overtake each other, 1 where they
are done one after the other."""

BEGUN = 3.0
"""Beginning to fill an array with a range."""

STEP = 0.7
"""A step of a merge that goes on with the same operand as the one before."""


def _log(x: float) -> float:
    return math.log2(max(x, 1.0) + 1.0)


def _lookup(load: Workload, width: float) -> float:
    """Return what one access to an array over the keys costs, ``width`` bytes an element."""
    size = load.extent * width
    return 0.35 if size <= NEAREST else 0.5 if size <= NEAR else 1.8


def _fill(load: Workload, width: float) -> float:
    """Return what storing the range in an array over the keys costs, ``width`` bytes an element.

    Keys come in order, so that each cache line is fetched once: dense rows pay less an element.
    """
    size = max(load.extent * width, 1.0)
    lines = min(load.length, size / LINE)
    fetched = FETCHED * max(1.0 - QUICK / size, 0.0)
    return BEGUN + 0.2 * load.length + (0.6 * _lookup(load, width) + fetched) * lines


def _surprise(load: Workload) -> float:
    """Return how often a hit, or a miss, comes unexpected.

    Rows of a matrix share columns more often than chance has it, since some columns are full: where
    it is not known how often, ranges that are met one after the other are taken to hold more of
    what is sought.
    """
    least = 0.005 if load.known or load.setups <= 1.0 else 0.03
    return max(min(load.hits, 1.0 - load.hits), least)


def _sums(load: Workload) -> float:
    """Return what adding values up that were not needed costs a setup."""
    if load.setups <= 1.0:
        return load.queries * FETCHED_IN_VAIN
    return load.queries * WASTED + load.loops * SUMMED + load.idle * DELIVERED


ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm(
        "table",
        frozenset({UNIQUE, EXTENT}),
        lambda w: (
            w.extent * 0.3
            + w.setups
            * (_fill(w, 4) + w.queries * (_lookup(w, 4) + TESTED + MISTAKEN * _surprise(w)))
        ),
        _table,
    ),
    Algorithm(
        "spread",
        frozenset({UNIQUE, EXTENT, NEUTRAL}),
        lambda w: (
            w.extent * 0.5
            + w.setups * (_fill(w, 8) + CLEARED * w.length + w.queries * _lookup(w, 8) + _sums(w))
        ),
        _spread,
    ),
    Algorithm(
        "bitmap",
        frozenset({UNIQUE, SORTED, EXTENT, INVARIANT}),
        lambda w: (
            w.extent * 0.03
            + 2.0 * w.length
            + w.queries * (_lookup(w, 0.2) + TESTED + COUNTED + MISTAKEN * _surprise(w))
        ),
        _bitmap,
    ),
    Algorithm(
        "merge",
        frozenset({UNIQUE, SORTED, RISING}),
        # it changes to the other operand and back for each key of the shorter one, unexpectedly
        lambda w: (
            w.setups * (STEP * (w.length + w.queries) + (MISTAKEN + 2.0) * min(w.length, w.queries))
        ),
        _merge,
    ),
    Algorithm(
        "gallop",
        frozenset({UNIQUE, SORTED, RISING}),
        lambda w: w.setups * w.queries * (4.0 + 5.0 * _log(w.met / max(w.queries, 1e-9))),
        _gallop,
    ),
    Algorithm(
        "binary",
        frozenset({UNIQUE, ORDERED}),
        lambda w: w.setups * w.queries * (4.0 + (7.0 if w.curved else 4.0) * _log(w.met)),
        _binary,
    ),
    Algorithm(
        "hash",
        frozenset({UNIQUE, INVARIANT}),
        lambda w: w.setups * (15.0 * w.length + 8.0 * w.queries),
        _hash,
    ),
    Algorithm(
        "count",
        frozenset({UNIQUE, SORTED}),
        lambda w: w.setups * w.queries * (3.0 + COMPARED * w.met + APART * min(w.met, INSTRUCTION)),
        _count,
    ),
    Algorithm(
        "linear",
        frozenset({UNIQUE}),
        lambda w: w.setups * w.queries * (1.0 + 0.6 * w.met),
        _linear,
    ),
)
"""Every algorithm the compiler can choose, by name unique."""


SLOTS = Algorithm("slots", frozenset({UNIQUE, EXTENT, GUIDING}), lambda _: 0.0, slots)
"""What a table becomes where its range guides a workspace, which is known once finds are chosen."""

PER_QUERY = frozenset({"linear", "count", "binary"})
"""Algorithms that keep nothing between queries: their range may change with each."""


def algorithm(name: str) -> Algorithm | None:
    """Return the algorithm called ``name``, or None."""
    return next((a for a in (*ALGORITHMS, SLOTS) if a.name == name), None)
