"""Call a compiled kernel on bound tensors and bind what it returns.

Takes: a recipe, a dispatcher and tensors.  Gives: a tensor.  Invariant: the arrays handed to
the kernel are those the plan was proved for; outputs are cut to the entries written.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import differs
from sparsedsl.layouts.extent import infer_sizes
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.tensor import Tensor

KEEP_BYTES = 1 << 20
"""Size from which an output array is kept although it is not full: what was never written
takes no memory."""

INT32_ENTRIES = 2**31 - 1


def all_finite(tensor: Tensor) -> bool:
    """Whether every stored value is finite; the sum decides it in one fast pass."""
    values = tensor.values
    if values.dtype.kind not in "fc" or not values.size:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def unusual(recipe: Recipe, tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Return the tensors whose values forbid skipping implicit zeros."""
    bad = {name for name in recipe.finite if not all_finite(tensors[name])}
    bad |= {name for name in recipe.nonzero if not tensors[name].values.all()}
    return frozenset(bad)


def make_copies(recipe: Recipe, tensors: MutableMapping[str, Tensor]) -> None:
    """Add the copies in other layouts that the kernel reads."""
    for copy in recipe.copies:
        if copy.name not in tensors:
            tensors[copy.name] = tensors[copy.source].convert(hierarchical(copy.order))


def gather(
    recipe: Recipe,
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
    output: np.ndarray | None,
) -> list[Any]:
    """Return the kernel's arguments in order."""
    found: list[Any] = []
    for argument in recipe.arguments:
        match argument.kind:
            case "array":
                found.append(tensors[argument.tensor].arrays[argument.name])
            case "size":
                found.append(tensors[argument.tensor].sizes[argument.name])
            case "mode":
                found.append(tensors[argument.tensor].shape[int(argument.name)])
            case "extent":
                found.append(extents[argument.name])
            case _:
                found.append(output)
    return found


def fresh_output(recipe: Recipe, extents: Mapping[str, int]) -> np.ndarray | None:
    """Return the array a dense output is accumulated in, or None for other outputs."""
    if recipe.kind != "dense":
        return None
    shape = tuple(extents[recipe.indices[m]] for m in recipe.places)
    room = np.dtype(recipe.dtype).itemsize
    for extent in shape:
        room *= extent
    if room > 2**46:
        raise PlanError(
            f"the result {recipe.output} would be a dense array of {room / 2**40:.0f} TiB",
            hint='ask for a sparse result with sd.output("csr"), or reduce more indices',
        )
    if recipe.initial == 0 and not str(recipe.initial).startswith("-"):
        return np.zeros(shape, recipe.dtype)
    return np.full(shape, recipe.initial, recipe.dtype)


def bind(
    recipe: Recipe,
    layout: Layout,
    results: tuple[Any, ...],
    output: np.ndarray | None,
    extents: Mapping[str, int],
) -> Tensor:
    """Return the output as a tensor in ``layout``."""
    shape = tuple(extents[i] for i in recipe.indices)
    if output is not None:
        sizes = dict(zip(layout.extents, shape, strict=True))
        return Tensor(layout, shape, {layout.value.function: output}, recipe.fill, sizes)
    named = dict(zip(recipe.results, results, strict=True))
    if recipe.kind == "stream":
        return _from_stream(recipe, layout, named, shape)
    return _from_levels(recipe, layout, named, shape)


def _from_levels(
    recipe: Recipe, layout: Layout, named: Mapping[str, Any], shape: tuple[int, ...]
) -> Tensor:
    arrays: dict[str, np.ndarray] = {}
    count = 0
    for level in recipe.levels:
        count = int(named[level.counter])
        for array, result in level.coordinates:
            arrays[array] = _cut(named[result], count)
        if level.pointer is not None:
            array, result = level.pointer
            whole = named[result]
            ends = whole if not level.parents else whole[: int(named[level.parents]) + 1]
            arrays[array] = _cut(ends, len(ends))
    if count > INT32_ENTRIES and recipe.index_dtype == "int32":
        raise PlanError(
            f"the result {recipe.output} holds {count} entries, more than int32 indices count",
            hint="give an operand with int64 indices",
        )
    array, result = recipe.value
    arrays[array] = _cut(named[result], count)
    sizes = infer_sizes(layout, shape, arrays)
    return Tensor(layout, shape, arrays, recipe.fill, sizes)


def _cut(array: np.ndarray, count: int) -> np.ndarray:
    used = array[:count]
    return used if count == len(array) or array.nbytes > KEEP_BYTES else used.copy()


def _from_stream(
    recipe: Recipe, layout: Layout, named: Mapping[str, Any], shape: tuple[int, ...]
) -> Tensor:
    """Sort a stream, merge equal coordinates, drop fill values, build the layout."""
    count = int(named[recipe.results[0]])
    coords = np.stack([named[r][:count] for r in recipe.results[1:-1]]) if shape else None
    assert coords is not None
    values = named[recipe.results[-1]][:count]
    order = np.lexsort(coords[::-1])
    coords, values = coords[:, order], values[order]
    if count:
        first = np.ones(count, bool)
        first[1:] = (coords[:, 1:] != coords[:, :-1]).any(axis=0)
        starts = np.flatnonzero(first)
        if len(starts) < count:
            monoid = MONOIDS[recipe.combine or "add"]
            values = monoid.ufunc.reduceat(values, starts).astype(values.dtype)
            coords = coords[:, starts]
    keep = differs(values, recipe.fill)
    keep &= values != np.asarray(recipe.fill).astype(values.dtype)
    dtype = recipe.index_dtype if recipe.index_dtype == "int64" else None
    arrays = construct(
        layout, shape, coords[:, keep], values[keep], fill=recipe.fill, index_dtype=dtype
    )
    return Tensor(layout, shape, arrays, recipe.fill, infer_sizes(layout, shape, arrays))


def densified(tensor: Tensor) -> np.ndarray:
    """Return a dense result as a NumPy array, or a scalar of rank 0."""
    array = tensor.to_numpy()
    return array[()] if array.ndim == 0 else array
