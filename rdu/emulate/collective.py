"""All-reduce over sockets, tile by tile, over peer-to-peer streams.

Every socket owns an equal part of each tile: all others send it theirs, it adds them in the order
of the sockets, rounds once and sends the result back to all (a reduce-scatter and an all-gather).
So every pair of sockets carries the same bytes in both directions, and the sum does not depend
on who is first. Each socket runs three contexts: one gives the parts of partial tiles to their
owners, one adds up its own part, one puts results together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdu.emulate import functional as f
from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Engine, Steps
from rdu.emulate.rates import reduction_rates
from rdu.emulate.rounds import Rounds
from rdu.emulate.stages import Port
from rdu.graph.graph import Graph
from rdu.graph.nodes import AllReduce
from rdu.mapping.kernel import Kernel
from rdu.mapping.schedule import StageShape
from rdu.mapping.stages import Stage
from rdu.mapping.timing import interval, simd
from rdu.specs import Node


@dataclass(frozen=True, slots=True)
class Tile:
    """Shape and element size of one tile that is added up."""

    shape: tuple[int, ...]
    element_bytes: int

    @property
    def bytes(self) -> int:
        """Bytes of the whole tile."""
        return math.prod(self.shape) * self.element_bytes

    def part(self, owner: int, owners: int) -> tuple[int, int]:
        """Elements ``[low, high)`` that a socket adds up."""
        count = math.prod(self.shape)
        return count * owner // owners, count * (owner + 1) // owners


class PeerPort:
    """A stream over the link between two sockets, at its share of the link."""

    __slots__ = ("channel", "ticks_per_byte")

    def __init__(self, channel: Channel, ticks_per_byte: int) -> None:
        self.channel = channel
        self.ticks_per_byte = ticks_per_byte

    def send(self, context: Context, payload: Any, done: int, size: int) -> Steps:
        """Send ``size`` bytes, complete at ``done``, when the link is free and there is room."""
        channel = self.channel
        begin = max(context.time, channel.free)
        spent = size * self.ticks_per_byte
        yield from context.push(channel, payload, max(done, begin + spent), size)
        channel.free = max(begin, context.time) + spent


@dataclass(frozen=True, slots=True)
class Peers:
    """Streams of one all-reduce: ``parts[a][b]`` from a to owner b, ``sums[b][a]`` back."""

    parts: tuple[tuple[PeerPort, ...], ...]
    sums: tuple[tuple[PeerPort, ...], ...]

    @property
    def bytes(self) -> int:
        """Bytes that went from one socket to another."""
        return sum(
            port.channel.pushed_bytes
            for table in (self.parts, self.sums)
            for a, row in enumerate(table)
            for b, port in enumerate(row)
            if a != b
        )


def connect(engine: Engine, node: Node, graph: Graph, stage: Stage) -> Peers:
    """Make the streams of one all-reduce; a socket reaches itself without a link."""
    operator = stage.shape.operator
    assert isinstance(operator, AllReduce)
    count = operator.sockets
    parts, sums = reduction_rates(node, graph, operator)

    def port(kind: str, a: int, b: int) -> PeerPort:
        name = f"{stage.name} {kind} (socket {a} -> {b})"
        rate = parts if kind == "parts" else sums
        latency = 1 if a == b else node.chip.cycles(1e-9 * node.p2p_latency_ns)
        # Enough tiles to cover the way there and the credit's way back.
        tile = max(stage.out_bytes // max(stage.shape.emitted, 1) // count, 1)
        under_way = math.ceil(2 * latency * float(rate) / tile)
        channel = engine.channel(name, 2 + min(under_way, 64), latency)
        return PeerPort(channel, engine.ticks_per_byte(rate) if a != b else 0)

    def table(kind: str) -> tuple[tuple[PeerPort, ...], ...]:
        return tuple(tuple(port(kind, a, b) for b in range(count)) for a in range(count))

    return Peers(table("parts"), table("sums"))


class Give(Context):
    """Gives every partial tile to the socket that adds it up."""

    def __init__(self, name: str, tiles: Sequence[Tile], inward: Channel, out: Sequence[PeerPort]):
        super().__init__(name)
        self.tiles = tiles
        self.inward = inward
        self.out = out
        self.length = len(tiles)

    def program(self) -> Steps:
        """Send the parts of each tile."""
        while self.position < self.length:
            yield from self.rest()
            tile = self.tiles[self.position]
            payload = yield from self.pop(self.inward, tile.bytes)
            for owner, port in enumerate(self.out):
                low, high = tile.part(owner, len(self.out))
                mine = None if payload is None else payload.reshape(-1)[low:high]
                yield from port.send(self, mine, self.time, (high - low) * tile.element_bytes)
            self.position += 1


class Add(Context):
    """Adds the parts that this socket owns."""

    def __init__(
        self,
        node: Node,
        graph: Graph,
        kernel: Kernel,
        stage: Stage,
        socket: int,
        peers: Peers,
        *,
        values: bool,
    ) -> None:
        super().__init__(stage.name)
        self.chip = node.chip
        self.graph = graph
        self.stage = stage
        self.socket = socket
        self.peers = peers
        self.tiles, self.results = tiles_of(graph, kernel, stage)
        self.inward = [row[socket].channel for row in peers.parts]
        self.outward = peers.sums[socket]
        self.length = len(self.tiles)
        self.values = values

    def register(
        self,
        engine: Engine,
        inward: Channel,
        outward: Sequence[Port],
        stage: int,
        rounds: Rounds | None,
    ) -> None:
        """Register this context, of stage number ``stage``, and the two around it."""
        name, socket, peers = self.stage.name, self.socket, self.peers
        give = Give(f"{name} gives", self.tiles, inward, peers.parts[socket])
        back = [row[socket].channel for row in peers.sums]
        collect = Collect(f"{name} collects", self.results, back, outward)
        for context in (give, self, collect):
            engine.add(context)
        if rounds is not None:
            for context in (give, self, collect):
                rounds.add_stage(context, stage)

    def program(self) -> Steps:
        """Take a part from every socket, add them in order, send the sum to all."""
        operator = self.stage.shape.operator
        assert isinstance(operator, AllReduce)
        out = self.graph.tensor(operator.output.tensor)
        while self.position < self.length:
            yield from self.rest()
            tile = self.tiles[self.position]
            low, high = tile.part(self.socket, len(self.outward))
            elements = high - low
            size = elements * tile.element_bytes
            total: Any = None
            for channel in self.inward:
                part = yield from self.pop(channel, size)
                if self.values:
                    total = part if total is None else f.joined(operator.monoid, total, part)
            cycles = simd(self.chip, elements, self.stage.units.width, len(self.outward) - 1).every(
                self.stage.units.every * interval(self.chip, self.graph.precision)
            )
            yield from self.fire(cycles.busy)
            done = self.time + cycles.fill * self.tick
            if self.values:
                total = f.rounded(total, self.graph.storage(out.name))
            result = elements * out.element_bytes
            self.moved += size * len(self.outward) + result
            for port in self.outward:
                yield from port.send(self, total, done, result)
            self.position += 1


class Collect(Context):
    """Puts the parts of each sum together and hands it on."""

    def __init__(
        self, name: str, tiles: Sequence[Tile], inward: Sequence[Channel], outward: Sequence[Port]
    ) -> None:
        super().__init__(name)
        self.tiles = tiles
        self.inward = inward
        self.outward = outward
        self.length = len(tiles)

    def program(self) -> Steps:
        """Take every tile's parts from their owners."""
        while self.position < self.length:
            yield from self.rest()
            tile = self.tiles[self.position]
            parts: list[Any] = []
            for owner, channel in enumerate(self.inward):
                low, high = tile.part(owner, len(self.inward))
                parts.append((yield from self.pop(channel, (high - low) * tile.element_bytes)))
            whole = None if parts[0] is None else np.concatenate(parts).reshape(tile.shape)
            for port in self.outward:
                yield from port.send(self, whole, self.time, tile.bytes)
            self.position += 1


def tiles_of(graph: Graph, kernel: Kernel, stage: Stage) -> tuple[list[Tile], list[Tile]]:
    """Every tile in order: as a partial sum, and as a result."""
    shape = stage.shape
    assert isinstance(shape, StageShape)
    operator = shape.operator
    assert isinstance(operator, AllReduce)
    part = graph.tensor(operator.operand.tensor).element_bytes
    out = graph.tensor(operator.output.tensor).element_bytes
    shapes = [
        tuple(kernel.schedule.extent(a, n) for a, n in zip(operator.output.axes, tile, strict=True))
        for tile in shape.out_order()
    ]
    return [Tile(extents, part) for extents in shapes], [Tile(extents, out) for extents in shapes]
