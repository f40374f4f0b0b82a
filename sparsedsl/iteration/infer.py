"""The layout of an output nobody chose: dense, or the sorted tree its operands suggest.

Takes: the statements of one output and the layouts of what they read.  Gives: a layout.
Invariant: an output is sparse only where every entry that may differ from its fill is
bounded, in each mode, by stored entries of sparse operands.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparsedsl.contraction import algebra
from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import same_value, walk
from sparsedsl.iteration.output import levels_of
from sparsedsl.layouts.catalogue import HUGE, hierarchical, resolve
from sparsedsl.layouts.layout import Layout

ENDLESS = 2**36
"""Extent from which a vector is not stored densely: of bytes it would take 64 GiB."""


def infer_layout(
    statements: tuple[ct.Assign, ...],
    program: ct.Program,
    layouts: Mapping[str, Layout],
    annihilating: bool,
    extents: Mapping[str, int],
) -> Layout:
    """Return the layout of the output the statements compute.

    A matrix is sparse when each of its indices subscripts a sparse operand wherever the
    result can be nonzero; it is stored by columns when all sparse matrix operands are.  A
    vector is sparse when only sparse vectors bound it, or it is longer than memory is.
    """
    target = program.tensor(statements[0].target)
    plain = resolve("dense", target.rank, _dense_order(statements, program))
    if target.rank == 0:
        return plain
    sources: list[ct.Access] = []
    for statement in statements:
        fill = algebra.fill_of(statement.expression, program, annihilating)
        if fill is None or not same_value(fill, target.fill):
            return plain
        wanted = {s.name for s in statement.subscripts}
        for group in algebra.support(statement.expression, program, annihilating):
            # a plain array read beyond its edges is stored all the same
            sparse = [access for access in group if not program.tensor(access.tensor).total]
            covered = {i for access in sparse for s in access.subscripts for i in s.indices}
            if not wanted <= covered:
                return plain
            sources.extend(sparse)
    if target.rank == 1 and any(len(a.subscripts) != 1 for a in sources):
        long = extents[target_index(statements[0], 0)] > ENDLESS
        return hierarchical((0,)) if long else plain
    natural = tuple(range(target.rank))
    if target.rank != 2:
        return hierarchical(natural)
    # a pattern without arrays is met in either order
    stored = [a for a in sources if len(a.subscripts) == 2 and layouts[a.tensor].functions]
    order = (1, 0) if {_order(layouts[a.tensor]) for a in stored} == {(1, 0)} else natural
    root = extents[target_index(statements[0], order[0])]
    return hierarchical(order, thin=root > HUGE)


def _dense_order(statements: tuple[ct.Assign, ...], program: ct.Program) -> tuple[int, ...]:
    """Return the order in which a dense matrix is stored, by columns where that is how it is met.

    It is where rows come from a dense operand that holds them side by side, and columns from
    entries of a sparse one, as in ``C[k, j] = X[i, k] * A[i, j]``; or from one that is turned so,
    since entries say which of its columns are read, as in ``C[k, j] = Y[k, i] * A[i, j]``.
    """
    natural = tuple(range(program.tensor(statements[0].target).rank))
    if len(natural) != len(("rows", "columns")):
        return natural
    for statement in statements:
        row, column = (subscript.name for subscript in statement.subscripts)
        found = [e for e in walk(statement.expression) if isinstance(e, ct.Access)]
        dense = [a for a in found if program.tensor(a.tensor).total and a.subscripts]
        sparse = [a for a in found if not program.tensor(a.tensor).total]
        entries = {name for a in sparse for s in a.subscripts for name in s.indices}
        beside = {a.subscripts[-1].name for a in dense}
        turned = {a.subscripts[0].name for a in dense if a.subscripts[-1].name in entries}
        met = row in beside | turned and column not in beside
        if column not in entries or row in entries or not met:
            return natural
    return (1, 0)


def target_index(statement: ct.Assign, mode: int) -> str:
    """Return the index of one mode of the target."""
    return statement.subscripts[mode].name or ""


def _order(layout: Layout) -> tuple[int, ...] | None:
    assembly = levels_of(layout)
    return None if assembly is None else assembly.modes
