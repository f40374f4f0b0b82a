"""The network by itself: streams of packets between sites, without units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rdu.emulate import tables
from rdu.emulate.moments import Burst
from rdu.emulate.network import Disturbance, Network, Way
from rdu.mapping.flows import Fabric
from rdu.mapping.place import Site
from rdu.mapping.route import Link


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
    fabric: Fabric = Fabric.VECTOR


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


def simulate_network(
    flows: Sequence[Traffic],
    *,
    tracks: int,
    depth: int,
    hop_cycles: int = 1,
    scalar_tracks: int | None = None,
    disturbance: Disturbance | None = None,
) -> NetworkRun:
    """Move all packets, cycle by cycle.

    Raises
    ------
    DeadlockError
        If packets remain and none can move; names the links.

    Examples
    --------
    >>> flow = Traffic((0, 0), ((0, 1),), (((0, 0), (0, 1)),), packets=3, throttle=2)
    >>> [a.cycle for a in simulate_network([flow], tracks=1, depth=2).arrivals]
    [1, 3, 5]
    """
    network = Network(
        tracks=tracks,
        depth=depth,
        hop_cycles=hop_cycles,
        scalar_tracks=scalar_tracks,
        disturbance=disturbance,
        record=True,
    )
    for flow in flows:
        network.add(Way(flow.source, flow.ends, flow.links, flow.fabric))
    for n, flow in enumerate(flows):
        if flow.packets:
            # The first enters in cycle 0, the last in the last of so many.
            begin, window = 1 - flow.throttle, flow.packets * flow.throttle
            network.start(Burst(), np.array([n]), np.array([flow.packets]), begin, window)
    while network.advance():
        pass
    where = network.places()
    seen: dict[int, int] = {}
    run = NetworkRun(0)
    for node, cycle in sorted(network.packets, key=lambda packet: packet[1]):
        n, end = where[node]
        place = seen.get(node, 0)
        seen[node] = place + 1
        sequence = flows[n].first + place * flows[n].stride
        run.arrivals.append(Arrival(cycle, n, end, sequence))
    run.cycles = max((a.cycle for a in run.arrivals), default=0)
    run.carried, run.stalls = map(network.counted, (tables.CARRIED, tables.STALLED))
    return run
