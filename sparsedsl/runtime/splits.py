"""Ranges of sorted entries, each split among threads by a coordinate.

Takes: the array that bounds the ranges and that of the coordinates.  Gives: for each thread where
its part of each range begins and ends.  Invariant: of a range, a thread has the entries whose
coordinates are its own, in their order; every entry is some thread's.

To split takes as long as a few products with a vector, so that it is done for operands that are
met again and again, and kept for as long as they stay as they are.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sparsedsl.runtime.threads import each

PATIENCE = 4
"""Calls with the same operands before their ranges are split."""

SAMPLE = 1 << 12
"""Coordinates that tell how many entries each thread has."""

CHUNK = 1 << 15
"""Ranges that are split at a time: what that needs stays in a core's cache."""

Part = tuple[np.ndarray, np.ndarray, int]
"""Where the parts of one thread begin and end; 0 if they end where the next range begins."""


class Splits:
    """How the ranges of one operand are split, which must stay as it is."""

    def __init__(self) -> None:
        self._calls = 0
        self._known: dict[int, list[Part]] = {}

    def forget(self) -> None:
        """Let go of what is known."""
        self._calls, self._known = 0, {}

    def among(self, threads: int, pointer: np.ndarray, coordinates: np.ndarray) -> list[Part]:
        """Return the parts of each thread; none while it is too early to split."""
        self._calls += 1
        if self._calls <= PATIENCE:
            return []
        found = self._known.get(threads)
        if found is None:
            found = self._known[threads] = _parts(threads, pointer, coordinates)
        return found


def _parts(threads: int, pointer: np.ndarray, coordinates: np.ndarray) -> list[Part]:
    """Split at coordinates that as many entries lie before as after, as far as a sample tells."""
    if not coordinates.size:
        return []
    step = max(coordinates.size // SAMPLE, 1)
    sample = np.sort(coordinates[::step])
    bounds = [sample[len(sample) * k // threads] for k in range(1, threads)]
    inside = [split(pointer, coordinates, bound, threads) for bound in bounds]
    ends = [(places, 1) for places in inside]
    return [
        (low, high, inner)
        for (low, _), (high, inner) in pairwise([(pointer, 0), *ends, (pointer, 0)])
    ]


def split(pointer: np.ndarray, coordinates: np.ndarray, bound: int, threads: int = 1) -> np.ndarray:
    """Return for each range the place of its first coordinate that is not below ``bound``.

    >>> split(np.array([0, 3, 3, 5]), np.array([1, 4, 7, 0, 2]), 4)
    array([1, 3, 5])
    """
    places = np.empty(len(pointer) - 1, pointer.dtype)

    def run(start: int) -> None:
        low, high = pointer[start : start + CHUNK + 1][:-1], pointer[start + 1 : start + CHUNK + 1]
        places[start : start + CHUNK] = _first(low, high, coordinates, bound)

    each(range(0, len(places), CHUNK), run, threads)
    return places


def _first(low: np.ndarray, high: np.ndarray, coordinates: np.ndarray, bound: int) -> np.ndarray:
    """Return the first place in each ``low .. high`` whose coordinate is not below ``bound``."""
    last = coordinates.size - 1
    while np.any(low < high):
        middle = low + (high - low) // 2
        below = (coordinates[np.minimum(middle, last)] < bound) & (low < high)
        low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
    return low
