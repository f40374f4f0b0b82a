"""Whether an array still holds what it held when it was last looked at as a whole.

Takes: arrays that users may write to between calls.  Gives: ``Sample`` and ``Watch``, and facts
about values at the cost of a sample.  Invariant: arrays of up to ``WHOLE`` elements are looked at
as a whole; longer ones count as unchanged while they hold bitwise the same at ``SAMPLES`` places,
the first and the last among them, and a watch looks at all of them at its first looks and now and
then.  With the option ``safe`` every array is looked at as a whole.  Nothing here keeps an array
of a user alive, but for the ``Watch`` of its owner.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sparsedsl.options import current
from sparsedsl.runtime.values import holds

WHOLE = 16384
"""Elements up to which an array is looked at as a whole: a few microseconds."""

SAMPLES = 64
"""Places at which longer arrays are compared: half a microsecond, when they are in cache."""

FIRST = 8
"""Looks at which a watch reads longer arrays from end to end; a call takes one or two."""

SELDOM = 16
"""After those, one look of so many reads all of them.  To read the index arrays takes 16 to 38 %
of a product with a vector, so that this costs at most 2.4 %."""

LANES = 512
"""Sums that a digest is of: they stay in the nearest cache."""

CHUNK = 1 << 16
"""Elements compared before stopping early."""

_GOLDEN = (5**0.5 - 1) / 2


@lru_cache(maxsize=64)
def _places(count: int) -> np.ndarray:
    """Return one place of each of ``SAMPLES`` equal parts, the first and the last among them.

    Where in its part a place lies varies, so that the places do not all fall into a few
    columns of a matrix.
    """
    parts = np.arange(SAMPLES)
    places = ((parts + parts * _GOLDEN % 1) * (count / SAMPLES)).astype(np.intp)
    places[-1] = count - 1
    return places


class Sample(NamedTuple):
    """What an array held: all of it, or some places of it and a digest."""

    dtype: np.dtype
    shape: tuple[int, ...]
    places: np.ndarray | None
    seen: bytes
    digest: bytes | None = None

    @staticmethod
    def of(array: np.ndarray, *, whole: bool = False) -> Sample:
        """Look at an array that is C-contiguous; ``whole``: from end to end."""
        if array.size <= WHOLE:
            return Sample(array.dtype, array.shape, None, array.tobytes())
        places = _places(array.size)
        found = digest(array) if whole else None
        return Sample(array.dtype, array.shape, places, array.take(places).tobytes(), found)

    def matches(self, array: np.ndarray) -> bool:
        """Whether the array, the one looked at, seems to be as it was."""
        if array.shape != self.shape or array.dtype != self.dtype:
            return False
        # nothing is looked up here that a call which finds its caches cold would wait for
        looked = array if self.places is None else array.take(self.places)
        return looked.tobytes() == self.seen


def digest(array: np.ndarray) -> bytes:
    """Return sums over all of a C-contiguous array: one pass, as fast as memory is read.

    No change of one element leaves them as they were, nor one of several but by chance.

    >>> x = np.arange(5000)
    >>> before = digest(x)
    >>> x[4321] = -1
    >>> digest(x) == before
    False
    """
    content = array.reshape(-1).view(np.uint8)
    whole = content.size - content.size % (8 * LANES)
    lanes = content[:whole].view(np.uint64).reshape(-1, LANES)
    return np.add.reduce(lanes, axis=0).tobytes() + content[whole:].tobytes()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Watch:
    """Index arrays that others may write to, what was seen of each, and how many values there are.

    A watch that found a change stays at that; what checks the arrays again makes a new one.
    """

    seen: tuple[tuple[np.ndarray, Sample], ...]
    values: np.ndarray
    size: int
    looks: int = 0
    changed: bool = False

    @staticmethod
    def of(arrays: Iterable[np.ndarray], values: np.ndarray) -> Watch:
        """Look at index arrays that are C-contiguous, from end to end."""
        seen = tuple([(array, Sample.of(array, whole=True)) for array in arrays])
        return Watch(seen, values, values.size)

    @property
    def sampled(self) -> bool:
        """Whether any of the arrays is too long to be read at every look."""
        return any(sample.places is not None for _, sample in self.seen)

    def holds(self) -> bool:
        """Whether the arrays seem to be as they were, and there are as many values."""
        if self.values.size != self.size:
            return False
        for array, sample in self.seen:
            if not sample.matches(array):
                return False
        self.looks = looks = self.looks + 1
        if looks <= FIRST or not looks % SELDOM:
            return self.holds_wholly()
        return not self.changed

    def holds_wholly(self) -> bool:
        """Whether the longer arrays are as they were, read from end to end."""
        for array, sample in self.seen:
            if sample.digest is not None and digest(array) != sample.digest:
                self.changed = True
        return not self.changed


def same_bits(array: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays hold the same, element by element, NaNs and signs of zeros included.

    >>> same_bits(np.array([np.nan, 0.0]), np.array([np.nan, -0.0]))
    False
    """
    if array.shape != other.shape or array.dtype != other.dtype:
        return False
    word = next(size for size in (8, 4, 2, 1) if array.itemsize % size == 0)
    here, there = (x.reshape(-1).view(f"u{word}") for x in (array, other))
    return all(
        np.array_equal(here[k : k + CHUNK], there[k : k + CHUNK])
        for k in range(0, here.size, CHUNK)
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Facts found to hold of all values of an array."""

    reference: weakref.ref[np.ndarray]
    sample: Sample
    facts: set[str]


_found: dict[int, _Found] = {}


def still_holds(fact: str, values: np.ndarray) -> bool:
    """Whether a fact of ``values.FACTS`` holds of all values, as far as a sample tells.

    Exact for an array met first, for one of up to ``WHOLE`` elements, and where the fact did
    not hold at the last look.

    >>> big = np.ones(100_000)
    >>> still_holds("finite", big)
    True
    >>> big[0] = np.nan
    >>> still_holds("finite", big)
    False
    """
    if values.size <= WHOLE or current().safe:
        return holds(fact, values)
    key = id(values)
    found = _found.get(key)
    if found is None or found.reference() is not values or not found.sample.matches(values):
        reference = weakref.ref(values, lambda _: _found.pop(key, None))
        found = _found[key] = _Found(reference, Sample.of(values), set())
    if fact in found.facts:
        return True
    if holds(fact, values):
        found.facts.add(fact)
        return True
    return False


def found_to_hold(fact: str, values: np.ndarray) -> Sample | None:
    """Return what a long array held when a fact was last found to hold of it."""
    found = _found.get(id(values))
    if found is None or found.reference() is not values or fact not in found.facts:
        return None
    return found.sample
