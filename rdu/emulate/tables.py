"""Tables of integers that hold the state of the network; the names below are their columns.

An entry of the list of those that bid is a queue, or ``len(queues) + f`` for the source of flow f.

What `rdu.emulate.switches` keeps on disk holds these numbers, and Numba looks at the time of that
file alone: whoever changes this one must touch the other.
"""

from __future__ import annotations

from typing import NamedTuple

from rdu.emulate.tokens import Ints

# Of a queue: its ring, its link, packets that left it in cycle LEFT_AT, whether it is listed.
HEAD, HELD, LANE, LEFT_AT, LEFT, LISTED = range(6)
# Of a packet in a ring: node of its flow's tree, first cycle it may move in, branches left, burst.
NODE, READY, BRANCHES, BURST = range(4)
# Of a link: tracks, those used in cycle USED_AT, packets carried, cycles that a packet waited.
TRACKS, USED_AT, USED, CARRIED, STALLED = range(5)
# Of a tree's node: first branch, number of branches, whether the flow ends there.
FIRST, BRANCHED, ENDS = range(3)
# Of a flow: root, and of its burst: first cycle, cycles, packets, those gone, branches, number.
ROOT, BEGIN, WINDOW, COUNT, GONE, OPEN, OF, NEXT = range(8)
# Of a burst: flows that have packets left to send, packets that have not arrived.
SENDING, COMING = range(2)
# Of the clock: the cycle, the length of the list.
NOW, ENTRIES = range(2)
# Of an event: what, the burst (of PACKET: the node), the cycle.
SENT, ARRIVED, PACKET = range(3)
STUCK = -1


class Mesh(NamedTuple):
    """All tables. ``branches`` are (queue, node) pairs, ``spare`` is room as long as ``order``.

    Compiled functions get them one by one: reading one from a tuple costs as much as a packet.
    """

    clock: Ints
    order: Ints
    spare: Ints
    queues: Ints
    rings: Ints
    lanes: Ints
    tree: Ints
    branches: Ints
    flows: Ints
    bursts: Ints
    events: Ints


class Manner(NamedTuple):
    """Cycles of a hop, places a track, whether each packet is an event, links that rest.

    ``share`` of 1,000 links rest in a cycle, chosen by ``seed``.
    """

    hop: int
    depth: int
    record: bool
    seed: int = 0
    share: int = 0
