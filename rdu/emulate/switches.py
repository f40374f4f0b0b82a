"""The switches of the mesh, cycle by cycle, in a compiled loop.

Every link has a queue in front of its receiving switch. A packet moves over a link when the link
has a free track in this cycle and the queue behind it a free place (a credit), of which there are
``depth`` a track; a place that is left in a cycle is free in the next. A switch copies a packet to
all its branches and keeps it until each has taken its copy. Queues and sources bid in the order of
a list; who was served goes behind all others, so nobody waits for ever, and what happens depends on
no absolute time.
"""

from __future__ import annotations

from rdu.emulate.jit import compiled, inlined, inner
from rdu.emulate.tables import (
    ARRIVED,
    BEGIN,
    BRANCHED,
    BRANCHES,
    BURST,
    CARRIED,
    COMING,
    COUNT,
    ENDS,
    ENTRIES,
    FIRST,
    GONE,
    HEAD,
    HELD,
    LANE,
    LEFT,
    LEFT_AT,
    LISTED,
    NEXT,
    NODE,
    NOW,
    OF,
    OPEN,
    PACKET,
    READY,
    ROOT,
    SENDING,
    SENT,
    STALLED,
    STUCK,
    TRACKS,
    USED,
    USED_AT,
    WINDOW,
    Manner,
)
from rdu.emulate.tokens import Ints

# Later than any cycle.
_FAR = 1 << 62
# Cycles in a row in which nothing moves although links rest by chance alone.
_PATIENCE = 10_000


@inlined
def _rests(lane: int, now: int, manner: Manner) -> bool:
    """Whether a link rests in a cycle: at random, in ``share`` of 1,000."""
    mixed = (lane * 7919 + now) * 2654435761 + manner.seed * 40503
    mixed = ((mixed >> 13) ^ mixed) * 1103515245 + 12345
    return ((mixed >> 16) & 0x7FFFFFFF) % 1000 < manner.share


@inlined
def _note(events: Ints, found: int, what: int, which: int, cycle: int) -> int:
    events[found, 0] = what
    events[found, 1] = which
    events[found, 2] = cycle
    return found + 1


@inlined
def _land(
    bursts: Ints, events: Ints, record: bool, node: int, burst: int, cycle: int, found: int
) -> int:
    """Count a packet that came to an end of its flow."""
    if record:
        found = _note(events, found, PACKET, node, cycle)
    bursts[burst, COMING] -= 1
    if bursts[burst, COMING] == 0:
        found = _note(events, found, ARRIVED, burst, cycle + 1)
    return found


@inlined
def _leave(queues: Ints, q: int, now: int) -> None:
    """Note that a place of a queue is used until the next cycle."""
    if queues[q, LEFT_AT] != now:
        queues[q, LEFT_AT] = now
        queues[q, LEFT] = 0
    queues[q, LEFT] += 1


@inlined
def _passes(queues: Ints, lanes: Ints, depth: int, q: int, now: int, rests: bool) -> bool:
    """Take a track of a queue's link if it has one, and the queue a place."""
    lane = queues[q, LANE]
    if lanes[lane, USED_AT] != now:
        lanes[lane, USED_AT] = now
        lanes[lane, USED] = 0
    held = queues[q, HELD]
    if queues[q, LEFT_AT] == now:
        held += queues[q, LEFT]
    passes = not rests and lanes[lane, USED] < lanes[lane, TRACKS]
    passes = passes and held < depth * lanes[lane, TRACKS]
    if passes:
        lanes[lane, USED] += 1
        lanes[lane, CARRIED] += 1
    else:
        lanes[lane, STALLED] += 1
    return passes


