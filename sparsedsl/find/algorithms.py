"""The find algorithms: what each needs proved, what it costs, and its loops.

Takes: a ``Site`` (range, key functions, sought values).  Gives: loop IR.  Invariant: after
``query``, ``hit`` is true exactly when a position in the range has the sought keys, and then
``position`` holds it.  This module is the single place to add an algorithm.

| name | needs | a query costs |
|---|---|---|
| linear | unique | half the range |
| merge | unique, sorted, rising | amortised: the range once a setup (a cursor that moves on) |
| gallop | unique, sorted, rising | logarithm of the gap from the last hit |
| binary | unique, sorted | logarithm of the range |
| table | unique, extent | one load (positions by key, filled once a setup) |
| hash | unique, invariant | one or two loads (open addressing, built once) |
| spread | unique, extent, neutral | one load (values by key, fill where none: never a miss) |

``spread`` binds no position: the value found replaces the operand's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Assign,
    Break,
    Const,
    Expr,
    For,
    If,
    Load,
    Stmt,
    Var,
    While,
)

UNIQUE = "unique"
SORTED = "sorted"
RISING = "rising"
EXTENT = "extent"
INVARIANT = "invariant"
NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Stored:
    """The values behind the positions of a range: their dtype, their fill, one at a position."""

    dtype: str
    fill: Const
    at: Callable[[Expr], Expr]


@dataclass(frozen=True, slots=True)
class Site:
    """One find to emit.

    ``low`` and ``high`` are variables assigned where the range becomes known; ``keys`` gives
    the key functions at a position, ``sought`` the values they must equal, ``extent`` one
    more than the greatest possible key.  ``verify`` asks a table to compare keys, needed
    when the key functions read more than the position.  ``state`` names what a find keeps
    from query to query; no two finds of a kernel share it.  ``positions`` is a dtype that
    holds every position of the range, ``stored`` the values there.
    """

    position: Var
    low: Expr
    high: Expr
    keys: Callable[[Expr], tuple[Expr, ...]]
    sought: tuple[Expr, ...]
    extent: Expr | None
    verify: bool
    state: str
    positions: str = "int64"
    stored: Stored | None = None

    def name(self, suffix: str) -> str:
        """Return the name of an auxiliary variable or array of this find."""
        return f"{self.state}_{suffix}"

    def var(self, suffix: str) -> Var:
        """Return an auxiliary integer variable of this find."""
        return Var(self.name(suffix), INT)

    def matches(self, position: Expr) -> Expr:
        """Return the condition that the keys at ``position`` are the sought ones."""
        pairs = zip(self.keys(position), self.sought, strict=True)
        return lb.conj(*(lb.eq(key, value) for key, value in pairs))

    def before(self, position: Expr) -> Expr:
        """Return the condition that the keys at ``position`` come before the sought ones."""
        return _lexicographically_less(self.keys(position), self.sought)

    def after(self, position: Expr) -> Expr:
        """Return the condition that the keys at ``position`` come after the sought ones."""
        return _lexicographically_less(self.sought, self.keys(position))


def _lexicographically_less(left: tuple[Expr, ...], right: tuple[Expr, ...]) -> Expr:
    result = lb.lt(left[-1], right[-1])
    for a, b in zip(reversed(left[:-1]), reversed(right[:-1]), strict=True):
        result = lb.disj(lb.lt(a, b), lb.conj(lb.eq(a, b), result))
    return result


@dataclass(frozen=True, slots=True)
class Emission:
    """The loops of one find: once a kernel, once a range, once a query; and the hit test.

    ``after`` ends a range that another one follows.  ``value`` stands for the operand's value
    where no position is bound.
    """

    top: tuple[Stmt, ...]
    setup: tuple[Stmt, ...]
    query: tuple[Stmt, ...]
    hit: Expr
    after: tuple[Stmt, ...] = ()
    value: Load | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """Expected sizes: ``length`` of the range, ``queries`` a setup, number of ``setups``."""

    length: float
    queries: float
    setups: float
    extent: float


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


def _table(site: Site) -> Emission:
    assert site.extent is not None
    table, entry, count = site.name("table"), site.var("entry"), site.var("count")
    (key,) = site.keys(entry)
    place = lb.cast(entry, site.positions)
    fill = For(entry, site.low, site.high, (lb.store(table, (key,), place),))
    at = site.position
    # a position of an earlier range is outside this one, so that nothing is ever cleared
    hit = lb.within(site.low, at, count)
    if site.verify:
        hit = lb.conj(hit, site.matches(at))
    return Emission(
        (Allocate(table, site.positions, (site.extent,), lb.const(-1, site.positions)),),
        (Assign(count, lb.max_(lb.sub(site.high, site.low), 0)), fill),
        (Assign(at, lb.load(table, site.sought[0])),),
        hit,
    )


def _mixed(keys: tuple[Expr, ...], mask: Expr) -> Expr:
    """Return the home slot of a key tuple: multiply, fold the high bits down, mask."""
    mixed = keys[0]
    for key in keys[1:]:
        mixed = lb.add(lb.mul(mixed, 1_000_003), key)
    scrambled = lb.mul(mixed, 2_654_435_761)
    return lb.bit_and(lb.bit_xor(scrambled, lb.shift_right(scrambled, 17)), mask)


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
            Assign(slot, _mixed(site.keys(entry), mask)),
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
        Assign(slot, _mixed(site.sought, mask)),
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


MISTAKEN = 6.0
"""A branch predicted wrongly."""

WASTED = 0.2
"""Loading and combining a value that was not needed."""

NEAR = 1 << 20
"""Bytes that stay in the second cache."""


def _log(x: float) -> float:
    return math.log2(max(x, 1.0) + 1.0)


def _lookup(load: Workload, width: int) -> float:
    """Return what one access to an array over the keys costs, ``width`` bytes an element."""
    return 0.9 if load.extent * width <= NEAR else 2.2


def _surprise(load: Workload) -> float:
    """Return how often a hit, or a miss, comes unexpected; keys are seldom spread evenly."""
    hit = min(load.length / max(load.extent, 1.0), 1.0)
    return max(min(hit, 1.0 - hit), 0.05)


ALGORITHMS: tuple[Algorithm, ...] = (
    Algorithm(
        "table",
        frozenset({UNIQUE, EXTENT}),
        lambda w: (
            w.extent * 0.3
            + w.setups * (1.2 * w.length + w.queries * (_lookup(w, 4) + MISTAKEN * _surprise(w)))
        ),
        _table,
    ),
    Algorithm(
        "spread",
        frozenset({UNIQUE, EXTENT, NEUTRAL}),
        lambda w: (
            w.extent * 0.5 + w.setups * (1.8 * w.length + w.queries * (_lookup(w, 8) + WASTED))
        ),
        _spread,
    ),
    Algorithm(
        "merge",
        frozenset({UNIQUE, SORTED, RISING}),
        lambda w: w.setups * (3.0 * w.length + 3.0 * w.queries),
        _merge,
    ),
    Algorithm(
        "gallop",
        frozenset({UNIQUE, SORTED, RISING}),
        lambda w: w.setups * w.queries * (4.0 + 5.0 * _log(w.length / max(w.queries, 1e-9))),
        _gallop,
    ),
    Algorithm(
        "binary",
        frozenset({UNIQUE, SORTED}),
        lambda w: w.setups * w.queries * (4.0 + 4.0 * _log(w.length)),
        _binary,
    ),
    Algorithm(
        "hash",
        frozenset({UNIQUE, INVARIANT}),
        lambda w: w.setups * (15.0 * w.length + 8.0 * w.queries),
        _hash,
    ),
    Algorithm(
        "linear",
        frozenset({UNIQUE}),
        lambda w: w.setups * w.queries * (2.0 + 0.7 * w.length),
        _linear,
    ),
)
"""Every algorithm the compiler can choose, by name unique."""


def algorithm(name: str) -> Algorithm | None:
    """Return the algorithm called ``name``, or None."""
    return next((a for a in ALGORITHMS if a.name == name), None)
