"""What planning reads of an argument: its layout and how many entries each level holds.

Takes: bound tensors, or shapes alone.  Gives: ``groups.Source``.  Invariant: reads lengths
of arrays, and of their elements only what ``unevenness`` does, where that is asked for.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sparsedsl.calls.unevenness import uneven
from sparsedsl.contraction.nodes import VALUE_DTYPES
from sparsedsl.errors import InvalidTensorError, TensorTypeError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.iteration.output import ranges
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.catalogue import hierarchical, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import total
from sparsedsl.magnitudes import ratio
from sparsedsl.pipeline.source import Source
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import Term


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """Layout, dtypes, fill and orders of magnitude of an argument; compared by identity."""

    key: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ShapeOf:
    """A tensor by its description alone: to plan, estimate or emulate without data.

    Parameters
    ----------
    shape:
        The extents.
    dtype:
        A NumPy dtype or its name.
    nnz:
        Number of stored entries; None for a dense tensor.

    Raises
    ------
    InvalidTensorError
        For a shape or an ``nnz`` that no tensor has; ``TensorTypeError`` for a dtype.

    Examples
    --------
    >>> ShapeOf((1000, 1000), "float64", nnz=5000).dense
    False
    """

    shape: tuple[int, ...]
    dtype: Any = "float64"
    nnz_: int | None = None

    def __init__(
        self, shape: tuple[int, ...], dtype: Any = "float64", nnz: int | None = None
    ) -> None:
        extents = _extents(shape)
        object.__setattr__(self, "shape", extents)
        object.__setattr__(self, "dtype", _value_dtype(dtype))
        object.__setattr__(self, "nnz_", None if nnz is None else _entries(nnz, extents))

    @property
    def dense(self) -> bool:
        """Whether every coordinate is stored."""
        return self.nnz_ is None

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        if self.nnz_ is not None:
            return self.nnz_
        return prod(self.shape)

    @property
    def layout(self) -> Layout:
        """The layout such a tensor is taken to have."""
        rank = len(self.shape)
        return resolve("dense", rank) if self.dense else hierarchical(tuple(range(rank)))


def _extents(shape: Any) -> tuple[int, ...]:
    try:
        extents = tuple(operator.index(n) for n in shape)
    except TypeError:
        raise InvalidTensorError(
            f"expected shape to be a tuple of integers, found {shape!r}",
            hint="such as sd.ShapeOf((100, 80), nnz=500)",
        ) from None
    if any(n < 0 for n in extents):
        raise InvalidTensorError(f"expected extents of at least 0, found {extents}")
    return extents


def _value_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in VALUE_DTYPES:
        raise TensorTypeError(
            f"expected one of the dtypes {', '.join(VALUE_DTYPES)}, found {dtype!r}"
        )
    return found


def _entries(nnz: Any, extents: tuple[int, ...]) -> int:
    try:
        count = operator.index(nnz)
    except TypeError:
        raise InvalidTensorError(f"expected nnz to be an integer, found {nnz!r}") from None
    if not 0 <= count <= prod(extents):
        raise InvalidTensorError(
            f"expected nnz from 0 to {prod(extents)}, the size of shape {extents}, found {count}"
        )
    return count


def source_of(x: Tensor | ShapeOf, *, looking: bool = False) -> Source:
    """Return what planning reads of a tensor; ``looking``: also how unevenly its entries lie."""
    if isinstance(x, ShapeOf):
        dtypes = dict.fromkeys(x.layout.functions, "int32")
        entries: dict[str, float] = {}
        room = 1.0
        for dim in x.layout.relation.inputs:
            mode = x.layout.relation.outputs.index(dim) if dim in x.layout.relation.outputs else -1
            room = room * x.shape[mode] if mode >= 0 else float(x.nnz)
            entries[dim] = room
        return Source(x.layout, x.shape, entries, dtypes)
    dtypes = {a: x.held[a].dtype.name for a in x.layout.functions}
    found = uneven(x) if looking else {}
    return Source(x.layout, x.shape, entries_of(x), dtypes, uneven=found)


class _Count(NamedTuple):
    """How to count one dimension: by the length of ``array``, or times an axis of the values.

    ``axis`` is that of the values whose place the dimension is part of, if there is one; ``span``
    is how many values it has, where it is part of none and sizes tell.
    """

    array: str | None
    less: int
    axis: int | None
    span: Term | None


@lru_cache(maxsize=512)
def _counts(layout: Layout) -> tuple[_Count, ...]:
    calls = [
        call
        for conjunct in layout.relation.conjuncts
        for constraint in conjunct.constraints
        for call in terms.ufs(constraint.term)
        if len(call.arguments) == 1
    ]
    found: list[_Count] = []
    for dim in layout.relation.inputs:
        here, after = terms.var(dim), terms.add(terms.var(dim), terms.const(1))
        ends = {c.function for c in calls if c.arguments == (after,)}
        read = [c.function for c in calls if c.arguments == (here,)]
        axes = [k for k, a in enumerate(layout.value.arguments) if dim in terms.variables(a)]
        if read:
            name = min(read, key=lambda f: f in ends)
            found.append(_Count(name, int(name in ends), axes[0] if axes else None, None))
        else:
            span = None if axes else _span(layout, dim)
            found.append(_Count(None, 0, axes[0] if axes else None, span))
    return tuple(found)


def _span(layout: Layout, dim: str) -> Term | None:
    """How many values sizes let a dimension have; None where they do not tell."""
    if len(layout.structures) != 1:
        return None
    parameters = layout.relation.parameters
    bounds = Bounds(layout.structures[0].scan, parameters)
    lows, highs = bounds.lower(dim, parameters), bounds.upper(dim, parameters)
    if not lows or not highs:
        return None
    return terms.add(terms.subtract(highs[0], lows[0]), terms.const(1))


def entries_of(x: Tensor) -> dict[str, float]:
    """Return the number of tuples up to each physical dimension, from lengths of arrays.

    A dimension that a 1-D index array is read at counts that array's elements; any other
    multiplies by the extent of the value array's axis, up to the number of values, or by how many
    values it has where it is no part of the place of a value.  There are
    as many tuples in all as values, where the last dimension tells which one is read.
    """
    return dict(zip(x.layout.relation.inputs, map(float, _rooms(x)), strict=True))


def _rooms(x: Tensor) -> list[int]:
    rooms: list[int] = []
    room, held, size = 1, x.held, x.values.size
    counts = _counts(x.form.layout)
    for array, less, axis, span in counts:
        if array is not None:
            room = max(held[array].shape[0] - less, 0)
        elif axis is not None:
            room = min(room * x.values.shape[axis], size)
        elif span is not None:
            room *= max(int(terms.evaluate(span, x.form.sizes, {})), 0)
        rooms.append(room)
    if counts and counts[-1].axis is not None:
        rooms[-1] = size
    return rooms


_signatures: dict[Any, Signature] = {}


def signature_of(x: Tensor | ShapeOf) -> Signature:
    """Return what two arguments must share to share a kernel; equal ones are one object."""
    if isinstance(x, ShapeOf):
        source = source_of(x)
        dtypes = tuple(source.index_dtypes.values())
        rooms = [int(n) for n in source.entries.values()]
        return _key(x.layout, np.dtype(x.dtype), dtypes, None, rooms, x.shape)
    form = x.form
    if form.signature is None:
        held, layout = x.held, form.layout
        dtypes = tuple([held[name].dtype for name in layout.functions])
        fill = form.fill_value.tobytes()
        form.signature = _key(layout, x.dtype, dtypes, fill, _rooms(x), form.shape)
    return form.signature


def _key(
    layout: Layout,
    dtype: np.dtype,
    dtypes: tuple[np.dtype | str, ...],
    fill: bytes | None,
    rooms: list[int],
    shape: tuple[int, ...],
) -> Signature:
    """Return the signature for numbers of entries and extents, which count by magnitude."""
    counts = [n.bit_length() // 2 for n in (*rooms, *shape)]
    key = (layout, dtype, dtypes, fill, *counts, *_ratios(layout, rooms))
    found = _signatures.get(key)
    return _signatures.setdefault(key, Signature(key)) if found is None else found


def _ratios(layout: Layout, rooms: list[int]) -> list[int]:
    """Return how long ranges are, by magnitude."""
    ranged = ranges(layout)
    if not ranged:
        return []
    dims = layout.relation.inputs
    before = [1, *rooms]
    return [ratio(rooms[k], before[k]) for k, dim in enumerate(dims) if dim in ranged]


def unevenness_of(given: Sequence[Tensor | ShapeOf]) -> tuple[Any, ...]:
    """Return how unevenly the entries of each argument lie, to be part of a key."""
    return tuple([() if isinstance(x, ShapeOf) else tuple(uneven(x).items()) for x in given])


def info_of(x: Tensor | ShapeOf) -> ArgumentInfo:
    """Return what tracing reads of an argument."""
    if isinstance(x, ShapeOf):
        return ArgumentInfo(tuple(x.shape), np.dtype(x.dtype).name, 0, x.dense)
    return ArgumentInfo(x.shape, x.dtype.name, x.fill_value.item(), total(x.layout))
