"""Contexts of a dense kernel: memory controllers (AGCU) and stages (PCU groups with buffers).

A stage follows the steps of its schedule. With payloads it computes; without, it only keeps
time. Both take the same steps, so both give the same cycles.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from rdu.emulate import functional as f
from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Steps
from rdu.emulate.values import Tree, concatenated
from rdu.graph.graph import Graph, Precision, Rounding
from rdu.graph.nodes import (
    Contract,
    Map,
    Operand,
    Rearrange,
    Reduction,
    RmsNorm,
    Softmax,
)
from rdu.mapping.allocate import firing
from rdu.mapping.kernel import Kernel
from rdu.mapping.schedule import Coordinates, StageShape, place_of
from rdu.mapping.stages import Stage, Transfer
from rdu.mapping.timing import Cycles
from rdu.specs import Chip


class Port(Protocol):
    """Sends tiles into one stream."""

    channel: Channel

    def send(
        self, context: Context, payload: Any, done: int, size: int, first: int | None = None
    ) -> Steps:
        """Send one tile of ``size`` bytes, complete at tick ``done``.

        Its first byte is there at tick ``first``, or now.
        """
        ...


class StaticPort:
    """Sends tiles into one stream no faster than the stream's busiest link allows."""

    __slots__ = ("channel", "tile_ticks")

    def __init__(self, channel: Channel, tile_ticks: int) -> None:
        self.channel = channel
        self.tile_ticks = tile_ticks

    def send(
        self, context: Context, payload: Any, done: int, size: int, first: int | None = None
    ) -> Steps:
        """Send one tile when the link is free, from the first byte that a place is free for."""
        channel = self.channel
        begin = max(context.time if first is None else first, channel.free)
        yield from context.push(channel, payload, max(done, begin + self.tile_ticks), size)
        channel.free = max(begin, context.time) + self.tile_ticks


class Loader(Context):
    """Reads tiles from one memory tier in their static order."""

    def __init__(
        self,
        name: str,
        transfers: Sequence[Transfer],
        ports: Sequence[Port],
        ticks_per_byte: int,
        latency: int,
        store: Store | None,
    ) -> None:
        super().__init__(name)
        self.transfers = transfers
        self.ports = ports
        self.ticks_per_byte = ticks_per_byte
        self.latency = latency
        self.store = store
        self.length = len(transfers)

    def program(self) -> Steps:
        """Fetch and send every tile."""
        latency = self.latency * self.tick
        while self.position < self.length:
            yield from self.rest()
            transfer = self.transfers[self.position]
            payload = None
            if self.store is not None:
                payload = self.store.read(transfer.tensor, transfer.tile)
            first = self.time + latency
            self.spend(transfer.access.moved * self.ticks_per_byte)
            done = self.time + latency
            for n in transfer.streams:
                yield from self.ports[n].send(self, payload, done, transfer.bytes, first)
            self.position += 1


class Storer(Context):
    """Writes tiles to one memory tier in their static order."""

    def __init__(
        self,
        name: str,
        transfers: Sequence[Transfer],
        channels: Sequence[Channel],
        ticks_per_byte: int,
        latency: int,
        store: Store | None,
    ) -> None:
        super().__init__(name)
        self.transfers = transfers
        self.channels = channels
        self.ticks_per_byte = ticks_per_byte
        self.latency = latency
        self.store = store
        self.length = len(transfers)

    def program(self) -> Steps:
        """Take and write every tile."""
        while self.position < self.length:
            yield from self.rest()
            transfer = self.transfers[self.position]
            (n,) = transfer.streams
            payload = yield from self.pop(self.channels[n], transfer.bytes)
            self.spend(transfer.access.moved * self.ticks_per_byte)
            if self.store is not None:
                self.store.write(transfer.tensor, transfer.tile, payload)
            self.position += 1
        self.time += self.latency * self.tick


