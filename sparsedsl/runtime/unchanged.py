"""Whether an array still holds what it held when it was last looked at as a whole.

Takes: arrays that users may write to between calls.  Gives: ``Sample``, ``Watch`` and ``Copied``,
and facts about values.  Invariant: arrays of up to ``WHOLE`` elements are looked at as a whole,
and so are longer ones, until the system says that nobody wrote to them (``runtime.pages``): it is
asked to from the third look on, and later again for arrays that are written to.  Where it cannot
tell, longer arrays count as unchanged while they hold bitwise the same at ``SAMPLES`` places, the
first and the last among them, and a watch reads all of them at its first looks and now and then.
With the option ``safe`` every array is looked at as a whole.  Nothing here keeps an array of a
user alive, but for the ``Watch`` of its owner.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sparsedsl.options import current
from sparsedsl.runtime import pages
from sparsedsl.runtime.values import holds

WHOLE = 16384
"""Elements up to which an array is looked at as a whole: a few microseconds."""

SAMPLES = 64
"""Places at which longer arrays are compared: half a microsecond, when they are in cache."""

SOON = 3
"""The look from which on the system follows an array: one that is met once is not worth it."""

FIRST = 8
"""Looks at which a watch reads sampled arrays from end to end; a call takes one or two."""

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


def told() -> bool:
    """Whether the system tells of writes, and is to be asked."""
    return current().track_writes and pages.system() is not None


@dataclass(slots=True, eq=False)
class Follow:
    """One long array, followed by the system for as long as nobody writes to it.

    After every write it is left alone for four times as many looks, since first writes to pages
    that are followed take longer.  ``refused``: the system cannot follow this array.
    """

    tracked: pages.Tracked | None = None
    looks: int = 0
    due: int = SOON
    wait: int = 4
    refused: bool = False

    def keeps(self, array: np.ndarray) -> bool:
        """Whether the system says that the array holds what it held at the last ``begin``."""
        return self.tracked is not None and self.tracked.holds(array)

    def begin(self, array: np.ndarray) -> None:
        """Follow the array from here on, if it is time to; it is read after this."""
        self.looks += 1
        if self.tracked is not None:
            self.tracked, self.due = None, self.looks + self.wait
            self.wait *= 4
        if self.looks >= self.due:
            self.tracked = pages.Tracked.of(array)
            self.refused = self.tracked is None

    def stop(self) -> None:
        """What the array holds is not what it is to hold."""
        self.tracked = None


class Watched(NamedTuple):
    """An index array, what was seen of it, and what follows it where it is long."""

    array: np.ndarray
    sample: Sample
    follow: Follow

    @property
    def sampled(self) -> bool:
        """Whether the array is neither read at every look nor followed."""
        return self.sample.places is not None and (self.follow.refused or not told())

    def holds(self) -> bool:
        """Whether the array is as it was, or seems so where it is sampled."""
        array, sample, follow = self
        if sample.places is None:
            return sample.matches(array)
        if follow.keeps(array):
            return array.shape == sample.shape and array.dtype == sample.dtype
        if not sample.matches(array):
            return False
        if self.sampled:
            return True
        follow.begin(array)
        same = self.holds_wholly()
        if not same:
            follow.stop()
        return same

    def holds_wholly(self) -> bool:
        """Whether a long array is as it was, read from end to end."""
        return self.sample.digest is None or digest(self.array) == self.sample.digest


@dataclass(slots=True, eq=False, weakref_slot=True)
class Watch:
    """Index arrays that others may write to, what was seen of each, and how many values there are.

    A watch that found a change stays at that; what checks the arrays again makes a new one.
    """

    seen: tuple[Watched, ...]
    values: np.ndarray
    size: int
    looks: int = 0
    changed: bool = False

    @staticmethod
    def of(arrays: Iterable[np.ndarray], values: np.ndarray) -> Watch:
        """Look at index arrays that are C-contiguous, from end to end."""
        seen = tuple([Watched(x, Sample.of(x, whole=True), Follow()) for x in arrays])
        return Watch(seen, values, values.size)

    @property
    def sampled(self) -> bool:
        """Whether any of the arrays is only sampled at most looks."""
        return any(watched.sampled for watched in self.seen)

    def holds(self) -> bool:
        """Whether the arrays are as they were, and there are as many values."""
        if self.changed or self.values.size != self.size:
            return False
        for watched in self.seen:
            if not watched.holds():
                self.changed = True
                return False
        self.looks = looks = self.looks + 1
        return (looks > FIRST and looks % SELDOM != 0) or self.holds_wholly()

    def holds_wholly(self) -> bool:
        """Whether those that are sampled are as they were, read from end to end."""
        for watched in self.seen:
            if watched.sampled and not watched.holds_wholly():
                self.changed = True
        return not self.changed


@dataclass(slots=True, eq=False)
class Copied:
    """Values as they were when a copy was made from them."""

    values: np.ndarray
    follow: Follow

    @staticmethod
    def of(array: np.ndarray) -> Copied:
        """Copy an array that is C-contiguous."""
        return Copied(array.copy(), Follow())

    def holds(self, array: np.ndarray) -> bool:
        """Whether the array, the one that was copied, holds bitwise what it held."""
        long = array.size > WHOLE and not self.follow.refused and told()
        if long and self.follow.keeps(array):
            return array.shape == self.values.shape and array.dtype == self.values.dtype
        if long:
            self.follow.begin(array)
        same = same_bits(array, self.values)
        if long and not same:
            self.follow.stop()
        return same


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


@dataclass(slots=True)
class _Found:
    """Facts found to hold of all values of an array."""

    reference: weakref.ref[np.ndarray]
    sample: Sample
    follow: Follow
    facts: set[str]

    def keeps(self, values: np.ndarray) -> bool:
        """Whether the facts still hold, as far as that can be told."""
        if self.follow.refused or not told():
            return self.sample.matches(values)
        if values.dtype == self.sample.dtype and self.follow.keeps(values):
            return True
        self.follow.begin(values)
        return False


_found: dict[int, _Found] = {}


def still_holds(fact: str, values: np.ndarray) -> bool:
    """Whether a fact of ``values.FACTS`` holds of all values.

    Exact, but where the system cannot tell who writes to memory: there a fact of a long array
    that held at the last look is taken to hold while a sample is as it was.

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
    if found is None or found.reference() is not values:
        reference = weakref.ref(values, lambda _: _found.pop(key, None))
        found = _found[key] = _Found(reference, Sample.of(values), Follow(), set())
        found.follow.begin(values)
    elif not found.keeps(values):
        found.sample = Sample.of(values)
        found.facts.clear()
    if fact in found.facts:
        return True
    if holds(fact, values):
        found.facts.add(fact)
        return True
    return False


def found_to_hold(fact: str, values: np.ndarray) -> pages.Tracked | Sample | None:
    """Return what a long array was when a fact was last found to hold of it.

    None where it is to be looked at as a whole.
    """
    found = _found.get(id(values))
    if found is None or found.reference() is not values or fact not in found.facts:
        return None
    return found.sample if found.follow.refused or not told() else found.follow.tracked
