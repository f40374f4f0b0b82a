"""Schedules of sparse stages: which tiles they take, hold and emit, and what they cost.

A sparse stage iterates tiles of one axis, the outermost loop of its streams. Fibre trees are
cut along their outermost level, so a stage whose trees begin with its own loop streams them
tile by tile; any other operand is taken whole first, except that a dense operand cut along
the same axis arrives tile by tile as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rdu.graph.graph import Graph
from rdu.graph.nodes import (
    Densify,
    Fibres,
    Operand,
    SparseMap,
    SparseOperator,
    SparseProduct,
    SparseUnion,
    Tensor,
    loop_axes,
    operands,
)
from rdu.graph.streams import (
    StreamGraph,
    block_axes,
    last_factor,
    product_streams,
    tree_levels,
    union_streams,
)
from rdu.mapping.schedule import (
    Coordinates,
    Read,
    Schedule,
    Step,
    stream_modes,
    tile_coordinates,
    tiles,
)
from rdu.mapping.timing import Cycles, simd, systolic
from rdu.specs import Chip

_COPIES = 16


@dataclass(frozen=True, slots=True)
class Block:
    """Dense work of one coordinate: ``[m x k] @ [k x n]``, ``m`` growing with gathered items."""

    m: int
    k: int
    n: int
    gather: bool

    @property
    def elements(self) -> int:
        """Multiply-adds of one item."""
        return self.m * self.k * self.n

    def cycles(self, chip: Chip, items: int, width: int) -> Cycles:
        """Cycles of ``items`` gathered coordinates on ``width`` PCUs, the faster way."""
        vector = simd(chip, items * self.elements, width)
        if self.k == 1:
            return vector
        array = systolic(chip, 1, items * self.m, self.k, self.n, width)
        return min(array, vector, key=lambda c: c.busy)


@dataclass(frozen=True, slots=True)
class SparseShape:
    """Loop, operands and streams of one sparse stage under a schedule."""

    operator: SparseOperator
    root: str
    loops: tuple[str, ...]
    counts: tuple[int, ...]
    reads: tuple[Read, ...]
    collects: tuple[bool, ...]
    out_axes: tuple[str, ...]
    out_counts: tuple[int, ...]
    out_modes: tuple[int, ...]
    stepwise: bool
    sums_bytes: int
    out_tile: int
    streams: StreamGraph | None
    block: Block
    copies: int
    items: int
    groups: int

    @property
    def firings(self) -> int:
        """Tiles of the outermost loop."""
        return math.prod(self.counts)

    @property
    def emitted(self) -> int:
        """Tiles that leave during the kernel."""
        return math.prod(self.out_counts)

    @property
    def before_first(self) -> int:
        """Firings up to and including the one that sends the first tile."""
        return 1 if self.stepwise else self.firings

    def out_order(self) -> Iterator[Coordinates]:
        """Iterate the output's tiles in the order in which they leave."""
        return tile_coordinates(self.out_counts, self.out_modes)

    def steps(self) -> Iterator[Step]:
        """One step a tile of the root axis."""
        count = self.counts[0]
        takes: list[list[tuple[int, Coordinates]]] = [[] for _ in range(count)]
        emits: list[list[Coordinates]] = [[] for _ in range(count)]
        for r, read in enumerate(self.reads):
            for c in tiles(read):
                takes[c[read.modes[0]] if self.collects[r] else 0].append((r, c))
        mode = self.out_axes.index(self.root) if self.stepwise else -1
        for c in self.out_order():
            emits[c[mode] if self.stepwise else count - 1].append(c)
        for n, taken in enumerate(takes):
            drops = tuple((r, c) for r, c in taken if self.collects[r])
            yield Step((n,), tuple(taken), drops, tuple(emits[n]))


def root_of(graph: Graph, operator: SparseOperator) -> str:
    """Return the axis a sparse stage iterates: its outermost stream loop."""
    match operator:
        case SparseProduct(loops=loops):
            return loops[0]
        case SparseUnion(left=operand) | SparseMap(operand=operand) | Densify(operand=operand):
            return tree_levels(graph, operand)[0]


