"""The cost model: expected visits and nanoseconds of each step, from the operands' sizes.

Takes: extents and entry counts.  Gives: estimates used to rank plans, never to decide what
is right.  Invariant: every estimate is positive.  The constants are rough times of one
operation on a current core; only their ratios matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sparsedsl.spf import terms
from sparsedsl.spf.nodes import FloorDiv, Term

LOOP = 0.6
"""One turn of a loop, its loads of coordinates included."""
SCATTER = 2.0
"""One update of a dense array at a random place."""
WORKSPACE = 4.0
"""One update of a dense accumulator and its bitmap."""
FLUSH = 4.0
"""One entry gathered from a dense accumulator into the output."""
APPEND = 1.5
"""One entry appended to the output."""
STREAM = 90.0
"""One entry of an unordered stream: written, sorted, combined, where there are few."""
SORTING, SORTED = 1.5e6, 40.0
"""A stream that is sorted by compiled passes, and one entry of it."""
FEW, CONVERT = 20_000, 60.0
"""Entries up to which conversions are few, and one of those converted to another layout."""
PASSES, PASSED = 2e5, 9.0
"""A conversion by compiled passes, and one entry in it: 1 to 7 in matrices, 8 to 28 in tensors."""
IN_ROWS = 4.0
"""One entry that passes find in a row and leave in it, so that neighbours stay near."""
TRANSPOSE = 2.0
"""One element of a plain array stored in another order of its axes."""
TURNING = 50_000.0
"""A call that copies dense operands first: it goes the long way through the library."""
HASHED, SOUGHT = 15.0, 8.0
"""One tuple of keys stored in a hash table, and one sought there."""
NEAR, FAR = 1e5, 20.0
"""Tuples whose table stays in the second cache, and waiting for a slot of a larger one."""
START = 1.0
"""Entering a loop or starting a find: a mispredicted branch, two loads."""
UNEXPECTED = 3.8
"""The end of a loop that comes unexpected."""
STRAIGHT = 0.15
"""One turn of a loop that is unrolled, since it has a constant number of turns."""
UNROLLED = 8
"""Most turns of a loop that is unrolled."""


@dataclass(frozen=True, slots=True)
class Unevenness:
    """How unevenly the entries of a dimension lie in its ranges; 1.0 where they lie evenly.

    ``skew`` is how many times as long as the average range that of an entry is, on average over
    entries.  ``crowd`` is how many times as often as by chance a coordinate that some range stores
    is stored by another one.  ``near`` is how many times as densely as by chance a range is filled
    between its first and its last coordinate.  ``mutual``: coordinates that are stored often are
    the numbers of long ranges.  ``turned``: it is of a copy whose ranges were coordinates.
    ``ragged``: ranges are often longer or shorter than the one before.  ``alike``: they often have
    the coordinates of the one before, several of them, as where points of a grid have several
    unknowns each.  ``lower``: coordinates are less than the number of their range, as in a strict
    lower triangle.
    """

    skew: float = 1.0
    crowd: float = 1.0
    near: float = 1.0
    mutual: bool = False
    turned: bool = False
    ragged: bool = False
    alike: bool = False
    lower: bool = False

    @property
    def across(self) -> Unevenness:
        """The same of a copy whose ranges are those of the coordinates.

        How many entries have a coordinate is left to chance, unless ranges are bands.
        """
        ragged, turned = self.near <= 1.0, not self.turned
        exchanged = replace(self, skew=self.crowd, crowd=self.skew, alike=False, lower=False)
        return replace(exchanged, turned=turned, ragged=ragged)


EVEN = Unevenness()


@dataclass(frozen=True, slots=True)
class Changes:
    """How ranges differ from the one before, which estimates of times alone ask for.

    ``length`` is the part of them that is longer or shorter than the one before, ``eights`` that
    which is so in eights.  ``run`` is how many follow one another with the same coordinates, on
    average over entries.
    """

    length: float
    eights: float
    run: float = 1.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of the actual operands.

    ``extents``: the extent of each logical index.  ``entries``: for each physical dimension
    of each operand, the number of tuples up to and including it, in storage order.  ``lengths``
    says of those that have ranges how long these are, ``uneven`` how unevenly entries lie in them;
    numbers are rounded, so that a length is no quotient of two.  ``changes`` says how ranges differ
    from the one before.
    """

    extents: Mapping[str, float]
    entries: Mapping[str, float]
    lengths: Mapping[str, float] = field(default_factory=dict[str, float])
    uneven: Mapping[str, Unevenness] = field(default_factory=dict[str, Unevenness])
    changes: Mapping[str, Changes] = field(default_factory=dict[str, Changes])

    def fanout(self, dims: tuple[str, ...], dim: str) -> float:
        """Return how many values ``dim`` takes for one value of the dimensions before it."""
        if dim in self.lengths:
            return max(self.lengths[dim], 1e-6)
        place = dims.index(dim)
        before = self.entries.get(dims[place - 1], 1.0) if place else 1.0
        return max(self.entries.get(dim, before) / max(before, 1.0), 1e-6)

    def unevenness(self, dim: str) -> Unevenness:
        """Return how unevenly the entries of a physical dimension lie; evenly, if unknown."""
        return self.uneven.get(dim, EVEN)

    def extent(self, index: str) -> float:
        """Return the extent of a logical index."""
        return max(self.extents.get(index, 1.0), 1.0)

    def room(self, values: Iterable[Term]) -> float:
        """Return how many values some terms can take together: a block's rows share one."""
        room = 1.0
        for value in values:
            for name in terms.variables(value):
                room *= self.extents.get(name, 1.0)
            for divisor in _divisors(value):
                room /= divisor
        return max(room, 1.0)


