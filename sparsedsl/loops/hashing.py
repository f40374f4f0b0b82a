"""Where the search of a hash table begins."""

from __future__ import annotations

from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Expr

GOLDEN = 0x9E3779B97F4A7C15 - 2**64
"""2**64 divided by the golden ratio, as an int64 (Knuth, Art of Computer Programming 3, 6.4)."""


def home_slot(keys: tuple[Expr, ...], mask: Expr) -> Expr:
    """Return the home slot of a key tuple: multiply, fold the high bits down, mask."""
    mixed = keys[0]
    for key in keys[1:]:
        mixed = lb.add(lb.mul(mixed, 1_000_003), key)
    scrambled = lb.mul(mixed, GOLDEN)
    return lb.bit_and(lb.bit_xor(scrambled, lb.shift_right(scrambled, 32)), mask)
