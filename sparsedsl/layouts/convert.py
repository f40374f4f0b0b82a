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


def convert(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of the same tensor under ``target``.

    Entries equal to ``fill`` are kept when the source stores only what it was given (such as a
    list of coordinates) and dropped when it also stores padding (such as blocks); a negative
    zero is never dropped.  Index arrays are int64 where the source had int64 or the target
    needs it, else int32.

    Raises
    ------
    LayoutError, InvalidTensorError
        When the target cannot be built, or has no place for an entry.
    """
    coords, values = stored(source, shape, arrays, sizes)
    if not exact(source):
        keep = differs(values, fill)
        coords, values = coords[:, keep], values[keep]
    wide = any(arrays[name].dtype.itemsize == 8 for name in source.functions)
    return construct(
        target, shape, coords, values, fill=fill, index_dtype="int64" if wide else None
    )


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