@lru_cache(maxsize=16384)
def _divisors(value: Term) -> tuple[int, ...]:
    """Return the constants that a term, or a part of it, is divided by."""
    divisions = (a for a in terms.atoms(value) if isinstance(a, FloorDiv))
    return tuple(a.denominator.constant for a in divisions if not a.denominator.parts)


def loop_cost(entries: float, turns: float, fixed: int | None, *, ragged: bool = False) -> float:
    """Return the cost of a loop entered ``entries`` times, ``turns`` in all.

    ``fixed`` is the constant number of turns of one entry, if it has one.  ``ragged``: it turns
    more or less often than the time before.
    """
    if fixed is not None and fixed <= UNROLLED:
        return turns * STRAIGHT
    return entries * (START + UNEXPECTED * ragged) + turns * LOOP


def convert_cost(entries: float) -> float:
    """Return the cost of converting so many entries; many are converted by compiled passes.

    >>> convert_cost(100.0), convert_cost(1e6)
    (6000.0, 9200000.0)
    """
    return CONVERT * entries if entries < FEW else PASSES + PASSED * entries


def rows_cost(entries: float) -> float:
    """Return the cost of converting so many entries that stay in their rows.

    >>> rows_cost(100.0), rows_cost(1e6)
    (6000.0, 4100000.0)
    """
    return CONVERT * entries if entries < FEW else 0.5 * PASSES + IN_ROWS * entries


def stream_cost(entries: float) -> float:
    """Return the cost of delivering so many entries in any order, more than that of a copy.

    >>> stream_cost(100.0), stream_cost(1e6)
    (9000.0, 41500000.0)
    """
    return min(STREAM * entries, SORTING + SORTED * entries)


def find_cost(
    length: float, queries: float, extent: float, setups: float, *, rising: bool, several: bool
) -> float:
    """Return the cheapest of all finds for ``queries`` queries, each in a range of ``length``.

    ``setups`` times the range changes; ``extent`` is the number of possible keys.  ``rising``:
    keys of one range are sought in order; ``several``: a key is a tuple, which subscripts no array.

    >>> find_cost(1e3, 1e3, 1e6, 1.0, rising=True, several=True)
    3000.0
    >>> find_cost(1e3, 1e3, 1e6, 1.0, rising=False, several=True)
    23000.0
    """
    setups = max(setups, 1.0)
    per_setup = queries / setups
    table = 2.0 * length + per_setup * (1.0 if extent < 1e5 else 3.0)
    kept = setups * table + extent * 0.3
    if several:
        waiting = FAR if length > NEAR else 0.0
        kept = setups * ((HASHED + waiting) * length + (SOUGHT + waiting) * per_setup)
    binary = per_setup * (4.0 + 3.0 * math.log2(length + 1.0))
    cursor = length + 2.0 * per_setup
    return min(kept, setups * binary, *([setups * cursor] if rising else []))
