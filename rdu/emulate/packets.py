"""Tiles as packets: the units of a kernel joined by the network, whose pressure holds them up.

A tile is cut into vectors that leave its units in turn, evenly until the tile is complete. It
takes a place in the buffer that it goes to (a credit, which a control token brings back). Of each
stream two tiles may wait to enter the network, besides those that a pipeline or memory still works
on; a unit that has a third waits. Several units write one buffer: sequence IDs put every vector
into its place, and tiles are taken in the order in which they were sent.

A firing takes as long as its operands need to enter the network from their buffers, and its
result leaves when the last of them has arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Steps
from rdu.emulate.moments import Burst
from rdu.emulate.network import Network, Way
from rdu.errors import MappingError
from rdu.mapping.flows import Fabric, Flow
from rdu.mapping.kernel import Kernel
from rdu.mapping.route import Link
from rdu.specs import Chip

# Tiles of a stream that may wait to enter the network: a double buffer.
_WAITING = 2


class _Tile:
    """A tile on its way: made from tick ``begin`` to ``done``, if its ``operands`` have come.

    It could enter from tick ``free`` on, and would have by ``due`` if nothing held it up; ``ready``
    is when it is whole, None before.
    """

    __slots__ = (
        "begin",
        "burst",
        "done",
        "due",
        "free",
        "operands",
        "payload",
        "ready",
        "size",
        "tick",
    )

    def __init__(self, payload: Any, size: int, begin: int, done: int, free: int, tick: int):
        self.payload = payload
        self.size = size
        self.begin = begin
        self.done = done
        self.free = free
        self.due = done
        self.tick = tick
        self.burst = Burst()
        self.operands: Burst | None = None
        self.ready: int | None = None


class PacketPort:
    """Sends the tiles of one stream as packets of ``flows``, -1 for units that are at their buffer.

    A packet has ``vector`` bytes.
    """

    __slots__ = (
        "channel",
        "flows",
        "latest",
        "leaving",
        "network",
        "started",
        "turn",
        "under_way",
        "vector",
    )

    def __init__(self, network: Network, channel: Channel, flows: Sequence[int], vector: int):
        self.network = network
        self.channel = channel
        self.flows = np.array(flows, dtype=np.int64)
        self.vector = vector
        self.turn = 0
        # Tiles that have not all entered, the first of them maybe begun; those not arrived.
        self.leaving: deque[_Tile] = deque()
        self.started = False
        self.under_way: deque[_Tile] = deque()
        self.latest = 0

    def send(
        self, context: Context, payload: Any, done: int, size: int, first: int | None = None
    ) -> Steps:
        """Send one tile of ``size`` bytes, complete at tick ``done``.

        Its first byte is there at tick ``first``, or now; neither is before the operands of the
        firing that makes it have arrived.
        """
        begin = context.time if first is None else first
        late = [tile for tile in self.leaving if tile.due <= context.time]
        if len(late) >= _WAITING:
            yield from context.entered(late[-_WAITING].burst)
        yield from context.reserve(self.channel)
        tile = _Tile(payload, size, begin, done, context.held_until, context.tick)
        tile.operands = context.operands
        way = 0 if context.feed is None else context.feed.way
        tile.due = max(done, tile.free) + way * context.tick
        self.leaving.append(tile)
        self.under_way.append(tile)
        if tile.operands is not None and tile.operands.arrived.cycle is None:
            tile.operands.arrived.then(lambda _: self._start(0))
        self._start(0)

    def _start(self, cycle: int) -> None:
        """Let the next tile enter, no sooner than ``cycle``, if it may already."""
        while self.leaving and not self.started:
            tile = self.leaving[0]
            made = 0
            if tile.operands is not None:
                if tile.operands.arrived.cycle is None:
                    return
                made = tile.operands.arrived.cycle * tile.tick
            begin = max(tile.begin, made)
            done = begin + tile.done - tile.begin
            first = max(cycle, -(-max(begin, tile.free) // tile.tick))
            self._enter(tile, first, max(first, -(-done // tile.tick)))

    def _enter(self, tile: _Tile, begin: int, end: int) -> None:
        """Send a tile's packets, evenly from cycle ``begin`` to ``end`` or as long as it takes."""
        counts = self._dealt(tile.size)
        mine = (self.flows >= 0) & (counts > 0)
        if not mine.any():
            self.leaving.popleft()
            self._arrived(tile, end * tile.tick + (0 if tile.size else self.channel.latency))
            tile.burst.sent.come(begin)
            return
        window = max(end - begin, int(counts[mine].max()))
        self.started = True
        tile.burst.sent.then(self._entered)
        tile.burst.arrived.then(lambda cycle: self._arrived(tile, cycle * tile.tick))
        self.network.start(tile.burst, self.flows[mine], counts[mine], begin, window)

    def _dealt(self, size: int) -> Any:
        """Packets of each flow: a tile's vectors go to the flows in turn."""
        vectors, flows = -(-size // self.vector), len(self.flows)
        counts = np.full(flows, vectors // flows, dtype=np.int64)
        counts[(self.turn + np.arange(vectors % flows)) % flows] += 1
        self.turn = (self.turn + vectors) % flows
        return counts

    def _entered(self, cycle: int) -> None:
        self.leaving.popleft()
        self.started = False
        self._start(cycle)

    def _arrived(self, tile: _Tile, ready: int) -> None:
        """Hand on all tiles before which none is missing."""
        tile.ready = ready
        while self.under_way and (known := self.under_way[0].ready) is not None:
            first = self.under_way.popleft()
            self.latest = max(self.latest, known)
            self.channel.put(self.latest, first.payload, first.size)


class Operands:
    """What the units of a stage are sent from its buffers, and each other, as it fires.

    Flow n brings ``sizes[n]`` bytes, in packets of ``units[n]``, in ``busy`` cycles. The longest
    takes ``way`` cycles.
    """

    def __init__(
        self,
        network: Network,
        flows: Sequence[int],
        sizes: Sequence[int],
        units: Sequence[int],
        busy: int,
        way: int,
    ) -> None:
        self.network = network
        self.way = way
        self.flows = np.array(flows, dtype=np.int64)
        self.sizes = np.array(sizes, dtype=np.int64)
        self.units = np.array(units, dtype=np.int64)
        self.busy = max(busy, 1)
        self.spent = 0
        self.gone = np.zeros(len(flows), dtype=np.int64)

    def start(self, begin: int, cycles: int) -> Burst | None:
        """Send the packets of a firing of so many cycles, evenly; None if there are none."""
        self.spent = min(self.spent + cycles, self.busy)
        # Python's integers: bytes times cycles may be long.
        due = [
            -(-size * self.spent // (self.busy * unit))
            for size, unit in zip(self.sizes.tolist(), self.units.tolist(), strict=True)
        ]
        counts = np.array(due, dtype=np.int64) - self.gone
        self.gone += counts
        mine = counts > 0
        if not mine.any():
            return None
        burst = Burst()
        window = max(cycles, int(counts.max()))
        self.network.start(burst, self.flows[mine], counts[mine], begin, window)
        return burst


def stream_port(
    network: Network, chip: Chip, kernel: Kernel, socket: int, stream: int, channel: Channel
) -> PacketPort:
    """Add the flows of a stream to the network."""
    routes = kernel.routes
    flows = [
        -1 if not links else network.add(way_of(kernel, flow, links), socket)
        for flow, links in zip(routes.flows, routes.links, strict=True)
        if flow.stream == stream
    ]
    return PacketPort(network, channel, flows or [-1], chip.link_bytes_per_cycle)


def stage_operands(
    network: Network, chip: Chip, kernel: Kernel, socket: int, stage: int
) -> Operands | None:
    """Add the flows within a stage to the network; None if there are none."""
    routes = kernel.routes
    numbered = enumerate(zip(routes.flows, routes.links, strict=True))
    inside = {n: pair for n, pair in numbered if pair[0].stage == stage and pair[1]}
    if not inside:
        return None
    numbers = [network.add(way_of(kernel, flow, links), socket) for flow, links in inside.values()]
    scalars = [flow.fabric is Fabric.SCALAR for flow, _ in inside.values()]
    units = [chip.scalar_bytes if scalar else chip.link_bytes_per_cycle for scalar in scalars]
    sizes = [flow.bytes for flow, _ in inside.values()]
    way = chip.hop_cycles * max(routes.hops[n] for n in inside)
    return Operands(network, numbers, sizes, units, kernel.stages[stage].busy, way)


def way_of(kernel: Kernel, flow: Flow, links: Sequence[Link]) -> Way:
    """Return the sites of a flow; a PCU and a PMU at one switch are one end."""
    sites = kernel.placement.sites
    source = links[0][0] if flow.source is None else sites[flow.source]
    ends = tuple(dict.fromkeys(sites[t] for t in flow.targets)) or (links[-1][1],)
    return Way(source, ends, tuple(links), flow.fabric)


def check_wires(chip: Chip, kernel: Kernel) -> None:
    """Check that the control tokens of all streams have wires of their own.

    A circuit goes back from the buffer of every stream along the longest of its flows.

    Raises
    ------
    MappingError
        If more circuits use a link than it has control wires; says which.
    """
    longest: dict[int, tuple[Link, ...]] = {}
    for flow, links in zip(kernel.routes.flows, kernel.routes.links, strict=True):
        if flow.stream is not None:
            longest[flow.stream] = max(longest.get(flow.stream, ()), links, key=len)
    used: dict[Link, int] = {}
    for links in longest.values():
        for a, b in links:
            used[b, a] = used.get((b, a), 0) + 1
    worst = max(used, key=lambda link: used[link], default=None)
    if worst is not None and used[worst] > chip.control_wires:
        raise MappingError(
            f"{kernel.name}: {used[worst]} circuits of control tokens use the link {worst}, which "
            f"has {chip.control_wires} control wires",
            hint="make control_wires of the chip larger, or cut the graph into more kernels",
        )
