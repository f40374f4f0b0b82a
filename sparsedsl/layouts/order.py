"""Order and uniqueness of tuples stored as columns, range by range.

Takes: integer columns and the starts of the ranges.  Gives: the first pair of places that
breaks the order, or None; and stable sorting permutations.  Invariant: neighbours in different
ranges are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

# From this length on, counting passes beat comparisons.
LONG = 2048
# Tuples compared at once: what that takes stays in a cache.
PART = 1 << 16
# Tuples compared before those: what is in no order mostly begins so.
FIRST = 1 << 10
# Bits of a code that stays clear of the sign.
WORD = 62
# Slots for an element up to which a table is indexed, not searched.
DENSE = 4


def first_unordered(
    columns: Sequence[np.ndarray], starts: np.ndarray, *, strict: bool
) -> tuple[int, int] | None:
    """The first neighbours in one range whose tuples do not increase.

    >>> first_unordered([np.array([1, 2, 0, 0])], np.array([0, 2]), strict=True)
    (2, 3)
    """
    count = len(columns[0]) if columns else 0
    at, part = 0, FIRST
    while at < count - 1:
        good = _increasing([column[at : at + part + 1] for column in columns], strict=strict)
        low, high = np.searchsorted(starts, (at, at + part), side="right")
        pair = _first(good, starts[low:high] - at)
        if pair is not None:
            return pair[0] + at, pair[1] + at
        at, part = at + part, PART
    return None


def _increasing(columns: Sequence[np.ndarray], *, strict: bool) -> np.ndarray:
    """Whether each tuple is above the one before it, or equal where not ``strict``."""
    head, *rest = columns
    if not rest:
        return head[1:] > head[:-1] if strict else head[1:] >= head[:-1]
    good, equal = head[1:] > head[:-1], head[1:] == head[:-1]
    for column in rest:
        good |= equal & (column[1:] > column[:-1])
        equal &= column[1:] == column[:-1]
    return good if strict else good | equal


def first_unordered_morton(
    columns: Sequence[np.ndarray], starts: np.ndarray
) -> tuple[int, int] | None:
    """The first neighbours whose interleaved bits do not strictly increase."""
    if not columns or len(columns[0]) < 2:
        return None
    head = columns[0]
    good, top = head[1:] > head[:-1], head[1:] ^ head[:-1]
    for column in columns[1:]:
        bits = column[1:] ^ column[:-1]
        # The highest differing bit decides: that of ``bits`` is above that of ``top``.
        higher = (top < bits) & (top < (top ^ bits))
        good = np.where(higher, column[1:] > column[:-1], good)
        top = np.where(higher, bits, top)
    return _first(good, starts)


def first_overlap(
    begins: np.ndarray, ends: np.ndarray, starts: np.ndarray
) -> tuple[int, int] | None:
    """The first interval that ends before it begins (twice), or begins in the one before it.

    >>> first_overlap(np.array([0, 2, 1]), np.array([2, 3, 4]), np.zeros(1, int))
    (1, 2)
    """
    backward = np.flatnonzero(ends < begins)
    if len(backward):
        return int(backward[0]), int(backward[0])
    return _first(begins[1:] >= ends[:-1], starts) if len(begins) > 1 else None


def _first(good: np.ndarray, starts: np.ndarray) -> tuple[int, int] | None:
    edges = starts[(starts > 0) & (starts <= len(good))] - 1
    good[edges] = True
    if good.all():
        return None
    place = int(np.argmin(good))
    return place, place + 1


def first_duplicate(columns: Sequence[np.ndarray], starts: np.ndarray) -> tuple[int, int] | None:
    """Two places of one range with equal tuples; sorts."""
    if not columns or len(columns[0]) < 2:
        return None
    count = len(columns[0])
    ranges = np.zeros(count, np.int64)
    ranges[starts[(starts > 0) & (starts < count)]] = 1
    keys = [np.cumsum(ranges), *columns]
    if first_unordered(keys, np.zeros(1, np.int64), strict=True) is None:
        return None
    order = lexsort(keys)
    same = np.ones(count - 1, dtype=bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    if not same.any():
        return None
    place = int(np.argmax(same))
    first, second = sorted((int(order[place]), int(order[place + 1])))
    return first, second


def lexsort(columns: Sequence[np.ndarray]) -> np.ndarray:
    """A stable permutation that sorts tuples, the first column most significant.

    Linear in the count for long columns.
    """
    if len(columns[0]) < LONG:
        return np.lexsort(tuple(reversed(columns)))
    order = np.arange(len(columns[0]))
    for column in reversed(columns):
        low = int(column.min())
        width = int(column.max()) - low
        if width >= 1 << 48:
            order = order[np.argsort(column[order], kind="stable")]
            continue
        # NumPy sorts 16-bit integers by counting: one such pass per 16 bits.
        for shift in range(0, width.bit_length(), 16):
            digit = ((column[order] - low) >> shift).astype(np.uint16)
            order = order[np.argsort(digit, kind="stable")]
    return order


def morton_sort(columns: Sequence[np.ndarray]) -> np.ndarray:
    """A stable permutation that sorts non-negative tuples by their interleaved bits.

    >>> morton_sort([np.array([0, 1, 0]), np.array([2, 1, 0])])
    array([2, 1, 0])
    """
    rank = len(columns)
    width = max((int(c.max()).bit_length() for c in columns if len(c)), default=0)
    piece = min(8, WORD // rank)
    spread = _spread(piece, rank)
    codes: list[np.ndarray] = []
    pieces = range(0, width, piece)
    for first in range(len(pieces) - 1, -1, -(WORD // (piece * rank))):
        code = np.zeros(len(columns[0]), np.int64)
        for place in range(first, max(first - WORD // (piece * rank), -1), -1):
            code <<= piece * rank
            for mode, column in enumerate(columns):
                bits = spread[(column >> pieces[place]) & ((1 << piece) - 1)]
                code |= bits << (rank - 1 - mode)
        codes.append(code)
    return lexsort(codes) if codes else np.arange(len(columns[0]))


def _spread(width: int, rank: int) -> np.ndarray:
    """Each number of ``width`` bits with ``rank - 1`` zeros above every bit.

    >>> _spread(2, 2)
    array([0, 1, 4, 5])
    """
    numbers = np.arange(1 << width)
    return sum(
        (((numbers >> bit) & 1) << (bit * rank) for bit in range(width)), np.zeros_like(numbers)
    )


def sorted_order(columns: Sequence[np.ndarray]) -> np.ndarray:
    """``lexsort``, linear when the tuples are sorted already."""
    count = len(columns[0])
    if first_unordered(columns, np.zeros(1, np.int64), strict=False) is None:
        return np.arange(count)
    return lexsort(columns)


def distinct_order(columns: Sequence[np.ndarray]) -> np.ndarray | None:
    """A permutation that sorts tuples, of which few or none are equal; None if they are sorted."""
    if not columns or first_unordered(columns, np.zeros(1, np.int64), strict=False) is None:
        return None
    spans = [int(column.max()) + 1 for column in columns]
    if prod(spans) >= 1 << WORD or min(int(column.min()) for column in columns) < 0:
        return lexsort(columns)
    code = columns[0]
    for column, span in zip(columns[1:], spans[1:], strict=True):
        code = code * span + column
    return np.argsort(code)


def locate(
    rows: Sequence[np.ndarray], table: Sequence[np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The place of each of ``count`` rows in a table of distinct tuples, and which were found.

    Rows and table are columns; without columns every row is at place 0.

    >>> locate([np.array([3, 9])], [np.array([1, 3])], 2)
    (array([1, 0]), array([ True, False]))
    """
    if not rows:
        return np.zeros(count, np.int64), np.ones(count, dtype=bool)
    places = len(table[0])
    if not places:
        return np.zeros(count, np.int64), np.zeros(count, dtype=bool)
    if len(rows) == 1 and (table[0] == np.arange(places)).all():
        found = (rows[0] >= 0) & (rows[0] < places)
        return np.where(found, rows[0], 0), found
    wanted, known, span = _codes(rows, table)
    if span <= DENSE * (count + places):
        at = np.full(span, -1)
        at[known] = np.arange(places)
        spots = at[wanted]
        return np.maximum(spots, 0), spots >= 0
    ordered = bool((known[1:] > known[:-1]).all())
    order = np.arange(places) if ordered else np.argsort(known, kind="stable")
    known = known if ordered else known[order]
    spots = np.minimum(np.searchsorted(known, wanted), places - 1)
    found = known[spots] == wanted
    return np.where(found, order[spots], 0), found


def _codes(
    rows: Sequence[np.ndarray], table: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int]:
    """One number for each tuple, less than the third result; the last one tells none in the table.

    Where the ranges of the columns are too wide, their values are ranked first.
    """
    wanted, known = np.zeros(len(rows[0]), np.int64), np.zeros(len(table[0]), np.int64)
    outside, span = np.zeros(len(rows[0]), dtype=bool), 1
    for row, column in zip(rows, table, strict=True):
        low, high = int(column.min()), int(column.max())
        outside |= (row < low) | (row > high)
        size = high - low + 1
        if span * size >= 1 << WORD:
            both = np.concatenate([wanted, known])
            _, both = np.unique(both, return_inverse=True)
            wanted, known = both[: len(wanted)], both[len(wanted) :]
            span = int(both.max()) + 1
            values, column = np.unique(column, return_inverse=True)
            place = np.minimum(np.searchsorted(values, row), len(values) - 1)
            outside |= values[place] != row
            row, low, size = place, 0, len(values)
        wanted, known = wanted * size + (row - low), known * size + (column - low)
        span *= size
    return np.where(outside, span, wanted), known, span + 1
