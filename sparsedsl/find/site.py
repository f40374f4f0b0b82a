"""One place where a find is emitted: its range, its keys, what is sought, and its loops.

Takes: nothing (closed nodes, and the names of the facts that are proved of a range).  Gives:
what ``find.algorithms`` reads, and what it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Const, Expr, Load, Stmt, Var

UNIQUE = "unique"
SORTED = "sorted"
CURVED = "sorted along the Morton curve"
ORDERED = "ordered"
RISING = "rising"
EXTENT = "extent"
INVARIANT = "invariant"
NEUTRAL = "neutral"
FORWARD = "forward"
GUIDING = "guiding"
WHOLE = "whole"

APART = 64
"""Slots beside those of a workspace for what is not to be kept."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The values behind the positions of a range: their dtype, their fill, one at a position."""

    dtype: str
    fill: Const
    at: Callable[[Expr], Expr]


@dataclass(frozen=True, slots=True)
class Rows:
    """All ranges of an operand, which pointers bound: ``count`` rows, of which ``row`` is asked.

    ``ends`` gives where a row begins and ends.
    """

    row: Expr
    count: Expr
    ends: Callable[[Expr], tuple[Expr, Expr]]


@dataclass(frozen=True, slots=True)
class Site:
    """One find to emit.

    ``low`` and ``high`` are variables assigned where the range becomes known; ``keys`` gives
    the key functions at a position, ``sought`` the values they must equal (with ``stop``, where
    the interval that starts at the key ends, the value that it must hold), ``extent`` one
    more than the greatest possible key.  ``verify`` asks a table to compare keys, needed
    when the key functions read more than the position.  ``state`` names what a find keeps
    from query to query; no two finds of a kernel share it.  ``positions`` is a dtype that
    holds every position of the range, ``stored`` the values there.  ``curved`` says that keys
    are ordered by their interleaved bits, the first key's before the others'.  ``forward``: the
    range is known not to end before it begins.  ``rows`` are there where all ranges may be laid
    out before the first query.
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
    stop: Callable[[Expr], Expr] | None = None
    curved: bool = False
    forward: bool = False
    rows: Rows | None = None

    def name(self, suffix: str) -> str:
        """Return the name of an auxiliary variable or array of this find."""
        return f"{self.state}_{suffix}"

    def var(self, suffix: str) -> Var:
        """Return an auxiliary integer variable of this find."""
        return Var(self.name(suffix), INT)

    def matches(self, position: Expr) -> Expr:
        """Return the condition that the keys at ``position`` are the sought ones."""
        if self.stop is not None:
            start, (value,) = self.keys(position)[0], self.sought
            return lb.conj(lb.le(start, value), lb.lt(value, self.stop(position)))
        pairs = zip(self.keys(position), self.sought, strict=True)
        return lb.conj(*(lb.eq(key, value) for key, value in pairs))

    def before(self, position: Expr) -> Expr:
        """Return the condition that the keys at ``position`` come before the sought ones."""
        if self.stop is not None:
            return lb.le(self.stop(position), self.sought[0])
        return _lexicographically_less(self.keys(position), self.sought)

    def after(self, position: Expr) -> Expr:
        """Return the condition that the keys at ``position`` come after the sought ones."""
        less = _less_along_curve if self.curved else _lexicographically_less
        return less(self.sought, self.keys(position))


def _lexicographically_less(left: tuple[Expr, ...], right: tuple[Expr, ...]) -> Expr:
    result = lb.lt(left[-1], right[-1])
    for a, b in zip(reversed(left[:-1]), reversed(right[:-1]), strict=True):
        result = lb.disj(lb.lt(a, b), lb.conj(lb.eq(a, b), result))
    return result


def _less_along_curve(left: tuple[Expr, ...], right: tuple[Expr, ...]) -> Expr:
    """Compare the numbers with the highest bit that differs: it comes first in the place.

    They are the first that no later ones surpass.  Each pair of numbers is compared once, so that
    the text grows with the square of their number.
    """
    pairs = [*zip(left, right, strict=True)]
    bits = [lb.bit_xor(a, b) for a, b in pairs]
    less = lb.lt(*pairs[-1])
    for place in reversed(range(len(pairs) - 1)):
        surpassed = lb.disj(*(_higher(later, bits[place]) for later in bits[place + 1 :]))
        less = lb.select(surpassed, less, lb.lt(*pairs[place]))
    return less


def _higher(bits: Expr, top: Expr) -> Expr:
    """Whether a bit is higher than all of ``top``: what is beyond these is greater then."""
    return lb.lt(top, lb.bit_xor(bits, lb.bit_and(bits, top)))


@dataclass(frozen=True, slots=True)
class Emission:
    """The loops of one find: once a kernel, once a range, once a query; and the hit test.

    ``after`` ends a range that another one follows.  ``value`` stands for the operand's value
    where that is not to be read at a position.  ``met`` comes behind a hit.
    """

    top: tuple[Stmt, ...]
    setup: tuple[Stmt, ...]
    query: tuple[Stmt, ...]
    hit: Expr
    after: tuple[Stmt, ...] = ()
    value: Load | None = None
    met: tuple[Stmt, ...] = ()