def tree_axes(tensor: Tensor, axes: Sequence[str]) -> tuple[str, ...]:
    """Axes along which a fibre tree is cut: its outermost level, every other is whole."""
    assert isinstance(tensor.structure, Fibres)
    first = tensor.axes.index(tensor.structure.levels[0])
    return tuple(axis if mode == first else "" for mode, axis in enumerate(axes))


def tree_tile_bytes(
    graph: Graph, tensor: Tensor, axes: Sequence[str], schedule: Schedule
) -> list[int]:
    """Bytes of each tile of a fibre tree along its outermost level."""
    structure = tensor.structure
    assert isinstance(structure, Fibres)
    mode = next((m for m, axis in enumerate(axes) if axis in schedule.tile), None)
    first = tensor.axes.index(structure.levels[0])
    extent = tensor.shape[first]
    size = extent if mode is None else schedule.tile[axes[mode]]
    count = -(-extent // size)
    # Rows of a pattern are sorted, its outermost level first.
    ends_at = np.searchsorted(graph.patterns[tensor.name][:, 0], size * np.arange(count + 1))
    leaves = np.diff(ends_at)
    block = math.prod(tensor.extent(axis) for axis in tensor.block)
    levels = max(len(structure.levels) - 1, 1)
    leaf = block * tensor.element_bytes + 4 * levels
    positions = [
        min(size, extent - n * size) if len(structure.levels) > 1 else 1 for n in range(count)
    ]
    ends = [4 * (p + (n == count - 1)) for n, p in enumerate(positions)]
    return [int(n) * leaf + end for n, end in zip(leaves, ends, strict=True)]


def sparse_shape(
    chip: Chip,
    graph: Graph,
    operator: SparseOperator,
    schedule: Schedule,
    axes: Mapping[str, tuple[str, ...]],
) -> SparseShape:
    """Work out loop, operands, streams and cost figures of one sparse stage."""
    root = root_of(graph, operator)
    reads: list[Read] = []
    collects: list[bool] = []
    for operand in operands(operator):
        read, collect = _sparse_read(graph, operand, root, schedule, axes[operand.tensor])
        reads.append(read)
        collects.append(collect)
    out = graph.tensor(operator.output.tensor)
    out_axes = axes[out.name]
    out_counts = tuple(schedule.count(a) if a in schedule.tile else 1 for a in out_axes)
    out_modes = stream_modes(schedule, out_axes)
    if out.sparse:
        out_tile = max(tree_tile_bytes(graph, out, out_axes, schedule), default=0) // 2
    else:
        out_tile = math.prod(schedule.tile[a] for a in out_axes)
    stepwise = root in out_axes and (
        out.sparse or not out_modes or out_axes[out_modes[0]] == root or len(out_axes) == 1
    )
    streams, block, copies, items, groups = _streams(graph, operator, stepwise)
    copies = max(min(copies, schedule.tile[root], chip.pcus // 64), 1)
    sums = 0 if stepwise else 4 * math.prod(out.shape[m] for m in range(len(out.shape)))
    if out.sparse and not stepwise:
        sums = 2 * out.bytes
    return SparseShape(
        operator,
        root,
        (root,),
        (schedule.count(root),),
        tuple(reads),
        tuple(collects),
        out_axes,
        out_counts,
        out_modes,
        stepwise,
        sums,
        out_tile,
        streams,
        block,
        copies,
        items,
        groups,
    )


def _sparse_read(
    graph: Graph, operand: Operand, root: str, schedule: Schedule, streamed: tuple[str, ...]
) -> tuple[Read, bool]:
    tensor = graph.tensor(operand.tensor)
    modes = stream_modes(schedule, streamed)
    # Modes that are not cut come last, so that the outermost cut axis leads.
    modes = tuple(sorted(modes, key=lambda m: streamed[m] not in schedule.tile))
    counts = tuple(schedule.count(a) if a in schedule.tile else 1 for a in streamed)
    total = math.prod(counts)
    if tensor.sparse:
        tile_bytes = max(tree_tile_bytes(graph, tensor, streamed, schedule), default=0)
    else:
        own = [
            schedule.tile.get(axis, extent)
            for axis, extent in zip(streamed, tensor.shape, strict=True)
        ]
        tile_bytes = math.prod(own) * tensor.element_bytes
    lead = modes[0] if modes else -1
    collect = lead >= 0 and streamed[lead] == root and operand.axes[lead] == root
    hold = total // counts[lead] if collect else total
    read = Read(operand, modes, counts, (), hold, total, total, tile_bytes, not collect)
    return read, collect


def _streams(
    graph: Graph, operator: SparseOperator, stepwise: bool
) -> tuple[StreamGraph | None, Block, int, int, int]:
    extents = graph.extents
    match operator:
        case SparseProduct(loops=loops, matches=matches):
            last = last_factor(operator)
            right = set(block_axes(operator, last)) if last is not None else set[str]()
            blocks = [a for a in loop_axes(operator) if a not in loops]
            out = set(operator.output.axes)
            k = [a for a in blocks if a not in out]
            n = [a for a in blocks if a in out and a in right]
            m = [a for a in blocks if a in out and a not in right]
            streams = product_streams(graph, operator)
            gather = last is not None and loops[-1] not in operator.factors[last].axes
            sizes = [math.prod(extents[a] for a in part) for part in (m, k, n)]
            block = Block(sizes[0], sizes[1], sizes[2], gather)
            # Items that enter an array together are not parted.
            alone = block.elements == 1 or not gather
            copies = _COPIES if stepwise and alone else 1
            groups = min(matches, math.prod(extents[a] for a in loops[:-1])) if gather else matches
            return streams, block, copies, matches, max(groups, 1)
        case SparseUnion(output=output):
            tensor = graph.tensor(output.tensor)
            size = math.prod(tensor.extent(a) for a in tensor.block)
            stored = len(graph.patterns[output.tensor])
            copies = _COPIES if size == 1 else 1
            return union_streams(graph, operator), Block(1, 1, size, False), copies, stored, stored
        case SparseMap(operand=operand) | Densify(operand=operand):
            tensor = graph.tensor(operand.tensor)
            size = math.prod(tensor.extent(a) for a in tensor.block)
            stored = len(graph.patterns[operand.tensor])
            return None, Block(1, 1, size, True), 1, stored, 1


def needed_tiles(graph: Graph, shape: SparseShape, schedule: Schedule) -> list[bool]:
    """Which tiles of the root axis have any leaf in every tree that must store an entry."""
    operator = shape.operator
    count = shape.counts[0]
    if not isinstance(operator, SparseProduct):
        return [True] * count
    needed = np.ones(count, dtype=bool)
    for factor in operator.factors:
        levels = tree_levels(graph, factor)
        structure = graph.tensor(factor.tensor).structure
        if not levels or levels[0] != shape.root:
            continue
        assert isinstance(structure, Fibres)
        if structure.fill == 0:
            tiles_of = graph.patterns[factor.tensor][:, 0] // schedule.tile[shape.root]
            needed &= np.bincount(tiles_of, minlength=count) > 0
    return needed.tolist()


def sparse_work(chip: Chip, shape: SparseShape, width: int, every: int) -> int:
    """Busy cycles over the whole kernel, estimated from the counts of coordinates.

    A vector of values enters every so many cycles.
    """
    tokens = shape.items // shape.copies + shape.firings * 8
    if shape.streams is None:
        return simd(chip, max(shape.items * shape.block.elements, 1), width).busy * every
    if shape.block.elements == 1:
        return tokens + shape.items // shape.copies * (every - 1)
    per_group = -(-shape.items // shape.groups) if shape.items else 0
    groups = -(-shape.groups // shape.copies)
    return tokens + groups * shape.block.cycles(chip, max(per_group, 1), width).busy * every
