"""Running the nodes of a stream graph and their clocks, as two compiled loops.

`rdu.emulate.stream_nodes` says what lies on the tape. What is kept on disk of these loops holds a
copy of that module and of `rdu.emulate.clocks`, and Numba looks at the time of this file alone: who
edits one of those touches this one.
"""

from __future__ import annotations

import numpy as np

from rdu.emulate.clocks import play
from rdu.emulate.jit import compiled
from rdu.emulate.stream_nodes import node, room, scanned
from rdu.emulate.tokens import Ints, Kind


@compiled
def trace(
    nodes: Ints, ways: Ints, cost: Ints, fibres: Ints, windows: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Run the nodes one after the other on whole streams of one part of a tile.

    ``nodes[n]`` are its kind and up to three numbers (see `rdu.emulate.encode`), ``ways[n]``
    the streams it takes and sends, and the wires it takes from. ``windows[n]`` say which
    fibres or leaves belong to the part, and whether the level is uncompressed.

    Returns tokens, bounds, events, and where the events of each node begin.
    """
    tokens = np.empty((256, 3), dtype=np.int64)
    events = np.empty((1024, 2), dtype=np.int64)
    streams = 0
    for row in ways[:, 1]:
        for stream in row:
            streams = stream + 1 if stream >= streams else streams
    bounds = np.zeros((streams, 2), dtype=np.int64)
    begins = np.zeros(len(nodes) + 1, dtype=np.int64)
    # Zero as a variable: for a literal, all that is called would be compiled once more.
    zero = begins[0]
    used, at = zero, zero
    for n in range(len(nodes)):
        taken = zero
        for stream in ways[n, 0]:
            if stream >= 0:
                taken += bounds[stream, 1] - bounds[stream, 0]
        most, streams = taken + 2, nodes[n, 1] + 1 if nodes[n, 0] == Kind.MERGE.value else 2
        if nodes[n, 0] == Kind.SCAN.value:
            most += scanned(tokens, bounds[ways[n, 0, 0]], fibres, windows[n])
        tokens = room(tokens, used, streams * most)
        events = room(events, at, 2 * taken + (streams + 1) * most)
        tape = (tokens, bounds, events)
        used, at = node(tape, used, at, nodes[n], ways[n], cost, fibres, windows[n], most)
        begins[n + 1] = at
    return tokens, bounds, events, begins


@compiled
def run_parts(
    nodes: Ints,
    ways: Ints,
    cost: Ints,
    first_wire: Ints,
    owner: Ints,
    depth: Ints,
    latency: Ints,
    picks: Ints,
    fibres: Ints,
    windows: Ints,
) -> tuple[Ints, Ints, int]:
    """Run all parts of a tile.

    Returns a row for every token that reaches the arithmetic: its stop, and the numbers that
    ``picks`` names by stream and column; for every part the last clock, the work of the
    busiest node and the tokens taken; and the part that blocks itself, -1 if none does.
    """
    rows = np.empty((256, 1 + len(picks)), dtype=np.int64)
    times = np.zeros((len(windows), 3), dtype=np.int64)
    count = 0
    for part in range(len(windows)):
        tokens, bounds, events, begins = trace(nodes, ways, cost, fibres, windows[part])
        position, clock, _, taken = play(events, begins, bounds, first_wire, owner, depth, latency)
        for n in range(len(nodes)):
            if position[n] < begins[n + 1]:
                return rows[:count], times, part
            busy = 0
            for event in range(begins[n], begins[n + 1]):
                busy += events[event, 1]
            times[part, 0] = clock[n] if clock[n] > times[part, 0] else times[part, 0]
            times[part, 1] = busy if busy > times[part, 1] else times[part, 1]
        for count_taken in taken:
            times[part, 2] += count_taken
        leaf = bounds[picks[0, 0]]
        rows = room(rows, count, leaf[1] - leaf[0])
        for n in range(leaf[1] - leaf[0]):
            rows[count, 0] = tokens[leaf[0] + n, 0]
            for m in range(len(picks)):
                rows[count, 1 + m] = tokens[bounds[picks[m, 0], 0] + n, picks[m, 1]]
            count += 1
    return rows[:count], times, -1
