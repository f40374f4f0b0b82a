"""Running the stream graph of one tile: tokens, values if there are any, and cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from rdu.emulate import streams
from rdu.emulate.clocks import Wire, last_clock, wires_of
from rdu.emulate.scripts import Script
from rdu.emulate.sums import Entries, added
from rdu.emulate.tokens import DONE, Ints, Level, Tokens
from rdu.graph.streams import (
    Accumulate,
    Compute,
    Fetch,
    Locate,
    Merge,
    Repeat,
    Scan,
    StreamGraph,
    Write,
)
from rdu.mapping.timing import Cycles

Values: TypeAlias = npt.NDArray[np.float32]
Reader: TypeAlias = Callable[[Ints], Values]
Combine: TypeAlias = Callable[[Sequence[Values], int], Values]
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the nodes of one stage need to know of its operands and units.

    ``reads`` give the blocks of a factor at places ``[items, columns]``; ``combine`` None is a
    run without data. ``shared`` factors have one block for all items that are gathered.
    """

    levels: Mapping[int, Level]
    reads: Mapping[int, Reader]
    fetch_cycles: Mapping[int, int]
    combine: Combine | None
    compute_cycles: Callable[[int], int]
    add_cycles: int
    gather: int
    keep: bool
    depth: int
    shared: frozenset[int] = frozenset()


@dataclass(slots=True)
class TileRun:
    """What a tile's streams have been found to carry so far."""

    tokens: dict[int, Tokens] = field(default_factory=dict[int, Tokens])
    scripts: list[Script] = field(default_factory=list[Script])
    places: dict[int, tuple[int, Ints]] = field(default_factory=dict[int, "tuple[int, Ints]"])
    values: dict[int, Values | None] = field(default_factory=dict[int, "Values | None"])
    entries: dict[int, Entries] = field(default_factory=dict[int, Entries])


def run_streams(
    graph: StreamGraph, behaviour: Behaviour, sums: Entries
) -> tuple[Entries, Entries, Cycles]:
    """Run one tile's streams.

    Returns the entries that were written, the sums kept for later tiles, and the cycles:
    ``busy`` is the work of the busiest node, after which the next tile may enter; the result
    is complete ``busy + fill`` cycles after the start.

    Raises
    ------
    DeadlockError
        If the streams' queues are too short for the tile.
    """
    found, kept, scripts, wires = trace_streams(graph, behaviour, sums)
    end = last_clock(scripts, wires)
    busy = max(script.busy for script in scripts)
    return found, kept, Cycles(busy, end - busy)


def trace_streams(
    graph: StreamGraph, behaviour: Behaviour, sums: Entries
) -> tuple[Entries, Entries, list[Script], list[Wire]]:
    """Work out all tokens and values of a tile, and what every node does in which order."""
    run = TileRun()
    for stream, factor in graph.roots.items():
        leaves = len(behaviour.levels[factor].tree.coordinates)
        run.tokens[stream], script = streams.root(f"root {factor}", stream, leaves)
        run.scripts.append(script)
    found = sums
    for node in graph.nodes:
        match node:
            case Scan() | Locate() | Repeat() | Merge():
                _walk(run, node, behaviour)
            case Fetch():
                _fetch(run, node, behaviour)
            case Compute():
                _compute(run, node, behaviour)
            case Accumulate():
                sums = _accumulate(run, node, behaviour, sums)
            case Write(source=source):
                found = run.entries[source]
                run.scripts.append(streams.write(node, len(run.tokens[source])))
            case _:
                assert_never(node)
    roots = len(graph.roots)
    depths = {
        (stream, n + roots): depth
        for (stream, n), depth in graph.depths(behaviour.depth, behaviour.gather).items()
    }
    return found, sums, run.scripts, wires_of(run.scripts, depths)


