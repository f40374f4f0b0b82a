"""Outputs that one pass over the operands computes: which of them it pays to compute together.

Takes: the groups of a program, in the order they run.  Gives: the groups, of which one may have
others ``beside`` it, and why others have not.  Invariant: what is said here is necessary; that the
plans do have the same outermost loop, and may take its turns together, is seen when they are made
(``loops.fusion``).

    y[i] = A[i, k] * x[k];  z[k] = A[i, k] * w[i]

reads ``A`` once.  It pays where what both read is most of what one of them reads.  What each reads
or writes at random besides is waited for at once.  Entries of sparse outputs are counted
before, so that none is computed twice for want of room; several share a pass where their loops are
the same inside, too (``loops.twins``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sparsedsl.iteration.output import levels_of
from sparsedsl.magnitudes import rounded
from sparsedsl.pipeline.groups import Group, reads

MOST = 4
"""Outputs that one pass computes."""

CALL = 1e3
"""Nanoseconds that a call of one kernel takes beside its loops."""

NEAR, FAR = 0.01, 0.02
"""Nanoseconds to read a byte once more, from the core's own caches and from beyond them."""

CACHE = 2.0**20
"""Bytes that stay in the core's own caches."""

WORTH = 0.02
"""Part of the time of the outputs' kernels that one pass must save."""

QUICK = 2e4
"""Nanoseconds up to which it does not matter that loops without others inside are vectors no
more: what another call takes is as much."""


