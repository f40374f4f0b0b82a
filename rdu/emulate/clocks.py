"""The clocks of units that take and send tokens in fixed orders.

A token is taken no sooner than it is there, and sent, to all its readers at once, no sooner
than each of them has a free place (a credit): when it took the token ``depth`` places before.
Every clock is the largest of sums of earlier ones, so the order in which units are advanced
does not matter; they are advanced here in a compiled loop, each as far as it gets.

What `rdu.emulate.machine` keeps on disk holds a copy of this loop, and Numba looks at the time of
that file alone: whoever changes this one must touch the other.
"""

from __future__ import annotations

import numpy as np

from rdu.emulate.jit import compiled
from rdu.emulate.tokens import Ints


@compiled
def play(
    events: Ints,
    begins: Ints,
    bounds: Ints,
    first_wire: Ints,
    owner: Ints,
    depth: Ints,
    latency: Ints,
) -> tuple[Ints, Ints, Ints, Ints]:
    """Advance every unit until none can move.

    ``events[e]`` is a port (2w: take from wire w; 2s + 1: send into stream s; negative: none)
    and the cycles before it; those of unit n begin at ``begins[n]``. Stream s has the wires
    ``[first_wire[s], first_wire[s + 1])``; wire w carries the stream ``owner[w]``, up to
    ``depth[w]`` tokens, which take ``latency[w]`` cycles. ``bounds`` give the streams' lengths.

    Returns each unit's next event and clock, and the tokens sent into each stream and taken
    from each wire. A unit whose next event is not the end waits for ever.
    """
    position = np.empty(len(begins) - 1, dtype=np.int64)
    for unit in range(len(position)):
        position[unit] = begins[unit]
    clock = np.zeros(len(position), dtype=np.int64)
    sent = np.zeros(len(bounds), dtype=np.int64)
    taken = np.zeros(len(owner), dtype=np.int64)
    tokens = 0
    for stream in range(len(bounds)):
        tokens = bounds[stream, 1] if bounds[stream, 1] > tokens else tokens
    sent_at = np.zeros(tokens, dtype=np.int64)
    taken_from = np.zeros(len(owner) + 1, dtype=np.int64)
    for w in range(len(owner)):
        taken_from[w + 1] = taken_from[w] + bounds[owner[w], 1] - bounds[owner[w], 0]
    taken_at = np.zeros(taken_from[-1], dtype=np.int64)
    moved = True
    while moved:
        moved = False
        for unit in range(len(begins) - 1):
            at, now = position[unit], clock[unit]
            while at < begins[unit + 1]:
                port = events[at, 0]
                then = now + events[at, 1]
                p = port // 2
                if port >= 0 and port % 2 == 0:
                    n, stream = taken[p], owner[p]
                    if n >= sent[stream]:
                        break
                    there = sent_at[bounds[stream, 0] + n] + latency[p]
                    then = there if there > then else then
                    taken_at[taken_from[p] + n] = then
                    taken[p] = n + 1
                elif port >= 0:
                    n = sent[p]
                    full = False
                    for w in range(first_wire[p], first_wire[p + 1]):
                        before = n - depth[w]
                        if before >= taken[w]:
                            full = True
                            break
                        if before >= 0:
                            free = taken_at[taken_from[w] + before] + latency[w]
                            then = free if free > then else then
                    if full:
                        break
                    sent_at[bounds[p, 0] + n] = then
                    sent[p] = n + 1
                now = then
                at += 1
                moved = True
            position[unit], clock[unit] = at, now
    return position, clock, sent, taken