def _walk(run: TileRun, node: Scan | Locate | Repeat | Merge, b: Behaviour) -> None:
    match node:
        case Scan(factor=factor, source=source):
            crd, ref, script = streams.scan(node, b.levels[factor], run.tokens[source])
            run.tokens |= {node.coordinates: crd, node.references: ref}
        case Locate(factor=factor, source=source, over=over):
            ref, script = streams.repeat(
                node, b.levels[factor], run.tokens[source], run.tokens[over]
            )
            run.tokens[node.references] = ref
        case Repeat(source=source, over=over, out=out):
            run.tokens[out], script = streams.repeat(
                node, None, run.tokens[source], run.tokens[over]
            )
        case Merge(coordinates=coordinates, references=references):
            out, outs, script = streams.merge(
                node, [run.tokens[n] for n in coordinates], [run.tokens[n] for n in references]
            )
            run.tokens[node.out] = out
            run.tokens |= dict(zip(node.out_references, outs, strict=True))
        case _:
            assert_never(node)
    run.scripts.append(script)


def _fetch(run: TileRun, node: Fetch, b: Behaviour) -> None:
    sources = [run.tokens[n] for n in node.sources]
    run.tokens[node.out], script = streams.fetch(node, sources, b.fetch_cycles[node.factor])
    out = run.tokens[node.out]
    run.places[node.out] = (node.factor, out.data[out.items])
    run.scripts.append(script)


def _compute(run: TileRun, node: Compute, b: Behaviour) -> None:
    source = run.tokens[node.sources[0]]
    run.tokens[node.out], script, batches = streams.compute(
        node, source, b.compute_cycles, b.gather
    )
    run.scripts.append(script)
    run.values[node.out] = None
    if b.combine is None:
        return
    items = int(source.items.sum())
    places = [run.places[n] for n in node.sources if n in run.places]
    if not node.gather:
        # Items do not meet in the unit: any number may be computed together.
        low = np.arange(0, items, _CHUNK)
        batches = np.stack([low, np.minimum(low + _CHUNK, items)], axis=1)
    parts: list[Values] = []
    for low, high in batches.tolist():
        blocks = [
            b.reads[factor](place[low : low + 1 if factor in b.shared else high])
            for factor, place in places
        ]
        ones = np.ones(high - low, dtype=np.float32)
        parts.append(b.combine(blocks, high - low) if blocks else ones)
    run.values[node.out] = np.concatenate(parts) if parts else None


def _accumulate(run: TileRun, node: Accumulate, b: Behaviour, sums: Entries) -> Entries:
    source = run.tokens[node.source]
    items = source.items
    columns = [run.tokens[n].data[items] for n in node.coordinates]
    count = int(items.sum())
    places = np.stack(columns, axis=1) if columns else np.zeros((count, 0), dtype=np.int64)
    arrived = Entries(places, run.values[node.source])
    flushed: tuple[Ints, Ints] | None = None
    if node.flush is None:
        out = arrived
    elif b.keep:
        sums = added(sums, arrived)
        none = np.zeros(0, dtype=np.int64)
        out, flushed = sums, (none, none)
    else:
        ends = (source.stop >= node.flush) & (source.stop != DONE)
        part = np.cumsum(ends) - ends
        out, owners = added_by_part(arrived, part[items])
        counts = np.bincount(owners, minlength=int(ends.sum()))
        flushed = (np.flatnonzero(ends), counts)
    run.entries[node.out] = out
    script = streams.accumulate(node, source, flushed, b.add_cycles)
    sent = len(script.sends[0].at)
    nothing = np.zeros(sent, dtype=np.int64)
    run.tokens[node.out] = Tokens(nothing, nothing)
    run.scripts.append(script)
    return sums


def added_by_part(entries: Entries, part: Ints) -> tuple[Entries, Ints]:
    """Add the entries of equal place within each part; also return each sum's part."""
    keyed = Entries(np.column_stack([part, entries.places]), entries.values)
    total = added(Entries(keyed.places[:0], None), keyed)
    return Entries(total.places[:, 1:], total.values), total.places[:, 0]
