"""Sizes as plans count them: by magnitude, so that operands of about one size share a kernel.

Takes: numbers of entries, extents, ratios of such.  Gives: their magnitudes, and the number that
stands for one.  Invariant: a plan reads nothing of sizes but what these give.
"""

from __future__ import annotations


def bucket(count: float) -> int:
    """Return the order of magnitude in powers of four: plans do not change within one.

    >>> [bucket(n) for n in (0, 1, 2, 7, 8, 31, 32)]
    [0, 0, 1, 1, 2, 2, 3]
    """
    return max(int(count), 0).bit_length() // 2


def rounded(count: float) -> float:
    """Return the size that stands for a bucket, so that equal keys give equal plans.

    >>> rounded(7), rounded(8)
    (4.0, 16.0)
    """
    return float(4 ** bucket(count)) if count >= 1 else 1.0


EMPTY = -64
"""The magnitude of a ratio of nothing to something."""


def ratio(count: int, to: int) -> int:
    """Return the order of magnitude of a ratio, in powers of two.

    How long rows are decides more than how many there are, and is told apart more finely.

    >>> [ratio(n, 100) for n in (10, 60, 70, 130, 140, 370, 2000)]
    [-3, -1, 0, 0, 1, 2, 4]
    """
    if not count:
        return EMPTY
    several = (3 * count // (2 * to)).bit_length() if to else 0
    return several - 1 if several else 1 - (3 * to // (2 * count)).bit_length()
