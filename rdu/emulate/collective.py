"""All-reduce over sockets, tile by tile, over peer-to-peer streams.

Tile n is added up on socket ``n mod sockets``: all others send it their partial tile, it adds
them in the order of the sockets, rounds once and sends the result back to all. So every pair of
sockets carries the same bytes in both directions, and the sum does not depend on who is first.
Each socket runs three contexts: one gives partial tiles to their owners, one adds up its own
tiles, one hands results on in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rdu.emulate import functional as f
from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Engine, Steps
from rdu.emulate.rates import reduction_rates
from rdu.emulate.rounds import Rounds
from rdu.emulate.stages import Port
from rdu.graph.graph import Graph
from rdu.graph.nodes import AllReduce
from rdu.mapping.program import Kernel, Stage
from rdu.mapping.schedule import StageShape
from rdu.mapping.timing import simd
from rdu.specs import Node


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
        tile = max(stage.out_bytes // max(stage.shape.emitted, 1), 1)
        under_way = math.ceil(2 * latency * float(rate) / tile)
        channel = engine.channel(name, 2 + min(under_way, 64), latency)
        return PeerPort(channel, engine.ticks_per_byte(rate) if a != b else 0)

    def table(kind: str) -> tuple[tuple[PeerPort, ...], ...]:
        return tuple(tuple(port(kind, a, b) for b in range(count)) for a in range(count))

    return Peers(table("parts"), table("sums"))


class Give(Context):
    """Gives every partial tile to the socket that adds it up."""

    def __init__(self, name: str, tiles: Sequence[int], inward: Channel, out: Sequence[PeerPort]):
        super().__init__(name)
        self.tiles = tiles
        self.inward = inward
        self.out = out
        self.length = len(tiles)

    def program(self) -> Steps:
        """Pass the tiles on in turn."""
        while self.position < self.length:
            yield from self.rest()
            size = self.tiles[self.position]
            port = self.out[self.position % len(self.out)]
            payload = yield from self.pop(self.inward, size)
            yield from port.send(self, payload, self.time, size)
            self.position += 1


class Add(Context):
    """Adds the tiles that this socket owns."""

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
        self.tiles, self.results = tile_sizes(graph, kernel, stage)
        self.inward = [row[socket].channel for row in peers.parts]
        self.outward = peers.sums[socket]
        self.mine = self.tiles[socket :: len(self.outward)]
        self.length = len(self.mine)
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
            rounds.add_tiles(give, stage, self.tiles)
            rounds.add_tiles(self, stage, self.mine, socket, len(self.outward))
            rounds.add_tiles(collect, stage, self.results)

    def program(self) -> Steps:
        """Take a tile of every socket, add them in order, send the sum to all."""
        operator = self.stage.shape.operator
        assert isinstance(operator, AllReduce)
        out = self.graph.tensor(operator.output.tensor)
        while self.position < self.length:
            yield from self.rest()
            size = self.mine[self.position]
            total: Any = None
            for channel in self.inward:
                part = yield from self.pop(channel, size)
                if self.values:
                    total = part if total is None else f.joined(operator.monoid, total, part)
            elements = size // 4
            cycles = simd(self.chip, elements, self.stage.units.width, len(self.outward) - 1)
            self.work(cycles.busy)
            done = self.time + cycles.fill * self.tick
            if self.values:
                total = f.rounded(total, self.graph.storage(out.name))
            result = elements * out.element_bytes
            self.moved += size * len(self.outward) + result
            for port in self.outward:
                yield from port.send(self, total, done, result)
            self.position += 1


class Collect(Context):
    """Hands the sums on in the order of the tiles."""

    def __init__(
        self, name: str, tiles: Sequence[int], inward: Sequence[Channel], outward: Sequence[Port]
    ) -> None:
        super().__init__(name)
        self.tiles = tiles
        self.inward = inward
        self.outward = outward
        self.length = len(tiles)

    def program(self) -> Steps:
        """Take each tile from its owner."""
        while self.position < self.length:
            yield from self.rest()
            size = self.tiles[self.position]
            channel = self.inward[self.position % len(self.inward)]
            payload = yield from self.pop(channel, size)
            for port in self.outward:
                yield from port.send(self, payload, self.time, size)
            self.position += 1


def tile_sizes(graph: Graph, kernel: Kernel, stage: Stage) -> tuple[list[int], list[int]]:
    """Bytes of every tile in order: as partial sums, and as results."""
    shape = stage.shape
    assert isinstance(shape, StageShape)
    operator = shape.operator
    assert isinstance(operator, AllReduce)
    elements: list[int] = []
    for tile in shape.out_order():
        extents = zip(operator.output.axes, tile, strict=True)
        elements.append(math.prod(kernel.schedule.extent(axis, n) for axis, n in extents))
    part = graph.tensor(operator.operand.tensor).element_bytes
    out = graph.tensor(operator.output.tensor).element_bytes
    return [n * part for n in elements], [n * out for n in elements]
