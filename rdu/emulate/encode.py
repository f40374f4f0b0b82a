"""A stage's stream graph as arrays of numbers, for the compiled machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from rdu.emulate.tokens import Ints, Kind, Level
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
    sources,
    targets,
)

PASSES, KEEPS = -1, -2


@dataclass(frozen=True, slots=True)
class Costs:
    """Cycles of a stage's units, and how they are coupled.

    ``fetch[factor]`` of a block, ``compute(n)`` of n items together (``gather`` at most),
    ``add`` of one item to a sum. With ``keep`` sums stay for later tiles. Queues hold
    ``depth`` tokens.
    """

    fetch: Mapping[int, int]
    compute: Callable[[int], int]
    add: int
    gather: int
    keep: bool
    depth: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Nodes with their streams and wires.

    A row of ``nodes`` is a kind and up to three numbers: of a merge its inputs and whether it
    unites; of a fetch, a product and a sum the streams they take, then the cycles of a block;
    nothing; and when sums leave (a stop, `PASSES` or `KEEPS`) and the cycles of an addition.
    ``ways[n]`` are the streams that node n takes, those it sends, and the wires it takes from,
    -1 behind the last. ``cost[n]`` are the cycles of n items together.

    A wire joins a stream to one reader: stream s has the wires ``first_wire[s]`` up to the next's,
    wire w carries stream ``owner[w]`` to node ``reader[w]`` and holds up to ``depth[w]`` tokens.
    ``reads[n]`` is the (factor, level) of node n if it is a scan or locate, (factor, -1) if it is
    a root, None else. ``picks`` are the streams and columns that values need;
    ``places[factor]`` says which are its places, ``kept`` which are the coordinates of sums.
    """

    names: tuple[str, ...]
    nodes: Ints
    ways: Ints
    cost: Ints
    first_wire: Ints
    owner: Ints
    reader: Ints
    depth: Ints
    latency: Ints
    picks: Ints
    reads: tuple[tuple[int, int] | None, ...]
    places: Mapping[int, tuple[int, ...]]
    kept: tuple[int, ...]
    flush: int

    def program(self) -> tuple[Ints, Ints, Ints]:
        """Return the nodes, as the machine takes them."""
        return self.nodes, self.ways, self.cost

    def network(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Return the wires, as the machine takes them."""
        return self.first_wire, self.owner, self.depth, self.latency

    def operands(
        self, levels: Mapping[int, Level], parts: Sequence[tuple[int, int]]
    ) -> tuple[Ints, Ints]:
        """Lay all fibres in one table.

        Returns it, and for every part and node the fibres (or of a root the leaves) that belong
        to it, and whether the level is uncompressed.
        """
        tables: list[Ints] = [np.zeros((0, 3), dtype=np.int64)]
        windows = np.zeros((len(parts), len(self.reads), 3), dtype=np.int64)
        for n, read in enumerate(self.reads):
            if read is None:
                continue
            factor, level = read
            operand = levels[factor]
            if level < 0:
                column = operand.tree.coordinates[:, 0]
                windows[:, n, 1] = len(column)
                if operand.cut:
                    windows[:, n, :2] = np.searchsorted(column, np.array(parts))
                continue
            begin = sum(map(len, tables))
            tables.append(operand.fibres(level))
            whole = operand.uncompressed and level == 0
            windows[:, n] = begin, begin + len(tables[-1]), whole
            if whole and operand.cut:
                windows[:, n, :2] = begin + np.array(parts) - operand.start
        return np.concatenate(tables), windows


def encoded(graph: StreamGraph, costs: Costs) -> Machine:
    """Number the nodes, streams and wires of a stage."""
    streams = len(graph.roots) + sum(len(targets(node)) for node in graph.nodes)
    inward = [() for _ in graph.roots] + [sources(node) for node in graph.nodes]
    outward = [(stream,) for stream in graph.roots] + [targets(node) for node in graph.nodes]
    readers = sorted((stream, n) for n, taken in enumerate(inward) for stream in taken)
    wire_of = {pair: n for n, pair in enumerate(readers)}
    wires = [tuple(wire_of[stream, n] for stream in taken) for n, taken in enumerate(inward)]
    owner = np.array([stream for stream, _ in readers], dtype=np.int64)
    queue = graph.depths(costs.depth, costs.gather)
    roots = len(graph.roots)
    picks, places, kept, flush = _picks(graph)
    gathers = any(isinstance(node, Compute) and node.gather for node in graph.nodes)
    together = range(1, (costs.gather if gathers else 1) + 1)
    return Machine(
        (*(f"root {f}" for f in graph.roots.values()), *map(_name, graph.nodes)),
        np.array([(Kind.ROOT, 0, 0, 0)] * roots + [_row(n, costs) for n in graph.nodes], np.int64),
        _ways(inward, outward, wires),
        np.array([0, *(costs.compute(n) for n in together)], dtype=np.int64),
        np.searchsorted(owner, np.arange(streams + 1)),
        owner,
        np.array([n for _, n in readers], dtype=np.int64),
        np.array([queue[stream, n - roots] for stream, n in readers], dtype=np.int64),
        np.ones(len(readers), dtype=np.int64),
        picks,
        (*((factor, -1) for factor in graph.roots.values()), *map(_read, graph.nodes)),
        places,
        kept,
        flush,
    )


def _read(node: StreamNode) -> tuple[int, int] | None:
    return (node.factor, node.level) if isinstance(node, (Scan, Locate)) else None


def _row(node: StreamNode, costs: Costs) -> tuple[int, int, int, int]:
    match node:
        case Scan():
            return (Kind.SCAN, 0, 0, 0)
        case Locate():
            return (Kind.LOCATE, 0, 0, 0)
        case Repeat():
            return (Kind.REPEAT, 0, 0, 0)
        case Merge(coordinates=coordinates, union=union):
            return (Kind.MERGE, len(coordinates), union, 0)
        case Fetch(factor=factor, sources=taken):
            return (Kind.FETCH, len(taken), costs.fetch[factor], 0)
        case Compute(sources=taken):
            return (Kind.COMPUTE, len(taken), 0, 0)
        case Accumulate(coordinates=coordinates, flush=flush):
            leaves = PASSES if flush is None else KEEPS if costs.keep else flush
            return (Kind.ACCUMULATE, 1 + len(coordinates), leaves, costs.add)
        case Write():
            return (Kind.WRITE, 0, 0, 0)
        case _:
            assert_never(node)


def _name(node: StreamNode) -> str:
    match node:
        case Scan(factor=factor, level=level):
            return f"scan {factor}.{level}"
        case Locate(factor=factor, level=level):
            return f"locate {factor}.{level}"
        case Merge(union=union):
            return "unite" if union else "intersect"
        case Fetch(factor=factor):
            return f"fetch {factor}"
        case Repeat() | Compute() | Accumulate() | Write():
            return type(node).__name__.lower()
        case _:
            assert_never(node)


def _picks(
    graph: StreamGraph,
) -> tuple[Ints, dict[int, tuple[int, ...]], tuple[int, ...], int]:
    """Streams that values need: the product's own, then places of factors, then coordinates."""
    picks: list[int] = []
    places: dict[int, tuple[int, ...]] = {}
    kept: tuple[int, ...] = ()
    flush = PASSES
    for node in graph.nodes:
        if isinstance(node, Compute):
            picks.insert(0, node.sources[0])
    for node in graph.nodes:
        if isinstance(node, Fetch):
            places[node.factor] = tuple(range(len(picks), len(picks) + len(node.sources)))
            picks += node.sources
        if isinstance(node, Accumulate):
            kept = tuple(range(len(picks), len(picks) + len(node.coordinates)))
            picks += node.coordinates
            flush = PASSES if node.flush is None else node.flush
    columns = np.array([(stream, 1) for stream in picks], dtype=np.int64)
    return columns, places, kept, flush


def _ways(*sides: Sequence[Sequence[int]]) -> Ints:
    """Return ``[node, side, streams]``, padded with -1."""
    widest = max(len(streams) for side in sides for streams in side)
    found = np.full((len(sides[0]), len(sides), widest), -1, dtype=np.int64)
    for n, side in enumerate(sides):
        for m, streams in enumerate(side):
            found[m, n, : len(streams)] = streams
    return found
