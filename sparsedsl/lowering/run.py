"""A short sorted run: the entries of one flush, kept in the output's own arrays as they come.

Takes: coordinates and values between two flushes.  Gives: statements.  Invariant: while the run
is short it holds each coordinate once, in order, with what was combined there; when it is no
longer short its values are in the accumulator, and its coordinates are the list of those touched.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Assign, Expr, For, If, Stmt, Var, While
from sparsedsl.lowering.deliver import Sink, append_unless_fill

RUN = 16
"""Entries up to which they are kept as a run."""


def is_run(sink: Sink, first: Var) -> Expr:
    """Return whether the entries from ``first`` on are a run, not a list."""
    return lb.lt(lb.sub(sink.var("end"), first), RUN)


def insert_in_run(
    sink: Sink, first: Var, coordinate: Expr, value: Expr, combine: str | None
) -> tuple[Stmt, ...]:
    """Combine ``value`` into the entry of its coordinate, or insert one, seeking from the end."""
    keys, values = sink.array(sink.last.coordinates[-1][0]), sink.array(sink.assembly.value)
    end, to, place = sink.var("end"), sink.var("to"), sink.var("place")
    before = lb.load(keys, lb.sub(to, 1))
    seek = While(lb.conj(lb.gt(to, first), lb.gt(before, coordinate)), (Assign(to, lb.sub(to, 1)),))
    there = lb.conj(lb.gt(to, first), lb.eq(before, coordinate))
    shift = (
        lb.store(keys, (place,), lb.cast(lb.load(keys, lb.sub(place, 1)), sink.index_dtype)),
        lb.store(values, (place,), lb.load(values, lb.sub(place, 1), type=sink.dtype)),
        Assign(place, lb.sub(place, 1)),
    )
    spill = For(
        place,
        first,
        end,
        (
            lb.store(
                sink.array("sums"),
                (lb.load(keys, place),),
                lb.load(values, place, type=sink.dtype),
            ),
        ),
    )
    insert = (
        Assign(place, end),
        While(lb.gt(place, to), shift),
        lb.store(keys, (to,), lb.cast(coordinate, sink.index_dtype)),
        lb.store(values, (to,), value),
        Assign(end, lb.add(end, 1)),
        If(lb.not_(is_run(sink, first)), (spill,)),
    )
    combined = (lb.store(values, (lb.sub(to, 1),), value, combine),)
    return (Assign(to, end), seek, If(there, combined, insert))


def keep_run(sink: Sink, first: Var, coordinates: Sequence[Expr | None]) -> tuple[Stmt, ...]:
    """Close the gaps that entries equal to the fill leave in a run."""
    array, mode = sink.last.coordinates[-1]
    at, place, end = sink.var("at"), sink.var("place"), sink.var("end")
    value = Var(f"{sink.name}_value", sink.dtype)
    known = [at if c is None or m == mode else c for m, c in enumerate(coordinates)]
    keep = (
        Assign(at, lb.load(sink.array(array), place)),
        Assign(value, lb.load(sink.array(sink.assembly.value), place, type=sink.dtype)),
        *append_unless_fill(sink, known, value),
    )
    return (For(place, first, end, keep),)
