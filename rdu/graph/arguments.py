"""What tracing needs to know of a kernel's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rdu.graph.pattern import Table


@dataclass(frozen=True, slots=True)
class Argument:
    """What is known of one input: its shape, and its stored coordinates if it is sparse."""

    shape: tuple[int, ...]
    pattern: Table | None = None
    stored: int | None = None


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
    if hasattr(value, "tocoo"):
        found = value.tocoo()
        coords = getattr(found, "coords", None)
        parts = coords if coords is not None else (found.row, found.col)
        return Argument(shape, np.stack([np.asarray(p, dtype=np.int64) for p in parts], axis=1))
    if hasattr(value, "to_numpy"):
        dense = np.asarray(value.to_numpy())
        if value.nnz >= dense.size:
            return Argument(shape)
        return Argument(shape, np.argwhere(dense != 0).astype(np.int64))
    if hasattr(value, "nnz"):
        total = 1
        for n in shape:
            total *= n
        if getattr(value, "dense", value.nnz >= total):
            return Argument(shape)
        return Argument(shape, stored=int(value.nnz))
    return Argument(shape)
