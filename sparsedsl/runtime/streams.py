"""Sparse outputs whose entries a kernel delivers in any order: put in order, combined, stored.

Takes: a column of coordinates for each mode, and values.  Gives: a tensor.  Invariant: values of
equal coordinates are combined in the order they were delivered in, whatever puts them in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsedsl.contraction.nodes import Scalar
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.layouts.catalogue import coordinates, terms_of_sums
from sparsedsl.layouts.convert import summed
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime import conversions
from sparsedsl.runtime.outputs import INT32_ENTRIES
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.tensor import Tensor, bound

Columns = list[np.ndarray]
"""Coordinates, a column for each mode, and the values."""


def from_stream(
    recipe: Recipe, layout: Layout, columns: Sequence[np.ndarray], shape: tuple[int, ...]
) -> Tensor:
    """Return the tensor of the entries that were delivered, without those equal to the fill."""
    wide = recipe.index_dtype == "int64" or max(shape, default=0) > INT32_ENTRIES
    *coords, values = columns
    entries = [*(c.astype("int64" if wide else "int32", copy=False) for c in coords), values]
    combine = recipe.combine or "add"
    if combine == "add" and not recipe.fill:
        entries = _unlike(recipe.fill, entries)  # a zero adds nothing to others either
        made = _stored_at_once(layout, entries, shape)
        if made is not None:
            return bound(layout, shape, made, recipe.fill)
    entries = _unlike(recipe.fill, _sorted(combine, entries, shape))
    listed = coordinates(len(shape))
    arrays = dict(zip(listed.arrays, entries, strict=True))
    if listed != layout:
        arrays = conversions.convert(listed, layout, shape, arrays, fill=recipe.fill)
    return bound(layout, shape, arrays, recipe.fill)


def _unlike(fill: Scalar, entries: Columns) -> Columns:
    """Return the entries whose value is not the fill; all zeros are one value, and all NaN."""
    values = entries[-1]
    same = np.isnan(values) if fill != fill else values == np.asarray(fill).astype(values.dtype)
    keep = ~same
    return entries if keep.all() else [column[keep] for column in entries]


def _stored_at_once(
    layout: Layout, entries: Columns, shape: tuple[int, ...]
) -> dict[str, np.ndarray] | None:
    """Add and store entries by one conversion; None where sums are zero or it is not worth it."""
    made = _by_passes(entries, layout, shape)
    if made is None or (made[layout.value.function] == 0).any():
        return None
    return made


def _sorted(combine: str, entries: Columns, shape: tuple[int, ...]) -> Columns:
    """Return entries in order of their coordinates, the values of equal ones combined."""
    if combine == "add":
        listed = coordinates(len(shape))
        made = _by_passes(entries, listed, shape)
        if made is not None:
            return [made[name] for name in listed.arrays]
    *coords, values = entries
    table, values = summed(np.stack(coords), values, MONOIDS[combine].ufunc)
    return [*table, values]


def _by_passes(
    entries: Columns, target: Layout, shape: tuple[int, ...]
) -> dict[str, np.ndarray] | None:
    """Store sums of entries by compiled passes; None where they are not worth being made."""
    source = terms_of_sums(len(shape))
    arrays = dict(zip(source.arrays, entries, strict=True))
    return conversions.by_passes(source, target, shape, arrays)
