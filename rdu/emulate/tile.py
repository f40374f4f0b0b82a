"""Running the stream graph of one tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from rdu.emulate.channel import Channel
from rdu.emulate.engine import Engine
from rdu.emulate.streams import (
    Adder,
    Computer,
    Fetcher,
    Level,
    Merger,
    Node,
    Repeater,
    Root,
    Scanner,
    Sums,
    Writer,
)
from rdu.graph.streams import (
    Accumulate,
    Compute,
    Fetch,
    Locate,
    Merge,
    Repeat,
    Scan,
    StreamGraph,
    StreamNode,
    Write,
)
from rdu.mapping.timing import Cycles


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the nodes of one stage need to know of its operands and units."""

    levels: dict[int, Level]
    reads: dict[int, Callable[[tuple[Any, ...]], Any]]
    fetch_cycles: dict[int, int]
    combine: Callable[[list[list[Any]]], list[Any]] | None
    compute_cycles: Callable[[int], int]
    add_cycles: int
    gather: int
    keep: bool
    depth: int


def run_streams(
    graph: StreamGraph, behaviour: Behaviour, sums: Sums
) -> tuple[list[tuple[tuple[int, ...], Any]], Cycles]:
    """Run one tile's streams; return the ``(coordinates, value)`` items and the cycles.

    ``busy`` is the work of the busiest node, after which the next tile may enter; the result is
    complete ``busy + fill`` cycles after the start.
    """
    engine = Engine()
    readers: dict[int, list[Channel]] = {}
    inward: list[dict[int, Channel]] = []
    for node in graph.nodes:
        mine: dict[int, Channel] = {}
        for stream in dict.fromkeys(_sources(node)):
            channel = engine.channel(f"stream {stream}", behaviour.depth, 1)
            readers.setdefault(stream, []).append(channel)
            mine[stream] = channel
        inward.append(mine)
    for stream, factor in graph.roots.items():
        tree = behaviour.levels[factor].tree
        engine.add(Root(f"root {factor}", readers, stream, (0, len(tree.coordinates))))
    writer: Writer | None = None
    for node, mine in zip(graph.nodes, inward, strict=True):
        context = _context(node, mine, readers, behaviour, sums)
        engine.add(context)
        if isinstance(context, Writer):
            writer = context
    assert writer is not None
    end = engine.run(grow=True)
    busy = max(context.busy for context in engine.contexts)
    return writer.found, Cycles(busy, end - busy)


def _context(
    node: StreamNode,
    inward: dict[int, Channel],
    outward: dict[int, list[Channel]],
    b: Behaviour,
    sums: Sums,
) -> Node:
    match node:
        case Scan(factor=factor):
            return Scanner(node, inward, outward, b.levels[factor])
        case Locate(factor=factor):
            return Repeater(node, inward, outward, b.levels[factor])
        case Repeat():
            return Repeater(node, inward, outward, None)
        case Merge():
            return Merger(node, inward, outward)
        case Fetch(factor=factor):
            return Fetcher(node, inward, outward, b.reads[factor], b.fetch_cycles[factor])
        case Compute():
            return Computer(node, inward, outward, b.combine, b.compute_cycles, b.gather)
        case Accumulate():
            return Adder(node, inward, outward, sums, b.add_cycles, keep=b.keep)
        case Write():
            return Writer(node, inward)
        case _:
            assert_never(node)


def _sources(node: StreamNode) -> Sequence[int]:
    match node:
        case Scan(source=source) | Write(source=source):
            return (source,)
        case Locate(source=source, over=over) | Repeat(source=source, over=over):
            return (source, over)
        case Merge(coordinates=coordinates, references=references):
            return (*coordinates, *references)
        case Fetch(sources=many) | Compute(sources=many):
            return many
        case Accumulate(coordinates=coordinates, source=source):
            return (*coordinates, source)
        case _:
            assert_never(node)
