"""The network (RDN) by itself: packets, switches, credits at every hop, control tokens.

Vectors and scalars have links and queues of their own. Control tokens travel on single-bit wires
that are set up for the whole run: they wait for nothing. A token says that so many packets of one
flow have arrived, and lets another send as many more (a buffer is full, or free again).

Every link has a queue in front of its receiving switch. A packet moves over a link when the link
has a free track in this cycle and the queue behind it a free place (a credit); a switch copies
the packets of a multicast to all branches and keeps them until each has taken its copy. Flows
that walk rows first and flows that walk columns first have queues of their own, so that neither
kind can wait in a ring. A source sends no more often than its throttle allows. Packets carry the
number of their place in the whole stream (sequence ID), which the receiver uses as an address.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rdu.errors import DeadlockError, MappingError
from rdu.mapping.flows import Fabric
from rdu.mapping.kernel import Kernel
from rdu.mapping.place import Site
from rdu.mapping.route import Link
from rdu.specs import Chip

Queue: TypeAlias = "tuple[Link, bool, Fabric]"


@dataclass(frozen=True, slots=True)
class Traffic:
    """``packets`` of one flow over the tree ``links`` from ``source`` to ``ends``.

    A packet enters every ``throttle`` cycles at most; ``first`` is the sequence ID of the first,
    ``stride`` the step to the next. Packet n does not enter before cycle ``enters[n]``, if given.
    Without a token ``allowance`` packets may be sent, None for all.
    """

    source: Site
    ends: tuple[Site, ...]
    links: tuple[Link, ...]
    packets: int
    throttle: int = 1
    first: int = 0
    stride: int = 1
    fabric: Fabric = Fabric.VECTOR
    enters: tuple[int, ...] = ()
    allowance: int | None = None

    @property
    def turns_late(self) -> bool:
        """Whether a path goes along a column before it goes along a row."""
        vertical = {b for a, b in self.links if a[1] == b[1]}
        return any(a[0] == b[0] and a in vertical for a, b in self.links)


@dataclass(frozen=True, slots=True)
class Circuit:
    """Wires from the end ``links`` begin at to a source: a token for every ``every`` arrivals.

    They count the packets of flow ``counts`` that arrive at the first site of ``links``; each token
    lets flow ``frees`` send ``every`` packets more.
    """

    links: tuple[Link, ...]
    counts: int
    frees: int
    every: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet that reached an end of its flow."""

    cycle: int
    flow: int
    end: Site
    sequence: int


@dataclass(slots=True)
class NetworkRun:
    """``stalls[link]`` counts cycles in which a packet wanted the link and could not have it.

    ``held[flow]`` counts cycles in which a source waited for a control token, ``tokens`` all that
    were sent.
    """

    cycles: int
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    stalls: dict[Link, int] = field(default_factory=dict["Link", int])
    carried: dict[Link, int] = field(default_factory=dict["Link", int])
    held: dict[int, int] = field(default_factory=dict[int, int])
    tokens: int = 0

    def in_order(self, end: Site) -> list[int]:
        """Return what a receiver holds that writes each packet at its sequence ID."""
        return sorted(a.sequence for a in self.arrivals if a.end == end)


@dataclass(slots=True)
class _Packet:
    flow: int
    sequence: int
    waits_for: list[Link]
    ready: int


def simulate_network(
    flows: Sequence[Traffic],
    *,
    tracks: int,
    depth: int,
    hop_cycles: int = 1,
    scalar_tracks: int | None = None,
    circuits: Sequence[Circuit] = (),
    control_wires: int | None = None,
) -> NetworkRun:
    """Move all packets, cycle by cycle.

    Raises
    ------
    DeadlockError
        If packets remain and none can move; names the links, or the flows that wait for tokens.
    MappingError
        If more circuits use a link than it has control wires (None: as many as it takes).
    """
    if control_wires is not None:
        _check_wires(circuits, control_wires)
    lanes = {Fabric.VECTOR: tracks, Fabric.SCALAR: scalar_tracks or tracks}
    return _Network(flows, lanes, depth, hop_cycles, circuits).run()


def _check_wires(circuits: Sequence[Circuit], wires: int) -> None:
    used: dict[Link, int] = {}
    for circuit in circuits:
        for link in circuit.links:
            used[link] = used.get(link, 0) + 1
    worst = max(used, key=lambda link: used[link], default=None)
    if worst is not None and used[worst] > wires:
        raise MappingError(
            f"{used[worst]} circuits use the link {worst}, which has {wires} control wires",
            hint="route some of them another way",
        )


