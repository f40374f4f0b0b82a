"""Tokens of streams, and the levels of fibre trees as scanners read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rdu.emulate.values import Tree

Ints: TypeAlias = npt.NDArray[np.int64]

# What the stop of a token says that is none: an item; and the end of the stream.
ITEM = -1
DONE = 1 << 20


class Kind(IntEnum):
    """Kinds of stream nodes."""

    ROOT = 0
    SCAN = 1
    LOCATE = 2
    REPEAT = 3
    MERGE = 4
    FETCH = 5
    COMPUTE = 6
    ACCUMULATE = 7
    WRITE = 8


@dataclass(frozen=True, slots=True)
class Level:
    """A tree within one tile; the root axis covers ``start .. stop``.

    ``cut``: the parts of a tile have their own coordinates of the root.
    """

    tree: Tree
    uncompressed: bool
    start: int
    stop: int
    cut: bool
    _tables: dict[int, Ints] = field(default_factory=dict[int, "Ints"], init=False, repr=False)

    def fibres(self, level: int) -> Ints:
        """Return the children of a whole level: coordinate, first leaf, last leaf of each."""
        if level not in self._tables:
            self._tables[level] = self._fibres(level)
        return self._tables[level]

    def _fibres(self, level: int) -> Ints:
        table = self.tree.coordinates
        if level == 0 and self.uncompressed:
            ends = np.searchsorted(table[:, 0], np.arange(self.start, self.stop + 1))
            return np.stack([np.arange(self.start, self.stop), ends[:-1], ends[1:]], axis=1)
        if not len(table):
            return np.zeros((0, 3), dtype=np.int64)
        new = np.any(table[1:, : level + 1] != table[:-1, : level + 1], axis=1)
        first = np.concatenate([[0], np.flatnonzero(new) + 1])
        last = np.concatenate([first[1:], [len(table)]])
        return np.stack([table[first, level], first, last], axis=1)
