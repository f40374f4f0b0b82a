"""One discrete-event engine for value and time.

A context is a sequential program, written as a generator, with a clock of its own. It pops and
pushes channels with ``yield from``; a pop moves the clock to the element's ready cycle, a push
to the time at which a credit is free. There is no global clock: contexts run until they block,
in any order, and the times come out the same (the process network is determinate). With a network
of packets inside (`rdu.emulate.network`), which has a clock, that one moves on when all contexts
are blocked.

Times are whole ticks. A clock cycle has as many as make the time of a byte whole at every rate
of the kernel (an HBM of 1125 bytes a cycle: 1125), so that no time is ever rounded.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from fractions import Fraction
from typing import Any, Protocol

from rdu.emulate.channel import Channel
from rdu.emulate.moments import Burst
from rdu.errors import DeadlockError

Steps = Generator[None, None, Any]


class Feed(Protocol):
    """What brings a unit its operands through the network, in ``way`` cycles."""

    way: int

    def start(self, begin: int, cycles: int) -> Burst | None:
        """Send those of a firing of so many cycles from cycle ``begin``; None if there are none."""
        ...


class Packets(Protocol):
    """A network of packets with a clock of its own."""

    def advance(self) -> bool:
        """Move on to the next cycle that brings something; whether there is one."""
        ...


class Context:
    """A unit: ``program`` is its sequential behaviour, ``time`` its clock in ticks.

    ``position`` counts what it has done of ``length`` like steps; at ``limit`` it rests until
    the engine raises the limit. ``trace`` notes the clock after each operation, if wanted.
    ``feed`` brings operands as packets, where they do not come by themselves; ``operands`` are
    those of the last firing. ``held_until`` is the tick of the last thing it waited for, which a
    clock that was ahead already does not tell.
    """

    tick = 1
    length = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.time = 0
        self.position = 0
        self.limit: float = math.inf
        self.trace: list[int] | None = None
        self.feed: Feed | None = None
        self.operands: Burst | None = None
        self.held_until = 0
        self.wake: deque[Context] = deque()
        self.start: int | None = None
        self.busy = 0
        self.starved = 0
        self.blocked = 0
        self.firings = 0
        self.moved = 0
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
        self.held_until = max(self.held_until, ready)
        channel.credits.append(self.time + channel.latency)
        channel.popped += 1
        channel.popped_bytes += count
        if channel.waiting_writer is not None:
            channel.wake.append(channel.waiting_writer)
            channel.waiting_writer = None
        if self.trace is not None:
            self.trace.append(self.time)
        return payload

    def rest(self) -> Steps:
        """Wait while the unit is at its limit."""
        while self.position >= self.limit:
            yield

    def lift(self) -> None:
        """Take the limit away."""
        self.limit, self.trace = math.inf, None

    def push(self, channel: Channel, payload: Any = None, done: int = 0, count: int = 0) -> Steps:
        """Send an element that is complete at cycle ``done``, or now, plus the latency."""
        yield from self.reserve(channel)
        channel.put(max(self.time, done) + channel.latency, payload, count)
        if self.trace is not None:
            self.trace.append(self.time)

    def reserve(self, channel: Channel) -> Steps:
        """Wait for a credit and take it."""
        while not channel.credits:
            channel.waiting_writer = self
            self.waits = ("write", channel)
            yield
        free = channel.credits.popleft()
        if free > self.time:
            self.blocked += free - self.time
            self.time = free
        self.held_until = max(self.held_until, free)

    def entered(self, burst: Burst) -> Steps:
        """Wait until the packets of a burst have entered the network."""
        if burst.sent.cycle is None:
            burst.sent.then(lambda _: self.wake.append(self))
        while burst.sent.cycle is None:
            self.waits = None
            yield
        tick = burst.sent.cycle * self.tick
        if tick > self.time:
            self.blocked += tick - self.time
            self.time = tick
        self.held_until = max(self.held_until, tick)

    def fire(self, cycles: int) -> Steps:
        """Be busy for ``cycles``, and until the network has taken the operands on."""
        if self.feed is None:
            self.work(cycles)
            return
        self.operands = self.feed.start(-(-self.time // self.tick), cycles)
        self.work(cycles)
        if self.operands is not None:
            yield from self.entered(self.operands)

    def work(self, cycles: int) -> None:
        """Be busy for ``cycles``."""
        self.spend(cycles * self.tick)

    def spend(self, ticks: int) -> None:
        """Be busy for ``ticks``."""
        if self.start is None:
            self.start = self.time
        add_span(self.spans, self.time, self.time + ticks)
        self.time += ticks
        self.busy += ticks
        self.firings += 1
        if self.trace is not None:
            self.trace.append(self.time)


def add_span(spans: list[tuple[int, int]], begin: int, end: int) -> None:
    """Append a span of work, as part of the last one where it goes on."""
    if spans and spans[-1][1] == begin:
        spans[-1] = (spans[-1][0], end)
    else:
        spans.append((begin, end))


class Engine:
    """Runs contexts over channels until all have finished; ``tick`` ticks are a cycle."""

    def __init__(self, tick: int = 1) -> None:
        self.tick = tick
        self.contexts: list[Context] = []
        self.channels: list[Channel] = []
        self.ready: deque[Context] = deque()
        self.network: Packets | None = None
        self._programs: dict[Context, Steps] = {}

    def channel(self, name: str, capacity: int, latency: int = 0) -> Channel:
        """Make a channel of ``latency`` cycles between two contexts of this engine."""
        channel = Channel(name, capacity, latency * self.tick, self.ready)
        self.channels.append(channel)
        return channel

    def add(self, context: Context) -> None:
        """Register a context."""
        context.tick, context.wake = self.tick, self.ready
        self.contexts.append(context)
        self._programs[context] = context.program()

    def ticks_per_byte(self, rate: Fraction) -> int:
        """Ticks that one byte takes at ``rate`` bytes a cycle, which must be whole."""
        ticks = self.tick / rate
        assert ticks.denominator == 1, f"{self.tick} ticks a cycle do not divide {rate}"
        return ticks.numerator

    def run(self) -> int:
        """Run to the end and return the last clock, in cycles.

        Raises
        ------
        DeadlockError
            If contexts wait for each other; names the channels, their fill and who waits.
        """
        self.advance()
        return self.finish()

    def advance(self) -> None:
        """Run every context as far as it gets, or to its limit, and packets as long as they move.

        Raises
        ------
        DeadlockError
            If packets block each other; names the links.
        """
        self.ready.extend(self._programs)
        self._run_ready()
        while self.network is not None and self.network.advance():
            self._run_ready()

    def _run_ready(self) -> None:
        while self.ready:
            context = self.ready.popleft()
            if context in self._programs:
                try:
                    next(self._programs[context])
                except StopIteration:
                    del self._programs[context]

    def finish(self) -> int:
        """Return the last clock, in cycles, when all have run."""
        if self._programs:
            raise self._deadlock(set(self._programs))
        last = max((context.time for context in self.contexts), default=0)
        return -(-last // self.tick)

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
