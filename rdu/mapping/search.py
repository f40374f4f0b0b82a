"""Choosing loop order and tile sizes of a kernel by its static cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rdu.graph.graph import Graph, kernel_reads, kernel_writes
from rdu.graph.nodes import Operator
from rdu.mapping.allocate import Units, allocate, firing, full_tile, stage_targets, sums_bytes, work
from rdu.mapping.schedule import Read, Schedule, StageShape, stream_modes, untiled
from rdu.mapping.shapes import Shape, make_shape, scheduled_axes, streamed_axes
from rdu.mapping.sparse import SparseShape, needed_tiles
from rdu.specs import Chip

_EDGES = (32, 64, 128, 256, 512, 1024, 2048)
_SMALL_EDGES = (1, 4, 16)
_LEAST_EDGE = 32
_TILE_TURN = 8
_MOST_FIRINGS = 60_000
_NONE: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Choice:
    """A schedule, its stages and units, and what it costs."""

    schedule: Schedule
    shapes: tuple[Shape, ...]
    units: tuple[Units, ...]
    memory_bytes: int
    cycles: float


def choose(
    chip: Chip, graph: Graph, group: Sequence[Operator], links: Mapping[str, float] = _NONE
) -> Choice | None:
    """Return the cheapest schedule of a kernel, None if none of those tried fits the chip.

    ``links`` gives the bytes a cycle of tensors that come from or go to another socket.

    Every order is tried for up to four axes, otherwise every pair of outermost axes; tile
    edges are powers of two, refined axis by axis. Cost is the slowest of memory and stages,
    plus one firing of each stage to fill the pipeline.
    """
    roots, others = scheduled_axes(graph, group)
    axes = [*roots, *others]
    extents = {axis: graph.extents[axis] for axis in axes}
    whole = untiled(group)
    best = _first(chip, graph, group, _EDGES, links)
    best = best or _first(chip, graph, group, _SMALL_EDGES, links)
    improved = best is not None
    while improved:
        assert best is not None
        improved = False
        for axis in axes:
            if axis in whole:
                continue
            for factor in (0.5, 2.0):
                least = 1 if axis in roots else _LEAST_EDGE
                size = max(int(best.schedule.tile[axis] * factor), least)
                tile = {**best.schedule.tile, axis: _even(extents[axis], size)}
                if tile == best.schedule.tile:
                    continue
                schedule = replace(best.schedule, tile=tile)
                found = _better(best, evaluate(chip, graph, group, schedule, best.cycles, links))
                if found is not best and found is not None:
                    best, improved = found, True
    return best


def fits_in_some_way(chip: Chip, graph: Graph, group: Sequence[Operator]) -> bool:
    """Whether any schedule fits, however slow."""
    edges = (*_SMALL_EDGES, *_EDGES)
    return _first(chip, graph, group, edges, any_will_do=True) is not None


def evaluate(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    schedule: Schedule,
    bound: float = math.inf,
    links: Mapping[str, float] = _NONE,
) -> Choice | None:
    """Return the cost of one schedule, or None when it does not fit the chip.

    None also when memory alone takes longer than ``bound`` cycles.
    """
    axes = streamed_axes(graph, group)
    shapes = [make_shape(chip, graph, operator, schedule, axes) for operator in group]
    if sum(shape.firings for shape in shapes) > _MOST_FIRINGS:
        return None
    shapes = _spill_holds(chip, group, shapes)
    if shapes is None:
        return None
    memory = traffic_bytes(graph, group, shapes, schedule)
    if memory / chip.hbm_bytes_per_cycle > bound:
        return None
    writes = set(kernel_writes(graph, tuple(group)))
    stored = [operator.output.tensor in writes for operator in group]
    outside = frozenset(kernel_reads(tuple(group)))
    targets = stage_targets(chip, graph, shapes, outside, memory)
    found = None
    base = shapes
    for ahead in (2, 1, 0) if any(isinstance(s, SparseShape) for s in base) else (1,):
        shapes = _cover_latency(chip, graph, group, base, memory, ahead)
        found = allocate(chip, graph, shapes, schedule, stored, targets)
        if found is not None:
            break
    if found is None:
        return None
    slowest = memory / chip.hbm_bytes_per_cycle
    for shape, unit in zip(shapes, found, strict=True):
        # A tile must outlast the credit's way back, half the mesh, over the places it has.
        credit = shape.firings * (chip.mesh_rows + chip.mesh_columns) * chip.hop_cycles // 2
        slowest = max(slowest, work(chip, graph, shape, schedule, unit.width, unit.every), credit)
        if isinstance(shape, SparseShape):
            # Every tile takes its turn at the memory port, however small.
            slowest = max(slowest, *(_TILE_TURN * read.sent for read in shape.reads))
    for name, rate in links.items():
        slowest = max(slowest, graph.tensor(name).bytes / rate)
    path = critical_path(chip, graph, group, shapes, schedule, found, links)
    for name, rate in links.items():
        if not _row_major(schedule, axes[name]):
            # Sockets agree on one order; in another, the receiver waits for nearly all tiles.
            path += graph.tensor(name).bytes / rate
    return Choice(schedule, tuple(shapes), found, memory, max(slowest, path) + 0.05 * path)


def _row_major(schedule: Schedule, axes: Sequence[str]) -> bool:
    """Whether a tensor's tiles stream with its first mode slowest."""
    ways = [m for m in stream_modes(schedule, axes) if axes[m] in schedule.tile]
    cut = [m for m in ways if schedule.count(axes[m]) > 1]
    return cut == sorted(cut)


