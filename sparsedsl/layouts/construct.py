"""Building the arrays of any layout from coordinates and values.

Takes: a layout, a shape, distinct coordinates in any order and their values.  Gives: every
array of the layout.  Invariant: derived from the specification alone (``levels``): affine
dims are evaluated, positions numbered by sorting keys, bounds filled by counting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.build import Builder
from sparsedsl.layouts.enumerate import different, differs, entries
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Affine, levels
from sparsedsl.layouts.order import distinct_order
from sparsedsl.spf import terms as t

INT32_MAX = 2**31 - 1


def construct(
    layout: Layout,
    shape: Sequence[int],
    coords: np.ndarray,
    values: np.ndarray,
    *,
    fill: object = 0,
    index_dtype: np.dtype | str | None = None,
) -> dict[str, np.ndarray]:
    """Store entries in ``layout``.

    Parameters
    ----------
    layout:
        With block sizes bound, of ``len(shape)`` modes.
    shape:
        The logical extents.
    coords:
        Integer array of shape ``(rank, n)``: inside the shape, no coordinate twice.
    values:
        ``n`` values.
    fill:
        What slots without an entry hold.
    index_dtype:
        ``"int32"`` or ``"int64"``; by default int32 where all extents and lengths fit.

    Returns
    -------
    dict[str, numpy.ndarray]
        Every array of ``layout``, as ``from_arrays`` takes them.

    Raises
    ------
    LayoutError
        When the specification does not tell how to build it.
    InvalidTensorError
        When the layout has no place for an entry (outside a band, say).
    """
    layout.require_bound()
    extents = dict(zip(layout.extents, (int(extent) for extent in shape), strict=True))
    coords, values = np.asarray(coords, np.int64), np.asarray(values)
    builder = _built(layout, extents, coords, values, fill)
    arrays = builder.arrays
    chosen = np.dtype(index_dtype) if index_dtype is not None else _width(shape, arrays)
    found: dict[str, np.ndarray] = {}
    for name in layout.functions:
        if arrays[name].size and magnitude(arrays[name]) > np.iinfo(chosen).max:
            raise InvalidTensorError(f"{name} does not fit {chosen}", hint="use int64 indices")
        found[name] = arrays[name].astype(chosen, copy=False)
    found[layout.value.function] = builder.data
    return found


def _width(shape: Sequence[int], arrays: Mapping[str, np.ndarray]) -> np.dtype:
    largest = max((*map(int, shape), *(magnitude(a) for a in arrays.values() if a.size)), default=0)
    return np.dtype("int64" if largest > INT32_MAX else "int32")


def magnitude(array: np.ndarray) -> int:
    """The greatest number that must fit, negative ones as their complement."""
    return max(int(array.max()), -int(array.min()) - 1)


def _built(
    layout: Layout, extents: Mapping[str, int], coords: np.ndarray, values: np.ndarray, fill: object
) -> Builder:
    """Store each entry in the first alternative that has room for it."""
    builder = Builder(layout, dict(extents))
    for filler, own in parts(builder, coords, values):
        filler.data, filler.stored = builder.data, builder.stored
        filler.env |= builder.values
        filler.store(values[own], fill)
        builder.data, builder.stored = filler.data, True
    _lengthen(builder, fill)
    if len(layout.structures) > 1:
        _require_same(builder, coords, values, fill)
    return builder


B = TypeVar("B", bound=Builder)


def parts(builder: B, coords: np.ndarray, values: np.ndarray) -> list[tuple[B, np.ndarray]]:
    """The alternatives with the entries that each stores, index arrays filled.

    An alternative that calls no array of its own derives its entries from what the others hold.
    All share the arrays and sizes of ``builder``, which has none yet.
    """
    layout, make = builder.layout, type(builder)
    left = np.ones(coords.shape[1], dtype=bool)
    if len(layout.structures) == 1:
        builder.prepare(coords, values)
        return [(builder, left)]
    extents = dict(builder.values)
    called: set[str] = set()
    found: list[tuple[B, np.ndarray]] = []
    for place, part in enumerate(layout.structures):
        names = {call.function for call in part.calls}
        if place and names <= called:
            continue
        called |= names
        own = left & _belongs(layout, extents, coords, place)
        trial = make(layout, dict(extents), alternative=place)
        own[own] = trial.room(coords[:, own], values[own])
        filler = make(layout, builder.values, arrays=builder.arrays, alternative=place)
        filler.prepare(coords[:, own], values[own])
        found.append((filler, own))
        left &= ~own
    return found


def _lengthen(builder: Builder, fill: object) -> None:
    """Make the values as long as a scan needs, where the layout does not say how long they are."""
    layout = builder.layout
    if None not in layout.lengths[layout.value.function]:
        return
    _, positions = entries(layout, (), builder.arrays, builder.values)
    ends = (int(np.max(axis, initial=-1)) + 1 for axis in positions)
    shape = tuple(map(max, builder.data.shape, ends))
    if shape != builder.data.shape:
        longer = np.full(shape, fill, builder.data.dtype)
        longer[tuple(map(slice, builder.data.shape))] = builder.data
        builder.data = longer


def _belongs(
    layout: Layout, extents: Mapping[str, int], coords: np.ndarray, place: int
) -> np.ndarray:
    """Which entries satisfy the constraints of an alternative on coordinates alone."""
    own = np.ones(coords.shape[1], dtype=bool)
    outputs = layout.relation.outputs
    affine = [level for level in levels(layout, place) if isinstance(level, Affine)]
    values = {level.name: level.value for level in affine}
    env = {**extents, **dict(zip(outputs, coords, strict=True))}
    for constraint in layout.relation.conjuncts[place].constraints:
        term = t.substitute(constraint.term, values)
        if not t.ufs(term) and t.variables(term) <= set(env):
            value = t.evaluate(term, env, {})
            own &= value == 0 if constraint.equality else value >= 0
    return own


def _require_same(builder: Builder, coords: np.ndarray, values: np.ndarray, fill: object) -> None:
    """Raise unless all alternatives together read back exactly the entries given."""
    layout = builder.layout
    found, positions = entries(layout, (), builder.arrays, builder.values)
    stored = builder.data[positions]
    sides = [(coords, values), (found, stored)]
    tables: list[tuple[np.ndarray, np.ndarray]] = []
    for where, what in sides:
        keep = differs(what, fill)
        if not keep.all():
            where, what = where[:, keep], what[keep]
        order = distinct_order(list(where))
        tables.append((where, what) if order is None else (where[:, order], what[order]))
    (given, wanted), (read, got) = tables
    if given.shape == read.shape and (given == read).all() and not different(wanted, got).any():
        return
    short = min(given.shape[1], read.shape[1])
    off = (given[:, :short] != read[:, :short]).any(axis=0) | different(wanted[:short], got[:short])
    place = int(np.argmax(off)) if off.any() else short
    table = given if place < given.shape[1] else read
    entry = tuple(int(x) for x in table[:, place])
    raise InvalidTensorError(
        f"the layout '{layout.label}' cannot hold these entries: what it derives at {entry} "
        "differs from what was given",
        hint=f"its entries satisfy {layout.text}",
    )
