"""Loop order and tile sizes of one kernel, and what follows from them for every stage.

All stages of a kernel iterate their axes in one order, tile by tile, so a tensor's tiles
leave its producer in the very order its consumers want them: a stage buffer never reorders.
A consumer with further axes outside some axis of an operand visits those tiles again and
holds them; a producer with a reduced axis outside a kept one accumulates as many tiles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rdu.graph.graph import Graph
from rdu.graph.nodes import (
    Operand,
    Operator,
    Rearrange,
    RmsNorm,
    Softmax,
    is_sparse,
    loop_axes,
    operands,
    reduced_axes,
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """``order`` of a kernel's axes, outermost first, and the ``tile`` extent of each."""

    order: tuple[str, ...]
    tile: Mapping[str, int]
    extents: Mapping[str, int]

    def count(self, axis: str) -> int:
        """Tiles along ``axis``."""
        return -(-self.extents[axis] // self.tile[axis])

    def sort(self, axes: Sequence[str]) -> tuple[str, ...]:
        """Put axes into the kernel's order."""
        return tuple(sorted(axes, key=self.order.index))

    def extent(self, axis: str, index: int) -> int:
        """Extent of tile ``index`` along ``axis``; the last may be smaller."""
        return min(self.tile[axis], self.extents[axis] - index * self.tile[axis])

    def span(self, axis: str, index: int) -> slice:
        """Coordinates of tile ``index`` along ``axis``."""
        start = index * self.tile[axis]
        return slice(start, start + self.extent(axis, index))


@dataclass(frozen=True, slots=True)
class Read:
    """One operand of a stage.

    ``modes`` orders the tensor's modes as its tiles stream. A tile is taken when the loops at
    the positions ``free`` (those whose axis the operand lacks) are all 0 and dropped when they
    are all at their ends. ``gather``: the whole tensor is taken before the first firing,
    because it is read in another order than it streams. ``reload``: memory sends the tiles
    again at every use instead of their being held; ``inner`` is the innermost loop that
    changes the tile. ``extra`` tiles wait in front of the stage where paths rejoin.
    """

    operand: Operand
    modes: tuple[int, ...]
    counts: tuple[int, ...]
    free: tuple[int, ...]
    hold: int
    total: int
    reloads: int
    tile_bytes: int
    gather: bool
    inner: int = -1
    reload: bool = False
    extra: int = 0

    @property
    def depth(self) -> int:
        """Tiles that may wait in front of the stage."""
        if not self.reload and (self.gather or self.hold >= self.total):
            return max(self.total, 1)
        return 1 + self.extra

    @property
    def buffer_bytes(self) -> int:
        """Scratchpad bytes: the held tiles, and those that arrive while they are used."""
        if not self.reload and (self.gather or self.hold >= self.total):
            return self.total * self.tile_bytes
        held = 1 if self.reload else self.hold
        return (held + self.depth) * self.tile_bytes

    @property
    def sent(self) -> int:
        """Tiles that arrive during the kernel."""
        return self.reloads if self.reload else self.total


@dataclass(frozen=True, slots=True)
class StageShape:
    """Loops and buffers of one operator under a schedule."""

    operator: Operator
    loops: tuple[str, ...]
    counts: tuple[int, ...]
    reads: tuple[Read, ...]
    out_modes: tuple[int, ...]
    kept: tuple[int, ...]
    summed: tuple[int, ...]
    accumulators: int
    out_tile: int

    @property
    def firings(self) -> int:
        """Tiles the stage computes."""
        return math.prod(self.counts)

    @property
    def emitted(self) -> int:
        """Tiles that leave during the kernel."""
        return math.prod(self.counts[n] for n in self.kept)

    @property
    def before_first(self) -> int:
        """Firings up to and including the one that sends the first tile."""
        tiled = [n for n in self.summed if self.counts[n] > 1]
        last = [self.counts[n] if n in self.summed else 1 for n in range(len(self.counts))]
        if not tiled:
            return 1
        # All sums must end: the loops inside the first summed one run almost through.
        index = [count - 1 for count in last]
        position = 0
        for n, count in enumerate(self.counts):
            position = position * count + index[n]
        return position + 1

    def out_order(self) -> Iterator[Coordinates]:
        """Iterate the output's tiles in the order in which they leave."""
        return tile_coordinates([self.counts[n] for n in self.kept], self.out_modes)

    def steps(self) -> Iterator[Step]:
        """Iterate the loop nest, outermost slowest: what every firing takes, drops and emits."""
        return map(self.stepper(), range(self.firings))

    def stepper(self) -> Callable[[int], Step]:
        """Return a function from the number of a firing to its step."""
        ends = tuple(n - 1 for n in self.counts)
        members = [tuple(self.loops.index(a) for a in _axes(r)) for r in self.reads]

        def step(number: int) -> Step:
            index = unravelled(number, self.counts)
            takes: list[tuple[int, Coordinates]] = []
            drops: list[tuple[int, Coordinates]] = []
            for r, read in enumerate(self.reads):
                if read.gather:
                    if not any(index):
                        takes += [(r, c) for c in tiles(read)]
                    continue
                coordinates = tuple(index[n] for n in members[r])
                if read.reload:
                    if not any(index[read.inner + 1 :]):
                        takes.append((r, coordinates))
                    if all(index[n] == ends[n] for n in range(read.inner + 1, len(index))):
                        drops.append((r, coordinates))
                    continue
                if all(index[n] == 0 for n in read.free):
                    takes.append((r, coordinates))
                if all(index[n] == ends[n] for n in read.free):
                    drops.append((r, coordinates))
            done = all(index[n] == ends[n] for n in self.summed)
            emits = (tuple(index[n] for n in self.kept),) if done else ()
            return Step(index, tuple(takes), tuple(drops), emits)

        return step


Coordinates: TypeAlias = tuple[int, ...]


def unravelled(number: int, counts: Sequence[int]) -> Coordinates:
    """Loop indices of firing ``number``, outermost slowest.

    >>> unravelled(7, (2, 3, 2))
    (1, 0, 1)
    """
    index: list[int] = []
    for count in reversed(counts):
        number, place = divmod(number, count)
        index.append(place)
    return tuple(reversed(index))


@dataclass(frozen=True, slots=True)
class Step:
    """One firing: tiles ``(read, coordinates)`` taken before and dropped after, tiles sent."""

    index: Coordinates
    takes: tuple[tuple[int, Coordinates], ...]
    drops: tuple[tuple[int, Coordinates], ...]
    emits: tuple[Coordinates, ...]


def _axes(read: Read) -> tuple[str, ...]:
    return () if read.gather else read.operand.axes


def tile_coordinates(counts: Sequence[int], modes: Sequence[int]) -> Iterator[Coordinates]:
    """Iterate tile coordinates in mode order, streamed with ``modes[0]`` slowest."""
    for index in itertools.product(*(range(counts[m]) for m in modes)):
        place = dict(zip(modes, index, strict=True))
        yield tuple(place[m] for m in range(len(counts)))


def tiles(read: Read) -> Iterator[Coordinates]:
    """Iterate the tiles of an operand's tensor in streaming order."""
    return tile_coordinates(read.counts, read.modes)


def place_of(
    schedule: Schedule, axes: Sequence[str], tile: Coordinates, shape: Sequence[int]
) -> tuple[slice, ...]:
    """Slices of a tile; an axis the kernel does not iterate is whole."""
    return tuple(
        schedule.span(axis, n) if axis in schedule.tile else slice(0, extent)
        for axis, n, extent in zip(axes, tile, shape, strict=True)
    )


def stream_modes(schedule: Schedule, axes: Sequence[str]) -> tuple[int, ...]:
    """Return a tensor's modes in the order in which its tiles stream, slowest first."""
    ranks = [schedule.order.index(axis) if axis in schedule.order else -1 for axis in axes]
    return tuple(sorted(range(len(axes)), key=lambda m: ranks[m]))


def shape_of(
    graph: Graph, operator: Operator, schedule: Schedule, axes: Mapping[str, tuple[str, ...]]
) -> StageShape:
    """Work out the loops, the operand buffers and the accumulators of one dense stage.

    ``axes`` are those along which each tensor of the kernel is cut.
    """
    assert not is_sparse(operator)
    loops = schedule.sort(loop_axes(operator))
    counts = tuple(schedule.count(axis) for axis in loops)
    reads = tuple(
        _read(graph, operand, loops, counts, schedule, axes[operand.tensor])
        for operand in operands(operator)
    )
    out = operator.output
    reduced = set(reduced_axes(operator))
    summed = tuple(n for n, axis in enumerate(loops) if axis in reduced)
    tiled = [n for n in summed if counts[n] > 1]
    after = [n for n in range(len(loops)) if n not in summed and tiled and n > tiled[0]]
    return StageShape(
        operator,
        loops,
        counts,
        reads,
        stream_modes(schedule, out.axes),
        tuple(loops.index(axis) for axis in out.axes),
        summed,
        math.prod(counts[n] for n in after),
        math.prod(schedule.tile[axis] for axis in out.axes),
    )


def _read(
    graph: Graph,
    operand: Operand,
    loops: tuple[str, ...],
    counts: tuple[int, ...],
    schedule: Schedule,
    streamed: tuple[str, ...],
) -> Read:
    tensor = graph.tensor(operand.tensor)
    modes = stream_modes(schedule, streamed)
    own = [
        schedule.tile.get(axis, extent) for axis, extent in zip(streamed, tensor.shape, strict=True)
    ]
    tile_bytes = math.prod(own) * tensor.element_bytes
    tiled = tuple(-(-n // t) for n, t in zip(tensor.shape, own, strict=True))
    total = math.prod(tiled)
    if "" in operand.axes:
        return Read(operand, modes, tiled, (), total, total, total, tile_bytes, True)
    same = [schedule.tile[axis] for axis in operand.axes] == own
    gather = not same or stream_modes(schedule, operand.axes) != modes
    members = [loops.index(axis) for axis in operand.axes]
    free = tuple(n for n in range(len(loops)) if n not in members)
    outer = [n for n in free if counts[n] > 1]
    hold = math.prod(counts[n] for n in members if outer and n > outer[0])
    innermost = max((n for n in members if counts[n] > 1), default=-1)
    reloads = math.prod(counts[: innermost + 1])
    return Read(operand, modes, tiled, free, hold, total, reloads, tile_bytes, gather, innermost)


def untiled(group: Sequence[Operator]) -> frozenset[str]:
    """Return the axes a kernel must not cut.

    Softmax and RMS norm need their axis whole. Where several axes are summed at once only the
    first is cut, so that the order of the sum does not depend on the tile size.
    """
    whole: set[str] = set()
    for operator in group:
        if isinstance(operator, (Softmax, RmsNorm)):
            whole.add(operator.axis)
        if isinstance(operator, Rearrange) and operator.permutation is None:
            continue
        if not is_sparse(operator):
            whole |= set(reduced_axes(operator)[1:])
    return frozenset(whole)