def critical_path(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    shapes: Sequence[Shape],
    schedule: Schedule,
    found: Sequence[Units],
    links: Mapping[str, float] = _NONE,
) -> float:
    """Cycles from the first load to the end of the last stage, without tile-level detail.

    A stage starts with the first tile of those before it, or with their last where it takes
    the whole tensor first, and ends neither before its own work and loads are done nor before
    its last input.
    """
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for operator, shape, unit in zip(group, shapes, found, strict=True):
        total = float(work(chip, graph, shape, schedule, unit.width, unit.every))
        one = total / max(shape.firings, 1)
        if not isinstance(shape, SparseShape):
            one += firing(chip, graph, shape, full_tile(shape, schedule), unit.width).fill
        start = end = 0.0
        for read in shape.reads:
            name = read.operand.tensor
            if name in last:
                start = max(start, last[name] if read.gather else first[name])
                end = max(end, last[name] + one)
            else:
                rate = links.get(name, chip.hbm_bytes_per_cycle)
                start = max(start, read.tile_bytes / rate)
                total = max(total, graph.tensor(name).bytes / rate)
        first[operator.output.tensor] = start + one * shape.before_first
        out = operator.output.tensor
        last[out] = max(end, start + total, start + one * shape.before_first)
        if out in links:
            # The last tile is on its way when its stage is done.
            tile = graph.tensor(out).bytes / max(shape.emitted, 1)
            last[out] += tile / links[out]
    return max(last.values(), default=0.0)


