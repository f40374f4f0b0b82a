"""Call a compiled kernel on bound tensors and bind what it returns.

Takes: a recipe, a dispatcher and tensors.  Gives: a tensor.  Invariant: the arrays handed to
the kernel are those the plan was proved for; outputs are cut to the entries written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import numpy as np

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.errors import PlanError
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import differs
from sparsedsl.layouts.extent import infer_sizes
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime import threads
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.tensor import Tensor

KEEP_BYTES = 1 << 20
"""Size from which an output array is kept although it is not full: what was never written
takes no memory."""

MOST = 1 << 26
"""Entries to make room for at first."""

INT32_ENTRIES = 2**31 - 1


def all_finite(tensor: Tensor) -> bool:
    """Whether every stored value is finite; the sum decides it in one fast pass."""
    values = tensor.values
    if values.dtype.kind not in "fc" or not values.size:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def all_bounded(tensor: Tensor, side: str) -> bool:
    """Whether every stored value is above minus infinity (or below infinity) and no NaN."""
    values = tensor.values
    if values.dtype.kind != "f" or not values.size:
        return True
    return bool(values.min() > -np.inf if side == "above" else values.max() < np.inf)


def unusual(recipe: Recipe, tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """Return the tensors whose values forbid skipping implicit zeros."""
    bad = {name for name in recipe.finite if not all_finite(tensors[name])}
    bad |= {name for name in recipe.nonzero if not tensors[name].values.all()}
    bad |= {name for side, name in recipe.bounded if not all_bounded(tensors[name], side)}
    return frozenset(bad)


def make_copies(recipe: Recipe, tensors: MutableMapping[str, Tensor]) -> None:
    """Add the copies in other layouts that the kernel reads."""
    for copy in recipe.copies:
        if copy.name not in tensors:
            layout = hierarchical(copy.order, copy.thin)
            tensors[copy.name] = tensors[copy.source].convert(layout)


def gather(
    recipe: Recipe,
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
    output: Mapping[str, np.ndarray],
) -> list[Any]:
    """Return the kernel's arguments in order; ``output`` holds the arrays it writes to."""
    found: list[Any] = []
    for argument in recipe.arguments:
        match argument.kind:
            case "array":
                found.append(tensors[argument.tensor].arrays[argument.name])
            case "size":
                found.append(tensors[argument.tensor].sizes[argument.name])
            case "mode":
                found.append(tensors[argument.tensor].shape[int(argument.name)])
            case "extent" | "end":
                found.append(extents[argument.name])
            case "begin":
                found.append(0)
            case _:
                found.append(output[argument.name])
    return found


def call(
    recipe: Recipe,
    layout: Layout,
    kernel: Callable[..., tuple[int, ...]],
    tensors: Mapping[str, Tensor],
    extents: Mapping[str, int],
    target: np.ndarray | None,
    parallel: bool | str,
) -> Tensor:
    """Run a kernel and return its output in ``layout``.

    A sparse output is first given as much room as its operands hold; where the kernel finds
    that too little, it is called again with what it asked for.  ``parallel`` is True, False
    or ``"auto"``.
    """
    if recipe.kind == "dense":
        array = fresh_output(recipe, extents) if target is None else target
        name = next(a.name for a in recipe.arguments if a.kind == "output")
        arguments = gather(recipe, tensors, extents, {name: array})
        if recipe.shared is None or parallel is False:
            kernel(*arguments)
        else:
            work = None if parallel is True else _stored(recipe, tensors)
            threads.share(recipe, kernel, arguments, extents[recipe.shared], work)
        shape = tuple(extents[i] for i in recipe.indices)
        sizes = dict(zip(layout.extents, shape, strict=True))
        return Tensor(layout, shape, {layout.value.function: array}, recipe.fill, sizes)
    room = min(_stored(recipe, tensors), MOST)
    while True:
        arrays = _make(recipe, room, extents)
        counts = kernel(*gather(recipe, tensors, extents, arrays))
        needed = max(int(counts[0]) if int(counts[0]) > room else 0, int(counts[-1]))
        if needed <= room:
            named = dict(zip(recipe.results, map(int, counts), strict=True))
            return _bind(recipe, layout, arrays, named, extents)
        room = needed


def _stored(recipe: Recipe, tensors: Mapping[str, Tensor]) -> int:
    """Return how many values the kernel's operands hold together."""
    used = {a.tensor for a in recipe.arguments if a.kind == "array"}
    return sum(tensors[name].values.size for name in used)


def _make(recipe: Recipe, room: int, extents: Mapping[str, int]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for made in recipe.made:
        kind, _, index = made.length.partition(" ")
        length = room if kind == "room" else extents[index]
        if made.ends:
            arrays[made.param] = np.zeros(length + 1, made.dtype)
        else:
            arrays[made.param] = np.empty(length, made.dtype)
    return arrays


@lru_cache(maxsize=1)
def memory_bytes() -> int:
    """Return the machine's memory, or a bound that any machine keeps where it is not told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**46


def fresh_output(recipe: Recipe, extents: Mapping[str, int]) -> np.ndarray:
    """Return the array a dense output is accumulated in."""
    shape = tuple(extents[recipe.indices[m]] for m in recipe.places)
    room = np.dtype(recipe.dtype).itemsize
    for extent in shape:
        room *= extent
    if room > memory_bytes():
        raise PlanError(
            f"the result {recipe.output} would be a dense array of {room / 2**30:.3g} GiB, more "
            f"than the {memory_bytes() / 2**30:.3g} GiB of this machine",
            hint='ask for a sparse result with sd.output("csr"), or reduce more indices',
        )
    if recipe.initial == 0 and not str(recipe.initial).startswith("-"):
        return np.zeros(shape, recipe.dtype)
    return np.full(shape, recipe.initial, recipe.dtype)


def _bind(
    recipe: Recipe,
    layout: Layout,
    made: Mapping[str, np.ndarray],
    counts: Mapping[str, int],
    extents: Mapping[str, int],
) -> Tensor:
    """Return a sparse output as a tensor: its arrays, cut to what was written."""
    shape = tuple(extents[i] for i in recipe.indices)
    entries = list(counts.values())[-1]
    if entries > INT32_ENTRIES and recipe.index_dtype == "int32":
        raise PlanError(
            f"the result {recipe.output} holds {entries} entries, more than int32 indices count",
            hint="give an operand with int64 indices",
        )
    if recipe.kind == "stream":
        columns = [made[m.param][:entries] for m in recipe.made]
        return _from_stream(recipe, layout, columns, shape)
    found: dict[str, np.ndarray] = {}
    for item in recipe.made:
        array = made[item.param]
        length = len(array) if not item.used else counts[item.used] + item.ends
        found[item.array] = _cut(array, length)
    return Tensor(layout, shape, found, recipe.fill, infer_sizes(layout, shape, found))


def _cut(array: np.ndarray, count: int) -> np.ndarray:
    used = array[:count]
    return used if count == len(array) or array.nbytes > KEEP_BYTES else used.copy()


def _from_stream(
    recipe: Recipe, layout: Layout, columns: list[np.ndarray], shape: tuple[int, ...]
) -> Tensor:
    """Sort a stream, merge equal coordinates, drop fill values, build the layout."""
    coords, values = np.stack(columns[:-1]), columns[-1]
    count = len(values)
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
