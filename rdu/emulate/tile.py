"""Running the stream graph of one tile: tokens, values if there are any, and cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rdu.emulate.encode import PASSES, Costs, Machine
from rdu.emulate.sums import Entries, added
from rdu.emulate.tokens import DONE, ITEM, Ints, Level
from rdu.errors import DeadlockError
from rdu.mapping.timing import Cycles

Values: TypeAlias = npt.NDArray[Any]
Reader: TypeAlias = Callable[[Ints], Values]
Combine: TypeAlias = Callable[[Sequence[Values], int], Values]
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a stage computes with the data of one tile.

    ``reads`` give the blocks of a factor at places ``[items, columns]``, ``combine`` multiplies
    them. ``shared`` factors have one block for all items that are gathered. Values are of
    ``dtype``.
    """

    reads: Mapping[int, Reader]
    combine: Combine
    gather: int
    shared: frozenset[int]
    dtype: np.dtype[Any]


def run_tile(
    machine: Machine,
    costs: Costs,
    levels: Mapping[int, Level],
    parts: Sequence[tuple[int, int]],
    arithmetic: Arithmetic,
    sums: Entries,
) -> tuple[Entries, Entries, Cycles]:
    """Run one tile's streams; each of ``parts`` of the root's coordinates on units of its own.

    Returns the entries that were written, the sums kept for later tiles, and the cycles:
    ``busy`` is the work of the busiest node, after which the next tile may enter; the result
    is complete ``busy + fill`` cycles after the start.

    Raises
    ------
    DeadlockError
        If the streams' queues are too short for the tile; names the streams, their fill and
        who waits.
    """
    rows, cycles = _run(machine, *machine.operands(levels, parts))
    values = _products(machine, arithmetic, rows)
    items = rows[:, 0] == ITEM
    columns = [rows[items, 1 + n] for n in machine.kept]
    places = np.stack(columns, axis=1) if columns else np.zeros((int(items.sum()), 0), np.int64)
    found = Entries(places, values)
    if machine.flush != PASSES and costs.keep:
        found = sums = added(sums, found)
    elif machine.flush != PASSES:
        ends = (rows[:, 0] >= machine.flush) & (rows[:, 0] != DONE)
        found = added_by_part(found, (np.cumsum(ends) - ends)[items])
    return found, sums, cycles


def tile_cycles(machine: Machine, fibres: Ints, windows: Ints) -> Cycles:
    """Cycles of one tile, as `run_tile` has them; its tables are those of ``machine.operands``."""
    return _run(machine, fibres, windows)[1]


def _run(machine: Machine, fibres: Ints, windows: Ints) -> tuple[Ints, Cycles]:
    """Run all parts of a tile; return the rows that reach the arithmetic, and the cycles."""
    # Imported late: programs without sparse stages never need a compiler.
    from rdu.emulate.machine import run_parts

    rows, times, stuck = run_parts(
        *machine.program(), *machine.network(), machine.picks, fibres, windows
    )
    if stuck >= 0:
        raise deadlock(machine, fibres, windows[stuck])
    end, busy = int(times[:, 0].max()), int(times[:, 1].max())
    return rows, Cycles(busy, end - busy)


def _products(machine: Machine, arithmetic: Arithmetic, rows: Ints) -> Values | None:
    """Multiply the blocks of all items."""
    items = rows[:, 0] == ITEM
    count = int(items.sum())
    inside = rows[items]
    if arithmetic.gather > 1:
        batches = batches_of(rows[:, 0], arithmetic.gather)
    else:
        # Items do not meet in the unit: any number may be computed together.
        low = np.arange(0, count, _CHUNK)
        batches = np.stack([low, np.minimum(low + _CHUNK, count)], axis=1)
    places = {f: inside[:, [1 + n for n in at]] for f, at in machine.places.items()}
    parts: list[Values] = []
    for low, high in batches.tolist():
        blocks = [
            arithmetic.reads[f](at[low : low + 1 if f in arithmetic.shared else high])
            for f, at in places.items()
        ]
        ones = np.ones(high - low, dtype=arithmetic.dtype)
        parts.append(arithmetic.combine(blocks, high - low) if blocks else ones)
    return np.concatenate(parts) if parts else None


def batches_of(stops: Ints, most: int) -> Ints:
    """Cut the items of every innermost list into runs of at most ``most``: ``[runs, 2]``."""
    ends = stops >= 0
    lists = (np.cumsum(ends) - ends)[stops == ITEM]
    count = len(lists)
    new = np.ones(count, dtype=bool)
    new[1:] = lists[1:] != lists[:-1]
    first = np.flatnonzero(new)
    inside = np.arange(count) - first[np.cumsum(new) - 1] if count else np.arange(0)
    begins = np.flatnonzero(inside % most == 0)
    return np.stack([begins, np.append(begins[1:], count)[: len(begins)]], axis=1)


def added_by_part(entries: Entries, part: Ints) -> Entries:
    """Add the entries of equal place within each part."""
    keyed = Entries(np.column_stack([part, entries.places]), entries.values)
    total = added(Entries(keyed.places[:0], None), keyed)
    return Entries(total.places[:, 1:], total.values)


def deadlock(machine: Machine, fibres: Ints, windows: Ints) -> DeadlockError:
    """Say which units of a part wait for which streams."""
    from rdu.emulate.clocks import play
    from rdu.emulate.machine import trace

    _, bounds, events, begins = trace(*machine.program(), fibres, windows)
    position, _, sent, taken = play(events, begins, bounds, *machine.network())
    held: Any = sent[machine.owner] - taken
    lines: list[str] = []
    waiting = np.flatnonzero(position < begins[1:]).tolist()
    for n in waiting:
        port = int(events[position[n], 0])
        if port % 2 == 0:
            mine, verb = [port // 2], "read"
        else:
            first, last = machine.first_wire[port // 2 : port // 2 + 2].tolist()
            mine = [w for w in range(first, last) if held[w] >= machine.depth[w]]
            verb = "write"
        for w in mine:
            reader = machine.names[machine.reader[w]]
            fill = f"{held[w]} of {machine.depth[w]} held"
            lines.append(
                f"{machine.names[n]} waits to {verb} stream {machine.owner[w]} to {reader} ({fill})"
            )
    return DeadlockError(
        f"{len(waiting)} units block each other: " + "; ".join(lines),
        hint="a full stream on a path that rejoins needs a longer queue",
    )
