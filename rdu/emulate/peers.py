"""Tensors that stream from a kernel on one socket into a kernel on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rdu.emulate.channel import Channel
from rdu.emulate.collective import Add, PeerPort
from rdu.emulate.engine import Context, Engine, Steps
from rdu.emulate.rates import crossing_rate, tier_rate
from rdu.emulate.rounds import Rounds, numbered
from rdu.emulate.sparse import SparseStage
from rdu.emulate.stages import DenseStage, Port, Store
from rdu.emulate.tokens import Ints
from rdu.graph.nodes import Role
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Crossing, Program
from rdu.mapping.stages import Tier, Transfer

Unit: TypeAlias = DenseStage | SparseStage | Add


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel's units, streams and memory on one socket."""

    kernel: Kernel
    units: tuple[Unit, ...]
    channels: tuple[Channel, ...]
    ports: tuple[Port, ...]
    store: Store | None


class PeerStorer(Context):
    """Sends the tiles of one tensor to the sockets that read it; a result to memory as well."""

    def __init__(
        self,
        name: str,
        transfers: Sequence[Transfer],
        channel: Channel,
        peers: Sequence[PeerPort],
        ticks_per_byte: int | None,
        store: Store | None,
    ) -> None:
        super().__init__(name)
        self.transfers = transfers
        self.channel = channel
        self.peers = peers
        self.ticks_per_byte = ticks_per_byte
        self.store = store
        self.length = len(transfers)

    def program(self) -> Steps:
        """Take every tile once and pass it on."""
        while self.position < self.length:
            yield from self.rest()
            transfer = self.transfers[self.position]
            payload = yield from self.pop(self.channel, transfer.bytes)
            if self.ticks_per_byte is not None:
                self.spend(transfer.bytes * self.ticks_per_byte)
                if self.store is not None:
                    self.store.write(transfer.tensor, transfer.tile, payload)
            for port in self.peers:
                yield from port.send(self, (transfer.tile, payload), self.time, transfer.bytes)
            self.position += 1


class PeerLoader(Context):
    """Collects the sender's tiles and gives them out in the receiver's tiles and order."""

    def __init__(
        self,
        name: str,
        crossing: Crossing,
        sent: Sequence[Transfer],
        transfers: Sequence[Transfer],
        inward: Channel,
        ports: Sequence[Port],
        sender: Store | None,
        store: Store | None,
    ) -> None:
        super().__init__(name)
        self.crossing = crossing
        self.sent = sent
        self.transfers = transfers
        self.inward = inward
        self.ports = ports
        self.sender = sender
        self.store = store
        self.length = len(transfers)

    def program(self) -> Steps:
        """Wait for as many tiles as the next load needs, then serve it."""
        while self.position < self.length:
            yield from self.rest()
            transfer = self.transfers[self.position]
            for number in self.received(self.position):
                yield from self._receive(number)
            payload = None
            if self.store is not None:
                payload = self.store.read(transfer.tensor, transfer.tile)
            for stream in transfer.streams:
                yield from self.ports[stream].send(self, payload, self.time, transfer.bytes)
            self.position += 1
        for left in range(self.crossing.needs[-1], len(self.sent)):
            yield from self._receive(left)

    def received(self, load: int) -> range:
        """Numbers of the tiles that are waited for before a load."""
        needs = self.crossing.needs
        return range(needs[load - 1] if load else 0, needs[load])

    def kinds(self) -> Ints:
        """Number the loads; alike are those that wait for and serve the same bytes."""
        return numbered(
            [
                (t.bytes, t.streams, tuple(self.sent[m].bytes for m in self.received(n)))
                for n, t in enumerate(self.transfers)
            ]
        )

    def _receive(self, number: int) -> Steps:
        arrived: Any = yield from self.pop(self.inward, self.sent[number].bytes)
        if self.store is not None and self.sender is not None:
            tile, payload = arrived
            self.store.put(self.crossing.tensor, self.sender, tile, payload)


def peer_port(engine: Engine, program: Program, crossing: Crossing, kernel: Kernel) -> PeerPort:
    """Make the stream of one crossing, with tiles enough to cover its latency."""
    node, graph = program.node, program.graph
    rate = crossing_rate(program, crossing)
    latency = node.chip.cycles(1e-9 * node.p2p_latency_ns)
    name = f"{crossing.tensor} (socket {crossing.source} -> {crossing.target})"
    tiles = [t for t in kernel.stores[Tier.PEER] if t.tensor == crossing.tensor]
    size = max(graph.tensor(crossing.tensor).bytes // max(len(tiles), 1), 1)
    under_way = int(np.ceil(2 * latency * float(rate) / size))
    channel = engine.channel(name, 2 + min(under_way, 64), latency)
    return PeerPort(channel, engine.ticks_per_byte(rate))


def add_peers(
    engine: Engine,
    program: Program,
    built: Sequence[Built],
    rounds: Sequence[Rounds] | None = None,
) -> list[PeerPort]:
    """Join the kernels of a pipeline by their crossing tensors; return the streams.

    ``rounds`` of each kernel are told of the units that send and receive.
    """
    streams: list[PeerPort] = []
    for crossing in program.crossings:
        source, target = built[crossing.source], built[crossing.target]
        port = peer_port(engine, program, crossing, source.kernel)
        streams.append(port)
        sent = [t for t in source.kernel.stores[Tier.PEER] if t.tensor == crossing.tensor]
        loads = [t for t in target.kernel.loads[Tier.PEER] if t.tensor == crossing.tensor]
        loader = PeerLoader(
            f"receive {crossing.tensor}",
            crossing,
            sent,
            loads,
            port.channel,
            target.ports,
            source.store,
            target.store,
        )
        engine.add(loader)
        if rounds is not None:
            own = rounds[crossing.target]
            own.add_transfers(loader, target.kernel, loads, loads=True)
            own.kinds[loader] = loader.kinds()
    for n, kernel in enumerate(program.kernels):
        stores = kernel.stores.get(Tier.PEER, ())
        for tensor in dict.fromkeys(t.tensor for t in stores):
            mine = [t for t in stores if t.tensor == tensor]
            pairs = zip(program.crossings, streams, strict=True)
            ports = [p for c, p in pairs if c.tensor == tensor and c.source == n]
            per_byte = engine.ticks_per_byte(tier_rate(program.node.chip, Tier.HBM))
            kept = program.graph.tensor(tensor).role is Role.RESULT
            channel = built[n].channels[mine[0].streams[0]]
            spent = per_byte if kept else None
            storer = PeerStorer(f"send {tensor}", mine, channel, ports, spent, built[n].store)
            engine.add(storer)
            if rounds is not None:
                rounds[n].add_transfers(storer, kernel, mine, loads=False)
    return streams
