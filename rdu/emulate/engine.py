"""One discrete-event engine for value and time.

A context is a sequential program, written as a generator, with a clock of its own. It pops and
pushes channels with ``yield from``; a pop moves the clock to the element's ready cycle, a push
to the cycle at which a credit is free. There is no global clock: contexts run until they block,
in any order, and the times come out the same (the process network is determinate).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from rdu.emulate.channel import Channel
from rdu.errors import DeadlockError

Steps = Generator[None, None, Any]


class Context:
    """A unit: ``program`` is its sequential behaviour, ``time`` its clock in cycles."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.time = 0
        self.start: int | None = None
        self.busy = 0
        self.starved = 0
        self.blocked = 0
        self.firings = 0
        self.spans: list[tuple[int, int]] = []
        self.waits: tuple[str, Channel] | None = None

    def program(self) -> Steps:
        """What the unit does; overridden by each kind."""
        raise NotImplementedError

    def pop(self, channel: Channel, count: int = 0) -> Steps:
        """Take the next element (``count`` bytes of it) and return its payload."""
        while not channel.items:
            channel.waiting_reader = self
            self.waits = ("read", channel)
            yield
        ready, payload = channel.items.popleft()
        if ready > self.time:
            self.starved += ready - self.time
            self.time = ready
        channel.credits.append(self.time + channel.latency)
        channel.popped += 1
        channel.popped_bytes += count
        if channel.waiting_writer is not None:
            channel.wake.append(channel.waiting_writer)
            channel.waiting_writer = None
        return payload

    def peek(self, channel: Channel) -> Steps:
        """Wait for the next element and return its payload without taking it."""
        while not channel.items:
            channel.waiting_reader = self
            self.waits = ("read", channel)
            yield
        ready, payload = channel.items[0]
        if ready > self.time:
            self.starved += ready - self.time
            self.time = ready
        return payload

    def push(self, channel: Channel, payload: Any = None, done: int = 0, count: int = 0) -> Steps:
        """Send an element that is complete at cycle ``done``, or now, plus the latency."""
        while not channel.credits:
            channel.waiting_writer = self
            self.waits = ("write", channel)
            yield
        free = channel.credits.popleft()
        if free > self.time:
            self.blocked += free - self.time
            self.time = free
        channel.items.append((max(self.time, done) + channel.latency, payload))
        channel.pushed += 1
        channel.pushed_bytes += count
        if channel.waiting_reader is not None:
            channel.wake.append(channel.waiting_reader)
            channel.waiting_reader = None

    def work(self, cycles: int) -> None:
        """Be busy for ``cycles``."""
        if self.start is None:
            self.start = self.time
        if self.spans and self.spans[-1][1] == self.time:
            self.spans[-1] = (self.spans[-1][0], self.time + cycles)
        else:
            self.spans.append((self.time, self.time + cycles))
        self.time += cycles
        self.busy += cycles
        self.firings += 1


class Engine:
    """Runs contexts over channels until all have finished."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.channels: list[Channel] = []
        self.ready: deque[Context] = deque()

    def channel(self, name: str, capacity: int, latency: int = 0) -> Channel:
        """Make a channel between two contexts of this engine."""
        channel = Channel(name, capacity, latency, self.ready)
        self.channels.append(channel)
        return channel

    def add(self, context: Context) -> None:
        """Register a context."""
        self.contexts.append(context)

    def run(self) -> int:
        """Run to the end and return the last clock, in cycles.

        Raises
        ------
        DeadlockError
            If contexts wait for each other; names the channels, their fill and who waits.
        """
        programs = {context: context.program() for context in self.contexts}
        alive = set(self.contexts)
        self.ready.extend(self.contexts)
        while self.ready:
            context = self.ready.popleft()
            try:
                next(programs[context])
            except StopIteration:
                alive.discard(context)
        if alive:
            raise self._deadlock(alive)
        return max((context.time for context in self.contexts), default=0)

    def _deadlock(self, alive: set[Context]) -> DeadlockError:
        lines: list[str] = []
        for context in sorted(alive, key=lambda c: c.name):
            if context.waits is None:
                continue
            kind, channel = context.waits
            state = f"{len(channel.items)} of {channel.capacity} held"
            verb = "waits to read" if kind == "read" else "waits to write"
            lines.append(f"{context.name} {verb} {channel.name} ({state})")
        return DeadlockError(
            f"{len(lines)} contexts block each other: " + "; ".join(lines),
            hint="a full channel on a path that rejoins needs more capacity",
        )
