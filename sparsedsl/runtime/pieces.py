"""Sparse outputs assembled in pieces of the outermost loop, then joined.

Takes: a kernel that appends the entries of a piece of its loop to places of their own.  Gives:
the arrays of the whole output.  Invariant: they are what one call for the whole loop appends,
whatever the pieces are.

Two phases: every piece counts the entries that it may append, in parallel; then each appends
them to its own part of the arrays, and the parts are moved together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

import numpy as np

from sparsedsl.runtime.recipe import Made


@dataclass(frozen=True, slots=True)
class Part:
    """A piece ``begin .. end`` of the loop, and the places ``first .. past`` of its entries."""

    begin: int
    end: int
    first: int
    past: int


def grouped(ranges: Sequence[tuple[int, int]], rooms: Sequence[int], pieces: int) -> list[Part]:
    """Join neighbouring ranges into at most ``pieces`` parts of about equal work.

    ``rooms`` are the entries that each range may append, which stand for its work.

    >>> [(p.begin, p.end, p.first, p.past) for p in grouped([(0, 2), (2, 3), (3, 9)], [4, 4, 8], 2)]
    [(0, 3, 0, 8), (3, 9, 8, 16)]
    """
    before = [0, *accumulate(rooms)]
    total = before[-1]
    ends = {len(ranges)} | {
        int(np.searchsorted(before, total * k / pieces)) for k in range(1, pieces)
    }
    bounds = [0, *sorted(ends - {0})]
    return [Part(ranges[a][0], ranges[b - 1][1], before[a], before[b]) for a, b in pairwise(bounds)]


def joined(
    made: Sequence[Made],
    arrays: Mapping[str, np.ndarray],
    parts: Sequence[Part],
    counts: Mapping[str, Sequence[int]],
) -> list[Callable[[], None]]:
    """Return what moves the parts together: tasks that may run at the same time, long ones first.

    ``counts`` gives for each counter the entries that each part appended.
    """
    tasks: list[tuple[int, Callable[[], None]]] = []
    entries: Sequence[int] = ()
    for item in made:
        array = arrays[item.param]
        if not item.ends:
            entries = counts[item.used]
            task = partial(_move, array, parts, entries)
        elif item.used:
            # a level's pointers come after its coordinates
            task = partial(_move_segments, array, parts, counts[item.used], entries)
        else:
            task = partial(_end_rows, array, parts, entries)
        tasks.append((array.nbytes, task))
    return [task for _, task in sorted(tasks, key=lambda sized: -sized[0])]


def _move(array: np.ndarray, parts: Sequence[Part], counts: Sequence[int]) -> None:
    """Move the entries of each part behind those of the parts before."""
    at = counts[0]
    for part, count in zip(parts[1:], counts[1:], strict=True):
        if at != part.first:
            array[at : at + count] = array[part.first : part.first + count]
        at += count


def _move_segments(
    array: np.ndarray, parts: Sequence[Part], parents: Sequence[int], entries: Sequence[int]
) -> None:
    """Move the ends of segments together, and let them point to where their entries moved."""
    at, moved = parents[0], entries[0]
    for part, count, below in zip(parts[1:], parents[1:], entries[1:], strict=True):
        ends = array[part.first + 1 : part.first + 1 + count] - (part.first - moved)
        array[at + 1 : at + 1 + count] = ends
        at, moved = at + count, moved + below


def _end_rows(array: np.ndarray, parts: Sequence[Part], entries: Sequence[int]) -> None:
    """Let the ends of rows point to where their entries moved."""
    # a part's own ends are not before its first place, those of the parts before are
    # sought in the array's own dtype: for another one NumPy converts the whole array
    firsts = np.array([part.first for part in parts[1:]], array.dtype)
    starts = [*np.searchsorted(array, firsts), len(array)]
    moved = entries[0]
    for part, count, (low, high) in zip(parts[1:], entries[1:], pairwise(starts), strict=True):
        array[low:high] -= part.first - moved
        moved += count
