"""The switches of the mesh, cycle by cycle, in a compiled loop.

Every link has a queue in front of its receiving switch. A packet moves over a link when the link
has a free track in this cycle and the queue behind it a free place (a credit); a place that is
left in a cycle is free in the next. A switch copies a packet to all its branches and keeps it until
each has taken its copy. Queues and sources bid in the order of a list; who was served goes behind
all others, so nobody waits for ever, and what happens depends on no absolute time.

State is in tables of integers; the names below are their columns. An entry of the list is a queue,
or ``len(queues) + f`` for the source of flow f.
"""

from __future__ import annotations

from typing import NamedTuple

from rdu.emulate.jit import compiled, inner
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
ROOT, BEGIN, WINDOW, COUNT, GONE, OPEN, OF = range(7)
# Of a burst: flows that have packets left to send, packets that have not arrived.
SENDING, COMING = range(2)
# Of the clock: the cycle, the length of the list.
NOW, ENTRIES = range(2)
# Of an event: what, the burst (of PACKET: the node), the cycle.
SENT, ARRIVED, PACKET = range(3)
STUCK = -1
_FAR = 1 << 62
# Cycles in a row in which nothing moves although links rest by chance alone.
_PATIENCE = 10_000


class Mesh(NamedTuple):
    """All tables. ``branches`` are (queue, node) pairs, ``spare`` is room as long as ``order``."""

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
    """Cycles of a hop, whether each packet is an event, links that rest: ``share`` of 1,000."""

    hop: int
    record: bool
    seed: int = 0
    share: int = 0


@inner
def _disturbed(lane: int, now: int, seed: int, share: int) -> bool:
    """Whether a link rests in a cycle: at random, in ``share`` of 1,000."""
    mixed = (lane * 7919 + now) * 2654435761 + seed * 40503
    mixed = ((mixed >> 13) ^ mixed) * 1103515245 + 12345
    return ((mixed >> 16) & 0x7FFFFFFF) % 1000 < share


@inner
def _note(mesh: Mesh, found: int, what: int, which: int, cycle: int) -> int:
    events = mesh.events
    events[found, 0], events[found, 1], events[found, 2] = what, which, cycle
    return found + 1


@inner
def _land(mesh: Mesh, manner: Manner, node: int, burst: int, cycle: int, found: int) -> int:
    """Count a packet that came to an end of its flow."""
    if manner.record:
        found = _note(mesh, found, PACKET, node, cycle)
    mesh.bursts[burst, COMING] -= 1
    if mesh.bursts[burst, COMING] == 0:
        found = _note(mesh, found, ARRIVED, burst, cycle + 1)
    return found


@inner
def _enqueue(mesh: Mesh, end: int, q: int, node: int, ready: int, burst: int) -> int:
    """Put a packet into a queue, which is listed if it was not; return the list's end."""
    queues, rings = mesh.queues, mesh.rings
    place = (queues[q, HEAD] + queues[q, HELD]) % rings.shape[1]
    rings[q, place, NODE] = node
    rings[q, place, READY] = ready
    rings[q, place, BRANCHES] = (1 << mesh.tree[node, BRANCHED]) - 1
    rings[q, place, BURST] = burst
    queues[q, HELD] += 1
    if queues[q, LISTED] == 0:
        queues[q, LISTED] = 1
        mesh.order[end] = q
        end += 1
    return end


@inner
def _leave(queues: Ints, q: int, now: int) -> None:
    """Note that a place of a queue is used until the next cycle."""
    if queues[q, LEFT_AT] != now:
        queues[q, LEFT_AT], queues[q, LEFT] = now, 0
    queues[q, LEFT] += 1


@inner
def _passes(mesh: Mesh, manner: Manner, q: int, now: int) -> bool:
    """Take a track of a queue's link if it has one, and the queue a place."""
    queues, lanes = mesh.queues, mesh.lanes
    lane = queues[q, LANE]
    if lanes[lane, USED_AT] != now:
        lanes[lane, USED_AT], lanes[lane, USED] = now, 0
    full = queues[q, HELD] + (queues[q, LEFT] if queues[q, LEFT_AT] == now else 0)
    rests = manner.share > 0 and _disturbed(lane, now, manner.seed, manner.share)
    if rests or lanes[lane, USED] >= lanes[lane, TRACKS] or full >= mesh.rings.shape[1]:
        lanes[lane, STALLED] += 1
        return False
    lanes[lane, USED] += 1
    lanes[lane, CARRIED] += 1
    return True


