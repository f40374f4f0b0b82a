"""Streams of a kernel, and the static order in which memory serves its tiles.

Loads are sent in the order in which the loop nest first needs them, stores in the order in
which tiles are finished: one load and one store sequence for each memory tier.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rdu.graph.graph import Graph, kernel_reads, kernel_writes
from rdu.graph.nodes import Operator, Tensor
from rdu.mapping.bursts import UNTOUCHED, Access, contiguous, tile_access, whole
from rdu.mapping.depth import Token, sufficient_depths
from rdu.mapping.gather import Rows, gathered, rows_of
from rdu.mapping.schedule import Coordinates, Read, Schedule, place_of
from rdu.mapping.shapes import Shape
from rdu.mapping.sparse import SparseShape, needed_tiles, tree_tile_bytes
from rdu.mapping.stages import Stream, Tier, Transfer
from rdu.specs import Chip


def make_streams(
    graph: Graph, group: Sequence[Operator], shapes: Sequence[Shape]
) -> tuple[Stream, ...]:
    """List the streams: one for every operand, one for every tensor that goes to memory."""
    maker = {operator.output.tensor: n for n, operator in enumerate(group)}
    streams: list[Stream] = []
    for s, shape in enumerate(shapes):
        for r, read in enumerate(shape.reads):
            tensor = read.operand.tensor
            streams.append(Stream(tensor, maker.get(tensor), s, r, read.depth))
    for tensor in kernel_writes(graph, tuple(group)):
        streams.append(Stream(tensor, maker[tensor], None, 0, 2))
    return tuple(streams)


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of one tensor in one tier: their bytes, and what each asks of memory.

    ``sizes`` are those of a fibre tree's tiles, which lie one behind the other.
    """

    chip: Chip
    tensor: Tensor
    axes: tuple[str, ...]
    schedule: Schedule
    tier: Tier
    sizes: tuple[int, ...]

    def size(self, tile: Coordinates) -> int:
        """Bytes of a tile; the last along an axis may be smaller."""
        if self.tensor.sparse:
            return self.sizes[sum(tile)]
        place = place_of(self.schedule, self.axes, tile, self.tensor.shape)
        return math.prod(p.stop - p.start for p in place) * self.tensor.element_bytes

    def asked(self, tile: Coordinates, rows: Rows | None = None) -> Access:
        """Return what a tile asks of memory: all of it or, if that moves less, the rows needed."""
        if self.tier is Tier.PEER:
            return whole(self.size(tile))
        if self.tensor.sparse:
            return contiguous(self.chip, sum(self.sizes[: sum(tile)]), self.sizes[sum(tile)])
        shape, element = self.tensor.shape, self.tensor.element_bytes
        place = place_of(self.schedule, self.axes, tile, shape)
        streamed = tile_access(self.chip, shape, element, place)
        some = None if rows is None else gathered(self.chip, self.tensor, rows, place)
        return streamed if some is None or some.moved >= streamed.moved else some


def tiles_of(
    chip: Chip,
    graph: Graph,
    name: str,
    axes: Mapping[str, tuple[str, ...]],
    schedule: Schedule,
    tier: Tier,
) -> Tiles:
    """Return the tiles of a tensor in ``tier``."""
    tensor = graph.tensor(name)
    sizes = tree_tile_bytes(graph, tensor, axes[name], schedule) if tensor.sparse else ()
    return Tiles(chip, tensor, axes[name], schedule, tier, tuple(sizes))


def make_loads(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    shapes: Sequence[Shape],
    streams: Sequence[Stream],
    schedule: Schedule,
    axes: Mapping[str, tuple[str, ...]],
    tiers: Mapping[str, Tier],
    busy: Sequence[int],
) -> dict[Tier, tuple[Transfer, ...]]:
    """Order the loads of every tier by the cycle at which a tile would be needed.

    ``busy`` are the cycles of one firing of each stage.
    """
    needs = need_times(shapes, streams, busy)
    keyed: dict[Tier, list[tuple[int, int, int, Transfer]]] = {}
    for name in kernel_reads(tuple(group)):
        found = tiles_of(chip, graph, name, axes, schedule, tiers[name])
        mine = keyed.setdefault(tiers[name], [])
        readers = [n for n, s in enumerate(streams) if s.tensor == name and s.target is not None]
        held = [n for n in readers if not _read(shapes, streams[n]).reload]
        rows = {n: _rows(graph, shapes, streams[n]) for n in readers}
        for together in ([held] if held else []) + [[n] for n in readers if n not in held]:
            stage = min(streams[n].target or 0 for n in together)
            for position, (_, tile, _) in enumerate(needs[together[0]]):
                at = min(needs[n][position][0] for n in together)
                firings = tuple(needs[n][position][2] for n in together)
                fetched = any(
                    _wanted(graph, shapes[s.target or 0], s.read, tile, schedule)
                    for s in (streams[n] for n in together)
                )
                some = rows[together[0]] if len(together) == 1 else None
                asked = found.asked(tile, some) if fetched else UNTOUCHED
                size = found.size(tile)
                transfer = Transfer(name, tile, size, tuple(together), firings, asked)
                mine.append((at, stage, position, transfer))
    return {
        tier: tuple(entry[3] for entry in sorted(some, key=lambda entry: entry[:3]))
        for tier, some in keyed.items()
    }


