"""Diagonals, triangles, products and transposes of tensors, as NumPy has them.

Takes: tensors, offsets and axes.  Gives: tensors, or arrays where the result is one.
Invariant: no more than the diagonal is stored densely.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsedsl.api import einsum, evaluate
from sparsedsl.errors import NotationError, TensorTypeError
from sparsedsl.frontend.outputs import INFER
from sparsedsl.frontend.spans import here
from sparsedsl.interop import asarray
from sparsedsl.operators import LETTERS, tensordot, transpose
from sparsedsl.runtime.tensor import Tensor


def _matrix(x: Any, name: str) -> Tensor:
    tensor = asarray(x)
    if tensor.ndim != 2:
        raise NotationError(
            f"np.{name}: expected a matrix, found {tensor.ndim} modes",
            span=here(),
            hint='use sd.einsum for tensors, such as sd.einsum("iij->ij", x)',
        )
    return tensor


def diagonal(a: Any, offset: int = 0) -> Any:
    x = _matrix(a, "diagonal")
    rows, columns = x.shape
    if not offset and rows != columns:
        return _main(x)
    first, count = max(-offset, 0), max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    shifted = f"i + {offset}" if offset >= 0 else f"i - {-offset}"
    found = evaluate(f"d[i] = padded(x)[i, {shifted}]", x=x, out="dense")
    return found[first : first + count]


def _main(x: Tensor) -> Any:
    """The main diagonal of a matrix that is not square: a plain index would have two extents."""
    count = min(x.shape)
    first = [evaluate("d[()] = x[0, 0]", x=x)] if count else []
    more = evaluate("d[i] = x[i + 1, i + 1]", x=x, out="dense") if count > 1 else []
    return np.concatenate([first, more]).astype(x.dtype)


def diag(v: Any, k: int = 0) -> Any:
    if asarray(v).ndim == 1:
        raise TensorTypeError(
            "np.diag of a vector has no meaning for a sparsedsl tensor",
            hint="scipy.sparse.diags_array(x.to_numpy()) is the matrix with that diagonal",
        )
    return diagonal(v, k)


def trace(a: Any, offset: int = 0) -> Any:
    x = _matrix(a, "trace")
    if offset or x.shape[0] != x.shape[1]:
        return np.sum(diagonal(x, offset))
    wide = np.add.reduce(np.empty(0, x.dtype)).dtype
    return einsum("ii->", x) if wide == x.dtype else einsum("ii,->", x, wide.type(1))


def triangle(name: str, relation: str) -> Callable[..., Any]:
    def triangle(m: Any, k: int = 0) -> Any:
        x = _matrix(m, name)
        zero = "False" if x.dtype == bool else "0"
        text = f"result[i, j] = where(j {relation} i + ({python.index(k)}), x[i, j], {zero})"
        return evaluate(text, fill_value=INFER, x=x)

    return triangle


def inner(a: Any, b: Any) -> Any:
    return tensordot(a, b, axes=(-1, -1))


def vdot(a: Any, b: Any) -> Any:
    x, y = asarray(a), asarray(b)
    letters = LETTERS[: x.ndim]
    x = np.conj(x) if x.dtype.kind == "c" else x
    return einsum(f"{letters},{letters}->", x, y)


def outer(a: Any, b: Any) -> Any:
    return einsum("i,j->ij", asarray(a), asarray(b))


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = [*range(np.ndim(a))]
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, order)


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    # the axes that NumPy would move, told by those of an empty array
    extents = range(2, 2 + np.ndim(a))
    moved = np.moveaxis(np.broadcast_to(0, tuple(extents)), source, destination).shape
    return transpose(a, [extents.index(n) for n in moved])


def matrix_transpose(x: Any) -> Any:
    return swapaxes(x, -1, -2)
