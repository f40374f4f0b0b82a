"""Make the arrays a kernel writes its output to, and bind what was written.

Takes: a recipe, extents and counts.  Gives: arrays, then a tensor.  Invariant: memory is
refused before it is taken; sparse outputs are cut to the entries written.
"""

from __future__ import annotations

import numpy as np

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.layouts.catalogue import coordinates, terms_of_sums
from sparsedsl.layouts.enumerate import differs
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime import conversions
from sparsedsl.runtime.blocks import shortened
from sparsedsl.runtime.memory import memory_bytes
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.tensor import Tensor, bound

KEEP_BYTES = 1 << 20
"""Size from which an output array is kept although it is not full: what is not written takes
no memory."""

LITTLE_BYTES = 1 << 12
"""Size up to which it does not matter."""

INT32_ENTRIES = 2**31 - 1


def check_memory(recipe: Recipe, shape: tuple[int, ...]) -> None:
    """Raise PlanError for a dense output that there is no memory for."""
    room = np.dtype(recipe.dtype).itemsize
    for extent in shape:
        room *= extent
    if room > memory_bytes():
        raise PlanError(
            f"the result {recipe.output} would be a dense array of {room / 2**30:.3g} GiB, more "
            f"than the {memory_bytes() / 2**30:.3g} GiB that there are",
            hint='ask for a sparse result with sd.output("csr"), or reduce more indices',
        )


def entry_bytes(recipe: Recipe) -> int:
    """Return the bytes that an entry of a sparse output takes until the output is complete.

    A stream of entries is put in order: coordinates are put together, numbered, and copied in
    order with the value.
    """
    each = sum(np.dtype(m.dtype).itemsize for m in recipe.made if m.length == "room")
    return 2 * each + 8 * len(recipe.indices) + 8 if recipe.kind == "stream" else each


def check_room(recipe: Recipe, entries: int) -> None:
    """Raise PlanError for a bound on a sparse output's entries that there is no memory for."""
    size = entries * entry_bytes(recipe)
    if size > memory_bytes():
        raise PlanError(
            f"the result {recipe.output} may hold {entries} entries, which take {size / 2**30:.3g} "
            f"GiB, more than the {memory_bytes() / 2**30:.3g} GiB that there are",
            hint="mask the result by the pattern that is wanted of it, or reduce more indices",
        )


def fits(recipe: Recipe, entries: int) -> bool:
    """Return whether the output's indices count so many entries."""
    return entries <= INT32_ENTRIES or recipe.index_dtype != "int32"


def check_entries(recipe: Recipe, entries: int) -> None:
    """Raise PlanError for more entries than the output's indices count."""
    if not fits(recipe, entries):
        raise PlanError(
            f"the result {recipe.output} holds {entries} entries, more than int32 indices count",
            hint="give an operand with int64 indices",
        )


def cut(array: np.ndarray, count: int) -> np.ndarray:
    """Return the first ``count`` elements of a new array, whose rest is given back if it is waste.

    Nothing else may refer to the array's memory.
    """
    if LITTLE_BYTES < array.nbytes <= KEEP_BYTES:
        # shortened where it lies: nothing is copied
        array.resize(count, refcheck=False)
        return array
    return shortened(array, count)


def from_stream(
    recipe: Recipe, layout: Layout, columns: list[np.ndarray], shape: tuple[int, ...]
) -> Tensor:
    """Sort a stream, merge equal coordinates, drop fill values, build the layout."""
    wide = recipe.index_dtype == "int64" or max(shape, default=0) > INT32_ENTRIES
    coords = [column.astype("int64" if wide else "int32", copy=False) for column in columns[:-1]]
    values, fill = columns[-1], np.asarray(recipe.fill).astype(columns[-1].dtype)
    if not fill and recipe.combine in (None, "add"):
        # a zero adds nothing to others either
        coords, values = _kept(coords, values, recipe.fill, fill)
    found = _added_by_passes(recipe, coords, values, shape)
    coords, values = _merged(recipe, coords, values) if found is None else found
    coords, values = _kept(coords, values, recipe.fill, fill)
    listed = coordinates(len(shape))
    arrays = dict(zip(listed.arrays, (*coords, values), strict=True))
    if listed != layout:
        arrays = conversions.convert(listed, layout, shape, arrays, fill=recipe.fill)
    return bound(layout, shape, arrays, recipe.fill)


def _kept(
    coords: list[np.ndarray], values: np.ndarray, fill: object, rounded: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the entries whose value is not the fill, whatever the sign of a zero."""
    keep = differs(values, fill)
    keep &= values != rounded
    if keep.all():
        return coords, values
    return [column[keep] for column in coords], values[keep]


def _added_by_passes(
    recipe: Recipe, coords: list[np.ndarray], values: np.ndarray, shape: tuple[int, ...]
) -> tuple[list[np.ndarray], np.ndarray] | None:
    """Return sorted entries, the values of equal coordinates added, by compiled passes.

    None for other results, and where passes are not worth being made.
    """
    if recipe.combine not in (None, "add"):
        return None
    source, target = terms_of_sums(len(shape)), coordinates(len(shape))
    arrays = dict(zip(source.arrays, (*coords, values), strict=True))
    made = conversions.by_passes(source, target, shape, arrays)
    if made is None:
        return None
    *columns, added = (made[name] for name in target.arrays)
    return columns, added


def _merged(
    recipe: Recipe, coords: list[np.ndarray], values: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sorted entries, the values of equal coordinates combined."""
    order = np.lexsort(coords[::-1])
    coords, values = [column[order] for column in coords], values[order]
    first = np.ones(len(values), bool)
    first[1:] = np.any([column[1:] != column[:-1] for column in coords], axis=0)
    starts = np.flatnonzero(first)
    if len(starts) < len(values):
        monoid = MONOIDS[recipe.combine or "add"]
        values = monoid.ufunc.reduceat(values, starts).astype(values.dtype)
        coords = [column[starts] for column in coords]
    return coords, values
