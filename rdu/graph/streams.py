"""Sparse operators as graphs of streams: scan, locate, repeat, intersect, unite, reduce, write.

A stream is a nested list, one level a loop, sent token by token: items, a stop with the number
of lists that end at once, and a final done (the protocol of sparse abstract machines). All
streams that reach the arithmetic have the same shape: one item a coordinate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from rdu.graph.graph import Graph
from rdu.graph.nodes import Fibres, Operand, SparseProduct, SparseUnion


@dataclass(frozen=True, slots=True)
class Scan:
    """For every reference to a fibre: its coordinates, and the references of its children."""

    factor: int
    level: int
    source: int
    coordinates: int
    references: int


@dataclass(frozen=True, slots=True)
class Locate:
    """For every reference and coordinate: the child at it, in an uncompressed level."""

    factor: int
    level: int
    source: int
    over: int
    references: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Every item of ``source`` once for each item of the list that ``over`` holds for it."""

    source: int
    over: int
    out: int


@dataclass(frozen=True, slots=True)
class Merge:
    """Coordinates in all inputs (``union`` false) or in any, and each input's references."""

    coordinates: tuple[int, ...]
    references: tuple[int, ...]
    out: int
    out_references: tuple[int, ...]
    union: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """Values at references (a tree) or at coordinates (a dense operand)."""

    factor: int
    sources: tuple[int, ...]
    out: int


@dataclass(frozen=True, slots=True)
class Compute:
    """Blocks of all factors combined.

    ``gather``: all items of an innermost list share the last factor's block and enter the
    array together, as rows of one matrix product.
    """

    sources: tuple[int, ...]
    out: int
    gather: bool


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Sum values of equal kept coordinates; sends them at stops of ``flush`` or more.

    ``flush`` None passes every item on.
    """

    coordinates: tuple[int, ...]
    source: int
    out: int
    flush: int | None


@dataclass(frozen=True, slots=True)
class Write:
    """Collect the ``(coordinates, value)`` items of the result."""

    source: int


StreamNode: TypeAlias = Scan | Locate | Repeat | Merge | Fetch | Compute | Accumulate | Write


def sources(node: StreamNode) -> tuple[int, ...]:
    """Streams a node takes tokens from."""
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
            return (source, *coordinates)
        case _:
            assert_never(node)


def targets(node: StreamNode) -> tuple[int, ...]:
    """Streams a node sends tokens into."""
    match node:
        case Scan(coordinates=coordinates, references=references):
            return (coordinates, references)
        case Locate(references=references):
            return (references,)
        case Merge(out=out, out_references=references):
            return (out, *references)
        case Repeat(out=out) | Fetch(out=out) | Compute(out=out) | Accumulate(out=out):
            return (out,)
        case Write():
            return ()
        case _:
            assert_never(node)


def in_memory(node: StreamNode) -> bool:
    """Whether a node runs in the address pipelines of a PMU, else in a PCU."""
    return isinstance(node, (Scan, Locate, Fetch, Write))


@dataclass(frozen=True, slots=True)
class StreamGraph:
    """Nodes and ``roots``: the streams that start as one reference to a tree's root."""

    nodes: tuple[StreamNode, ...]
    roots: dict[int, int]
    loops: tuple[str, ...]

    @property
    def memory_nodes(self) -> int:
        """Nodes that run in the address pipelines of PMUs."""
        return sum(map(in_memory, self.nodes))

    @property
    def compute_nodes(self) -> int:
        """Nodes that run in PCUs."""
        return len(self.nodes) - self.memory_nodes

    def nesting(self) -> dict[int, int]:
        """How deep the lists of every stream are nested: as many loops are around its items."""
        found = dict.fromkeys(self.roots, 0)
        for node in self.nodes:
            deep = max(found[stream] for stream in sources(node)) + isinstance(node, Scan)
            found |= dict.fromkeys(targets(node), deep)
        return found

    def depths(self, fifo_depth: int, gather: int) -> dict[tuple[int, int], int]:
        """Places in the queue of every (stream, number of the node that reads it).

        Where paths of different length meet, the shorter one is routed past as many switches
        as the longer one has nodes, each with a queue of ``fifo_depth``. Coordinates that
        overtake a product of ``gather`` items wait for all of them.
        """
        arrival = dict.fromkeys(self.roots, 0)
        gathers = any(isinstance(node, Compute) and node.gather for node in self.nodes)
        found: dict[tuple[int, int], int] = {}
        for n, node in enumerate(self.nodes):
            inward = sources(node)
            latest = max(arrival[stream] for stream in inward)
            for stream in inward:
                found[stream, n] = fifo_depth * (1 + latest - arrival[stream])
                if gathers and isinstance(node, Accumulate) and stream != node.source:
                    found[stream, n] += gather
            arrival |= dict.fromkeys(targets(node), latest + 1)
        return found


class _Streams:
    def __init__(self) -> None:
        self.nodes: list[StreamNode] = []
        self.count = 0

    def fresh(self) -> int:
        self.count += 1
        return self.count - 1


def tree_levels(graph: Graph, operand: Operand) -> tuple[str, ...]:
    """Return an operand's loop axes along its tree's levels; empty for a dense operand."""
    tensor = graph.tensor(operand.tensor)
    if not isinstance(tensor.structure, Fibres):
        return ()
    names = dict(zip(tensor.axes, operand.axes, strict=True))
    return tuple(names[axis] for axis in tensor.structure.levels)


