"""What tracing needs to know of a kernel's arguments."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.graph.pattern import Table


@dataclass(frozen=True, slots=True)
class Argument:
    """What is known of one input: its shape, and its stored coordinates if it is sparse.

    ``order`` are its modes as its storage nests them: (1, 0) where columns are stored one
    after the other.
    """

    shape: tuple[int, ...]
    pattern: Table | None = None
    stored: int | None = None
    order: tuple[int, ...] | None = None


def describe(value: Any) -> Argument:
    """Read shape and pattern of an argument: NumPy, SciPy, ``sd.Tensor`` or ``sd.ShapeOf``.

    Raises
    ------
    RDUError
        On anything without a shape.
    """
    shape = getattr(value, "shape", None)
    if shape is None:
        value = np.asarray(value)
        shape = value.shape
    shape = tuple(int(n) for n in shape)
    if isinstance(value, np.ndarray):
        return Argument(shape)
    total = math.prod(shape)
    if hasattr(value, "to_numpy") and value.nnz >= total:
        return Argument(shape)
    if (found := entries_of(value)) is not None:
        return Argument(shape, found[0], order=nesting(found[0]))
    if hasattr(value, "nnz"):
        if getattr(value, "dense", value.nnz >= total):
            return Argument(shape)
        return Argument(shape, stored=int(value.nnz))
    return Argument(shape)


def entries_of(value: Any) -> tuple[Table, npt.NDArray[Any]] | None:
    """Return the coordinates ``[entries, modes]`` and values of a sparse array, as stored.

    Those at equal places are added where a layout stores several. None for other arrays.
    """
    if hasattr(value, "tocoo"):
        found = value.tocoo()
        coords = getattr(found, "coords", None)
        parts = coords if coords is not None else (found.row, found.col)
        table = np.stack([np.asarray(p, dtype=np.int64) for p in parts], axis=1)
        return table, np.asarray(found.data)
    if not hasattr(value, "coordinates"):
        return None
    columns, values = value.coordinates()
    table = np.asarray(columns, dtype=np.int64).T
    distinct = np.unique(table, axis=0)
    if len(distinct) == len(table):
        return table, np.asarray(values)
    return distinct, np.asarray(value.to_numpy())[tuple(distinct.T)]


def nesting(stored: Table) -> tuple[int, ...]:
    """Return the first order of modes in which coordinates ascend, as they are stored.

    The natural order if they ascend in none.

    >>> nesting(np.array([[0, 0], [2, 0], [1, 1]]))
    (1, 0)
    """
    natural = tuple(range(stored.shape[1]))
    orders = itertools.permutations(natural) if len(natural) <= 4 else iter([natural])
    return next((order for order in orders if _ascends(stored[:, list(order)])), natural)


def _ascends(rows: Table) -> bool:
    """Whether rows are in lexicographic order."""
    decided = np.zeros(max(len(rows) - 1, 0), dtype=bool)
    for column in rows.T:
        step = np.diff(column)
        if np.any(~decided & (step < 0)):
            return False
        decided |= step > 0
    return True
