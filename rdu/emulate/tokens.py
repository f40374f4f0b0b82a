"""Streams as arrays: one entry a token, items and the stops between them.

``stop`` is `ITEM` for an item, the level of a stop, or `DONE`; ``data`` holds a coordinate
``[tokens]`` or a reference ``[tokens, 2]`` (first and last leaf; first -1 for none) where
the token is an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rdu.emulate.values import Tree

Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

ITEM = -1
DONE = 1 << 20


@dataclass(frozen=True, slots=True)
class Tokens:
    """A whole stream.

    >>> Tokens(np.array([ITEM, ITEM, 0, DONE]), np.array([3, 5, 0, 0])).items.tolist()
    [True, True, False, False]
    """

    stop: Ints
    data: Ints

    def __len__(self) -> int:
        return len(self.stop)

    @property
    def items(self) -> Mask:
        """Which tokens are items."""
        return self.stop == ITEM

    @property
    def lists(self) -> Ints:
        """The number of stops in front of each token: which innermost list it is in."""
        ends = (self.stop >= 0).astype(np.int64)
        return np.cumsum(ends) - ends


def one_reference(stop: int) -> Tokens:
    """The stream of a tree's root: one reference to the leaves ``0 .. stop``."""
    return Tokens(np.array([ITEM, DONE]), np.array([[0, stop], [0, 0]]))


@dataclass(frozen=True, slots=True)
class Level:
    """A tree within one tile, as scanners read it; the root axis covers ``start .. stop``."""

    tree: Tree
    uncompressed: bool
    start: int
    stop: int

    def fibres(self, level: int) -> tuple[Ints, Ints, Ints]:
        """Return every child of the whole level: coordinates, first leaves, last leaves."""
        table = self.tree.coordinates
        if level == 0 and self.uncompressed:
            ends = np.searchsorted(table[:, 0], np.arange(self.start, self.stop + 1))
            return np.arange(self.start, self.stop), ends[:-1], ends[1:]
        if not len(table):
            none = np.zeros(0, dtype=np.int64)
            return none, none, none
        new = np.any(table[1:, : level + 1] != table[:-1, : level + 1], axis=1)
        first = np.concatenate([[0], np.flatnonzero(new) + 1])
        return table[first, level], first, np.concatenate([first[1:], [len(table)]])

    def located(self, coordinates: Ints, known: Mask) -> Ints:
        """References to the children at ``coordinates`` of the root; none unless ``known``."""
        column = self.tree.coordinates[:, 0]
        low = np.searchsorted(column, coordinates)
        high = np.searchsorted(column, coordinates + 1)
        low = np.where(known & (high > low), low, -1)
        return np.stack([low, high], axis=1)


def same_structure(streams: Sequence[Tokens]) -> bool:
    """Whether streams have items and stops at the same places."""
    return all(np.array_equal(s.stop, streams[0].stop) for s in streams[1:])
