"""Passes over entries: count, add up, put each entry at its place.

Takes: a stream and levels.  Gives: statements.  Invariant: every pass is linear in the entries
and the groups; entries of a group keep the order in which the stream gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsedsl.conversion.order import Columns, coordinate
from sparsedsl.conversion.stream import Body, Stream, of_list
from sparsedsl.layouts.reader import Reader
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
    Assign,
    Comment,
    Expr,
    For,
    If,
    Length,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term

BEFORE = lb.i(-(2**62))
"""Less than every key."""


@dataclass(frozen=True, slots=True)
class Span:
    """A term and the range its values lie in: ``low <= term < low + size``."""

    term: Term
    low: Expr
    size: Expr


def bump(array: str, place: Expr, by: int = 1) -> Stmt:
    """``array[place] += by``."""
    return lb.store(array, [place], by, "add")


def running(array: str, length: Expr) -> Stmt:
    """Make ``array[k + 1]`` the sum of the first ``k + 1`` counts."""
    g = lb.ivar("g")
    add = lb.add(lb.load(array, lb.add(g, 1)), lb.load(array, g))
    return For(g, lb.i(0), length, (lb.store(array, [lb.add(g, 1)], add),))


def reaching(array: str, length: Expr) -> Stmt:
    """Make ``array[k + 1]`` the greatest of the first ``k + 1`` ends: groups may have none."""
    g = lb.ivar("g")
    most = lb.max_(lb.load(array, lb.add(g, 1)), lb.load(array, g))
    return For(g, lb.i(0), length, (lb.store(array, [lb.add(g, 1)], most),))


def counted_by(stream: Stream, starts: str, span: Span, place: Expr, index: str) -> list[Stmt]:
    """``starts``: the number of entries whose term is less, and all of them at the end."""
    return [
        Comment(f"sort by {t.text(span.term)}"),
        Allocate(starts, index, (lb.add(span.size, 1),), lb.i(0)),
        *stream.each((bump(starts, lb.add(place, 1)),), (span.term,)),
        running(starts, span.size),
    ]


def sorted_by(
    stream: Stream, span: Span, read: Reader, stem: str, rank: int, dtypes: tuple[str, str]
) -> tuple[list[Stmt], Stream, list[str]]:
    """A stable counting pass that copies entries into lists sorted by one term.

    ``dtypes`` are those of coordinates and values.  Gives the statements, the stream of the
    lists, and the names of the lists, the ends of the groups first and the values last.
    """
    index, value = dtypes
    starts, count, q = f"{stem}starts", lb.ivar(f"{stem}count"), lb.ivar("q_out")
    place = lb.sub(read(span.term), span.low)
    # a coordinate that is the term itself is the same in a whole group
    whole = lb.add(lb.ivar("group"), span.low)
    same = {mode: whole for mode in range(rank) if span.term == t.var(coordinate(mode))}
    kept = [mode for mode in range(rank) if mode not in same]
    stored = (
        *(lb.store(f"{stem}{mode}", [q], lb.ivar(coordinate(mode))) for mode in kept),
        lb.store(f"{stem}v", [q], Var("v", value)),
    )
    put: Body = (
        *fetched(stream, q, starts, place, stored),
        Assign(q, lb.load(starts, place)),
        lb.store(starts, [place], lb.add(q, 1)),
        *stored,
    )
    made = [
        *counted_by(stream, starts, span, place, index),
        Assign(count, lb.load(starts, span.size)),
        *(Allocate(f"{stem}{mode}", index, (count,)) for mode in kept),
        Allocate(f"{stem}v", value, (count,)),
        *stream.visit(put),
    ]
    places = {mode: same.get(mode) for mode in range(rank)}
    sorted_ = of_list(stem, places, value, span.size, (span.term, *stream.order), stream.unique)
    return made, sorted_, [starts, *(f"{stem}{mode}" for mode in kept), f"{stem}v"]


def fetched(
    stream: Stream, number: Var, starts: str, address: Expr, stored: Sequence[Stmt]
) -> Body:
    """Have the memory fetched that an entry further on is ``stored`` to.

    Its ``number`` will be about the one that ``starts`` has for its group by now.  Entries are
    scattered over more places than the cache has room for, and stores wait for each other.
    """
    group, soon = stream.ahead(address), lb.ivar("soon")
    if group is None:
        return ()
    made: list[Stmt] = [*stream.further, Assign(soon, lb.load(starts, group))]
    for store in stored:
        if isinstance(store, Store):
            places = [stream.ahead(place, {number.name: soon}) for place in store.subscripts]
            known = tuple(place for place in places if place is not None)
            if len(known) == len(places):
                made.append(Prefetch(store.array, known))
    return tuple(made)


def counted(stream: Stream) -> list[Stmt]:
    """``n``: the number of entries."""
    n = lb.ivar("n")
    if stream.count is not None:
        return [Assign(n, stream.count)]
    return [Assign(n, lb.i(0)), *stream.visit((Assign(n, lb.add(n, 1)),))]


def group_counts(
    stream: Stream,
    counts: str,
    address: Expr,
    shift: int,
    keys: list[Expr],
    groups: Expr,
    reads: Columns,
) -> list[Stmt]:
    """Add to ``counts[address + shift]`` one for each entry, or for each new tuple of keys.

    ``keys`` is empty when every entry counts; else equal keys of a group come together.
    ``reads`` are the terms in the address.
    """
    add = bump(counts, lb.add(address, shift))
    if not keys:
        return list(stream.each((add,), reads))
    return [*latest(keys, groups), *stream.visit((fresh(keys, address, (add,)),))]


def latest(keys: list[Expr], groups: Expr) -> list[Stmt]:
    """Arrays for the latest keys of each group."""
    return [Allocate(f"latest{k}", "int64", (groups,), BEFORE) for k in range(len(keys))]


def fresh(keys: list[Expr], address: Expr, body: Body) -> Stmt:
    """Run ``body`` where the keys differ from the latest of their group."""
    differ = [lb.ne(lb.load(f"latest{k}", address), key) for k, key in enumerate(keys)]
    keep = [lb.store(f"latest{k}", [address], key) for k, key in enumerate(keys)]
    return If(lb.disj(*differ), (*keep, *body))


def marked(
    stream: Stream, address: Expr, key: Expr, words: Expr, groups: Expr, index: str
) -> list[Stmt]:
    """Set bit ``key`` in the row ``address`` of a table of bits, and rank the words of bits.

    Only a bit that is not set is stored: neighbours in one word would wait for each other.
    """
    word = lb.add(lb.mul(address, words), lb.shift_right(key, 6))
    bit = lb.shift_left(1, lb.bit_and(key, 63))
    n, w, mark = lb.ivar("n"), lb.ivar("w"), lb.ivar("mark")
    total, held = lb.mul(groups, words), lb.load("bits", w)
    return [
        Allocate("bits", "int64", (total,), lb.i(0)),
        Allocate("ranks", index, (total,)),
        *stream.visit(
            (
                Assign(w, word),
                Assign(mark, bit),
                If(
                    lb.eq(lb.bit_and(held, mark), 0),
                    (lb.store("bits", [w], lb.bit_or(held, mark)),),
                ),
            )
        ),
        Assign(n, lb.i(0)),
        For(
            w,
            lb.i(0),
            total,
            (lb.store("ranks", [w], n), Assign(n, lb.add(n, lb.ctpop(lb.load("bits", w))))),
        ),
    ]


def rank_of(address: Expr, key: Expr, words: Expr) -> Expr:
    """The number of a key: the bits set before its own."""
    w = lb.ivar("w")
    below = lb.sub(lb.shift_left(1, lb.bit_and(key, 63)), 1)
    del address, words
    return lb.add(lb.load("ranks", w), lb.ctpop(lb.bit_and(lb.load("bits", w), below)))


def word_of(address: Expr, key: Expr, words: Expr) -> Stmt:
    """``w``: the word that holds the bit of a key."""
    return Assign(lb.ivar("w"), lb.add(lb.mul(address, words), lb.shift_right(key, 6)))


def each_bit(
    groups: Expr, words: Expr, low: Expr, number: Var, before: Body, body: Body
) -> list[Stmt]:
    """Visit the set bits in order: ``number`` counts them, ``key`` is what a bit stands for.

    ``before`` runs at the end of each group.
    """
    g, k, w, word, key = (lb.ivar(name) for name in ("g", "k", "w", "word", "key"))
    bit = lb.add(lb.add(lb.mul(k, 64), lb.cttz(word)), low)
    inner: Body = (
        Assign(key, bit),
        *body,
        Assign(number, lb.add(number, 1)),
        Assign(word, lb.bit_and(word, lb.sub(word, 1))),
    )
    scan: Body = (
        Assign(word, lb.load("bits", lb.add(lb.mul(g, words), k))),
        While(lb.ne(word, 0), inner),
    )
    del w
    rows = For(g, lb.i(0), groups, (For(k, lb.i(0), words, scan), *before))
    return [Assign(number, lb.i(0)), rows]


__all__ = ["BEFORE", "INT", "Length", "Span"]
