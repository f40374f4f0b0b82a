"""Run one kernel in pieces of one of its loops, on several threads.

Takes: a recipe whose loop was proved to be shareable, and the arguments of a call.  Gives: the
output filled, or the counts of what was appended to it.  Invariant: the result is the same bit
for bit whatever the number of threads: turns write apart, entries are put in the order of the
loop, and sums are cut in pieces that follow from sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.options import Options, current
from sparsedsl.runtime.arguments import Gather
from sparsedsl.runtime.outputs import fits
from sparsedsl.runtime.places import GROUPS, Counts, Places, Turns, rows_of
from sparsedsl.runtime.recipe import Recipe, Share
from sparsedsl.runtime.splits import Part, Splits
from sparsedsl.runtime.threads import cuts, each
from sparsedsl.runtime.windows import Output, Piece, Windows, grouped

PIECES = 8
"""Pieces of a loop for each thread, where they cost nothing: they balance uneven turns."""

LEAST = 4096
"""Turns of a piece of a loop inside others: these are gone through again for each piece."""

COUNTED = 8
"""Ranges for each thread whose entries are counted, so that pieces can be made equal."""

FINE = 64
"""The same where pieces are to be assembled in their places from then on."""

STREAMING = 3
"""Threads from which entries that stream by are shared out in windows: one takes most of what the
memory gives to two, and stores past the caches, which pieces in windows do not."""

WINDOW = 1 << 17
"""Entries that a piece of a sparse output may have, about: they stay in a core's cache."""

ENTRY = 2.0
"""Estimated nanoseconds for each entry that a sparse output may have."""

PREPARING = 0.2
"""Part of these that may go into setting up workspaces again."""

SUMS = 8
"""Most pieces of a sum."""

SETUP = 0.5
"""Estimated nanoseconds for each element of a workspace that every piece sets up."""

SPARED = 0.04
"""Part of the time of a sum that may go into setting up workspaces again."""

APPENDED = 2.0
"""Times the threshold from which sparse results are shared: their entries are counted first, and
put in their places last."""

PREPARED = 1.5
"""Times the threshold where every piece does work of its own before the loop."""

PARTED = 2.0
"""Times the threshold where ranges are split: each thread goes through all of them."""

Function = Callable[..., tuple[int, ...]]


def pays(recipe: Recipe, share: Share, threshold: float) -> bool:
    """Whether a call is estimated to take so long that threads gain by sharing a loop of it."""
    times = max(
        1.0 if recipe.kind == "dense" else APPENDED,
        PREPARED if share.prepares else 1.0,
        PARTED if share.split is not None else 1.0,
    )
    return not share.far and recipe.nanoseconds >= threshold * times


