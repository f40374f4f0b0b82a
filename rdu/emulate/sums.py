"""Entries of a result, and sums of those at equal places in the order in which they arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Entries:
    """Places ``[entries, axes]`` with values ``[entries, *block]``, or None without data."""

    places: npt.NDArray[np.int64]
    values: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.places)


def nothing(axes: int) -> Entries:
    """No entries."""
    return Entries(np.zeros((0, axes), dtype=np.int64), None)


def added(first: Entries, second: Entries) -> Entries:
    """Join two lists of entries: places sorted and distinct, values summed one after the other.

    >>> a = Entries(np.array([[2], [1], [2]]), np.float32([1, 2, 3]))
    >>> total = added(nothing(1), a)
    >>> total.places.tolist(), total.values.tolist()
    ([[1], [2]], [2.0, 4.0])
    """
    if not len(second):
        return first
    distinct, owner = _distinct(np.concatenate([first.places, second.places]))
    if second.values is None:
        return Entries(distinct, None)
    held: list[Any] = [second.values] if first.values is None else [first.values, second.values]
    values = np.concatenate(held)
    # Adding to -0.0 changes no number, so the first value is taken as it is.
    total = np.full((len(distinct), *values.shape[1:]), -0.0, dtype=values.dtype)
    np.add.at(total, owner, values)
    return Entries(distinct, total)


def _distinct(
    places: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if places.shape[1] == 0:
        return places[:1], np.zeros(len(places), dtype=np.int64)
    high = places.max(axis=0, initial=0) + 1
    if len(places) and np.prod(high.astype(np.float64)) < 2.0**62:
        key = np.ravel_multi_index(tuple(places.T), tuple(high.tolist()))
        _, first, owner = np.unique(key, return_index=True, return_inverse=True)
        return places[first], owner.reshape(-1)
    distinct, owner = np.unique(places, axis=0, return_inverse=True)
    return distinct, owner.reshape(-1)
