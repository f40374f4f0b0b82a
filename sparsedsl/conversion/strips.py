"""Keys ranked strip by strip: a table of bits for one group of rows at a time.

Takes: a stream whose outermost loop steps rows, and a level whose groups are strips of as many
rows each.  Gives: statements that count keys, and that number them and store entries.  Invariant:
a table has a place for each key, not for each group and key, so that it stays in a cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.conversion.order import Columns
from sparsedsl.conversion.stream import Body, Stream
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Allocate, Assign, Expr, For, If, Stmt, Var, While
from sparsedsl.spf.nodes import FloorDiv, Term

BITS, PLACES, LATEST = "bits", "places", "latest_strip"


def height(stream: Stream, group: Columns) -> int | None:
    """Return how many rows a group has; None where groups are no strips of rows.

    >>> from sparsedsl.conversion.stream import of_layout
    >>> from sparsedsl.layouts.catalogue import resolve
    >>> from sparsedsl.spf import terms as t
    >>> height(of_layout(resolve("csr", 2), "float64", 0), (t.floordiv(t.var("c0"), 4),))
    4
    """
    if stream.between is None or stream.row is None or len(group) != 1:
        return None
    if group[0] == stream.row:
        return 1
    match group[0].parts:
        case ((1, FloorDiv(numerator, Term((), rows))),) if numerator == stream.row:
            return rows if group[0].constant == 0 else None
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Strips:
    """What the loops over strips are made of.

    ``key`` is an entry's key from 0 on, ``keys`` how many there are; ``rows`` is the extent of the
    mode that is stepped and ``height`` the rows of a strip; ``groups`` counts the strips.
    """

    stream: Stream
    key: Expr
    keys: Expr
    rows: Expr
    height: int
    groups: Expr

    @property
    def words(self) -> Expr:
        """How many words of bits the table has."""
        return lb.floordiv(lb.add(self.keys, 63), 64)

    def _within(self, body: Body) -> Body:
        """Visit the entries of strip ``g``."""
        assert self.stream.between is not None
        first, end = lb.ivar("first_row"), lb.ivar("end_row")
        low = lb.mul(lb.ivar("g"), self.height)
        ends = (
            Assign(first, low),
            Assign(end, lb.min_(lb.add(first, self.height), self.rows)),
        )
        return (*ends, *self.stream.between(first, end, body))

    def _marked(self) -> Body:
        """Set the bit of each key; ``lowest`` and ``highest`` are the words that hold them."""
        w, mark = lb.ivar("w"), lb.ivar("mark")
        lowest, highest = lb.ivar("lowest"), lb.ivar("highest")
        held = lb.load(BITS, w)
        keep = (
            lb.store(BITS, [w], lb.bit_or(held, mark)),
            Assign(lowest, lb.min_(lowest, w)),
            Assign(highest, lb.max_(highest, w)),
        )
        bit = lb.shift_left(1, lb.bit_and(self.key, 63))
        known = (Assign(w, lb.shift_right(self.key, 6)), Assign(mark, bit))
        marked = If(lb.eq(lb.bit_and(held, mark), 0), keep)
        empty = (Assign(lowest, self.words), Assign(highest, lb.i(-1)))
        return (*empty, *self._within((*known, marked)))

    def _each_word(self, body: Body) -> Stmt:
        """Visit the words between those that hold bits of the strip."""
        return For(lb.ivar("w"), lb.ivar("lowest"), lb.add(lb.ivar("highest"), 1), body)

    def _cleared(self) -> Stmt:
        return self._each_word((lb.store(BITS, [lb.ivar("w")], 0),))

    def counted(self, pointer: str, number: Var) -> list[Stmt]:
        """``pointer[g + 1]``: the keys of all strips up to ``g``, which ``number`` counts."""
        g, key = lb.ivar("g"), lb.ivar("key")
        latest = lb.load(LATEST, key)
        fresh = (lb.store(LATEST, [key], g), Assign(number, lb.add(number, 1)))
        body = (Assign(key, self.key), If(lb.ne(latest, g), fresh))
        end = lb.store(pointer, [lb.add(g, 1)], number)
        return [
            Allocate(LATEST, "int64", (self.keys,), lb.i(-1)),
            Assign(number, lb.i(0)),
            For(g, lb.i(0), self.groups, (*self._within(body), end)),
        ]

    def numbered(self, number: Var, low: Expr, index: str, keys: Body, values: Body) -> list[Stmt]:
        """Store ``key`` with each ``number``, then the value of each entry at its ``number``."""
        g, w, word, key = (lb.ivar(name) for name in ("g", "w", "word", "key"))
        next_ = lb.ivar("next_number")
        bit = lb.add(lb.mul(w, 64), lb.cttz(word))
        each: Body = (
            Assign(key, bit),
            lb.store(PLACES, [key], next_),
            Assign(key, lb.add(key, low)),
            Assign(number, next_),
            *keys,
            Assign(next_, lb.add(next_, 1)),
            Assign(word, lb.bit_and(word, lb.sub(word, 1))),
        )
        scan: Body = (
            Assign(word, lb.load(BITS, w)),
            While(lb.ne(word, 0), each),
        )
        place = (Assign(number, lb.load(PLACES, self.key)), *values)
        strip = (
            *self._marked(),
            self._each_word(scan),
            *self._within(place),
            self._cleared(),
        )
        return [
            Allocate(BITS, "int64", (self.words,), lb.i(0)),
            Allocate(PLACES, index, (self.keys,)),
            Assign(next_, lb.i(0)),
            For(g, lb.i(0), self.groups, strip),
        ]
