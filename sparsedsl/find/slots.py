"""The find that numbers the keys of a range for the workspace it guides.

Takes: one place where a find is emitted.  Gives: its loops.  Invariant: what is sought in vain
binds a slot beyond those of the range, or is told to be a miss; both happen in turn.

A mask that is applied to a product is sought at every term of it.  Whether a term meets the mask
is then guessed by the processor, wrongly at most ends of short runs of hits.
"""

from __future__ import annotations

from sparsedsl.find.site import APART, Emission, Site
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import BOOL, INT, Allocate, Assign, Expr, For, If, Stmt, Var

RECKONED = 29
"""Ranges of which one is counted: no divisor of what numbers of rows have to do with."""

GUESSED = 24
"""Queries in vain that cost as much as a run of hits whose ends are guessed wrongly."""

SHORT = 6
"""Hits from which on a run is one of a pattern that processors learn."""

CLEARING = 8.0
"""Queries for each key of a range from which on it pays to take the keys out again after it."""

NEAR = 2.0**17
"""Possible keys up to which they are taken out of an array that stays in the second cache."""


def slots(site: Site) -> Emission:
    """Number the keys of the range for a workspace; other keys have slots of their own in it.

    Where hits come and go often no query is tested: what is sought in vain is added where nobody
    reads it, to neighbouring slots for neighbouring keys, so that no addition waits for the last.
    How often that is, is counted in one range of some, and half of it forgotten at the next.
    """
    assert site.extent is not None
    assert site.stored is not None
    stored, numbers, values = site.stored, site.name("slots"), site.name("values")
    entry, key, slot = site.var("entry"), site.var("key"), site.var("slot")
    hits, runs, asked = site.var("hits"), site.var("runs"), site.var("asked")
    last, turn, counting = site.var("last"), site.var("turn"), site.var("counting")
    untested = Var(site.name("untested"), BOOL)
    dtype = "uint32" if site.positions == "int32" else "int64"
    room = lb.add(site.extent, APART)

    def number(at: Expr, value: Expr) -> Stmt:
        return lb.store(numbers, (at,), lb.cast(value, dtype))

    aside = lb.add(site.extent, lb.bit_and(key, APART - 1))
    own = lb.sub(entry, site.low)
    often = lb.conj(
        lb.gt(lb.mul(runs, GUESSED), lb.sub(asked, hits)), lb.lt(hits, lb.mul(runs, SHORT))
    )
    counts = hits, runs, asked, last
    first = lb.cast(lb.ne(lb.sub(asked, last), 1), INT)
    count = (
        Assign(hits, lb.add(hits, 1)),
        Assign(runs, lb.add(runs, first)),
        Assign(last, asked),
    )
    back = Assign(key, site.keys(entry)[0]), number(key, aside)
    return Emission(
        top=(
            Allocate(numbers, dtype, (site.extent,), None),
            Allocate(values, stored.dtype, (room,), stored.fill),
            For(key, lb.i(0), site.extent, (number(key, aside),)),
            *(Assign(variable, lb.i(0)) for variable in (*counts, turn)),
        ),
        setup=(
            Assign(counting, lb.cast(lb.eq(turn, 0), INT)),
            Assign(turn, lb.select(lb.eq(turn, 0), lb.i(RECKONED - 1), lb.sub(turn, 1))),
            Assign(untested, lb.conj(lb.eq(counting, 0), often)),
            If(lb.ne(counting, 0), tuple(Assign(v, lb.shift_right(v, 1)) for v in counts)),
            For(
                entry,
                site.low,
                site.high,
                (number(site.keys(entry)[0], own), lb.store(values, (own,), stored.at(entry))),
            ),
        ),
        query=(
            Assign(slot, lb.load(numbers, site.sought[0])),
            Assign(asked, lb.add(asked, counting)),
            Assign(site.position, lb.add(site.low, slot)),
        ),
        hit=lb.disj(untested, lb.lt(slot, site.extent)),
        met=(If(lb.ne(counting, 0), count),),
        after=(For(entry, site.low, site.high, back),),
        value=lb.load(values, slot, type=stored.dtype),
    )
