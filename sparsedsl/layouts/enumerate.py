"""All stored entries of a tensor, from the layout's relation alone.

Takes: a layout, a shape and arrays.  Gives: logical coordinates and positions of values.
Invariant: entries come in storage order, alternative after alternative; padding is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.scan import Scan, walk
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Term


def entries(
    layout: Layout,
    shape: Sequence[int],
    arrays: Mapping[str, np.ndarray],
    sizes: Mapping[str, int] | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Coordinates and value positions of every stored entry.

    Parameters
    ----------
    layout, shape, arrays:
        A valid tensor (``layouts.check.validate``); the value array is needed for lengths only.
    sizes:
        Values of all parameters; inferred when None.

    Returns
    -------
    coords : numpy.ndarray
        int64, shape ``(rank, n)``, in storage order.
    positions : tuple of numpy.ndarray
        int64 subscripts of the value array, one array of ``n`` per axis.
    """
    layout.require_bound()
    values = dict(sizes) if sizes is not None else infer_sizes(layout, shape, arrays)
    coords: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    for part in layout.structures:
        scan = walk(part, values, arrays)
        outputs = [part.definition(name) for name in layout.relation.outputs]
        coords.append(_table(scan, outputs))
        positions.append(_table(scan, layout.value.arguments))
    return np.concatenate(coords, axis=1), tuple(np.concatenate(positions, axis=1))


def _table(scan: Scan, terms: Sequence[Term]) -> np.ndarray:
    """The values of ``terms`` at every place, one row each."""
    table = np.empty((len(terms), scan.count), dtype=np.int64)
    for row, term in enumerate(terms):
        table[row] = t.evaluate(term, scan.env, scan.arrays)
    return table


def differs(values: np.ndarray, fill: object) -> np.ndarray:
    """Where a value is not the fill: NaN equals NaN, but -0.0 is not 0.0."""
    background = np.asarray(fill).astype(values.dtype)
    return different(values, np.broadcast_to(background, values.shape))


def different(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where two arrays of one dtype differ: NaN equals NaN, but -0.0 is not 0.0."""
    if left.dtype.kind == "c":
        real = different(np.real(left), np.real(right))
        return real | different(np.imag(left), np.imag(right))
    same = left == right
    if left.dtype.kind == "f":
        same &= np.signbit(left) == np.signbit(right)
        same |= np.isnan(left) & np.isnan(right)
    return ~same