class Sharing:
    """How the loop of one kernel is shared.

    Parameters
    ----------
    recipe, share, gather:
        How to call the kernel, the loop, and where its arguments stand.

    Attributes
    ----------
    gaps:
        Places of the arrays in which rows that no turn visits are still to be ended.
    placeable:
        Whether pieces of the output can be assembled in their places.
    """

    def __init__(self, recipe: Recipe, share: Share, gather: Gather) -> None:
        self.recipe = recipe
        self.share = share
        self.gather = gather
        self._extents = [k for k, a in enumerate(recipe.arguments) if a.kind in ("extent", "mode")]
        self._output = Output.of(recipe, gather)
        self.gaps = tuple(rows.hole for rows in self._output.rows if rows.gaps)
        self.placeable = len(self._output.ends) == 1 and len(self._output.rows) < 2

    def worth(self, parallel: bool | str, options: Options, *, placed: bool = False) -> bool:
        """Whether to cut the loop in pieces, ``placed``: that are assembled where they belong.

        Sums are cut on one thread too, so that their result does not depend on the threads.
        """
        if parallel is False:
            return False
        if parallel is not True and not pays(self.recipe, self.share, options.parallel_threshold):
            return False
        # last, since the system is asked for its cores
        windows = self.share.streams and parallel is not True and not placed
        least = STREAMING if windows else 2
        return not (self.share.apart and options.thread_count < least)

    def fill(
        self,
        kernel: Function,
        arguments: Sequence[Any],
        extents: Mapping[str, int],
        array: np.ndarray,
        splits: Splits | None = None,
    ) -> None:
        """Run the kernel of a dense output, which is written to ``array``.

        ``splits`` are those of operands that are known to be as they were at the last call.
        """
        threads = current().thread_count
        if self.share.split is not None:
            self._fill_split(kernel, arguments, splits, threads)
            return
        if self.share.apart:
            ranges = self._ranges(arguments, self._pieces(arguments, threads))
            each(ranges, partial(self._run, kernel, arguments), threads)
            return
        ranges = self._ranges(arguments, self._sums(extents))
        monoid = MONOIDS[self.recipe.combine or "add"]
        parts = np.full(len(ranges), monoid.identity(self.recipe.dtype), array.dtype)
        (place,) = self.gather.holes.values()

        def add_up(piece: int) -> None:
            mine = list(arguments)
            mine[place] = parts[piece : piece + 1].reshape(())
            self._run(kernel, mine, ranges[piece])

        each(range(len(ranges)), add_up, threads)
        if self.recipe.overwritten:
            array.fill(monoid.identity(self.recipe.dtype))
        for part in parts:
            monoid.ufunc(array, part, out=array)

    def _fill_split(
        self, kernel: Function, arguments: Sequence[Any], splits: Splits | None, threads: int
    ) -> None:
        """Run the kernel for the coordinates of each thread, once it is known where these are."""
        pointer, coordinates, at = self.gather.pointer, self.gather.split, self.gather.piece
        assert pointer is not None
        assert coordinates is not None
        given = arguments[pointer], arguments[coordinates]
        parts = [] if splits is None else splits.among(threads, *given)
        if not parts:
            kernel(*arguments)
            return

        def run(part: Part) -> None:
            mine = list(arguments)
            mine[at["low"]], mine[at["high"]], mine[at["split"]] = part
            kernel(*mine)

        each(parts, run, threads)

    def append(
        self,
        kernel: Function,
        arguments: list[Any],
        make: Callable[[Sequence[int]], None],
        places: Places | None = None,
    ) -> tuple[tuple[int, ...], ...]:
        """Run the kernel of sparse outputs; return the counts of each.

        ``make`` puts arrays with room for so many entries of each output among the arguments, where
        arrays without room stand first.  ``places`` are of operands that are known to be as they
        were.
        """
        threads = current().thread_count
        learning = places is not None and places.wanted(threads)
        fine = learning and not self._tells_rows
        ranges = self._ranges(arguments, threads * (FINE if fine else COUNTED))
        needed = self._needed(kernel, arguments, ranges, threads)
        totals = [sum(each) for each in zip(*needed, strict=True)]
        make(totals)
        # places are counted in the dtype of the output's indices
        appended = zip(self.recipe.appended, totals, strict=True)
        threads = threads if all(fits(each, total) for each, total in appended) else 1
        rooms = [max(each) for each in needed]
        pieces = (
            [Piece(*ends, room, counted=True) for ends, room in zip(ranges, rooms, strict=True)]
            if fine
            else self._pieces_of_rows(arguments, ranges, rooms, threads)
        )
        windows = Windows(self._output, arguments, pieces)
        levels = windows.fill(kernel, threads)
        self.close_gaps(arguments)
        if places is not None and learning:
            self._learn(kernel, arguments, places, pieces if fine else (), windows.counts)
        return self._output.each(levels)

    def placed(
        self, kernel: Function, arguments: list[Any], make: Callable[[int], None], places: Places
    ) -> tuple[int, ...] | None:
        """Run the kernel of a sparse output whose pieces have known places; return its counts.

        None where they are not known, or not right any more.
        """
        totals = places.fill(current().thread_count, kernel, arguments, make, self._output)
        if totals is None:
            return None
        self.close_gaps(arguments)
        return (totals[-1], *totals)

    def learn(self, kernel: Function, arguments: Sequence[Any], places: Places) -> None:
        """Note where pieces of an output go that one thread assembled."""
        if self._tells_rows and places.wanted(current().thread_count):
            self._learn(kernel, arguments, places, (), ())

    @property
    def _tells_rows(self) -> bool:
        """Whether the output says how many entries each turn appends."""
        told = len(self._output.rows) == 1 and self._output.levels == (0, 1)
        return told and not self._output.gaps

    def _learn(
        self,
        kernel: Function,
        arguments: Sequence[Any],
        places: Places,
        pieces: Sequence[Piece],
        counts: Sequence[Counts | None],
    ) -> None:
        """Note what pieces had; without any, what parts of the loop have as the output tells."""
        threads = current().thread_count
        if pieces:
            turns = self._turns(arguments, pieces, counts)
        else:
            ends = arguments[self._output.rows[0].hole]
            ranges = self._ranges(arguments, threads * FINE)
            needed = self._needed(kernel, arguments, ranges, threads)
            turns = [
                Turns(a, b, room, (int(ends[b]) - int(ends[a]),), (a + 1, b + 1))
                for (a, b), (room,) in zip(ranges, needed, strict=True)
            ]
        total = sum(t.room for t in turns)
        groups = threads * GROUPS
        if self.share.streams:
            # each stores past the caches, where there is room for so many entries
            groups = threads
        if self.share.prepares:
            # the last turns of each are run apart
            groups = max(min(self._spared(arguments, total) // 2, groups), threads)
        groups -= groups % threads
        places.learn(threads, turns, groups, self._output, self.share.reach)

    def _turns(
        self, arguments: Sequence[Any], pieces: Sequence[Piece], counts: Sequence[Counts | None]
    ) -> list[Turns]:
        """Return what pieces had, of an output that is complete."""
        found: list[Turns] = []
        before = 0
        for piece, had in zip(pieces, counts, strict=True):
            assert had is not None
            rows = piece.begin + 1, piece.end + 1
            if self._output.gaps:
                rows = rows_of(arguments[self._output.rows[0].hole], before, had[0])
            found.append(Turns(piece.begin, piece.end, piece.room, had, rows))
            before += had[0]
        return found

    def _needed(
        self,
        kernel: Function,
        arguments: Sequence[Any],
        ranges: Sequence[tuple[int, int]],
        threads: int,
    ) -> list[tuple[int, ...]]:
        """Return how many entries of each output every range of the loop may append."""
        found: list[tuple[int, ...]] = [()] * len(ranges)

        def count(k: int) -> None:
            counts = self._run(kernel, arguments, ranges[k], 0, NO_ROOM)
            found[k], _ = self._output.told(counts)

        each(range(len(ranges)), count, threads)
        return found

    def _spared(self, arguments: Sequence[Any], total: int) -> int:
        """Return how many pieces may set up memory, for so many entries in all."""
        setup = SETUP * max((1, *(arguments[k] for k in self._extents)))
        return int(total * ENTRY * PREPARING / setup)

    def _pieces_of_rows(
        self,
        arguments: Sequence[Any],
        ranges: Sequence[tuple[int, int]],
        rooms: Sequence[int],
        threads: int,
    ) -> list[Piece]:
        """Return the pieces that a sparse output is assembled in: few where each sets up memory."""
        total = sum(rooms)
        most = max(total // WINDOW, threads * PIECES) if threads > 1 else 1
        if (self.share.prepares or self._output.gaps) and threads > 1:
            spared = self._spared(arguments, total) // threads * threads
            most = min(most, max(spared, threads))
        if most <= len(ranges) or not total:
            return grouped(ranges, rooms, most)
        found: list[Piece] = []
        for (begin, end), room in zip(ranges, rooms, strict=True):
            # of so few turns one costs about what another does
            finer = cuts(end - begin, max(-(-room * most // total), 1), None)
            about = -(-5 * room // (4 * len(finer)))
            found += [Piece(begin + a, begin + b, about, counted=False) for a, b in finer]
        return found

    def close_gaps(self, arguments: Sequence[Any]) -> None:
        """End the rows of a sparse output that no turn of the loop visited."""
        for place in self.gaps:
            np.maximum.accumulate(arguments[place], out=arguments[place])

    def _run(
        self, kernel: Function, arguments: Sequence[Any], ends: tuple[int, int], *room: int
    ) -> tuple[int, ...]:
        """Run one piece: the range of the loop and, for sparse outputs, the places of entries."""
        mine, place = list(arguments), self.gather.piece
        mine[place["begin"]], mine[place["end"]] = ends
        for own in self.gather.ends if room else ():
            mine[own["first"]], mine[own["past"]] = room
        return kernel(*mine)

    def _pieces(self, arguments: Sequence[Any], threads: int) -> int:
        """Return how many pieces to cut for turns that write apart."""
        if self.share.prepares:
            return threads
        if not self.share.repeats:
            return threads * PIECES
        most = arguments[self.gather.piece["end"]] // LEAST
        return min(max(most, threads), threads * PIECES)

    def _sums(self, extents: Mapping[str, int]) -> int:
        """Return how many sums to make apart: few where each sets up a workspace."""
        if not self.share.prepares:
            return SUMS
        setup = SETUP * max((1, *extents.values()))
        return min(SUMS, max(int(self.recipe.nanoseconds * SPARED / setup), 1))

    def _ranges(self, arguments: Sequence[Any], pieces: int) -> list[tuple[int, int]]:
        place = self.gather.pointer
        pointer = None if place is None else arguments[place]
        return cuts(arguments[self.gather.piece["end"]], pieces, pointer) or [(0, 0)]


NO_ROOM = -1
"""A last place before the first one: the kernel counts, and appends nothing."""
