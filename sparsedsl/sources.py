"""What planning reads of an argument: its layout and how many entries each level holds.

Takes: bound tensors, or shapes alone.  Gives: ``pipeline.Source``.  Invariant: reads lengths
of arrays, never their elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.layouts.catalogue import hierarchical, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.pipeline import Source
from sparsedsl.runtime.tensor import Tensor
from sparsedsl.spf import terms


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
        extents = tuple(int(n) for n in shape)
        if any(n < 0 for n in extents):
            raise InvalidTensorError(f"expected extents of at least 0, found {extents}")
        object.__setattr__(self, "shape", extents)
        object.__setattr__(self, "dtype", np.dtype(dtype))
        object.__setattr__(self, "nnz_", None if nnz is None else int(nnz))

    @property
    def dense(self) -> bool:
        """Whether every coordinate is stored."""
        return self.nnz_ is None

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        if self.nnz_ is not None:
            return self.nnz_
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def layout(self) -> Layout:
        """The layout such a tensor is taken to have."""
        rank = len(self.shape)
        return resolve("dense", rank) if self.dense else hierarchical(tuple(range(rank)))


def source_of(x: Tensor | ShapeOf) -> Source:
    """Return what planning reads of a tensor."""
    if isinstance(x, ShapeOf):
        dtypes = dict.fromkeys(x.layout.functions, "int32")
        entries: dict[str, float] = {}
        room = 1.0
        for dim in x.layout.relation.inputs:
            mode = x.layout.relation.outputs.index(dim) if dim in x.layout.relation.outputs else -1
            room = room * x.shape[mode] if mode >= 0 else float(x.nnz)
            entries[dim] = room
        return Source(x.layout, x.shape, entries, dtypes)
    dtypes = {a: x.arrays[a].dtype.name for a in x.layout.functions}
    return Source(x.layout, x.shape, entries_of(x), dtypes)


def entries_of(x: Tensor) -> dict[str, float]:
    """Return the number of tuples up to each physical dimension, from lengths of arrays.

    A dimension that a 1-D index array is read at counts that array's elements; any other
    multiplies by the extent of the value array's axis.
    """
    layout = x.layout
    calls = [
        call
        for conjunct in layout.relation.conjuncts
        for constraint in conjunct.constraints
        for call in terms.ufs(constraint.term)
        if len(call.arguments) == 1
    ]
    entries: dict[str, float] = {}
    room = 1.0
    for dim in layout.relation.inputs:
        here, after = terms.var(dim), terms.add(terms.var(dim), terms.const(1))
        ends = {c.function for c in calls if c.arguments == (after,)}
        read = [c.function for c in calls if c.arguments == (here,)]
        if read:
            name = min(read, key=lambda f: f in ends)
            room = float(max(x.arrays[name].shape[0] - (name in ends), 0))
        else:
            axes = [k for k, a in enumerate(layout.value.arguments) if dim in terms.variables(a)]
            room *= float(x.values.shape[axes[0]]) if axes else 1.0
        entries[dim] = room
    return entries


def signature_of(x: Tensor | ShapeOf) -> tuple[Any, ...]:
    """Return what two arguments must share to share a kernel."""
    source = source_of(x)
    sizes = tuple(int(n).bit_length() // 2 for n in (*source.entries.values(), *x.shape))
    dtypes = tuple(source.index_dtypes.values())
    fill: Any = None if isinstance(x, ShapeOf) else str(x.fill_value.item())
    return (source.layout.key, np.dtype(x.dtype).name, dtypes, fill, sizes, len(x.shape))
