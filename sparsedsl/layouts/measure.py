"""How many bytes entries would take in a layout, before they are stored in it.

Takes: a layout and entries.  Gives: the bytes of all arrays.  Invariant: as many as those of the
arrays that ``construct`` makes; arrays of keys and values, which padding may make long, take no
memory here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.build import Builder
from sparsedsl.layouts.construct import INT32_MAX, construct, magnitude, parts
from sparsedsl.layouts.convert import kept
from sparsedsl.layouts.describe import storage_bytes
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import Equality
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF


def measured_bytes(
    layout: Layout,
    shape: Sequence[int],
    coords: np.ndarray,
    values: np.ndarray,
    *,
    fill: object = 0,
    index_dtype: str | None = None,
) -> int:
    """The bytes of the arrays that ``construct`` makes of the same entries.

    Whether the layout has a place for each of them is left to ``construct``.

    Raises
    ------
    LayoutError
        When the specification does not tell how to build it.
    """
    layout.require_bound()
    extents, dtype = tuple(map(int, shape)), values.dtype
    try:
        # what the number of entries tells needs no look at them
        return storage_bytes(
            layout, extents, values.size, dtype=dtype.name, index_dtype=index_dtype
        )
    except LayoutError:
        pass
    if None in layout.lengths[layout.value.function]:
        made = construct(layout, shape, coords, values, fill=fill, index_dtype=index_dtype)
        return sum(array.nbytes for array in made.values())
    outline = _Outline(layout, dict(zip(layout.extents, extents, strict=True)))
    room: tuple[int, ...] = ()
    wide = max(extents, default=0)
    for filler, own in parts(outline, np.asarray(coords, np.int64), values):
        filler.require_filled()
        wide = max(wide, filler.greatest)
        room = filler.room_of_values(int(own.sum()), room)
    arrays = [outline.arrays[name] for name in layout.functions]
    wide = max(wide, *(magnitude(x) for x in arrays if x.size and x.flags.writeable), 0)
    index = np.dtype(index_dtype or ("int64" if wide > INT32_MAX else "int32"))
    return sum(x.size for x in arrays) * index.itemsize + math.prod(room) * dtype.itemsize


def converted_bytes(
    source: Layout,
    target: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    *,
    fill: object = 0,
    sizes: Mapping[str, int] | None = None,
) -> int:
    """The bytes of the arrays that ``convert`` makes; parameters and errors are its own."""
    coords, values, index_dtype = kept(source, shape, arrays, fill=fill, sizes=sizes)
    return measured_bytes(target, shape, coords, values, fill=fill, index_dtype=index_dtype)


@dataclass(slots=True)
class _Outline(Builder):
    """A builder whose arrays of keys have lengths, but no memory unless something reads them.

    ``greatest`` is the greatest magnitude in those without.
    """

    greatest: int = 0

    def _hold(self, call: UF, values: np.ndarray) -> None:
        if call.function in _read(self.layout):
            self._fill(call, self.env, values)
            return
        where = tuple(self._column(x, len(values)) for x in call.arguments)
        shape, known = self._room(call.function, where), self.arrays.get(call.function)
        if known is not None:
            shape = tuple(map(max, shape, known.shape))
        free = abs(self.padding(call.function)) + max(shape, default=0)
        self.greatest = max(self.greatest, free, int(np.abs(values).max(initial=0)))
        self.arrays[call.function] = np.broadcast_to(np.int64(0), shape)

    def room_of_values(self, count: int, before: tuple[int, ...]) -> tuple[int, ...]:
        """The lengths of the value array, at least those that alternatives before want."""
        value = self.layout.value
        where = tuple(self._column(x, count) for x in value.arguments)
        shape = self._room(value.function, where)
        return tuple(map(max, shape, before)) if before else shape


@lru_cache(maxsize=256)
def _read(layout: Layout) -> frozenset[str]:
    """Arrays that lengths, places or equalities read."""
    terms = [x for lengths in layout.lengths.values() for x in lengths if x is not None]
    terms += [x for part in layout.structures for call in part.calls for x in call.arguments]
    terms += layout.value.arguments
    for item in layout.properties:
        if isinstance(item, Equality):
            terms += [item.left, item.right]
    return frozenset(call.function for call in t.all_ufs(terms))
