"""What finds cost, in nanoseconds on a current core: only ratios of costs matter.

Takes: a ``Workload``, what is expected of one search.  Gives: the cost of each algorithm for it.
Invariant: every cost is finite and not negative.  A cost counts what a processor does: instructions
that nothing hides, cache lines that are waited for, branches that are mistaken.  The constants are
those of an AMD EPYC with AVX-512, fitted on ``bench/sweep.md`` and on matrices of graphs and grids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Workload:
    """Expected sizes: ``length`` of the range, ``queries`` a setup, number of ``setups``.

    ``met`` is the length of the range that a query searches, ``hits`` the part of the queries that
    find something; ``known`` says that they rest on how the entries lie.  Queries come in ``loops``
    a setup, of which so many ``idle`` ones find nothing and deliver nothing but for that.
    ``curved`` says that comparing keys means comparing their interleaved bits, ``paired`` that the
    keys of a loop lie one behind the other, as those of the range do, ``level`` that ranges are of
    like length, as in grids: what is near each other there is known to be.  ``ends`` is the part of
    loops whose end comes unexpected, unless nothing in them is guessed.  Loops go over ``passed``
    bytes in all, of which they read values where something is found; the keys that they seek lie
    ``near`` times as near each other as by chance.  ``even``: ranges next to each other are of one
    length.  The operand has so many ``rows``, 0 where not all of them can be laid out.
    """

    length: float
    queries: float
    setups: float
    extent: float
    met: float
    hits: float
    known: bool = False
    loops: float = 0.0
    idle: float = 0.0
    curved: bool = False
    paired: bool = False
    level: bool = False
    ends: float = 0.0
    passed: float = 0.0
    near: float = 1.0
    even: bool = False
    rows: float = 0.0


MISTAKEN = 6.5
"""A branch predicted wrongly."""

LEARNED = 24_576.0
"""Bits that tell the outcomes of a call's branches, up to which processors predict them all when
the call is made again; of three times as many they predict none."""

CHANGED = 0.65
"""Which part of outcomes is mistaken at least, where one vector is sought in: it is another one at
most calls, unlike a matrix."""

TESTED = 0.05
"""A branch predicted well."""

ENDED = 3.8
"""A loop whose end was mistaken, more than one of few turns in which nothing is guessed takes."""

FAR, CACHED = 60.0, 24e6
"""Waiting for a line of memory that nothing read before told of, and bytes that caches hold."""

WASTED, FETCHED_IN_VAIN = 0.05, 0.25
"""Combining a value that was not needed, and one that is read for nothing else from far away."""

SUMMED = 1.2
"""Beginning and ending a loop of such values."""

DELIVERED = 3.0
"""An entry of a result that another find would have left out."""

COUNTED = 0.15
"""Counting the bits of a word."""

COMPARED = 0.021
"""Comparing one of several keys that an instruction compares."""

APART = 0.1
"""Comparing a key that is left over, alone."""

AT_ONCE, FORESEEN = 0.8, 1.25
"""Comparing the keys of a short loop with those of a short range at once, without mistaking where
either ends: as seen from other finds, which do, and which do not."""

ALONE, LEFT = 0.5, 0.48
"""Comparing a key with the only one of a range, and so that it is known whether to go on."""

MET = 2.5
"""Going to what was found so."""

INSTRUCTION = 8
"""Keys that an instruction compares, about: as many are left over on average, at most."""

LINE = 64
"""Bytes of a cache line."""

STREAMED = 0.15
"""Waiting for a line of a range that is read from end to end."""

WAITED = 1.0
"""Waiting, after a mistaken branch, for a line that nobody asked for before."""

NEAREST = 1 << 18
"""Bytes of an array whose lines come from a near cache before anything waits for them."""

NEAR = 1 << 21
"""Bytes that stay in the second cache."""

STORED = 0.38
"""Storing an entry of a range in an array over the keys, of which a few lines are near."""

BITS, MARKED = 0.2, 0.6
"""Bytes of bits and of their counts for each possible key, and marking a key."""

CLEARED = 0.4
"""Taking a value out of such an array again."""

BEGUN = 0.5
"""Beginning to fill an array with a range."""

STEP = 0.3
"""A step of a merge that goes on with the same operand as the one before."""

LEAP = 0.9
"""A step of a search that leaps ahead, or closes in on what it leapt over."""

HALVED = 0.5
"""A step of a search that halves a range."""


def _log(x: float) -> float:
    return math.log2(max(x, 1.0))


def _lookup(load: Workload, width: float) -> float:
    """Return what one access to an array over the keys costs, ``width`` bytes an element."""
    size = max(load.extent * width / load.near, NEAREST)
    return 0.1 + 0.05 * math.log2(size / NEAREST) if size <= NEAR else 1.0


def _initial(load: Workload, width: float) -> float:
    """Return what an array over the keys costs before anything is stored in it."""
    size = load.extent * width
    return size * (0.0065 if size <= NEAR else 0.1)


def _fill(load: Workload, width: float) -> float:
    """Return what storing the range in an array over the keys costs, ``width`` bytes an element.

    Keys come in order, so that each cache line is fetched once: dense rows pay less an element.
    """
    size = max(load.extent * width, 1.0)
    lines = min(load.length, size / LINE)
    far = 0.8 if size > NEAR else 0.0
    return BEGUN + 0.5 * STORED * load.length + (0.5 * STORED + far) * lines


def _clear(load: Workload) -> float:
    """Return what taking the range out of an array costs, which is not done after the last one."""
    return CLEARED * load.length if load.setups > 1.0 else 0.0


def _guessed(load: Workload, bits: float) -> float:
    """Return which part of outcomes is guessed, that take so many bits a query to tell."""
    every = load.setups * load.queries * bits
    least = CHANGED if load.setups <= 1.0 else 0.0
    return min(max(0.5 * (every / LEARNED - 1.0), least), 1.0)


def _single(load: Workload) -> bool:
    """Whether ranges are of one entry at most: one of several entries would make them uneven."""
    return load.even and load.met <= 1.0


def _gap(load: Workload) -> float:
    """Return how many keys a search passes from one query to the next, which come in order."""
    return load.met / max(load.queries, 1.0)


def _surprise(load: Workload) -> float:
    """Return how often a hit, or a miss, comes unexpected.

    Rows of a matrix share columns more often than chance has it, since some columns are full: where
    it is not known how often, ranges that are met one after the other are taken to hold more of
    what is sought.
    """
    least = 0.005 if load.known or load.setups <= 1.0 else 0.03
    rare = max(min(load.hits, 1.0 - load.hits), least)
    bits = -rare * math.log2(rare) - (1.0 - rare) * math.log2(1.0 - rare)
    return rare * _guessed(load, bits)


def _otherwise(load: Workload) -> float:
    """Return what is waited for a setup unless values are looked up: ends of loops, and values.

    Where little is found a value lies in a line that was not read before, of those of eight each;
    where much is found a processor fetches the lines in time.
    """
    read = 1.0 - (1.0 - load.hits) ** 8
    beyond = min(max(load.passed / CACHED - 0.5, 0.0), 1.0)
    waited = FAR * beyond * load.queries / 8.0 * read * (1.0 - read)
    return ENDED * load.ends * load.loops + waited


def _sums(load: Workload) -> float:
    """Return what adding values up that were not needed costs a setup.

    Those of an operand that a near cache holds are as near as what is needed.
    """
    if load.setups <= 1.0:
        return load.queries * (FETCHED_IN_VAIN if load.passed > NEAREST else WASTED)
    return load.queries * WASTED + load.loops * SUMMED + load.idle * DELIVERED


def count(load: Workload) -> float:
    """Return the cost of counting all keys before the sought one."""
    lines = load.met * 4.0 / LINE
    each = 1.7 + COMPARED * load.met + APART * min(load.met, INSTRUCTION)
    return load.setups * (1.0 + STREAMED * lines + load.queries * each + _otherwise(load))


def gallop(load: Workload) -> float:
    """Return the cost of leaping on from what the last query found.

    In ranges of one entry, at most, there is nothing to leap over.
    """
    if _single(load):
        each = LEFT + MISTAKEN * 0.5 * _guessed(load, 1.0)
        return load.setups * (load.queries * each + _otherwise(load))
    gap = _gap(load)
    bits = _log(gap) + 1.0
    wrong = 0.5 * bits * _guessed(load, bits)
    each = 1.0 + LEAP * _log(gap + 1.0) + MISTAKEN * wrong
    return load.setups * (load.queries * each + _otherwise(load))


def binary(load: Workload) -> float:
    """Return the cost of halving: what one query of a range finds is near what the next finds.

    In ranges of one entry, at most, nothing is guessed but whether it is the sought one.
    """
    if _single(load):
        each = ALONE + MISTAKEN * _surprise(load)
        return load.setups * (load.queries * each + _otherwise(load))
    steps = _log(load.met)
    bits = min(steps, _log(_gap(load)) + 2.0)
    wrong = 0.5 * bits * _guessed(load, bits)
    step = (2.0 if load.curved else 1.0) * HALVED
    each = 1.5 + step * steps + (MISTAKEN + WAITED) * wrong
    return load.setups * (load.queries * each + _otherwise(load))


def table(load: Workload) -> float:
    """Return the cost of looking up positions in an array that each range is stored in."""
    each = _lookup(load, 4) + TESTED + MISTAKEN * _surprise(load)
    each = load.queries * each + _otherwise(load)
    return _initial(load, 4) + load.setups * (_fill(load, 4) + each)


def spread(load: Workload) -> float:
    """Return the cost of looking up values in an array that ranges are laid out in."""
    return min(_spread(load), spread_rows(load))


def spread_rows(load: Workload) -> float:
    """Return the cost of ``spread`` where all rows are laid out once, in the second cache.

    It is infinite where they cannot be, or are more than that holds.
    """
    every = replace(load, extent=load.extent * load.rows, length=load.length * load.rows)
    if not 0.0 < every.extent * 8 <= NEAR:
        return math.inf
    laid = load.rows * BEGUN + _fill(every, 8) + _initial(every, 8)
    return laid + load.setups * (load.queries * _lookup(every, 8) + _sums(load))


def _spread(load: Workload) -> float:
    """Return the cost of ``spread`` where each range is laid out for its queries."""
    each = load.queries * _lookup(load, 8) + _sums(load)
    return _initial(load, 8) + load.setups * (_fill(load, 8) + _clear(load) + each)


def bitmap(load: Workload) -> float:
    """Return the cost of looking up bits, once a range that never changes is stored in them."""
    each = _lookup(load, BITS) + TESTED + COUNTED + MISTAKEN * _surprise(load)
    kept = _initial(load, BITS) + MARKED * load.length
    return kept + load.queries * each + _otherwise(load)


def merge(load: Workload) -> float:
    """Return the cost of going through a range beside the keys that are sought in it.

    It changes to the other operand and back for each key of the shorter one, unexpectedly.
    """
    turns = min(load.length, load.queries)
    each = STEP * (load.length + load.queries) + (MISTAKEN + 0.5) * turns
    return load.setups * (each + _otherwise(load))


def hashed(load: Workload) -> float:
    """Return the cost of looking keys up in a hash table."""
    return load.setups * (15.0 * load.length + 8.0 * load.queries + _otherwise(load))


def linear(load: Workload) -> float:
    """Return the cost of comparing keys one after the other: half of a range, all on a miss.

    A loop of at most 8 keys is compared with a range of at most 8 at once, in which nothing is
    guessed but whether, and where, something is found.
    """
    apart = load.queries * (0.2 + 0.25 * load.met) + _otherwise(load)
    if not load.paired:
        return load.setups * apart
    loops = max(load.loops, 1.0)
    found = load.queries * (MET * load.hits + MISTAKEN * _surprise(load))
    # lengths are averages: some are longer, unless all are alike
    inner = load.queries / loops
    beyond = float(load.met > INSTRUCTION) if load.even else (load.met / (INSTRUCTION + 1)) ** 4
    longer = min((inner / (INSTRUCTION + 1)) ** 4 + beyond, 1.0)
    at_once = (FORESEEN if load.level else AT_ONCE) * loops + found
    return load.setups * ((1.0 - longer) * at_once + longer * apart)