@inner
def _bid(
    mesh: Mesh, manner: Manner, node: int, burst: int, left: int, found: int, end: int
) -> tuple[int, int, int]:
    """Send copies of a packet to the branches that are left, over links that let them pass.

    Returns the branches that are left then, the events and the list's end.
    """
    now, tree = mesh.clock[NOW], mesh.tree
    for b in range(tree[node, BRANCHED]):
        if not (left >> b) & 1:
            continue
        q, there = mesh.branches[tree[node, FIRST] + b]
        if not _passes(mesh, manner, q, now):
            continue
        left ^= 1 << b
        if tree[there, ENDS]:
            found = _land(mesh, manner, there, burst, now + manner.hop, found)
        if tree[there, BRANCHED]:
            end = _enqueue(mesh, end, q, there, now + max(manner.hop, 1), burst)
        else:
            _leave(mesh.queues, q, now)
    return left, found, end


@inner
def _serve_queue(
    mesh: Mesh, manner: Manner, q: int, found: int, end: int
) -> tuple[bool, int, int, int]:
    """Let the packets at a queue's head move, as many as its link has tracks.

    Returns whether one did, when one may if it is too soon, the events and the list's end.
    """
    queues, rings, now = mesh.queues, mesh.rings, mesh.clock[NOW]
    granted, soonest = False, _FAR
    for _ in range(mesh.lanes[queues[q, LANE], TRACKS]):
        if queues[q, HELD] == 0:
            break
        head = queues[q, HEAD]
        if rings[q, head, READY] > now:
            soonest = rings[q, head, READY]
            break
        was = rings[q, head, BRANCHES]
        node, burst = rings[q, head, NODE], rings[q, head, BURST]
        left, found, end = _bid(mesh, manner, node, burst, was, found, end)
        granted = granted or left != was
        rings[q, head, BRANCHES] = left
        if left:
            break
        queues[q, HEAD] = (head + 1) % rings.shape[1]
        queues[q, HELD] -= 1
        _leave(queues, q, now)
    return granted, soonest, found, end


@inner
def _serve_source(
    mesh: Mesh, manner: Manner, f: int, found: int, end: int
) -> tuple[bool, int, int, int]:
    """Let the next packet of a flow's burst enter; returns as `_serve_queue` does."""
    flows, now = mesh.flows, mesh.clock[NOW]
    ready = flows[f, BEGIN] + (flows[f, GONE] + 1) * flows[f, WINDOW] // flows[f, COUNT] - 1
    if ready > now:
        return False, ready, found, end
    node, burst, was = flows[f, ROOT], flows[f, OF], flows[f, OPEN]
    left, found, end = _bid(mesh, manner, node, burst, was, found, end)
    flows[f, OPEN] = left
    if not left:
        flows[f, OPEN] = (1 << mesh.tree[node, BRANCHED]) - 1
        flows[f, GONE] += 1
        if mesh.tree[node, ENDS]:
            found = _land(mesh, manner, node, burst, now, found)
        if flows[f, GONE] == flows[f, COUNT]:
            mesh.bursts[burst, SENDING] -= 1
            if mesh.bursts[burst, SENDING] == 0:
                found = _note(mesh, found, SENT, burst, now + 1)
    return left != was, _FAR, found, end


@inner
def _cycle(mesh: Mesh, manner: Manner) -> tuple[bool, int, int]:
    """Let all entries bid; returns whether one moved, when the first may, and the events."""
    clock, order, spare = mesh.clock, mesh.order, mesh.spare
    many, count = len(mesh.queues), clock[ENTRIES]
    end, kept, served, found = count, 0, 0, 0
    moved, soonest = False, _FAR
    for k in range(count):
        entry = order[k]
        if entry < many:
            granted, ready, found, end = _serve_queue(mesh, manner, entry, found, end)
            gone = mesh.queues[entry, HELD] == 0
            mesh.queues[entry, LISTED] = int(not gone)
        else:
            f = entry - many
            granted, ready, found, end = _serve_source(mesh, manner, f, found, end)
            gone = mesh.flows[f, GONE] == mesh.flows[f, COUNT]
        moved = moved or granted
        # Who waits for a link or a place may move in the next cycle, if others do in this one.
        soonest = min(soonest, ready)
        if granted and not gone:
            spare[served] = entry
            served += 1
        elif not gone:
            order[kept] = entry
            kept += 1
    # Those that waited, those that were served, those that packets came to.
    for k in range(count, end):
        spare[served] = order[k]
        served += 1
    for k in range(served):
        order[kept + k] = spare[k]
    clock[ENTRIES] = kept + served
    return moved, soonest, found


@compiled
def play(mesh: Mesh, manner: Manner) -> int:
    """Move packets until a burst has gone or arrived; return the number of events.

    0: no packet is left. `STUCK`: none can ever move again.
    """
    clock, idle = mesh.clock, 0
    while clock[ENTRIES] > 0:
        moved, soonest, found = _cycle(mesh, manner)
        idle = 0 if moved else idle + 1
        if not moved and soonest == _FAR and (manner.share == 0 or idle > _PATIENCE):
            return STUCK
        clock[NOW] = clock[NOW] + 1 if moved or manner.share > 0 else soonest
        if found > 0:
            return found
    return 0