class _Network:
    """Queues, sources and circuits of one run."""

    def __init__(
        self,
        flows: Sequence[Traffic],
        tracks: dict[Fabric, int],
        depth: int,
        hop_cycles: int,
        circuits: Sequence[Circuit],
    ) -> None:
        self.flows = flows
        self.tracks = tracks
        self.depth = depth
        self.hop_cycles = hop_cycles
        self.circuits = circuits
        self.result = NetworkRun(0)
        self.children = [_children(flow) for flow in flows]
        self.turns_late = [flow.turns_late for flow in flows]
        self.ends = [frozenset(flow.ends) for flow in flows]
        self.counters: dict[tuple[int, Site], list[int]] = {}
        for number, circuit in enumerate(circuits):
            self.counters.setdefault((circuit.counts, circuit.links[0][0]), []).append(number)
        self.queues: dict[Queue, deque[_Packet]] = {}
        self.left = [flow.packets for flow in flows]
        self.started = [False] * len(flows)
        self.waiting: dict[int, deque[_Packet]] = {}
        # (cycle, flow) of the next packet of every flow that has any left.
        self.coming = [(self._due(n), n) for n, flow in enumerate(flows) if flow.packets]
        heapq.heapify(self.coming)
        self.allowed = [flow.packets if (a := flow.allowance) is None else a for flow in flows]
        self.counted = [0] * len(circuits)
        # (cycle, circuit) of every token under way.
        self.tokens: deque[tuple[int, int]] = deque()

    def run(self) -> NetworkRun:
        """Run until all packets have arrived."""
        run = self.result
        while self.coming or self.waiting or self.queues:
            self._receive_tokens()
            sent = self._enter()
            moved = self._cycle()
            run.cycles += 1
            if not (sent or moved):
                run.cycles = max(run.cycles, self._next())
        run.cycles = max((a.cycle for a in run.arrivals), default=0)
        return run

    def _receive_tokens(self) -> None:
        if not self.tokens:
            return
        due = [token for token in self.tokens if token[0] <= self.result.cycles]
        for token in due:
            self.tokens.remove(token)
            circuit = self.circuits[token[1]]
            self.allowed[circuit.frees] += circuit.every

    def _enter(self) -> bool:
        """Let every source send a packet that it may send now."""
        now, sent_any = self.result.cycles, False
        due: list[int] = []
        while self.coming and self.coming[0][0] <= now:
            due.append(heapq.heappop(self.coming)[1])
        for n in due:
            flow = self.flows[n]
            sent = flow.packets - self.left[n]
            if sent >= self.allowed[n]:
                self.result.held[n] = self.result.held.get(n, 0) + 1
                heapq.heappush(self.coming, (self._due(n), n))
                continue
            place = flow.first + sent * flow.stride
            self._arrive(n, flow.source, place, now)
            if links := self.children[n].get(flow.source):
                packet = _Packet(n, place, list(links), now)
                self.waiting.setdefault(n, deque()).append(packet)
            self.left[n] -= 1
            if self.left[n]:
                heapq.heappush(self.coming, (self._due(n), n))
            sent_any = True
        return sent_any

    def _due(self, n: int) -> int:
        """The first cycle, after this one if it has begun, in which a flow may send again."""
        flow = self.flows[n]
        sent = flow.packets - self.left[n]
        begun = self.started[n]
        self.started[n] = True
        cycle = max(self.result.cycles + begun, flow.enters[sent] if flow.enters else 0)
        return -(-cycle // flow.throttle) * flow.throttle

    def _next(self) -> int:
        """The cycle in which time alone brings something to move.

        Raises
        ------
        DeadlockError
            If there is none.
        """
        now = self.result.cycles - 1
        times = [cycle for cycle, _ in self.tokens]
        times += [held[0].ready for held in self._heads() if held[0].ready > now]
        times += [
            cycle
            for cycle, n in self.coming
            if self.flows[n].packets - self.left[n] < self.allowed[n]
        ]
        if not times:
            raise self._stuck()
        # Who waits for a token counts every cycle.
        return now + 1 if self._held_back() else min(times)

    def _held_back(self) -> bool:
        return any(self.flows[n].packets - self.left[n] >= self.allowed[n] for _, n in self.coming)

    def _heads(self) -> Iterable[deque[_Packet]]:
        return (*self.queues.values(), *self.waiting.values())

    def _cycle(self) -> bool:
        """One cycle: heads of queues bid for links, in an order that goes round; winners move.

        A queue behind several tracks gives on as many packets a cycle, a source one.
        """
        now = self.result.cycles
        room = {queue: self.depth - len(held) for queue, held in self.queues.items()}
        free: dict[tuple[Link, Fabric], int] = {}
        served = [(held, self.tracks[queue[2]]) for queue, held in self.queues.items()]
        served += [(held, 1) for held in self.waiting.values()]
        served = [(held, most) for held, most in served if held[0].ready <= now]
        start = now % max(len(served), 1)
        entering: list[tuple[Queue, _Packet]] = []
        for held, most in (*served[start:], *served[:start]):
            for _ in range(most):
                if not held or held[0].ready > now:
                    break
                self._bid(held[0], free, room, entering)
                if held[0].waits_for:
                    break
                held.popleft()
        for queue in [queue for queue, held in self.queues.items() if not held]:
            del self.queues[queue]
        for n in [n for n, held in self.waiting.items() if not held]:
            del self.waiting[n]
        for queue, packet in entering:
            self._arrive(packet.flow, queue[0][1], packet.sequence, packet.ready)
            if packet.waits_for:
                self.queues.setdefault(queue, deque()).append(packet)
        return bool(entering)

    def _bid(
        self,
        packet: _Packet,
        free: dict[tuple[Link, Fabric], int],
        room: dict[Queue, int],
        entering: list[tuple[Queue, _Packet]],
    ) -> None:
        """Send a packet over all its links that have a track and a credit."""
        run, flow, late = self.result, self.flows[packet.flow], self.turns_late[packet.flow]
        for link in list(packet.waits_for):
            queue, lane = (link, late, flow.fabric), (link, flow.fabric)
            tracks = free.setdefault(lane, self.tracks[flow.fabric])
            if tracks < 1 or room.setdefault(queue, self.depth) < 1:
                run.stalls[link] = run.stalls.get(link, 0) + 1
                continue
            free[lane] -= 1
            room[queue] -= 1
            packet.waits_for.remove(link)
            links = list(self.children[packet.flow].get(link[1], ()))
            ready = run.cycles + self.hop_cycles
            entering.append((queue, _Packet(packet.flow, packet.sequence, links, ready)))
            run.carried[link] = run.carried.get(link, 0) + 1

    def _arrive(self, n: int, site: Site, sequence: int, cycle: int) -> None:
        """Note a packet at an end of its flow; send the tokens that it completes."""
        if site not in self.ends[n]:
            return
        self.result.arrivals.append(Arrival(cycle, n, site, sequence))
        for number in self.counters.get((n, site), ()):
            circuit = self.circuits[number]
            self.counted[number] += 1
            if self.counted[number] % circuit.every == 0:
                there = cycle + self.hop_cycles * len(circuit.links)
                self.tokens.append((there, number))
                self.result.tokens += 1

    def _stuck(self) -> DeadlockError:
        links = sorted({link for (link, _, _), queue in self.queues.items() if queue})
        if links:
            return DeadlockError(
                f"{len(links)} links hold packets that cannot move: {links[:8]}",
                hint="use routes of one dimension order, or queues of their own for each",
            )
        waiting = [n for n, left in enumerate(self.left) if left]
        return DeadlockError(
            f"flows {waiting} wait for control tokens that nothing will send",
            hint="give them an allowance, or a circuit that frees them",
        )


def _children(flow: Traffic) -> dict[Site, tuple[Link, ...]]:
    found: dict[Site, tuple[Link, ...]] = {}
    for link in flow.links:
        found[link[0]] = (*found.get(link[0], ()), link)
    return found


def traffic_of(chip: Chip, kernel: Kernel, scale: int) -> list[Traffic]:
    """Return a kernel's flows as packets, one for ``scale`` vectors or scalars, evenly throttled.

    A flow is throttled to the pace of the kernel's static interval. Running the packets shows
    what waiting at switches adds to the static bandwidth model.
    """
    found: list[Traffic] = []
    cycles = float(kernel.interval * kernel.slowdown) / scale
    for flow, links in zip(kernel.routes.flows, kernel.routes.links, strict=True):
        if not links:
            continue
        sites = kernel.placement.sites
        source = links[0][0] if flow.source is None else sites[flow.source]
        # A PCU and a PMU at one switch are one end.
        ends = tuple(dict.fromkeys(sites[t] for t in flow.targets)) or (links[-1][1],)
        scalar = flow.fabric is Fabric.SCALAR
        size = chip.scalar_bytes if scalar else chip.link_bytes_per_cycle
        packets = -(-flow.bytes // (size * scale))
        throttle = max(int(cycles // max(packets, 1)), 1)
        found.append(Traffic(source, ends, links, packets, throttle, fabric=flow.fabric))
    return found
