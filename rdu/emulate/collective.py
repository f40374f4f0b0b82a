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
from fractions import Fraction
from typing import Any

from rdu.emulate import functional as f
from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Engine, Steps
from rdu.emulate.stages import Pace, Port
from rdu.graph.graph import Graph
from rdu.graph.nodes import AllReduce
from rdu.mapping.program import Kernel, Stage
from rdu.mapping.schedule import StageShape
from rdu.mapping.timing import simd
from rdu.specs import Node


class PeerPort:
    """A stream over the link between two sockets, at its share of the link."""

    __slots__ = ("channel", "free", "pace")

    def __init__(self, channel: Channel, pace: Pace) -> None:
        self.channel = channel
        self.pace = pace
        self.free = 0

    def send(self, context: Context, payload: Any, done: int, size: int) -> Steps:
        """Send ``size`` bytes, complete at ``done``, when the link is free and there is room."""
        begin = max(context.time, self.free)
        spent = self.pace.cycles(size)
        yield from context.push(self.channel, payload, max(done, begin + spent), size)
        self.free = max(begin, context.time) + spent


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
    part, result = (
        graph.tensor(o.tensor).element_bytes for o in (operator.operand, operator.output)
    )
    parts, sums = peer_rates(node, part, result)

    def port(kind: str, a: int, b: int) -> PeerPort:
        name = f"{stage.name} {kind} (socket {a} -> {b})"
        rate = parts if kind == "parts" else sums
        latency = 1 if a == b else node.chip.cycles(1e-9 * node.p2p_latency_ns)
        # Enough tiles to cover the way there and the credit's way back.
        tile = max(stage.out_bytes // max(stage.shape.emitted, 1), 1)
        under_way = math.ceil(2 * latency * float(rate) / tile)
        channel = engine.channel(name, 2 + min(under_way, 64), latency)
        return PeerPort(channel, Pace(rate if a != b else rate * 10**6))

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

    def program(self) -> Steps:
        """Pass the tiles on in turn."""
        for n, size in enumerate(self.tiles):
            payload = yield from self.pop(self.inward, size)
            yield from self.out[n % len(self.out)].send(self, payload, self.time, size)


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
        self.values = values
        self.moved = 0

    def register(self, engine: Engine, inward: Channel, outward: Sequence[Port]) -> None:
        """Register this context and the two around it."""
        name, socket, peers = self.stage.name, self.socket, self.peers
        engine.add(Give(f"{name} gives", self.tiles, inward, peers.parts[socket]))
        engine.add(self)
        back = [row[socket].channel for row in peers.sums]
        engine.add(Collect(f"{name} collects", self.results, back, outward))

    def program(self) -> Steps:
        """Take a tile of every socket, add them in order, send the sum to all."""
        operator = self.stage.shape.operator
        assert isinstance(operator, AllReduce)
        out = self.graph.tensor(operator.output.tensor)
        for size in self.tiles[self.socket :: len(self.outward)]:
            total: Any = None
            for channel in self.inward:
                part = yield from self.pop(channel, size)
                if self.values:
                    total = part if total is None else f.joined(operator.monoid, total, part)
            elements = size // 4
            cycles = simd(self.chip, elements, self.stage.units.width, len(self.outward) - 1)
            self.work(cycles.busy)
            done = self.time + cycles.fill
            if self.values:
                total = f.rounded(total, self.graph.storage(out.name))
            result = elements * out.element_bytes
            self.moved += size * len(self.outward) + result
            for port in self.outward:
                yield from port.send(self, total, done, result)


class Collect(Context):
    """Hands the sums on in the order of the tiles."""

    def __init__(
        self, name: str, tiles: Sequence[int], inward: Sequence[Channel], outward: Sequence[Port]
    ) -> None:
        super().__init__(name)
        self.tiles = tiles
        self.inward = inward
        self.outward = outward

    def program(self) -> Steps:
        """Take each tile from its owner."""
        for n, size in enumerate(self.tiles):
            payload = yield from self.pop(self.inward[n % len(self.inward)], size)
            for port in self.outward:
                yield from port.send(self, payload, self.time, size)


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


def peer_rates(node: Node, part: int, result: int) -> tuple[Fraction, Fraction]:
    """Share a link between partial sums and results by their bytes: cycles of both are equal."""
    rate = Fraction(node.p2p_bytes_per_cycle).limit_denominator(1 << 16)
    return rate * Fraction(part, part + result), rate * Fraction(result, part + result)
