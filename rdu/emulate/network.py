"""The network (RDN) inside the engine: vectors and scalars as packets, credits at every hop.

Vectors and scalars have links and queues of their own. Flows that walk rows first and flows that
walk columns first have queues of their own too, so that neither kind can wait in a ring
(`rdu.emulate.switches` says how packets move).

Units have clocks of their own, the network has one. It moves on when every unit waits for
something that only a packet can bring, and stops at the first cycle that does. So what units then
send is never in the network's past.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from rdu.emulate import tables
from rdu.emulate.moments import Burst
from rdu.emulate.tables import Manner, Mesh
from rdu.emulate.tokens import Ints
from rdu.errors import DeadlockError
from rdu.mapping.flows import Fabric
from rdu.mapping.place import Site
from rdu.mapping.route import Link
from rdu.specs import Chip

Queue: TypeAlias = "tuple[int, Link, bool, Fabric]"
Lane: TypeAlias = "tuple[int, Link, Fabric]"


@dataclass(frozen=True, slots=True)
class Way:
    """The tree ``links`` of one flow from ``source`` to ``ends``, on one fabric."""

    source: Site
    ends: tuple[Site, ...]
    links: tuple[Link, ...]
    fabric: Fabric = Fabric.VECTOR

    @property
    def turns_late(self) -> bool:
        """Whether a path goes along a column before it goes along a row."""
        vertical = {b for a, b in self.links if a[1] == b[1]}
        return any(a[0] == b[0] and a in vertical for a, b in self.links)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Links rest at random: ``share`` of 1,000 in every cycle, chosen by ``seed``."""

    seed: int
    share: int


@dataclass(slots=True)
class _Layout:
    """What the arrays are made of while flows are added."""

    queues: dict[Queue, int] = field(default_factory=dict["Queue", int])
    lanes: dict[Lane, int] = field(default_factory=dict["Lane", int])
    tree: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    branches: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    roots: list[int] = field(default_factory=list[int])
    places: list[tuple[int, Site]] = field(default_factory=list[tuple[int, Site]])