def in_passes(
    groups: tuple[Group, ...],
    refused: Mapping[tuple[str, ...], str],
    shared_from: float,
    whole_below: float,
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Put groups next to each other into passes; return these, and why others stay apart.

    ``refused`` says of outputs that were planned together why that cannot be; ``shared_from`` and
    ``whole_below`` are as groups have them.
    """
    passes: list[list[Group]] = []
    apart: list[str] = []
    for group in groups:
        turn = passes[-1] if passes else []
        alike = _read_alike(turn, group)
        why = _in_the_way([*turn, group], refused) if alike else None
        if alike and not why:
            turn.append(group)
            continue
        if why:
            names = [each.output.name for each in turn]
            apart.append(f"{' and '.join([*names, group.output.name])}: {why}")
        passes.append([group])
    ends = shared_from, whole_below
    return tuple(_joined(turn, *ends) for turn in passes), tuple(apart)


def saves(turn: Sequence[Group], cost: float) -> bool:
    """Whether one pass saves what matters of the estimated nanoseconds of several."""
    again = [size * (NEAR if size <= CACHE else FAR) for _, size in _again(turn)]
    return CALL * (len(turn) - 1) + sum(again) >= WORTH * cost


def at_once(turn: Sequence[Group], *, long: bool) -> bool:
    """Whether it pays to join the innermost loops, too: an entry is then loaded once.

    ``long`` ones are vectors by themselves, unless they read or write at random.
    """
    read = {name: size for each in turn for name, size in _read(each).items()}
    most = max(shared(turn), key=lambda name: read[name])
    return not long or all(_scattered(group, most) for group in turn)


def shared(turn: Sequence[Group]) -> tuple[str, ...]:
    """Return the tensors that groups read, and others of them read or give before."""
    return tuple(dict.fromkeys(name for name, _ in _again(turn)))


def _again(turn: Sequence[Group]) -> Iterator[tuple[str, float]]:
    """Yield each tensor that a group reads, and one before it did, or gave, with its bytes."""
    seen = set[str]()
    for group in turn:
        read = _bytes(group)
        yield from ((name, size) for name, size in read.items() if name in seen)
        seen |= {group.output.name, *read}


def _bytes(group: Group) -> dict[str, float]:
    """Return the tensors that a group reads, each with its bytes, rounded as plans have sizes."""
    found: dict[str, float] = {}
    for each in _parts(group):
        for name, entries in _read(each).items():
            wide = np.dtype(each.program.tensor(name).dtype).itemsize
            wide += sum(np.dtype(t).itemsize for t in each.sources[name].index_dtypes.values())
            found[name] = rounded(entries) * wide
    return found


def _joined(turn: Sequence[Group], shared_from: float, whole_below: float) -> Group:
    """Return one group for a pass: the first sparse one, or that of a sum of all, or the last.

    Pieces of the loop have room for entries, or sums, of their own, and everything else in common.
    """
    if len(turn) == 1:
        return turn[0]
    sparse = [place for place, group in enumerate(turn) if not _is_dense(group)]
    scalars = [place for place, group in enumerate(turn) if not group.layout.rank]
    place = [*sparse, *scalars, len(turn) - 1][0]
    beside = tuple(group for k, group in enumerate(turn) if k != place)
    return replace(
        turn[place],
        beside=beside,
        ahead=place,
        shared_from=shared_from,
        whole_below=whole_below,
    )


def _read_alike(turn: Sequence[Group], group: Group) -> bool:
    """Whether a group reads a tensor that a pass reads or gives, and that makes a difference.

    It makes none where it is less than half of what either reads.  Of several, a sparse one counts.
    """
    if not turn:
        return False
    here, there = _read(group), [_read(each) for each in turn]
    given = {name: size for each in there for name, size in each.items()}
    own = {each.output.name for each in turn}
    both = [name for name in here if name in given or name in own]
    if not both:
        return False
    sparse = {n for each in _parts(group) for n, s in each.sources.items() if s.index_dtypes}
    most = max(both, key=lambda name: (name in sparse, here[name]))
    least = min(max(sizes.values(), default=0.0) for sizes in (here, given))
    return 2 * here[most] >= least


def _in_the_way(turn: Sequence[Group], refused: Mapping[tuple[str, ...], str]) -> str:
    """Return why one pass does not compute the outputs of some groups, "" where it may."""
    known = refused.get(tuple(group.output.name for group in turn))
    if known is not None:
        return known
    if len(turn) > MOST:
        return f"one pass computes {MOST} outputs at most"
    *before, last = turn
    for group in turn:
        alone = _alone(group)
        if alone:
            return f"{group.output.name} {alone}"
    if sum(not group.layout.rank for group in turn) > 1:
        return "each is a sum of all turns of the loop"
    for group in before:
        if not _is_dense(group) and group.output.name in _read(last):
            return f"{last.output.name} reads entries of {group.output.name}"
        if not _at_its_place(group, last):
            return f"{last.output.name} needs {group.output.name} as a whole"
    return ""


def _alone(group: Group) -> str:
    """Return what keeps the output of a group from any pass, "" where nothing does."""
    if group.mapped:
        return "is the values of an operand, mapped as they lie"
    if group.layout is not group.assembled:
        return f"is made in {group.assembled.label} first"
    if group.reduced and not _is_dense(group):
        return "may have one value everywhere"
    if group.factored or group.reduced:
        return "is looked at before it is used"
    return ""


def _is_dense(group: Group) -> bool:
    levels = levels_of(group.assembled)
    return levels is not None and levels.kind == "dense"


def _at_its_place(group: Group, reader: Group) -> bool:
    """Whether a reader reads an output with some index that it was computed with."""
    written = [s.subscripts for s in group.statements]
    for each in (*reader.before, reader):
        for statement in each.statements:
            for access in reads(statement.expression):
                if access.tensor == group.output.name and not any(
                    a.name is not None and all(t[mode].name == a.name for t in written)
                    for mode, a in enumerate(access.subscripts)
                ):
                    return False
    return True


def _scattered(group: Group, shared: str) -> bool:
    """Whether dense tensors are touched not in the order of a shared one, row after row."""
    source = next((g.sources[shared] for g in _parts(group) if shared in g.sources), None)
    levels = None if source is None else levels_of(source.layout)
    if levels is None or not levels.modes:
        return False
    for each in _parts(group):
        for statement in each.statements:
            accesses = reads(statement.expression)
            rows = {a.subscripts[levels.modes[0]].name for a in accesses if a.tensor == shared}
            touched = [statement.subscripts, *(a.subscripts for a in accesses)]
            if rows and any(not any(rows & set(s.indices) for s in t) for t in touched):
                return True
    return False


def _read(group: Group) -> dict[str, float]:
    """Return the tensors that a group reads, each with its number of entries."""
    return {
        access.tensor: max(each.sources[access.tensor].entries.values(), default=1.0)
        for each in _parts(group)
        for statement in each.statements
        for access in reads(statement.expression)
    }


def _parts(group: Group) -> tuple[Group, ...]:
    return (*group.before, group)
