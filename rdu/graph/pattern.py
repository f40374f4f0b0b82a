"""Which coordinates are stored: coordinate tables and their joins.

A table is an int64 array ``[entries, axes]``, rows sorted and distinct.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Table: TypeAlias = npt.NDArray[np.int64]


def sort_rows(table: Any) -> Table:
    """Return the distinct rows in lexicographic order."""
    rows = np.asarray(table, dtype=np.int64)
    if rows.shape[1] == 0:
        return rows[:1]
    return np.unique(rows, axis=0)


def reorder(table: Table, axes: Sequence[str], wanted: Sequence[str]) -> Table:
    """Project the columns ``axes`` to ``wanted`` and sort."""
    return sort_rows(table[:, [list(axes).index(axis) for axis in wanted]])


def join(left: Table, left_axes: Sequence[str], right: Table, right_axes: Sequence[str]) -> Table:
    """Natural join; columns are ``left_axes`` then the axes only ``right`` has.

    >>> join(np.array([[0, 1], [1, 0]]), "ik", np.array([[0, 5], [0, 6]]), "kj").tolist()
    [[1, 0, 5], [1, 0, 6]]
    """
    shared = [axis for axis in left_axes if axis in right_axes]
    extra = [n for n, axis in enumerate(right_axes) if axis not in left_axes]
    columns_left = left[:, [list(left_axes).index(axis) for axis in shared]]
    columns_right = right[:, [list(right_axes).index(axis) for axis in shared]]
    both = np.concatenate([columns_left, columns_right])
    if shared:
        _, keys = np.unique(both, axis=0, return_inverse=True)
        keys = keys.reshape(-1)
    else:
        keys = np.zeros(len(both), dtype=np.int64)
    key_left, key_right = keys[: len(left)], keys[len(left) :]
    order = np.argsort(key_right, kind="stable")
    start = np.searchsorted(key_right[order], key_left, "left")
    stop = np.searchsorted(key_right[order], key_left, "right")
    counts = stop - start
    rows = np.repeat(np.arange(len(left)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    partners = order[np.repeat(start, counts) + offsets]
    return np.concatenate([left[rows], right[partners][:, extra]], axis=1)


def random_table(shape: Sequence[int], stored: int) -> Table:
    """A uniform pattern with ``stored`` entries (seed 0): what is assumed of unknown data."""
    total = 1
    for extent in shape:
        total *= int(extent)
    rng = np.random.default_rng(0)
    flat = rng.choice(total, size=stored, replace=False, shuffle=False)
    table = np.stack(np.unravel_index(np.sort(flat), tuple(shape)), axis=1)
    return table.astype(np.int64)
