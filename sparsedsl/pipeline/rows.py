"""Which intermediates are computed row by row where they are read, and never stored.

Takes: the groups of a program.  Gives: fewer groups; one that reads an intermediate has the
groups ``before`` it that compute it in the same turn of its loop over rows.  Invariant: nothing
is computed more often than before, since every reader is in the same turn.

    E[i, j] = S[i, j] * X[i, k] * Y[k, j];  O[i, l] = E[i, j] * Z[j, l]

needs one row of ``E`` at a time.  It pays where both read the same ``Y``, or one of them little;
else the two push what the other reads out of the cache, which costs more than ``E`` does.  What is
said here is necessary; that the plans do loop over
rows is seen when they are made (``lowering.rows``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.demands import finite_if
from sparsedsl.iteration.output import levels_of
from sparsedsl.layouts.layout import Layout
from sparsedsl.pipeline.groups import Group, reads

MOST = 4
"""Groups that one loop may compute."""

SMALL = 2.0**19
"""Bytes that stay in a core's cache beside what else is read."""


def by_rows(
    groups: tuple[Group, ...], results: Sequence[str], unusual: frozenset[str], *, threads: bool
) -> tuple[Group, ...]:
    """Put groups before the one that reads their output row by row.

    ``results`` are stored in any case, ``unusual`` are inputs known to hold values that are not
    finite.  Where ``threads`` may share loops, a sparse output takes none: threads could not.
    """
    if len(groups) < 2:
        return groups
    kept = list(groups)
    place = len(kept) - 1
    while place >= 0:
        last = kept[place]
        sparse = _assembled(last.assembled) != "dense"
        found = None
        if _row_of(last) is not None and not (threads and sparse) and len(last.before) + 1 < MOST:
            found = _producer(kept, place, results, unusual)
        place -= 1
        if found is not None:  # the reader has moved down, and may read another one by rows
            made = kept.pop(found)
            kept[place] = _joined(made, last)
    return tuple(kept)


def _joined(found: Group, last: Group) -> Group:
    name = found.output.name
    asked = _demands(found, last)
    assert asked is not None
    return replace(
        last,
        before=(*found.before, replace(found, before=()), *last.before),
        finite=tuple(sorted({*found.finite, *asked} - {name})),
        nonzero=tuple(sorted({*found.nonzero, *last.nonzero})),
        bounded=tuple(sorted({*found.bounded, *last.bounded})),
        sources={**last.sources, **found.sources},
        fused=(*found.fused, *last.fused),
    )


def _demands(found: Group, last: Group) -> frozenset[str] | None:
    """Return what must be finite for the reader, the intermediate put down to its operands.

    None where that does not settle it.
    """
    name = found.output.name
    if name in last.watched:
        return None
    if name in last.nonzero or any(name == bounded for _, bounded in last.bounded):
        return None
    if name not in last.finite:
        return frozenset(last.finite)
    needed = frozenset(last.finite)
    for statement in found.statements:
        parts = finite_if(statement.expression, found.program)
        if parts is None or not found.annihilating:
            return None
        needed |= parts
    return needed - {name}


def _producer(
    groups: Sequence[Group], at: int, results: Sequence[str], unusual: frozenset[str]
) -> int | None:
    """Return the place of the latest group that only the one at a place reads, row by row."""
    last = groups[at]
    turn = (*last.before, last)
    every = [part for g in groups for part in (*g.before, g)]
    for place in reversed(range(at)):
        group = groups[place]
        name = group.output.name
        readers = [g for g in every if name in _read(g)]
        if (
            group.reduced
            or group.factored
            or name in results
            or not readers
            or not all(any(r is t for t in turn) for r in readers)
        ):
            continue
        demands = _demands(group, last)
        if demands is None or demands & unusual:
            continue
        by_row = _row_of(group) is not None and all(_by_row(group, r) for r in readers)
        if by_row and _stays_in_cache(group, turn):
            return place
    return None


def _stays_in_cache(group: Group, turn: Sequence[Group]) -> bool:
    """Whether a turn that computes both parts reads little more at random than one part does.

    What one part reads pushes what the other reads out of the cache: more is lost by that than
    a row that is not stored saves, unless both read the same.
    """
    first = _gathered(group)
    second = {name: size for each in turn for name, size in _gathered(each).items()}
    held = {g.output.name for g in (group, *turn)}
    more = [
        sum(size for name, size in here.items() if name not in there and name not in held)
        for here, there in ((first, second), (second, first))
    ]
    return min(more) <= SMALL


def _gathered(group: Group) -> dict[str, float]:
    """Return the operands that each row reads a part of that is not its own, and their bytes."""
    row, found = _row_of(group), dict[str, float]()
    for statement in group.statements:
        for access in reads(statement.expression):
            if any(row in s.indices for s in access.subscripts):
                continue
            source = group.sources[access.tensor]
            wide = np.dtype(group.program.tensor(access.tensor).dtype).itemsize
            wide += sum(np.dtype(t).itemsize for t in source.index_dtypes.values())
            found[access.tensor] = max(source.entries.values(), default=1.0) * wide
    return found


def _read(group: Group) -> set[str]:
    return {a.tensor for s in group.statements for a in reads(s.expression)}


def _by_row(group: Group, reader: Group) -> bool:
    """Whether the reader reads the rows of a group's output at its own row alone."""
    row, mode = _row_of(reader), _root(group.layout)
    for statement in reader.statements:
        for access in reads(statement.expression):
            if access.tensor != group.output.name:
                continue
            names = [s.name for s in access.subscripts]
            if mode is None or None in names or names[mode] != row or names.count(row) != 1:
                return False
    return True


def _row_of(group: Group) -> str | None:
    """Return the index whose values are rows of every statement, if there is one.

    It subscripts the first dimension of the output as stored, if that is no scalar, and of each
    operand that it subscripts at all.
    """
    if group.assembled is not group.layout:
        return None
    used = [a for s in group.statements for a in reads(s.expression)]
    if group.layout.rank == 0:
        names = dict.fromkeys(i for a in used for s in a.subscripts for i in s.indices)
        return next((n for n in names if all(_leads(group, a, n) for a in used)), None)
    mode = _root(group.layout)
    if mode is None:
        return None
    index = group.statements[0].subscripts[mode].name
    targets = [s.subscripts for s in group.statements]
    if index is None or any(t[mode].name != index for t in targets):
        return None
    once = all(sum(index in s.indices for s in t) == 1 for t in targets)
    return index if once and all(_leads(group, a, index) for a in used) else None


def _leads(group: Group, access: ct.Access | ct.Stored, index: str) -> bool:
    """Whether an access has the index first as its operand is stored, or not at all."""
    modes = [m for m, s in enumerate(access.subscripts) if index in s.indices]
    if not modes:
        return True
    root = _root(group.sources[access.tensor].layout)
    return modes == [root] and access.subscripts[modes[0]].name == index


def _assembled(layout: Layout) -> str:
    found = levels_of(layout)
    return "" if found is None else found.kind


def _root(layout: Layout) -> int | None:
    """Return the mode that a layout of one or two modes is stored by first, if all rows are."""
    found = levels_of(layout)
    if found is None or not 1 <= len(found.modes) <= 2 or not found.levels[0].dense:
        return None
    return found.modes[0]
