"""The clocks of units that take and send tokens in fixed orders.

A token is taken no sooner than it is there, and sent, to all its readers at once, no sooner
than each of them has a free place (a credit): when it took the token ``depth`` places before.
Every clock is the largest of sums of earlier ones, so the order in which units are advanced
does not matter; they are advanced here in a compiled loop, each as far as it gets.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdu.emulate.scripts import Script
from rdu.emulate.tokens import Ints
from rdu.errors import DeadlockError

_WORK, _TAKE, _SEND = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Wire:
    """A stream's way to one reader: ``depth`` tokens may be under way or wait."""

    stream: int
    reader: int
    depth: int
    latency: int = 1


def wires_of(scripts: Sequence[Script], depths: Mapping[tuple[int, int], int]) -> list[Wire]:
    """List the wires; ``depths`` maps (stream, number of the reader's script) to a capacity."""
    return [
        Wire(port.stream, n, depths[port.stream, n])
        for n, script in enumerate(scripts)
        for port in script.takes
    ]


def last_clock(scripts: Sequence[Script], wires: Sequence[Wire]) -> int:
    """Return the cycle at which all units have finished.

    Raises
    ------
    DeadlockError
        If units wait for each other; names the streams, their fill and who waits.
    """
    streams = {stream: n for n, stream in enumerate(dict.fromkeys(w.stream for w in wires))}
    by_stream = sorted(range(len(wires)), key=lambda n: streams[wires[n].stream])
    ordered = [wires[n] for n in by_stream]
    first_wire = np.searchsorted(
        [streams[w.stream] for w in ordered], np.arange(len(streams) + 1)
    ).astype(np.int64)
    wire_of = {(w.stream, w.reader): n for n, w in enumerate(ordered)}
    kinds: list[Ints] = []
    ports: list[Ints] = []
    room = np.zeros(len(streams) + 1, dtype=np.int64)
    for n, script in enumerate(scripts):
        kind = np.full(len(script.work), _WORK, dtype=np.int64)
        port = np.zeros(len(script.work), dtype=np.int64)
        for take in script.takes:
            kind[take.at], port[take.at] = _TAKE, wire_of[take.stream, n]
        for send in script.sends:
            if send.stream in streams:
                kind[send.at], port[send.at] = _SEND, streams[send.stream]
                room[streams[send.stream] + 1] = len(send.at)
        kinds.append(kind)
        ports.append(port)
    bounds = np.cumsum([0, *(len(script.work) for script in scripts)])
    owner = np.array([streams[w.stream] for w in ordered], dtype=np.int64)
    position = bounds[:-1].copy()
    clock = np.zeros(len(scripts), dtype=np.int64)
    sent = np.zeros(len(streams), dtype=np.int64)
    taken = np.zeros(len(ordered), dtype=np.int64)
    _compiled()(
        np.concatenate(kinds),
        np.concatenate(ports),
        np.concatenate([script.work for script in scripts]),
        bounds,
        first_wire,
        owner,
        np.array([w.depth for w in ordered], dtype=np.int64),
        np.array([w.latency for w in ordered], dtype=np.int64),
        np.cumsum(room),
        position,
        clock,
        sent,
        taken,
    )
    if np.any(position < bounds[1:]):
        waiting = np.flatnonzero(position < bounds[1:]).tolist()
        at = {
            n: (int(kinds[n][p := int(position[n] - bounds[n])]), int(ports[n][p])) for n in waiting
        }
        raise _deadlock(scripts, ordered, at, first_wire, sent[owner] - taken)
    return max(int(c) + s.tail for c, s in zip(clock, scripts, strict=True))


def _deadlock(
    scripts: Sequence[Script],
    wires: Sequence[Wire],
    waiting: Mapping[int, tuple[int, int]],
    first_wire: Ints,
    held: Ints,
) -> DeadlockError:
    lines: list[str] = []
    for n, (kind, port) in waiting.items():
        if kind == _TAKE:
            mine, verb = [port], "read"
        else:
            several = range(int(first_wire[port]), int(first_wire[port + 1]))
            mine, verb = [w for w in several if held[w] >= wires[w].depth], "write"
        for w in mine:
            wire = wires[w]
            name = f"stream {wire.stream} to {scripts[wire.reader].name}"
            fill = f"{int(held[w])} of {wire.depth} held"
            lines.append(f"{scripts[n].name} waits to {verb} {name} ({fill})")
    return DeadlockError(
        f"{len(waiting)} units block each other: " + "; ".join(lines),
        hint="a full stream on a path that rejoins needs a longer queue",
    )


def _play(
    kind: Ints,
    port: Ints,
    work: Ints,
    bounds: Ints,
    first_wire: Ints,
    owner: Ints,
    depth: Ints,
    latency: Ints,
    room: Ints,
    position: Ints,
    clock: Ints,
    sent: Ints,
    taken: Ints,
) -> None:
    """Advance every unit until none can move; ``position`` to ``taken`` are updated."""
    sent_at = np.zeros(room[-1], dtype=np.int64)
    taken_from = np.zeros(len(owner) + 1, dtype=np.int64)
    for w in range(len(owner)):
        taken_from[w + 1] = taken_from[w] + room[owner[w] + 1] - room[owner[w]]
    taken_at = np.zeros(taken_from[-1], dtype=np.int64)
    moved = True
    while moved:
        moved = False
        for unit in range(len(bounds) - 1):
            at, now = position[unit], clock[unit]
            while at < bounds[unit + 1]:
                then = now + work[at]
                p = port[at]
                if kind[at] == 1:
                    n, stream = taken[p], owner[p]
                    if n >= sent[stream]:
                        break
                    then = max(then, sent_at[room[stream] + n] + latency[p])
                    taken_at[taken_from[p] + n] = then
                    taken[p] = n + 1
                elif kind[at] == 2:
                    n = sent[p]
                    full = False
                    for w in range(first_wire[p], first_wire[p + 1]):
                        before = n - depth[w]
                        if before >= taken[w]:
                            full = True
                            break
                        if before >= 0:
                            then = max(then, taken_at[taken_from[w] + before] + latency[w])
                    if full:
                        break
                    sent_at[room[p] + n] = then
                    sent[p] = n + 1
                now = then
                at += 1
                moved = True
            position[unit], clock[unit] = at, now


@functools.cache
def _compiled() -> Any:
    # Imported late: programs without sparse stages never need a compiler.
    import numba

    return numba.njit(cache=True)(_play)
