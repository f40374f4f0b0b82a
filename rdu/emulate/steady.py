"""Fast-forward: rounds of a kernel that follow from those before are not simulated.

What a round does to the times of a kernel (clocks, tiles on their way, credits, links) is
made of sums and maxima, so every time after it is a convex function of the times before it.
If a round takes ``x + m v`` to ``x + (m + 1) v`` for m = 0, 1 and n, a convex function has no
choice in between, and the rounds 2 to n - 1 need not be run. The third point is tried by a jump,
and taken back if it fails. The units need not go at one pace (``v`` has a number for every
time), so a kernel that still fills its buffers is skipped through as well. Where units fall
into a rhythm of several rounds, those rounds together are taken for one.

The same holds for the clock at every operation within a round. That of a unit's operations must
move on by one amount, so that what the unit waits in a round is the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice

from rdu.emulate.engine import Engine, add_span
from rdu.emulate.rounds import Rounds

# Rounds in the longest rhythm looked for.
_LONGEST = 12


@dataclass(frozen=True, slots=True)
class Moment:
    """The state before a round, and the clocks of each unit's operations since the last one.

    ``times`` begins with the clocks of the units.
    """

    times: list[int]
    counts: list[int]
    traces: list[list[int]]


@dataclass(frozen=True, slots=True)
class Pace:
    """By how much the times and counts of a kernel grow in so many ``rounds``."""

    rounds: int
    times: list[int]
    counts: list[int]

    def after(self, moment: Moment, steps: int) -> Moment:
        """Return the moment that follows at this pace, ``steps`` times the rounds later."""
        return Moment(
            [t + steps * v for t, v in zip(moment.times, self.times, strict=True)],
            [c + steps * d for c, d in zip(moment.counts, self.counts, strict=True)],
            [
                [t + steps * v for t in trace]
                for trace, v in zip(moment.traces, self.times, strict=False)
            ],
        )


def run_steady(engine: Engine, rounds: Rounds) -> int:
    """Run until all have finished or wait, skipping rounds; return how many were skipped."""
    skipped = 0
    for run in range(rounds.runs):
        # The first and the last round differ from those between.
        first, last = run * rounds.count + 1, (run + 1) * rounds.count - 1
        found = _run_between(engine, rounds, first, last)
        if found is None:
            break
        skipped += found
    for context in engine.contexts:
        context.lift()
    engine.advance()
    return skipped


def _run_between(engine: Engine, rounds: Rounds, first: int, last: int) -> int | None:
    """Run from before round ``first`` to before ``last``, or None if units cannot get there."""
    skipped, at = 0, first
    history: list[Moment] = []
    patience = wait = 1
    while at <= last:
        if not _reach(engine, rounds, at):
            return None
        history = [*history[-2 * _LONGEST :], _moment(engine)]
        wait -= 1
        if wait < 1 and (found := _pace(history)) is not None:
            moment, pace = found
            jumped = _jump(engine, rounds, at, last, moment, pace)
            if jumped:
                # The rounds that were tried have been run.
                skipped += jumped
                at += jumped + pace.rounds
                history = []
            patience = 1 if jumped else 2 * patience
            wait = patience
        at += 1
    return skipped


def _reach(engine: Engine, rounds: Rounds, at: int) -> bool:
    """Let every unit run up to round ``at``; whether all got there."""
    for context, marks in rounds.marks.items():
        context.limit = int(marks[at])
    engine.advance()
    return all(c.position == c.limit for c in rounds.marks)


def _moment(engine: Engine) -> Moment:
    times = [context.time for context in engine.contexts]
    counts: list[int] = []
    traces: list[list[int]] = []
    for c in engine.contexts:
        counts += (c.position, c.busy, c.starved, c.blocked, c.firings, c.moved)
        traces.append(c.trace or [])
        c.trace = []
    for channel in engine.channels:
        times.append(channel.free)
        times += (ready for ready, _ in channel.items)
        times += channel.credits
        counts += (channel.pushed, channel.popped, channel.pushed_bytes, channel.popped_bytes)
    return Moment(times, counts, traces)


def _restore(engine: Engine, moment: Moment) -> None:
    """Set all times and counts; every channel holds as many tiles as in the moment."""
    times, counts = iter(moment.times), iter(moment.counts)
    for c in engine.contexts:
        c.time = next(times)
        c.position, c.busy, c.starved, c.blocked, c.firings, c.moved = islice(counts, 6)
    for channel in engine.channels:
        channel.free = next(times)
        for n, (_, payload) in enumerate(channel.items):
            channel.items[n] = (next(times), payload)
        for n in range(len(channel.credits)):
            channel.credits[n] = next(times)
        sums = islice(counts, 4)
        channel.pushed, channel.popped, channel.pushed_bytes, channel.popped_bytes = sums


def _pace(history: list[Moment]) -> tuple[Moment, Pace] | None:
    """Find the shortest rhythm with three moments on a line, every unit moving evenly.

    Returns the last moment, with the clocks of the whole rhythm, and the pace.
    """
    for n in range(1, (len(history) - 1) // 2 + 1):
        one, two, three = (history[-1 - back] for back in (2 * n, n, 0))
        if three.times[0] - two.times[0] != two.times[0] - one.times[0]:
            continue
        if not len(one.times) == len(two.times) == len(three.times):
            continue
        pace = Pace(n, _less(three.times, two.times), _less(three.counts, two.counts))
        if pace.times != _less(two.times, one.times):
            continue
        if pace.counts != _less(two.counts, one.counts):
            continue
        before = _joined(history[-2 * n : -n])
        moment = _joined(history[-n:])
        if pace.after(before, 1).traces == moment.traces:
            return moment, pace
    return None


def _joined(moments: list[Moment]) -> Moment:
    """Return the last of several moments, with the clocks of all."""
    units = zip(*(moment.traces for moment in moments), strict=True)
    traces = [list(chain.from_iterable(parts)) for parts in units]
    return Moment(moments[-1].times, moments[-1].counts, traces)


def _less(high: list[int], low: list[int]) -> list[int]:
    return [a - b for a, b in zip(high, low, strict=True)]


def _jump(engine: Engine, rounds: Rounds, at: int, last: int, moment: Moment, pace: Pace) -> int:
    """Skip as many rounds before ``last`` as go at this pace, and run one rhythm behind them.

    Returns the rounds skipped; if 0, the engine is where it was.
    """
    period = pace.rounds
    many = (last - at) // period - 1
    spans = [context.spans for context in engine.contexts]
    starts = [context.start for context in engine.contexts]
    while many > 0:
        if rounds.alike(at - 2 * period, at + (many + 1) * period, period):
            _restore(engine, pace.after(moment, many))
            for context in engine.contexts:
                context.spans, context.trace = [], []
            _reach(engine, rounds, at + (many + 1) * period)
            if _moment(engine) == pace.after(moment, many + 1):
                _add_spans(engine, spans, pace, many)
                return many * period
            _restore(engine, moment)
            for context, was, start in zip(engine.contexts, spans, starts, strict=True):
                context.spans, context.start = was, start
        many //= 2
    return 0


def _add_spans(engine: Engine, before: list[list[tuple[int, int]]], pace: Pace, many: int) -> None:
    """Put the skipped rounds' spans of work in front of those of the rounds just run."""
    for n, context in enumerate(engine.contexts):
        run, context.spans = context.spans, before[n]
        for back in range(many, -1, -1):
            for begin, end in run:
                add_span(context.spans, begin - back * pace.times[n], end - back * pace.times[n])
