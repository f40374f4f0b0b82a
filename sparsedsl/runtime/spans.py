"""What the system is asked about several arrays: one question for those that lie side by side.

Takes: arrays as they were from a moment on (``pages.Tracked``).  Gives: ``Asked``, what machine
code asks the system about each.  Invariant: where all questions say no, none of the arrays was
written to, but for the bytes beside their whole pages, which are compared.

A question takes half a microsecond, and a nanosecond a page.  Arrays that a program makes one after
another often share the page where one ends and the next begins.  That page is followed, too, so
that a question may be about all from the first to the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sparsedsl.runtime.pages import PAGE, SCAN, Range, Tracked, system, written

NEAR = 2
"""Pages between two arrays up to which they lie side by side."""

QUESTION = 768
"""Pages that take as long as it takes to ask at all."""

QUIET = 2
"""Times that pages between were found to be written to: to be followed takes one, and one is let
pass."""


class Asked(NamedTuple):
    """What is asked of one array: file, request and words; the file is -1 if another one's are.

    The array was not written to while the request gives zero and the generation is the mark.
    ``kept`` are the pages between.
    """

    file: int
    request: int
    words: Any
    generation: np.ndarray
    mark: int
    kept: tuple[Range, ...] = ()


def asking(seen: Sequence[Tracked]) -> tuple[Asked, ...] | None:
    """Return what is asked of each array, in order; of those side by side the first asks for all.

    None where the system tells nothing.
    """
    if not seen:
        return ()
    asked = system()
    if asked is None:
        return None
    found: dict[int, Asked] = {}
    for places, between in _side_by_side(seen):
        ranges = [seen[place].pages for place in places]
        start = min(pages.start for pages in ranges)
        end = max(pages.start + pages.length for pages in ranges)
        first, words = min(places), ranges[0].look
        if (start, end) != (ranges[0].start, ranges[0].start + ranges[0].length):
            words = written(start, end - start, protect=False)
        for place in places:
            generation, mark = seen[place].pages.generation, seen[place].mark
            file = asked.pages if place == first else -1
            found[place] = Asked(file, SCAN, words, generation, mark, between)
    return tuple(found[place] for place in range(len(seen)))


def costly(asked: Sequence[Asked]) -> bool:
    """Whether it takes twice as long or more to ask than to ask whether the process had faults."""
    spent = 0.0
    for question in asked:
        if question.file >= 0:
            _, _, start, end, *_ = question.words
            spent += QUESTION + (end - start) / PAGE
    return spent >= 2 * QUESTION


def _side_by_side(seen: Sequence[Tracked]) -> list[tuple[list[int], tuple[Range, ...]]]:
    """Return the places of arrays in groups, with the pages between those of each group."""
    groups: list[tuple[list[int], tuple[Range, ...]]] = []
    end = 0
    for place in sorted(range(len(seen)), key=lambda place: seen[place].pages.start):
        pages = seen[place].pages
        between = _between(end, pages.start) if groups else None
        if between is None:
            groups.append(([place], ()))
        else:
            places, kept = groups[-1]
            groups[-1] = [*places, place], (*kept, *between)
        end = max(end, pages.start + pages.length)
    return groups


def _between(end: int, start: int) -> tuple[Range, ...] | None:
    """Return the pages from one range to the next, followed; None if they are not to be joined."""
    if start <= end:
        return ()
    if start - end > NEAR * PAGE:
        return None
    pages = Range.of(end, start - end)
    if pages is None or pages.mark() is None or pages.generation[0] > QUIET:
        return None
    return (pages,)