class Network:
    """Links and queues of the meshes of all sockets, and the packets in them."""

    def __init__(
        self,
        *,
        tracks: int,
        depth: int,
        hop_cycles: int = 1,
        scalar_tracks: int | None = None,
        disturbance: Disturbance | None = None,
        record: bool = False,
    ) -> None:
        self.tracks = {Fabric.VECTOR: tracks, Fabric.SCALAR: scalar_tracks or tracks}
        chance = disturbance or Disturbance(0, 0)
        self.manner = Manner(hop_cycles, depth, record, chance.seed, chance.share)
        self.ways: list[Way] = []
        self.under_way: dict[int, Burst] = {}
        self.packets: list[tuple[int, int]] = []
        self._laid = _Layout()
        self._mesh: Mesh | None = None
        self._free: list[int] = []

    @classmethod
    def of_chip(cls, chip: Chip, disturbance: Disturbance | None = None) -> Network:
        """Make the network that a chip's spec describes."""
        return cls(
            tracks=chip.vector_tracks,
            scalar_tracks=chip.scalar_tracks,
            depth=chip.fifo_depth,
            hop_cycles=chip.hop_cycles,
            disturbance=disturbance,
        )

    def add(self, way: Way, socket: int = 0) -> int:
        """Add a flow, before anything is sent; return its number."""
        assert self._mesh is None
        laid, late = self._laid, way.turns_late
        children: dict[Site, list[Link]] = {}
        for link in way.links:
            children.setdefault(link[0], []).append(link)
        sites = [way.source]
        for site in sites:
            sites += [link[1] for link in children.get(site, ())]
        first = len(laid.tree)
        node = {site: first + n for n, site in enumerate(sites)}
        for site in sites:
            links = children.get(site, ())
            laid.places.append((len(self.ways), site))
            laid.tree.append((len(laid.branches), len(links), int(site in way.ends)))
            for link in links:
                laid.lanes.setdefault((socket, link, way.fabric), len(laid.lanes))
                queue = (socket, link, late, way.fabric)
                number = laid.queues.setdefault(queue, len(laid.queues))
                laid.branches.append((number, node[link[1]]))
        laid.roots.append(first)
        self.ways.append(way)
        return len(self.ways) - 1

    def places(self) -> list[tuple[int, Site]]:
        """Return the flow and the site of every node of the trees."""
        return self._laid.places

    @property
    def mesh(self) -> Mesh:
        """The tables of the compiled loop."""
        if self._mesh is None:
            self._mesh = self._laid_out()
        return self._mesh

    def _laid_out(self) -> Mesh:
        laid = self._laid
        queues = np.zeros((len(laid.queues), 6), dtype=np.int64)
        queues[:, tables.LEFT_AT] = -1
        for (socket, link, _, fabric), n in laid.queues.items():
            queues[n, tables.LANE] = laid.lanes[socket, link, fabric]
        lanes = np.zeros((len(laid.lanes), 5), dtype=np.int64)
        lanes[:, tables.USED_AT] = -1
        lanes[:, tables.TRACKS] = [self.tracks[fabric] for _, _, fabric in laid.lanes]
        tree = np.array(laid.tree, dtype=np.int64).reshape(-1, 3)
        flows = np.zeros((len(laid.roots), 8), dtype=np.int64)
        flows[:, tables.ROOT] = laid.roots
        flows[:, tables.OPEN] = (1 << tree[laid.roots, tables.BRANCHED]) - 1
        entries = 2 * (len(queues) + len(flows)) + 1
        places = self.manner.depth * max(self.tracks.values())
        grants = int(lanes[:, tables.TRACKS].sum())
        return Mesh(
            clock=np.zeros(2, dtype=np.int64),
            order=np.zeros(entries, dtype=np.int64),
            spare=np.zeros(entries, dtype=np.int64),
            queues=queues,
            rings=np.zeros((len(queues), places, 4), dtype=np.int64),
            lanes=lanes,
            tree=tree,
            branches=np.array(laid.branches, dtype=np.int64).reshape(-1, 2),
            flows=flows,
            bursts=np.zeros((64, 2), dtype=np.int64),
            events=np.zeros((2 * grants + 3 * len(flows) + 1, 3), dtype=np.int64),
        )

    def start(self, burst: Burst, flows: Ints, counts: Ints, begin: int, window: int) -> None:
        """Send ``counts`` packets of some flows, evenly in ``window`` cycles from ``begin`` on.

        The last of each flow enters in the last cycle. A flow must have sent its last burst. All
        counts are at least 1.
        """
        mesh = self.mesh
        assert np.all(begin + window // counts > mesh.clock[tables.NOW]), "sent in the past"
        number = self._number()
        table = mesh.flows
        assert np.all(table[flows, tables.GONE] == table[flows, tables.COUNT])
        table[flows, tables.BEGIN] = begin
        table[flows, tables.WINDOW] = window
        table[flows, tables.COUNT] = counts
        table[flows, tables.GONE] = 0
        table[flows, tables.NEXT] = begin + window // counts - 1
        table[flows, tables.OF] = number
        ends = np.array([len(self.ways[f].ends) for f in flows.tolist()], dtype=np.int64)
        self.mesh.bursts[number] = len(flows), int(ends @ counts)
        listed = mesh.clock[tables.ENTRIES]
        mesh.order[listed : listed + len(flows)] = len(mesh.queues) + flows
        mesh.clock[tables.ENTRIES] += len(flows)
        self.under_way[number] = burst

    def _number(self) -> int:
        """Find a free row in the table of bursts, which grows if there is none."""
        if not self._free:
            bursts = self.mesh.bursts
            taken = len(self.under_way)
            if taken == len(bursts):
                grown = np.concatenate([bursts, np.zeros_like(bursts)])
                self._mesh = self.mesh._replace(bursts=grown)
            return taken
        return self._free.pop()

    def advance(self) -> bool:
        """Move on to the next cycle that brings something; whether there is one.

        Raises
        ------
        DeadlockError
            If packets remain and none can move; names the links.
        """
        if self._mesh is None:
            return False
        # Imported late: programs whose tiles do not move as packets never need a compiler.
        from rdu.emulate.switches import play

        found = play(*self._mesh, self.manner)
        if found == tables.STUCK:
            raise self._stuck()
        for what, which, cycle in self._mesh.events[:found].tolist():
            if what == tables.PACKET:
                self.packets.append((which, cycle))
                continue
            burst = self.under_way[which]
            (burst.sent if what == tables.SENT else burst.arrived).come(cycle)
            if burst.sent.cycle is not None and burst.arrived.cycle is not None:
                del self.under_way[which]
                self._free.append(which)
        return found > 0

    def _stuck(self) -> DeadlockError:
        queues = self.mesh.queues
        held = [
            link for (_, link, _, _), n in self._laid.queues.items() if queues[n, tables.HELD] > 0
        ]
        return DeadlockError(
            f"{len(held)} links hold packets that cannot move: {sorted(held)[:8]}",
            hint="use routes of one dimension order, or queues of their own for each",
        )

    def counted(self, column: int, socket: int | None = None) -> dict[Link, int]:
        """Return a column of the links' table, of one socket or added up over all."""
        found: dict[Link, int] = {}
        for (where, link, _), n in self._laid.lanes.items():
            count = int(self.mesh.lanes[n, column])
            if count and socket in (None, where):
                found[link] = found.get(link, 0) + count
        return found
