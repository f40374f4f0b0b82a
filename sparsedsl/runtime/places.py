"""Pieces of a sparse output assembled where they belong, once a call has told their places.

Takes: operands that are as they were at the calls before.  Gives: the arrays of the output, filled
by several threads, each piece of the loop at its place; nothing is counted first or moved last.
Invariant: the arrays are those of one call for the whole loop, or there are none: where a piece has
not as many entries as it had, since values have changed, the output is to be assembled otherwise.

A piece may store more entries than it has, those that turn out to be the fill: what it stores of a
turn has as much room as the turn needs, and goes on where the next turn begins.  So that nothing of
a piece that another thread assembles is written over, the last turns of a piece go to memory of
their own, and are put in place when the others are done: they have as many entries as a turn before
them may store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.runtime import blocks
from sparsedsl.runtime.threads import each
from sparsedsl.runtime.windows import Kernel, Output

PATIENCE = 4
"""Calls with the same operands before their pieces are looked into."""

GROUPS = 4
"""Groups of pieces for each thread: one that is delayed leaves some to others."""

MOVED = 0.3
"""Part of the room that may be in pieces that are put in place."""

FAILURES = 2
"""Calls in which a piece had another number of entries than before, after which it is given up."""

Counts: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns ``begin .. end`` of the loop, the room they need, and the entries each level has.

    ``rows`` are the places of the ends of rows that have some of these entries, of arrays that are
    as long as an extent.
    """

    begin: int
    end: int
    room: int
    counts: Counts
    rows: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Step:
    """Turns that one call of the kernel runs, and how many entries each level has before them.

    ``placed``: they go where they belong at once.
    """

    turns: Turns
    before: Counts
    placed: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """Groups of steps, each for one thread; the entries of each level; the room that is made."""

    groups: tuple[tuple[_Step, ...], ...]
    totals: Counts
    length: int

    @property
    def moved(self) -> int:
        """The most room that a step needs which is put in place."""
        every = (step for group in self.groups for step in group if not step.placed)
        return max((step.turns.room for step in every), default=0)


class Places:
    """Where the pieces of an output go, for operands that must stay as they are."""

    def __init__(self) -> None:
        self._calls = self._failures = 0
        self._known: dict[int, _Known | None] = {}

    def forget(self) -> None:
        """Let go of what is known."""
        self._calls, self._known = 0, {}

    def known(self, threads: int) -> bool:
        """Whether the pieces of so many threads have known places."""
        return self._known.get(threads) is not None

    def wanted(self, threads: int) -> bool:
        """Whether a call is to tell the places; true once for each number of threads."""
        self._calls += 1
        new = threads not in self._known and self._failures < FAILURES
        return new and self._calls > PATIENCE

    def learn(
        self, threads: int, turns: Sequence[Turns], groups: int, output: Output, reach: str
    ) -> None:
        """Note what all turns have, in order; ``groups`` at most are made of them.

        ``reach`` says how much is stored beside entries (``loops.reach``).
        """
        joined = not any(stored.ends for stored in output.stored)
        known = None
        while known is None and groups >= threads:
            known = _known(turns, groups, reach, joined=joined)
            groups //= 2
        self._known[threads] = known

    def fill(
        self,
        threads: int,
        kernel: Kernel,
        arguments: list[Any],
        make: Callable[[int], None],
        output: Output,
    ) -> Counts | None:
        """Assemble the output, and return the entries of each level; None where that failed.

        ``make`` puts arrays with room for a number of entries among the arguments.
        """
        known = self._known.get(threads)
        if known is None:
            return None
        make(known.length)
        if _Filling(kernel, arguments, output, known, threads).done():
            return known.totals
        self._failures += 1
        self._known.clear()
        return None


def _known(turns: Sequence[Turns], groups: int, reach: str, *, joined: bool) -> _Known | None:
    """Return steps for these turns; None where too much were to be put in place."""
    before = list(accumulate((t.counts for t in turns), _added, initial=_none(turns)))
    # what is found takes about as long as what is delivered
    work = np.cumsum([t.room + t.counts[-1] + t.end - t.begin for t in turns])
    if not turns or not before[-1][-1]:
        return None
    goals = [work[-1] * k / groups for k in range(1, groups)]
    bounds = sorted({0, *(int(end) for end in np.searchsorted(work, goals)), len(turns)})
    every = [
        tuple(_steps(turns[a:b], before[a], reach, alone=b == len(turns), joined=joined))
        for a, b in pairwise(bounds)
    ]
    steps = [step for group in every for step in group]
    total = sum(t.room for t in turns)
    if sum(step.turns.room for step in steps if not step.placed) > MOVED * total:
        return None
    return _Known(tuple(every), before[-1], total)


