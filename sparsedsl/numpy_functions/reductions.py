"""Sums, means, norms and counts of tensors, over axes, as NumPy has them.

Takes: a tensor and axes.  Gives: arrays, numbers, or tensors where several modes are left.
Invariant: what is not stored counts, without being visited.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsedsl.api import evaluate
from sparsedsl.errors import TensorTypeError
from sparsedsl.frontend.outputs import INFER
from sparsedsl.interop import asarray
from sparsedsl.operators import LETTERS, axes_of, elementwise, reduce
from sparsedsl.runtime.tensor import Tensor


def reduced(kind: str) -> Callable[..., Any]:
    def reduction(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return kept(reduce(kind, a, axis), a, axis, keepdims)

    return reduction


def kept(result: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return a reduction with modes of extent 1 in place of those it is over, if wanted."""
    if not keepdims:
        return result
    if isinstance(result, Tensor):
        raise TensorTypeError(
            "keepdims is for results that NumPy holds, found a sparse one",
            hint="leave keepdims out: in a kernel an index says which mode is meant",
        )
    gone = axes_of(asarray(x), axis)
    shape = tuple(1 if n in gone else extent for n, extent in enumerate(x.shape))
    return np.asarray(result).reshape(shape)


def _over(kind: str, body: str, x: Any, axis: Any = None) -> Any:
    """Reduce an expression of the elements of a tensor, ``{0}``, over ``axis``."""
    gone = axes_of(x, axis)
    names = LETTERS[: x.ndim]
    over = ", ".join(names[n] for n in sorted(gone))
    left = ", ".join(names[n] for n in range(x.ndim) if n not in gone) or "()"
    body = body.format(f"x[{', '.join(names)}]" if names else "x")
    value = f"{kind}({body}, over=({over},))" if gone else body
    return evaluate(f"result[{left}] = {value}", fill_value=INFER, x=x)


def mean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = asarray(a)
    gone = axes_of(x, axis)
    count = math.prod(x.shape[n] for n in gone)
    whole = x.dtype.kind in "biu"
    added = _over("sum", "1.0 * {0}", x, axis) if whole else reduce("sum", x, axis)
    divided = elementwise("div", added, float(count)) if isinstance(added, Tensor) else None
    return kept(added / count if divided is None else divided, x, axis, keepdims)


def count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = asarray(a)
    return kept(_over("sum", "({0} != 0)", x, axis), x, axis, keepdims)


def _magnitude(x: Tensor) -> str:
    """The text of the absolute values of a tensor's elements, floating."""
    return "abs({0})" if x.dtype.kind in "fc" else "abs(1.0 * {0})"


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of a vector, of a matrix, or of the vectors along an axis."""
    tensor = asarray(x)
    vectors = axis is not None or tensor.ndim == 1
    if ord is None or (vectors and ord == 2) or (ord == "fro" and tensor.ndim == 2):
        found = np.sqrt(_over("sum", f"square({_magnitude(tensor)})", tensor, axis))
        return kept(found, tensor, axis, keepdims)
    if vectors and not isinstance(axis, tuple):
        return kept(vector_norm(tensor, ord, axis), tensor, axis, keepdims)
    if tensor.ndim == 2 and axis is None and ord in (1, -1, math.inf, -math.inf):
        sums = _over("sum", _magnitude(tensor), tensor, 0 if abs(ord) == 1 else 1)
        return kept(reduce("max" if ord > 0 else "min", sums), tensor, axis, keepdims)
    raise TensorTypeError(
        f"np.linalg.norm with ord={ord!r} has no meaning for a sparsedsl tensor",
        hint="singular values are found by scipy.sparse.linalg.svds(x.to_scipy(), k=1)",
    )


def vector_norm(x: Tensor, order: Any, axis: Any) -> Any:
    size = _magnitude(x)
    if order in (math.inf, -math.inf):
        found = _over("max" if order > 0 else "min", size, x, axis)
        return np.maximum(found, 0) if order > 0 and not x.size else found
    if order == 0:
        return 1.0 * _over("sum", "({0} != 0)", x, axis)
    if order == 1:
        return _over("sum", size, x, axis)
    return _over("sum", f"({size}) ** {float(order)!r}", x, axis) ** (1.0 / order)
