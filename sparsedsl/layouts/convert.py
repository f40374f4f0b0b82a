"""Moving a tensor from any layout to any other.

Takes: arrays under one layout.  Gives: arrays under another.  Invariant: entries are
enumerated by the source's relation and built by the target's; no pair of layouts is special.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.enumerate import differs, entries
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact
from sparsedsl.layouts.order import first_unordered, lexsort


def convert(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
    whole: bool = False,
) -> dict[str, np.ndarray]:
    """The arrays of the same tensor under ``target``.

    Entries equal to ``fill`` are kept when the source stores only what it was given (such as a
    list of coordinates) and dropped when it also stores padding (such as blocks), unless the
    ``whole`` pattern is wanted; a negative zero is never dropped.  Values of a coordinate that
    the source stores several times are added up.  Index arrays are int64 where the source had
    int64 or the target needs it, else int32.

    Raises
    ------
    LayoutError, InvalidTensorError
        When the target cannot be built, or has no place for an entry.
    """
    coords, values, width = kept(source, shape, arrays, fill=fill, sizes=sizes, whole=whole)
    return construct(target, shape, coords, values, fill=fill, index_dtype=width)


def kept(
    source: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
    whole: bool = False,
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """The entries that ``convert`` stores, and the index dtype it wants, None where any will do."""
    coords, values = stored(source, shape, arrays, sizes)
    if source.repeats:
        coords, values = summed(coords, values)
    if not whole and not exact(source):
        keep = differs(values, fill)
        coords, values = coords[:, keep], values[keep]
    wide = any(arrays[name].dtype.itemsize == 8 for name in source.functions)
    return coords, values, "int64" if wide else None


def stored(
    layout: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates, shape ``(rank, n)``, and values, shape ``(n,)``, in storage order."""
    coords, positions = entries(layout, shape, arrays, sizes)
    data = arrays[layout.value.function]
    values = data[positions] if positions else np.repeat(data[None], coords.shape[1])
    return coords, values


def summed(
    coords: np.ndarray, values: np.ndarray, add: np.ufunc = np.add
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted coordinates, the values of equal ones added up (``or`` for bool), in their order.

    They are added one by one, as compiled passes do, not in pairs as a reduction of NumPy's does:
    a sum does not depend on what computed it.  ``add`` may be another operator.
    """
    columns = list(coords)
    if columns and first_unordered(columns, np.zeros(1, np.int64), strict=True) is None:
        return coords, values
    if columns:
        order = lexsort(columns)
        coords, values = coords.take(order, axis=1), values[order]
    fresh = np.ones(coords.shape[1], dtype=bool)
    fresh[1:] = (coords[:, 1:] != coords[:, :-1]).any(axis=0)
    totals = values[fresh]
    add.at(totals, np.cumsum(fresh)[~fresh] - 1, values[~fresh])
    return coords.compress(fresh, axis=1), totals  # each row in one piece, unlike by subscripts