def _steps(
    turns: Sequence[Turns], before: Counts, reach: str, *, alone: bool, joined: bool
) -> Iterator[_Step]:
    """Give the steps of a group: nothing of the group after it is written over.

    ``alone``: there is no group after it.  ``joined``: what a piece stores are entries, none of
    which ends those of a level.
    """
    whole = _joined(turns)
    exact = reach == "entry" or whole.room == whole.counts[-1]
    if alone or (joined and exact):
        yield _Step(whole, before, placed=True)
        return
    for place in range(len(turns) - 1, 0, -1) if reach != "piece" else ():
        main, rest = turns[:place], _joined(turns[place:])
        longest = 1 if reach in ("entry", "next") else max(t.room for t in main)
        if rest.counts[-1] >= longest:
            first = _joined(main)
            yield _Step(first, before, placed=True)
            yield _Step(rest, _added(before, first.counts), placed=False)
            return
    for one in turns:
        yield _Step(one, before, placed=False)
        before = _added(before, one.counts)


def _joined(turns: Sequence[Turns]) -> Turns:
    """Return neighbouring turns as one range."""
    counts = [t.counts for t in turns]
    room = sum(t.room for t in turns)
    *_, total = accumulate(counts, _added)
    rows = min(t.rows[0] for t in turns), max(t.rows[1] for t in turns)
    return Turns(turns[0].begin, turns[-1].end, room, total, rows)


def rows_of(ends: np.ndarray, before: int, count: int) -> tuple[int, int]:
    """Return where in the ends of all rows those of ``count`` entries lie that come after others.

    >>> rows_of(np.array([0, 0, 2, 2, 5, 5]), 2, 3)
    (4, 5)
    """
    # numbers of another dtype would have all of ``ends`` copied
    of = ends.dtype.type
    first = np.searchsorted(ends, of(before), "right")
    return int(first), int(np.searchsorted(ends, of(before + count))) + 1


def _added(left: Counts, right: Counts) -> Counts:
    return tuple([a + b for a, b in zip(left, right, strict=True)])


def _none(turns: Sequence[Turns]) -> Counts:
    return (0,) * len(turns[0].counts) if turns else ()


class _Filling:
    """One call: runs all steps, and notes whether each has as many entries as it had."""

    def __init__(
        self, kernel: Kernel, arguments: list[Any], output: Output, known: _Known, threads: int
    ) -> None:
        self._kernel, self._arguments, self._output = kernel, arguments, output
        self._known, self._threads = known, threads
        self._failed = False
        size = output.size(known.moved)
        memory = blocks.empty(max(threads * size, blocks.LEAST), np.dtype(np.uint8))
        self._spare = [memory[k * size :] for k in range(threads)] if known.moved else []

    def done(self) -> bool:
        """Run all steps; whether all went well."""
        each(self._known.groups, self._run, self._threads)
        if self._failed:
            return False
        for made in self._output.stored:
            if made.ends:
                # each step leaves the last end of a level to the step after it
                at, below = self._known.totals[made.level], self._known.totals[made.level + 1]
                self._arguments[made.hole][at] = below
        return True

    def _run(self, group: Sequence[_Step]) -> None:
        for step in group:
            if not self._failed and not (self._place(step) if step.placed else self._move(step)):
                self._failed = True

    def _place(self, step: _Step) -> bool:
        """Assemble a step where it belongs."""
        given = list(self._arguments)
        room = self._known.length - step.before[-1]
        for made in self._output.stored:
            given[made.hole] = given[made.hole][step.before[made.level] :]
        if not self._counts_as_before(given, step, room):
            return False
        for made in self._output.stored:
            if made.ends:
                ends, below = given[made.hole], step.before[made.level + 1]
                ends[1 : step.turns.counts[made.level]] += below
                ends[0] = below
        self._end_rows(step)
        return True

    def _move(self, step: _Step) -> bool:
        """Assemble a step in memory of its own, and put it where it belongs."""
        memory = self._spare.pop()
        given = self._output.within(self._arguments, step.turns.room, memory, rows=False)
        good = self._counts_as_before(given, step, step.turns.room)
        for made in self._output.stored if good else ():
            at, count = step.before[made.level], step.turns.counts[made.level]
            array, own = self._arguments[made.hole][at : at + count], given[made.hole][:count]
            if made.ends:
                np.add(own, step.before[made.level + 1], out=array)
            else:
                array[:] = own
        self._spare.append(memory)
        if good:
            self._end_rows(step)
        return good

    def _counts_as_before(self, given: list[Any], step: _Step, room: int) -> bool:
        at, turns = self._output.piece, step.turns
        given[at["begin"]], given[at["end"]] = turns.begin, turns.end
        given[at["first"]], given[at["past"]] = 0, room
        needed, *counts = self._kernel(*given)
        return needed == turns.room and tuple(counts) == turns.counts

    def _end_rows(self, step: _Step) -> None:
        for rows in self._output.rows:
            ends = self._arguments[rows.hole][slice(*step.turns.rows)]
            # rows without an end are those that no turn visits
            np.add(ends, step.before[0], out=ends, where=ends != 0 if rows.gaps else True)
