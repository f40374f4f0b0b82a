"""The network (RDN) by itself: packets, switches, credits at every hop.

Every link has a queue in front of its receiving switch. A packet moves over a link when the link
has a free track in this cycle and the queue behind it a free place (a credit); a switch copies
the packets of a multicast to all branches and keeps them until each has taken its copy. Flows
that walk rows first and flows that walk columns first have queues of their own, so that neither
kind can wait in a ring. A source sends no more often than its throttle allows. Packets carry the
number of their place in the whole stream (sequence ID), which the receiver uses as an address.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rdu.errors import DeadlockError
from rdu.mapping.place import Site
from rdu.mapping.program import Kernel
from rdu.mapping.route import Link
from rdu.specs import Chip

Queue: TypeAlias = "tuple[Link, bool]"


@dataclass(frozen=True, slots=True)
class Traffic:
    """``packets`` of one flow over the tree ``links`` from ``source`` to ``ends``.

    A packet enters every ``throttle`` cycles at most; ``first`` is the sequence ID of the first,
    ``stride`` the step to the next.
    """

    source: Site
    ends: tuple[Site, ...]
    links: tuple[Link, ...]
    packets: int
    throttle: int = 1
    first: int = 0
    stride: int = 1

    @property
    def turns_late(self) -> bool:
        """Whether a path goes along a column before it goes along a row."""
        vertical = {b for a, b in self.links if a[1] == b[1]}
        return any(a[0] == b[0] and a in vertical for a, b in self.links)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet that reached an end of its flow."""

    cycle: int
    flow: int
    end: Site
    sequence: int


@dataclass(slots=True)
class NetworkRun:
    """``stalls[link]`` counts cycles in which a packet wanted the link and could not have it."""

    cycles: int
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    stalls: dict[Link, int] = field(default_factory=dict["Link", int])
    carried: dict[Link, int] = field(default_factory=dict["Link", int])

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
    flows: Sequence[Traffic], *, tracks: int, depth: int, hop_cycles: int = 1
) -> NetworkRun:
    """Move all packets, cycle by cycle.

    Raises
    ------
    DeadlockError
        If packets remain and none can move; names the links.
    """
    run = NetworkRun(0)
    children = [_children(flow) for flow in flows]
    queues: dict[Queue, deque[_Packet]] = {}
    left = [flow.packets for flow in flows]
    waiting: list[deque[_Packet]] = [deque() for _ in flows]
    turn = 0
    while any(left) or any(waiting) or any(queues.values()):
        for n, flow in enumerate(flows):
            if left[n] and not waiting[n] and run.cycles % flow.throttle == 0:
                sent = flow.packets - left[n]
                place = flow.first + sent * flow.stride
                _arrive(run, flow, n, flow.source, place)
                if links := children[n].get(flow.source):
                    waiting[n].append(_Packet(n, place, list(links), run.cycles))
                left[n] -= 1
        moved = _cycle(run, flows, children, queues, waiting, tracks, depth, hop_cycles, turn)
        later = any(left) or any(q and q[0].ready > run.cycles for q in queues.values())
        if not moved and not later and (any(waiting) or any(queues.values())):
            stuck = sorted({link for (link, _), queue in queues.items() if queue})
            raise DeadlockError(
                f"{len(stuck)} links hold packets that cannot move: {stuck[:8]}",
                hint="use routes of one dimension order, or queues of their own for each",
            )
        turn += 1
        run.cycles += 1
    run.cycles = max((a.cycle for a in run.arrivals), default=0)
    return run


def _cycle(
    run: NetworkRun,
    flows: Sequence[Traffic],
    children: Sequence[dict[Site, tuple[Link, ...]]],
    queues: dict[Queue, deque[_Packet]],
    waiting: Sequence[deque[_Packet]],
    tracks: int,
    depth: int,
    hop_cycles: int,
    turn: int,
) -> bool:
    """One cycle: heads of queues bid for links, in an order that goes round; what wins moves."""
    room = {queue: depth - len(held) for queue, held in queues.items()}
    free: dict[Link, int] = {}
    heads = [held for held in (*queues.values(), *waiting) if held and held[0].ready <= run.cycles]
    start = turn % max(len(heads), 1)
    entering: list[tuple[Queue, _Packet]] = []
    for held in (*heads[start:], *heads[:start]):
        packet = held[0]
        late = flows[packet.flow].turns_late
        for link in list(packet.waits_for):
            queue = (link, late)
            if free.setdefault(link, tracks) < 1 or room.setdefault(queue, depth) < 1:
                run.stalls[link] = run.stalls.get(link, 0) + 1
                continue
            free[link] -= 1
            room[queue] -= 1
            packet.waits_for.remove(link)
            links = list(children[packet.flow].get(link[1], ()))
            copy = _Packet(packet.flow, packet.sequence, links, run.cycles + hop_cycles)
            entering.append((queue, copy))
            run.carried[link] = run.carried.get(link, 0) + 1
        if not packet.waits_for:
            held.popleft()
    for (link, late), packet in entering:
        _arrive(run, flows[packet.flow], packet.flow, link[1], packet.sequence, packet.ready)
        if packet.waits_for:
            queues.setdefault((link, late), deque()).append(packet)
    return bool(entering)


def _arrive(
    run: NetworkRun, flow: Traffic, n: int, site: Site, sequence: int, cycle: int | None = None
) -> None:
    if site in flow.ends:
        run.arrivals.append(Arrival(run.cycles if cycle is None else cycle, n, site, sequence))


def _children(flow: Traffic) -> dict[Site, tuple[Link, ...]]:
    found: dict[Site, tuple[Link, ...]] = {}
    for link in flow.links:
        found[link[0]] = (*found.get(link[0], ()), link)
    return found


def traffic_of(chip: Chip, kernel: Kernel, scale: int) -> list[Traffic]:
    """Return a kernel's flows as packets, one for every ``scale`` vectors, evenly throttled.

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
        ends = tuple(sites[t] for t in flow.targets) or (links[-1][1],)
        packets = -(-flow.bytes // (chip.link_bytes_per_cycle * scale))
        throttle = max(int(cycles // max(packets, 1)), 1)
        found.append(Traffic(source, ends, links, packets, throttle))
    return found
