"""Order and uniqueness of tuples stored as columns, range by range.

Takes: integer columns and the starts of the ranges.  Gives: the first pair of places that
breaks the order, or None; and stable sorting permutations.  Invariant: neighbours in different
ranges are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# From this length on, counting passes beat comparisons.
LONG = 2048


def first_unordered(
    columns: Sequence[np.ndarray], starts: np.ndarray, *, strict: bool
) -> tuple[int, int] | None:
    """The first neighbours in one range whose tuples do not increase.

    >>> first_unordered([np.array([1, 2, 0, 0])], np.array([0, 2]), strict=True)
    (2, 3)
    """
    if not columns or len(columns[0]) < 2:
        return None
    head, *rest = columns
    good = head[1:] > head[:-1]
    if rest or not strict:
        equal = head[1:] == head[:-1]
        for column in rest:
            good |= equal & (column[1:] > column[:-1])
            equal &= column[1:] == column[:-1]
        if not strict:
            good |= equal
    return _first(good, starts)


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
    """A stable permutation that sorts non-negative tuples by their interleaved bits."""
    width = max((int(c.max()).bit_length() for c in columns if len(c)), default=0)
    bits = [(c >> bit) & 1 for bit in range(width - 1, -1, -1) for c in columns]
    return lexsort(_packed(bits)) if bits else np.arange(len(columns[0]))


def _packed(bits: list[np.ndarray]) -> list[np.ndarray]:
    """Rows of bits joined into columns of 62."""
    packed: list[np.ndarray] = []
    for start in range(0, len(bits), 62):
        column = np.zeros(len(bits[0]), np.int64)
        for bit in bits[start : start + 62]:
            column = (column << 1) | bit
        packed.append(column)
    return packed


def sorted_order(columns: Sequence[np.ndarray]) -> np.ndarray:
    """``lexsort``, linear when the tuples are sorted already."""
    count = len(columns[0])
    if first_unordered(columns, np.zeros(1, np.int64), strict=False) is None:
        return np.arange(count)
    return lexsort(columns)


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
    if len(rows) == 1 and (table[0] == np.arange(places)).all():
        found = (rows[0] >= 0) & (rows[0] < places)
        return np.where(found, rows[0], 0), found
    code = np.zeros(count + places, np.int64)
    for row, column in zip(rows, table, strict=True):
        _, ranks = np.unique(np.concatenate([row, column]), return_inverse=True)
        _, code = np.unique(code * (int(ranks.max(initial=0)) + 1) + ranks, return_inverse=True)
    wanted, known = code[:count], code[count:]
    if not places:
        return np.zeros(count, np.int64), np.zeros(count, dtype=bool)
    order = np.argsort(known, kind="stable")
    spots = np.minimum(np.searchsorted(known[order], wanted), places - 1)
    found = known[order][spots] == wanted
    return np.where(found, order[spots], 0), found
