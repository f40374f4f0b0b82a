"""Room for what a kernel writes, whether there is enough, and arrays cut to what it wrote.

Takes: a recipe, extents and counts.  Gives: errors, and arrays.  Invariant: memory is refused
before it is taken; sparse outputs are cut to the entries written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from sparsedsl.errors import PlanError
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.runtime.blocks import shortened
from sparsedsl.runtime.memory import memory_bytes
from sparsedsl.runtime.recipe import Recipe

KEEP_BYTES = 1 << 20
"""Size from which an output array is kept although it is not full: what is not written takes
no memory."""

LITTLE_BYTES = 1 << 12
"""Size up to which it does not matter."""

INT32_ENTRIES = 2**31 - 1

Rooms: TypeAlias = "tuple[tuple[int, Callable[..., np.ndarray], np.dtype, int | None, int], ...]"
"""For each array of a sparse output its place among the arguments, what makes it, its dtype and
its length (None: as long as there is room, and as much longer as the last says)."""


def make_arrays(arguments: list[Any], rooms: Rooms, room: int) -> None:
    """Put the arrays of a sparse output among the arguments, with room for so many entries."""
    for place, make, dtype, length, ends in rooms:
        arguments[place] = make(room + ends if length is None else length, dtype)


def check_memory(recipe: Recipe, shape: tuple[int, ...]) -> None:
    """Raise PlanError for a dense output that there is no memory for."""
    room = np.dtype(recipe.dtype).itemsize
    for extent in shape:
        room *= extent
    if room > memory_bytes():
        layout = hierarchical(tuple(range(len(shape)))).name
        raise PlanError(
            f"the result {recipe.output} would be a dense array of {room / 2**30:.3g} GiB, more "
            f"than the {memory_bytes() / 2**30:.3g} GiB that there are",
            hint=f'ask for a sparse result with sd.output("{layout}"), or reduce more indices',
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
    return entries <= INT32_ENTRIES or not recipe.narrow


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
    size = array.nbytes
    if size <= LITTLE_BYTES:
        return array[:count]
    if size <= KEEP_BYTES:
        # shortened where it lies: nothing is copied
        array.resize(count, refcheck=False)
        return array
    return shortened(array, count)