def need_times(
    shapes: Sequence[Shape], streams: Sequence[Stream], busy: Sequence[int]
) -> dict[int, list[tuple[int, Coordinates, int]]]:
    """Return when each stage first needs each tile from memory if memory were never late.

    For every stream from memory the tiles in the order taken, with the cycle before and the
    number of the firing behind.
    """
    made: dict[int, list[int]] = {n: [] for n in range(len(streams))}
    needed: dict[int, list[tuple[int, Coordinates, int]]] = {}
    for s, shape in enumerate(shapes):
        inward = {stream.read: n for n, stream in enumerate(streams) if stream.target == s}
        outward = [n for n, stream in enumerate(streams) if stream.source == s]
        taken = dict.fromkeys(inward.values(), 0)
        now = 0
        for firing, step in enumerate(shape.steps()):
            for read, _ in step.takes:
                n = inward[read]
                if streams[n].source is not None:
                    now = max(now, made[n][taken[n]])
                    taken[n] += 1
            for read, tile in step.takes:
                n = inward[read]
                if streams[n].source is None:
                    needed.setdefault(n, []).append((now, tile, firing))
            now += busy[s]
            for _ in step.emits:
                for n in outward:
                    made[n].append(now)
    return needed


def _read(shapes: Sequence[Shape], stream: Stream) -> Read:
    assert stream.target is not None
    return shapes[stream.target].reads[stream.read]


def _rows(graph: Graph, shapes: Sequence[Shape], stream: Stream) -> Rows | None:
    """Rows that the reader of a stream needs, None for all."""
    assert stream.target is not None
    if graph.tensor(stream.tensor).sparse:
        return None
    return rows_of(graph, shapes[stream.target], stream.read)


def _wanted(graph: Graph, shape: Shape, read: int, tile: Coordinates, schedule: Schedule) -> bool:
    """Whether a stage needs the data of a dense tile: not when its streams never go there."""
    if not isinstance(shape, SparseShape) or not shape.collects[read]:
        return True
    if graph.tensor(shape.reads[read].operand.tensor).sparse:
        return True
    return needed_tiles(graph, shape, schedule)[tile[shape.reads[read].modes[0]]]


def make_stores(
    chip: Chip,
    graph: Graph,
    shapes: Sequence[Shape],
    streams: Sequence[Stream],
    schedule: Schedule,
    axes: Mapping[str, tuple[str, ...]],
    tiers: Mapping[str, Tier],
) -> dict[Tier, tuple[Transfer, ...]]:
    """Order the stores of every tier by the progress of the stages that make them."""
    keyed: dict[Tier, list[tuple[float, int, Transfer]]] = {}
    for n, stream in enumerate(streams):
        if stream.target is not None or stream.source is None:
            continue
        shape = shapes[stream.source]
        found = tiles_of(chip, graph, stream.tensor, axes, schedule, tiers[stream.tensor])
        total = max(shape.emitted, 1)
        made = [firing for firing, step in enumerate(shape.steps()) for _ in step.emits]
        for position, tile in enumerate(shape.out_order()):
            size, firings = found.size(tile), (made[position],)
            transfer = Transfer(stream.tensor, tile, size, (n,), firings, found.asked(tile))
            entry = ((position + 1) / total, n, transfer)
            keyed.setdefault(tiers[stream.tensor], []).append(entry)
    return {
        tier: tuple(t for _, _, t in sorted(some, key=lambda item: item[:2]))
        for tier, some in keyed.items()
    }


def find_depths(
    shapes: Sequence[Shape],
    streams: Sequence[Stream],
    loads: Mapping[Tier, Sequence[Transfer]],
    stores: Mapping[Tier, Sequence[Transfer]],
) -> list[int]:
    """Depths of all streams with which the kernel cannot block itself."""

    def stage(index: int) -> Iterator[Token]:
        inward = {s.read: n for n, s in enumerate(streams) if s.target == index}
        outward = [n for n, s in enumerate(streams) if s.source == index]
        for step in shapes[index].steps():
            for read, _ in step.takes:
                yield (False, inward[read])
            for _ in step.emits:
                for n in outward:
                    yield (True, n)

    def side(transfers: Sequence[Transfer], push: bool) -> Iterator[Token]:
        for transfer in transfers:
            for n in transfer.streams:
                yield (push, n)

    processes = [stage(n) for n in range(len(shapes))]
    processes += [side(t, True) for t in loads.values()]
    processes += [side(t, False) for t in stores.values()]
    names = [f"{s.tensor} for operand {s.read}" for s in streams]
    return sufficient_depths(processes, [s.depth for s in streams], names)
