"""Operands that are looked at in passing: so small that a call checks them whole, and lets go.

Takes: compressed matrices of scipy's, and plain arrays.  Gives: ``Operand``, the arrays under their
layout, or None for what is to be bound (``interop.convert``).  Invariant: an operand says by the
machine code that binding asks too whether arrays keep what their layout promises, and nothing of
them is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from sparsedsl.layouts.catalogue import plain, resolve
from sparsedsl.layouts.given import INDEX_LIMIT, NATIVE_VALUES
from sparsedsl.layouts.layout import Layout
from sparsedsl.magnitudes import ratio
from sparsedsl.runtime.checked import Checks, checks_of
from sparsedsl.runtime.unchanged import WHOLE

PLAIN = 0x0101
"""The flags of an array that is C-contiguous and aligned."""

FORMATS = {"csr_array": "csr", "csr_matrix": "csr", "csc_array": "csc", "csc_matrix": "csc"}
"""The classes of scipy.sparse whose matrices are looked at in passing, and their formats."""


_parts: Callable[[Mapping[str, Any]], tuple[Any, ...]]
_parts = itemgetter("_shape", "indptr", "indices", "data")


class Operand(NamedTuple):
    """A tensor for one call: what kernels are given of it.

    ``kind`` says all that choosing a kernel depends on: layout, dtypes and orders of magnitude.
    ``checks`` are those of its index arrays, if it has any, and ``total`` the elements of all.
    """

    kind: tuple[Any, ...]
    layout: Layout
    shape: tuple[int, ...]
    held: Mapping[str, np.ndarray]
    values: np.ndarray
    checks: Checks | None = None
    total: int = 0

    def right(self) -> bool:
        """Whether the arrays keep what the layout promises; to be asked before they are used."""
        checks = self.checks
        return checks is None or checks.passes(self.shape, self.held, len(self.values), self.total)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The value of every parameter of the layout."""
        return dict(zip(self.layout.extents, self.shape, strict=True))


def in_passing(x: Any) -> Operand | None:
    """Return a small operand as it lies; None where it is to be bound.

    >>> import scipy.sparse as sp
    >>> operand = in_passing(np.ones((2, 3)))
    >>> operand.shape, operand.right()
    ((2, 3), True)
    >>> in_passing(sp.coo_array((2, 3))) is None
    True
    """
    cls = type(x)
    if cls is np.ndarray:
        return _plain(x)
    name = _format(cls)
    return None if name is None else _compressed(name, x.__dict__)


@lru_cache(maxsize=256)
def _format(cls: type) -> str | None:
    return FORMATS.get(cls.__name__) if cls.__module__.startswith("scipy.sparse.") else None


def _plain(x: np.ndarray) -> Operand | None:
    dtype, shape = x.dtype, x.shape
    if dtype not in NATIVE_VALUES or x.flags.num & PLAIN != PLAIN:
        return None
    layout = plain(len(shape))
    kind = (dtype, *[n.bit_length() // 2 for n in (x.size, *shape)])
    return Operand(kind, layout, shape, {layout.value.function: x}, x)


def _compressed(name: str, attributes: Mapping[str, Any]) -> Operand | None:
    """Return a matrix by the attributes of its object; of what is odd the long way tells."""
    try:
        shape, indptr, indices, data = _parts(attributes)
    except KeyError:
        return None
    # written out: a loop over the three takes as long as all else
    if not type(indptr) is type(indices) is type(data) is np.ndarray:
        return None
    if not indptr.ndim == indices.ndim == data.ndim == 1:
        return None
    if indptr.flags.num & indices.flags.num & data.flags.num & PLAIN != PLAIN:
        return None
    dtype, count, ends, total = data.dtype, len(data), len(indptr), len(indices)
    if count > WHOLE or ends > WHOLE or total > WHOLE or type(shape) is not tuple:
        return None
    layout = _layout(name)
    checks = checks_of(layout, (indptr.dtype, indices.dtype))
    if checks is None or checks.function is None or len(shape) != 2 or dtype not in NATIVE_VALUES:
        return None
    rows, columns = shape
    if not type(rows) is type(columns) is int or not 0 <= rows <= INDEX_LIMIT >= columns >= 0:
        return None
    held = {"indptr": indptr, "indices": indices, "data": data}
    sizes = count.bit_length() // 2, rows.bit_length() // 2, columns.bit_length() // 2
    kind = (checks, dtype, *sizes, ratio(count, ends - 1))
    total += count + ends
    # what a named tuple's own way of making one takes is worth a line here
    return tuple.__new__(Operand, (kind, layout, shape, held, data, checks, total))


@cache
def _layout(name: str) -> Layout:
    return resolve(name, 2)
