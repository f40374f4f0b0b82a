"""Rows with equal indices taken together, a lane of a vector for each.

    for i in a .. b:                        for i in a .. b:
        for e in A[i] .. A[i + 1]:              if i is the first of rows that are equal:
            values[crd[e]] = a[e]                   for r: for e in A[i + r] .. A[i + r + 1]:
        for p in M[i] .. M[i + 1]:                      lanes[4 * crd[e] + r] = a[e]
            s = 0                                   for p in M[i] .. M[i + 1]:
            for q in B[j[p]] ..:                        sums = 0
                s += values[k[q]] * b[q]    =>          for q in B[j[p]] ..:
            y = s                                           sums += lanes[4 * k[q] ..+4] * b[q]
        for e in A[i] .. A[i + 1]:                      kept[4 * (p - M[i]) ..+4] = sums
            values[crd[e]] = 0                      for r: for e in A[i + r] .. A[i + r + 1]:
                                                        lanes[4 * crd[e] + r] = 0
                                                if i is one of several:
                                                    for p in M[i] .. M[i + 1]:
                                                        y = kept[4 * (p - M[i]) + r]
                                                else: as it was

What lies at scattered places is then one vector for all of these rows, where each row by itself
would load it element by element.  Rows are compared as the loop comes to them (``loops.alike``), so
that the result is right for any operands; plans say for which the loop is worth being made.  A row
is taken in lanes if it equals the one before or after, wherever the loop begins, and no lane's
result depends on another's: sums are the same for every number of threads.  They are taken in
another order than those of rows by themselves.  Lanes that no row has are computed and not kept.
Takes and gives a kernel that ``loops.verify`` accepts; comes before the passes that make vectors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.alike import Rows, begun, looked_for, runs
from sparsedsl.loops.effects import array_dtypes, changes, names, straight_names, uses
from sparsedsl.loops.lifting import substituted
from sparsedsl.loops.nodes import (
    Allocate,
    ArrayParam,
    Assign,
    For,
    If,
    Kernel,
    Load,
    Stmt,
    Store,
)
from sparsedsl.loops.rowadds import adds_of_rows
from sparsedsl.loops.rowlanes import Facts, Row, pointer_of
from sparsedsl.loops.rowsums import sums_of_rows
from sparsedsl.loops.walk import statements, with_bodies


def supernodes(kernel: Kernel, alike: Iterable[frozenset[str]]) -> Kernel:
    """Return ``kernel`` with rows that have equal indices taken together.

    Parameters
    ----------
    kernel:
        A verified kernel.
    alike:
        The arrays of each operand whose rows often have the indices of the one before.
    """
    arrays = tuple(alike)
    facts = _facts(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            made = _together(statement, arrays, facts) if isinstance(statement, For) else None
            found += [with_bodies(statement, block)] if made is None else made
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


def _facts(kernel: Kernel) -> Facts:
    """Return what is known of a kernel."""
    made = [s for s in statements(kernel.body) if isinstance(s, Allocate) and len(s.shape) == 1]
    given = [p for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1]
    return Facts(
        {p.name for p in given} - changes(kernel.body),
        array_dtypes(kernel),
        {s.array: s.value for s in made},
        straight_names(kernel.body) - set(kernel.results),
        [*uses(kernel.body), *kernel.results],
        names(kernel),
    )


def _together(loop: For, alike: tuple[frozenset[str], ...], facts: Facts) -> list[Stmt] | None:
    """Return a loop over rows with those alike taken together, None for another loop."""
    row = _row(loop)
    if row is None or not any(row.rows.pointer in arrays for arrays in alike):
        return None
    if not {row.rows.pointer, *row.rows.indices} <= facts.given:
        return None
    found = runs(loop.variable, facts.taken)
    made = sums_of_rows(row, facts, found) or adds_of_rows(row, facts, found)
    if made is None:
        return None
    looked = looked_for(found, made.rows, made.most, made.computed)
    body = (
        *row.before,
        If(build.eq(loop.variable, found.past), looked),
        If(found.together, made.kept, row.inside),
        *row.after,
    )
    return [*made.made, *begun(found, loop.start), replace(loop, body=body)]


def _row(loop: For) -> Row | None:
    """Return what a loop sets up for each row, walks over and clears, if it does."""
    first = next((k for k, s in enumerate(loop.body) if isinstance(s, For)), 0)
    before, after = loop.body[:first], loop.body[first + 3 :]
    match loop.body[first : first + 3]:
        case (
            For(entry, body=(Store(array, (Load(indices, (at,), "int", True),)), *_)) as setup,
            For() as walk,
            For(body=(*known, Store(cleared, where))) as clear,
        ) if entry == at and array == cleared and loop.step == 1:
            pass
        case _:
            return None
    given = [s for s in known if isinstance(s, Assign)]
    match [substituted(place, given) for place in where]:
        case [Load(again, (last,))]:
            same = again == indices and last == clear.variable
        case _:
            same = False
    pointer = pointer_of(setup, loop.variable, before)
    if not same or len(given) < len(known) or pointer is None:
        return None
    if pointer != pointer_of(clear, loop.variable, before):
        return None
    return Row(loop, before, setup, walk, clear, after, array, Rows(pointer, (indices,)))
