"""Copies of operands in the layouts that kernels read, kept for as long as they are right.

Takes: a tensor and a layout.  Gives: the tensor in that layout.  Invariant: a copy is used
again only while every value of its source is bitwise what was copied, and its index arrays were
not checked anew.  A copy goes when its source does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsedsl.layouts.catalogue import plain
from sparsedsl.layouts.convert import convert
from sparsedsl.layouts.layout import Layout
from sparsedsl.runtime.attached import Attached
from sparsedsl.runtime.tensor import Tensor, bound
from sparsedsl.runtime.unchanged import Copied


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy, and the values its source had."""

    tensor: Tensor
    values: Copied


_copies: Attached[dict[tuple[Layout, bool], _Copy]] = Attached()


def copied(source: Tensor, layout: Layout, *, whole: bool = False) -> Tensor:
    """Return ``source`` in another layout, converted now or when last asked.

    ``whole`` keeps what is stored and equal to the fill in every layout, padding too.

    >>> from sparsedsl import asarray, layouts
    >>> A = asarray(np.eye(3), "csr")
    >>> copied(A, layouts.CSC) is copied(A, layouts.CSC)
    True
    >>> A.values[0] = 5.0
    >>> copied(A, layouts.CSC).values
    array([5., 1., 1.])
    """
    if layout == source.layout:
        return source
    known = _copies.get(source)
    if known is None:
        known = {}
        _copies.put(source, known)
    found = known.get((layout, whole))
    if found is None or not found.values.holds(source.values):
        values = Copied.of(source.values)
        made = _with_all(source, layout) if whole else source.convert(layout)
        found = known[layout, whole] = _Copy(made, values)
    return found.tensor


def _with_all(source: Tensor, layout: Layout) -> Tensor:
    fill, shape = source.fill_value, source.shape
    arrays = convert(
        source.kept().layout,
        layout,
        shape,
        source.held,
        fill=fill,
        sizes=source.sizes,
        whole=True,
    )
    return bound(layout, shape, arrays, fill)


def turned(source: Tensor, order: tuple[int, ...]) -> Tensor:
    """Return a dense tensor stored in another order of its modes.

    It is made at each call: to see whether one is still right takes as long.
    """
    layout = plain(source.ndim, order)
    values = np.ascontiguousarray(source.to_numpy().transpose(order))
    return bound(layout, source.shape, {layout.value.function: values}, source.fill_value)