# One function on purpose: cut into inlined ones, it takes 1.6 to 3.3 times as long.
@inner
def _cycle(
    now: int,
    count: int,
    order: Ints,
    spare: Ints,
    queues: Ints,
    rings: Ints,
    lanes: Ints,
    tree: Ints,
    branches: Ints,
    flows: Ints,
    bursts: Ints,
    events: Ints,
    manner: Manner,
) -> tuple[int, bool, int, int]:
    """Let the first ``count`` entries bid, and put the list in order.

    Returns its length, whether one moved, when the first may, and the events.
    """
    many, size = len(queues), rings.shape[1]
    depth, hop, record = manner.depth, manner.hop, manner.record
    end, kept, served, found = count, 0, 0, 0
    moved, soonest = False, _FAR
    for k in range(count):
        entry = order[k]
        source, f = entry >= many, entry - many
        turns = 1 if source else lanes[queues[entry, LANE], TRACKS]
        granted, gone = False, False
        while turns > 0 and not gone:
            turns -= 1
            if source:
                node, burst, head = flows[f, ROOT], flows[f, OF], 0
                ready, was = flows[f, NEXT], flows[f, OPEN]
            else:
                head = queues[entry, HEAD]
                node, burst = rings[entry, head, NODE], rings[entry, head, BURST]
                ready, was = rings[entry, head, READY], rings[entry, head, BRANCHES]
            if ready > now:
                soonest = min(soonest, ready)
                break
            # Copies go to the branches that are left, over links that let them pass.
            left, first = was, tree[node, FIRST]
            for b in range(tree[node, BRANCHED]):
                if not (left >> b) & 1:
                    continue
                q, there = branches[first + b, 0], branches[first + b, 1]
                rests = manner.share > 0 and _rests(queues[q, LANE], now, manner)
                if not _passes(queues, lanes, depth, q, now, rests):
                    continue
                left ^= 1 << b
                if tree[there, ENDS]:
                    found = _land(bursts, events, record, there, burst, now + hop, found)
                if not tree[there, BRANCHED]:
                    _leave(queues, q, now)
                    continue
                place = queues[q, HEAD] + queues[q, HELD]
                place -= size if place >= size else 0
                rings[q, place, NODE] = there
                rings[q, place, READY] = now + max(hop, 1)
                rings[q, place, BRANCHES] = (1 << tree[there, BRANCHED]) - 1
                rings[q, place, BURST] = burst
                queues[q, HELD] += 1
                if not queues[q, LISTED]:
                    queues[q, LISTED] = 1
                    order[end] = q
                    end += 1
            granted = granted or left != was
            if left:
                if source:
                    flows[f, OPEN] = left
                else:
                    rings[entry, head, BRANCHES] = left
                break
            if source:
                flows[f, OPEN] = (1 << tree[node, BRANCHED]) - 1
                flows[f, GONE] += 1
                parts = (flows[f, GONE] + 1) * flows[f, WINDOW]
                flows[f, NEXT] = flows[f, BEGIN] + parts // flows[f, COUNT] - 1
                if tree[node, ENDS]:
                    found = _land(bursts, events, record, node, burst, now, found)
                gone = flows[f, GONE] == flows[f, COUNT]
                if gone:
                    bursts[burst, SENDING] -= 1
                    if bursts[burst, SENDING] == 0:
                        found = _note(events, found, SENT, burst, now + 1)
            else:
                queues[entry, HEAD] = 0 if head + 1 == size else head + 1
                queues[entry, HELD] -= 1
                _leave(queues, entry, now)
                gone = queues[entry, HELD] == 0
                if gone:
                    queues[entry, LISTED] = 0
        moved = moved or granted
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
    return kept + served, moved, soonest, found


@compiled
def play(
    clock: Ints,
    order: Ints,
    spare: Ints,
    queues: Ints,
    rings: Ints,
    lanes: Ints,
    tree: Ints,
    branches: Ints,
    flows: Ints,
    bursts: Ints,
    events: Ints,
    manner: Manner,
) -> int:
    """Move packets until a burst has gone or arrived; return the number of events.

    0: no packet is left. `STUCK`: none can ever move again. The tables are those of `Mesh`.
    """
    idle = 0
    while clock[ENTRIES] > 0:
        clock[ENTRIES], moved, soonest, found = _cycle(
            clock[NOW], clock[ENTRIES], order, spare, queues, rings, lanes, tree, branches,
            flows, bursts, events, manner,
        )  # fmt: skip
        idle = 0 if moved else idle + 1
        if not moved and soonest == _FAR and (manner.share == 0 or idle > _PATIENCE):
            return STUCK
        clock[NOW] = clock[NOW] + 1 if moved or manner.share > 0 else soonest
        if found > 0:
            return found
    return 0