def slowed(cycles: int, factor: Fraction) -> int:
    """Whole cycles of a firing in a kernel that a link slows down."""
    return -(-cycles * factor.numerator // factor.denominator)


class Store:
    """Memory contents during one kernel: whole tensors, read and written tile by tile."""

    def __init__(self, graph: Graph, kernel: Kernel, arrays: dict[str, Any]) -> None:
        self.arrays = arrays
        self.spans = kernel.axes
        self.schedule = kernel.schedule
        self.graph = graph

    def read(self, tensor: str, tile: Coordinates) -> Any:
        """Return a copy-free view of one tile."""
        place = self.place(tensor, tile)
        held = self.arrays[tensor]
        if isinstance(held, Tree):
            cut = self._cut(tensor)
            return held if cut is None else held.between(place[cut].start, place[cut].stop)
        return held[place]

    def write(self, tensor: str, tile: Coordinates, values: Any) -> None:
        """Store one tile, allocating the tensor at the first."""
        if self.graph.tensor(tensor).sparse:
            parts = [self.arrays[tensor], values] if tensor in self.arrays else [values]
            self.arrays[tensor] = concatenated(parts, values.coordinates.shape[1])
            return
        self._allocate(tensor)
        self.arrays[tensor][self.place(tensor, tile)] = values

    def put(self, tensor: str, sender: Store, tile: Coordinates, values: Any) -> None:
        """Keep a tile that another kernel cut; a place is written before it is read."""
        self._allocate(tensor)
        self.arrays[tensor][sender.place(tensor, tile)] = values

    def _allocate(self, tensor: str) -> None:
        """Make room for a dense tensor; what is never written stands out where there is a NaN."""
        if tensor not in self.arrays:
            dtype = self.graph.precision.dtype
            unset = np.nan if dtype.kind == "f" else np.iinfo(dtype).min
            self.arrays[tensor] = np.full(self.graph.tensor(tensor).shape, unset, dtype=dtype)

    def _cut(self, tensor: str) -> int | None:
        axes = self.spans[tensor]
        return next((m for m, axis in enumerate(axes) if axis in self.schedule.tile), None)

    def place(self, tensor: str, tile: Coordinates) -> tuple[slice, ...]:
        """Where a tile lies in its tensor."""
        axes = self.spans[tensor]
        return place_of(self.schedule, axes, tile, self.graph.tensor(tensor).shape)


class DenseStage(Context):
    """One dense operator on its units."""

    def __init__(
        self,
        chip: Chip,
        graph: Graph,
        kernel: Kernel,
        stage: Stage,
        inward: Sequence[Channel],
        outward: Sequence[Port],
        *,
        values: bool,
    ) -> None:
        super().__init__(stage.name)
        self.chip = chip
        self.graph = graph
        self.schedule = kernel.schedule
        self.slowdown = kernel.slowdown
        self.axes = kernel.axes
        self.stage = stage
        assert isinstance(stage.shape, StageShape)
        self.shape = stage.shape
        self.inward = inward
        self.outward = outward
        self.values = values
        self.length = stage.shape.firings
        self._known: dict[tuple[int, ...], Cycles] = {}

    def program(self) -> Steps:
        """Fire once for every step of the loop nest."""
        shape, schedule = self.shape, self.schedule
        held: dict[tuple[int, Coordinates], Any] = {}
        sums: dict[Coordinates, Any] = {}
        out_bytes = self.graph.tensor(shape.operator.output.tensor).element_bytes
        step_of = shape.stepper()
        while self.position < self.length:
            yield from self.rest()
            step = step_of(self.position)
            for r, tile in step.takes:
                size = self._tile_bytes(r, tile)
                held[r, tile] = yield from self.pop(self.inward[r], size)
                self.moved += size
            extents = tuple(
                schedule.extent(a, n) for a, n in zip(shape.loops, step.index, strict=True)
            )
            cycles = self._cycles(extents)
            kept = tuple(step.index[n] for n in shape.kept)
            if self.values:
                tile_values = self._compute(step.index, extents, held, sums.get(kept))
                sums[kept] = tile_values
            yield from self.fire(cycles.busy)
            done = self.time + cycles.fill * self.tick
            for tile in step.emits:
                payload = self._finish(sums.pop(tile), extents, tile) if self.values else None
                count = out_bytes
                for n in shape.kept:
                    count *= extents[n]
                for port in self.outward:
                    yield from port.send(self, payload, done, count)
                self.moved += count
            for drop in step.drops:
                held.pop(drop, None)
            self.position += 1

    def _tile_bytes(self, r: int, tile: Coordinates) -> int:
        operand = self.shape.reads[r].operand
        tensor = self.graph.tensor(operand.tensor)
        size = tensor.element_bytes
        for part in place_of(self.schedule, self.axes[operand.tensor], tile, tensor.shape):
            size *= part.stop - part.start
        return size

    def _cycles(self, extents: tuple[int, ...]) -> Cycles:
        found = self._known.get(extents)
        if found is None:
            shape, units = self.shape, self.stage.units
            size = dict(zip(shape.loops, extents, strict=True))
            found = firing(self.chip, self.graph, shape, size, units.width, units.every)
            found = Cycles(slowed(found.busy, self.slowdown), found.fill)
            self._known[extents] = found
        return found

    # --- values ------------------------------------------------------------------------

    def _operand(self, r: int, index: Coordinates, held: dict[tuple[int, Coordinates], Any]) -> Any:
        """Return the part of operand ``r`` that this firing reads."""
        shape, read = self.shape, self.shape.reads[r]
        if not read.gather:
            tile = tuple(index[shape.loops.index(axis)] for axis in read.operand.axes)
            return held[r, tile]
        whole = self._gathered(r, held)
        place = dict(zip(shape.loops, index, strict=True))
        return whole[tuple(self.schedule.span(axis, place[axis]) for axis in read.operand.axes)]

    def _gathered(self, r: int, held: dict[tuple[int, Coordinates], Any]) -> Any:
        """Assemble an operand that was taken whole."""
        key = (r, (-1,))
        if key not in held:
            operand = self.shape.reads[r].operand
            tensor = self.graph.tensor(operand.tensor)
            whole = np.empty(tensor.shape, dtype=self.graph.precision.dtype)
            axes = self.axes[operand.tensor]
            for other, tile in list(held):
                if other == r:
                    where = place_of(self.schedule, axes, tile, tensor.shape)
                    whole[where] = held.pop((other, tile))
            held[key] = whole
        return held[key]

    def _compute(
        self,
        index: Coordinates,
        extents: tuple[int, ...],
        held: dict[tuple[int, Coordinates], Any],
        total: Any,
    ) -> Any:
        shape = self.shape
        operator = shape.operator
        out = operator.output.axes
        size = dict(zip(shape.loops, extents, strict=True))
        match operator:
            case Contract():
                left, right = (self._operand(r, index, held) for r in (0, 1))
                return f.contract(operator, total, left, right)
            case Map(arguments=arguments):
                at = dict(zip(shape.loops, index, strict=True))
                spans = {axis: self.schedule.span(axis, at[axis]) for axis in out}
                dtype = self.graph.precision.dtype
                tiles = iter(range(len(shape.reads)))
                values = [
                    f.argument(
                        a,
                        self._operand(next(tiles), index, held) if isinstance(a, Operand) else None,
                        out,
                        spans,
                        dtype,
                    )
                    for a in arguments
                ]
                return f.mapped(operator.function, values, [size[axis] for axis in out], dtype)
            case Reduction(operand=operand, monoid=monoid):
                tile = self._operand(0, index, held)
                return f.reduced(monoid, total, tile, operand.axes, out)
            case Softmax(operand=operand, axis=axis):
                tile = self._operand(0, index, held)
                value = f.softmax(tile, operand.axes.index(axis))
                return f.aligned(value, operand.axes, out)
            case RmsNorm(operand=operand, axis=axis, epsilon=epsilon):
                tile, weight = (self._operand(r, index, held) for r in (0, 1))
                value = f.rms_norm(tile, weight, operand.axes.index(axis), epsilon)
                return f.aligned(value, operand.axes, out)
            case Rearrange(subscripts=subscripts, permutation=names):
                if names is not None:
                    return f.aligned(self._operand(0, index, held), names, out)
                at = dict(zip(shape.loops, index, strict=True))
                spans = {axis: self.schedule.span(axis, at[axis]) for axis in out}
                return f.rearranged(self._gathered(0, held), subscripts, out, spans)
            case _:
                raise AssertionError(f"{type(operator).__name__} is not a dense operator")

    def _finish(self, total: Any, extents: tuple[int, ...], tile: Coordinates) -> Any:
        """Bring a finished tile to the output's axes and round it once."""
        shape = self.shape
        operator = shape.operator
        if isinstance(operator, Contract):
            total = f.contracted(operator, total, [extents[n] for n in shape.kept])
        graph, out = self.graph, operator.output
        storage = graph.storage(out.tensor)
        if graph.rounding is Rounding.STOCHASTIC and storage is Precision.BF16:
            shape = graph.tensor(out.tensor).shape
            place = place_of(self.schedule, out.axes, tile, shape)
            key = zlib.crc32(out.tensor.encode()) << 32 | graph.seed
            return f.rounded_randomly(total, place, shape, key)
        return f.rounded(total, storage)
