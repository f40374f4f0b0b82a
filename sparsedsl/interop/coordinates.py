"""Tensors made of coordinates in any order, as files have them.

Takes: coordinates, values and a shape.  Gives: a ``Tensor``.  Invariant: repeated coordinates are
added, and coordinates that are none are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedsl.interop.arrays import bind
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.convert import summed
from sparsedsl.runtime.tensor import Tensor

SPARSE_ROWS = 1 << 28
"""Rows more than entries from which a matrix read stays in coordinates."""


def whole(coords: np.ndarray) -> np.ndarray:
    """Coordinates as int64; ValueError for an array that holds no integers."""
    if np.asarray(coords).dtype.kind not in "iu":
        raise ValueError(f"coordinates of dtype {np.asarray(coords).dtype}")
    return np.asarray(coords, "int64")


def from_coordinates(coords: np.ndarray, values: np.ndarray, shape: Any, fill: Any = 0) -> Tensor:
    """CSR for matrices, COO for others and for matrices of far more rows than entries.

    Repeated coordinates are added.
    """
    rank = len(shape)
    coords, values = summed(whole(coords), values)
    columns = {f"crd{mode}": coords[mode] for mode in range(rank)}
    made = bind(resolve("coo", rank), shape, {**columns, "data": values}, fill)
    return made.convert("csr") if rank == 2 and shape[0] <= SPARSE_ROWS + len(values) else made