def uncompressed(levels: Sequence[str], level: int) -> bool:
    """Whether a level stores all coordinates: the first of two or more."""
    return level == 0 and len(levels) > 1


def product_streams(graph: Graph, operator: SparseProduct) -> StreamGraph:
    """Lower a sparse product to streams."""
    s = _Streams()
    levels = [tree_levels(graph, factor) for factor in operator.factors]
    references, coordinates, roots = _walk(s, levels, operator.loops, union=False)
    values: list[int] = []
    for n, factor in enumerate(operator.factors):
        if operator.patterns[n]:
            continue
        if levels[n]:
            sources: tuple[int, ...] = (references[n],)
        else:
            sources = tuple(coordinates[a] for a in operator.loops if a in factor.axes)
        if not sources:
            sources = (coordinates[operator.loops[-1]],)
        out = s.fresh()
        s.nodes.append(Fetch(n, sources, out))
        values.append(out)
    if not values:
        values = [coordinates[operator.loops[-1]]]
    last = last_factor(operator)
    inner = operator.loops[-1]
    gather = last is not None and inner not in operator.factors[last].axes
    product = s.fresh()
    s.nodes.append(Compute(tuple(values), product, gather))
    kept = tuple(a for a in operator.loops if a in operator.output.axes)
    prefix = 0
    while prefix < len(operator.loops) and operator.loops[prefix] in kept:
        prefix += 1
    whole = prefix == len(operator.loops)
    flush = None if whole else len(operator.loops) - 1 - prefix
    out = s.fresh()
    s.nodes.append(Accumulate(tuple(coordinates[a] for a in kept), product, out, flush))
    s.nodes.append(Write(out))
    return StreamGraph(tuple(s.nodes), roots, operator.loops)


def union_streams(graph: Graph, operator: SparseUnion) -> StreamGraph:
    """Lower a union to streams."""
    s = _Streams()
    levels = [tree_levels(graph, operand) for operand in (operator.left, operator.right)]
    loops = levels[0]
    references, coordinates, roots = _walk(s, levels, loops, union=True)
    values = (s.fresh(), s.fresh())
    for n in (0, 1):
        s.nodes.append(Fetch(n, (references[n],), values[n]))
    result, out = s.fresh(), s.fresh()
    s.nodes.append(Compute(values, result, gather=False))
    s.nodes.append(Accumulate(tuple(coordinates[a] for a in loops), result, out, None))
    s.nodes.append(Write(out))
    return StreamGraph(tuple(s.nodes), roots, loops)


def last_factor(operator: SparseProduct) -> int | None:
    """Return the factor multiplied last: the first of those with the largest dense block."""
    real = [n for n, pattern in enumerate(operator.patterns) if not pattern]
    return max(real, key=lambda n: len(block_axes(operator, n)), default=None)


def block_axes(operator: SparseProduct, factor: int) -> tuple[str, ...]:
    """Return a factor's axes that are not streamed."""
    return tuple(a for a in operator.factors[factor].axes if a not in operator.loops)


def _walk(
    s: _Streams, levels: Sequence[tuple[str, ...]], loops: Sequence[str], *, union: bool
) -> tuple[dict[int, int], dict[str, int], dict[int, int]]:
    """Descend the loops; return the reference stream of each tree and the coordinate streams."""
    trees = [n for n, names in enumerate(levels) if names]
    references = {n: s.fresh() for n in trees}
    roots = {stream: n for n, stream in references.items()}
    depth = dict.fromkeys(trees, 0)
    coordinates: dict[str, int] = {}
    for axis in loops:
        here = [n for n in trees if depth[n] < len(levels[n]) and levels[n][depth[n]] == axis]
        scanned = [n for n in here if not uncompressed(levels[n], depth[n])] or here[:1]
        located = [n for n in here if n not in scanned]
        found: dict[int, tuple[int, int]] = {}
        for n in scanned:
            crd, ref = s.fresh(), s.fresh()
            s.nodes.append(Scan(n, depth[n], references[n], crd, ref))
            found[n] = (crd, ref)
        if len(scanned) > 1:
            out, outs = s.fresh(), tuple(s.fresh() for _ in scanned)
            crds = tuple(found[n][0] for n in scanned)
            refs = tuple(found[n][1] for n in scanned)
            s.nodes.append(Merge(crds, refs, out, outs, union))
            merged = dict(zip(scanned, outs, strict=True))
        else:
            out = found[scanned[0]][0]
            merged = {scanned[0]: found[scanned[0]][1]}
        for n in located:
            ref = s.fresh()
            s.nodes.append(Locate(n, depth[n], references[n], out, ref))
            merged[n] = ref
        for n in trees:
            if n not in here:
                ref = s.fresh()
                s.nodes.append(Repeat(references[n], out, ref))
                merged[n] = ref
        for other, stream in list(coordinates.items()):
            repeated = s.fresh()
            s.nodes.append(Repeat(stream, out, repeated))
            coordinates[other] = repeated
        coordinates[axis] = out
        references = merged
        for n in here:
            depth[n] += 1
    return references, coordinates, roots