def traffic_bytes(
    graph: Graph, group: Sequence[Operator], shapes: Sequence[Shape], schedule: Schedule
) -> int:
    """Bytes a kernel moves: tiles that are sent again count, tiles nobody needs do not."""
    total = sum(graph.tensor(name).bytes for name in kernel_writes(graph, tuple(group)))
    for name in kernel_reads(tuple(group)):
        size = graph.tensor(name).bytes
        reads = [r for s in shapes for r in s.reads if r.operand.tensor == name]
        shared = any(not r.reload for r in reads)
        again = sum(size * r.reloads // max(r.total, 1) for r in reads if r.reload)
        total += int(size * _needed(graph, name, shapes, schedule)) * shared + again
    return total


def _needed(graph: Graph, name: str, shapes: Sequence[Shape], schedule: Schedule) -> float:
    """Share of a dense tensor's tiles that some stage needs."""
    share = 0.0
    if graph.tensor(name).sparse:
        return 1.0
    for shape in shapes:
        for r, read in enumerate(shape.reads):
            if read.operand.tensor != name:
                continue
            if not isinstance(shape, SparseShape) or not shape.collects[r]:
                return 1.0
            tiles = needed_tiles(graph, shape, schedule)
            share = max(share, sum(tiles) / max(len(tiles), 1))
    return share


def _spill_holds(chip: Chip, group: Sequence[Operator], shapes: list[Shape]) -> list[Shape] | None:
    """Turn the largest held inputs into repeated loads until the buffers fit."""
    pmu = chip.pmu_kib * 1024
    outside = set(kernel_reads(tuple(group)))

    def needed(shapes: list[Shape]) -> int:
        return sum(
            sum(-(-read.buffer_bytes // pmu) for read in shape.reads) + -(-sums_bytes(shape) // pmu)
            for shape in shapes
        )

    while needed(shapes) > chip.pmus:
        candidates = [
            (read.buffer_bytes - 2 * read.tile_bytes, s, r)
            for s, shape in enumerate(shapes)
            if isinstance(shape, StageShape)
            for r, read in enumerate(shape.reads)
            if read.operand.tensor in outside and not read.reload and not read.gather
        ]
        if not candidates or max(candidates)[0] <= 0:
            return None
        _, s, r = max(candidates)
        reads = list(shapes[s].reads)
        reads[r] = replace(reads[r], reload=True)
        shapes = [*shapes[:s], replace(shapes[s], reads=tuple(reads)), *shapes[s + 1 :]]
    return shapes


def _cover_latency(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    shapes: list[Shape],
    memory: int,
    ahead: int,
) -> list[Shape]:
    """Let as many tiles be under way as arrive in the memory's latency, and two between stages.

    A sparse stage takes all tiles of one outer coordinate at once; those of the next ``ahead``
    coordinates may wait, because a later stage works on an earlier coordinate.
    """
    outside = set(kernel_reads(tuple(group)))
    latency = chip.cycles(1e-9 * max(chip.hbm_latency_ns, chip.ddr_latency_ns))
    latency += (chip.mesh_rows + chip.mesh_columns) * chip.hop_cycles
    covered: list[Shape] = []
    for shape in shapes:
        reads: list[Read] = []
        for r, read in enumerate(shape.reads):
            collects = isinstance(shape, SparseShape) and shape.collects[r]
            extra = read.hold * ahead if collects else 1
            if read.operand.tensor in outside:
                share = graph.tensor(read.operand.tensor).bytes / max(memory, 1)
                rate = chip.hbm_bytes_per_cycle * share
                extra = max(extra, 1) - 1 + math.ceil(latency * rate / max(read.tile_bytes, 1))
            reads.append(replace(read, extra=extra))
        covered.append(replace(shape, reads=tuple(reads)))
    return covered


def _orders(axes: list[str]) -> Iterator[tuple[str, ...]]:
    if len(axes) <= 4:
        yield from itertools.permutations(axes)
        return
    for pair in itertools.permutations(axes, 2):
        yield (*pair, *(axis for axis in axes if axis not in pair))


def _edges(extents: dict[str, int], axes: Sequence[str], steps: Sequence[int]) -> list[int]:
    """Tile edges worth trying: those of ``steps`` up to the first that covers every axis."""
    longest = max((extents[a] for a in axes), default=1)
    return [n for n, before in zip(steps, (0, *steps), strict=False) if before < longest]


def _even(extent: int, edge: int) -> int:
    """Cut ``extent`` into equal tiles no longer than ``edge``."""
    return -(-extent // -(-extent // edge)) if extent else 1


def _better(best: Choice | None, found: Choice | None) -> Choice | None:
    if found is None:
        return best
    if best is None:
        return found

    def key(choice: Choice) -> tuple[float, int, int]:
        pmus = sum(unit.pmus for unit in choice.units)
        return (choice.cycles, pmus, sum(shape.firings for shape in choice.shapes))

    return found if key(found) < key(best) else best


def _first(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    steps: Sequence[int],
    links: Mapping[str, float] = _NONE,
    *,
    any_will_do: bool = False,
) -> Choice | None:
    """Best schedule over all orders with tile edges ``steps``, the same for all axes."""
    roots, others = scheduled_axes(graph, group)
    extents = {axis: graph.extents[axis] for axis in (*roots, *others)}
    whole = untiled(group)
    best: Choice | None = None
    # An axis that no edge cuts has one tile: its place among the loops changes nothing.
    long = [a for a in others if a not in whole and extents[a] > steps[0]]
    short = [a for a in others if a not in long]
    for order in ((*cut, *short) for cut in _orders(long)):
        outer = _edges(extents, roots, (1, 8, *_EDGES))
        for edge, first in itertools.product(_edges(extents, others, steps), outer):
            tile = {
                a: n if a in whole else _even(n, first if a in roots else edge)
                for a, n in extents.items()
            }
            schedule = Schedule((*roots, *order), tile, extents)
            bound = math.inf if best is None else best.cycles
            found = evaluate(chip, graph, group, schedule, bound, links)
            best = _better(best, found)
            if best is not None and any_will_do:
                return best
    return best
