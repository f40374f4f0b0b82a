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
from sparsedsl.loops.alike import begun, looked_for, runs
from sparsedsl.loops.nodes import (
    For,
    If,
    Kernel,
    Stmt,
)
from sparsedsl.loops.rowadds import adds_of_rows
from sparsedsl.loops.rowlanes import Facts, facts_of, row_of
from sparsedsl.loops.rowsums import sums_of_rows
from sparsedsl.loops.walk import with_bodies


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
    facts = facts_of(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            made = _together(statement, arrays, facts) if isinstance(statement, For) else None
            found += [with_bodies(statement, block)] if made is None else made
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


def _together(loop: For, alike: tuple[frozenset[str], ...], facts: Facts) -> list[Stmt] | None:
    """Return a loop over rows with those alike taken together, None for another loop."""
    row = row_of(loop)
    if row is None or not {row.rows.pointer, *row.rows.indices} <= facts.given:
        return None
    found = runs(loop.variable, facts.taken)
    made = sums_of_rows(row, facts, found) or adds_of_rows(row, facts, found)
    if made is None or not {rows.pointer for rows in made.rows} <= frozenset().union(*alike):
        return None
    looked = looked_for(found, made.rows, made.most, made.computed)
    body = (
        *row.before,
        If(build.eq(loop.variable, found.past), looked),
        If(found.together, made.kept, row.inside),
        *row.after,
    )
    return [*made.made, *begun(found, loop.start), replace(loop, body=body)]
