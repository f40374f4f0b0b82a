"""What NumPy's functions of tensors mean: ufuncs, reductions, norms, diagonals, choices.

Takes: what NumPy's protocols hand over.  Gives: what NumPy gives for the tensor stored densely,
sparse where ``evaluate`` keeps it so.  Invariant: nothing becomes dense that ``evaluate`` would
not make dense; a function without a meaning here is refused by name, with what to do instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from sparsedsl.api import einsum
from sparsedsl.errors import NotationError, TensorTypeError
from sparsedsl.frontend.protocols import LOGICAL, UFUNCS
from sparsedsl.layouts.levels import total
from sparsedsl.numpy_functions import elementwise as el
from sparsedsl.numpy_functions import matrices as ma
from sparsedsl.numpy_functions import reductions as rd
from sparsedsl.operators import elementwise, matmul, tensordot, transpose, truth
from sparsedsl.runtime.operations import register
from sparsedsl.runtime.tensor import Tensor

_REDUCTIONS: dict[Any, str] = {
    np.add: "sum",
    np.multiply: "prod",
    np.minimum: "min",
    np.maximum: "max",
    np.logical_or: "any",
    np.logical_and: "all",
}


_COMPOSED: dict[Any, Callable[..., Any]] = {
    np.square: el.square,
    np.reciprocal: el.reciprocal,
    np.fabs: el.fabs,
    np.matmul: matmul,
}
"""Ufuncs that are no operator of the table."""


def ufunc(function: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
    """Carry out a NumPy ufunc: an operator of the table, a product, or a reduction."""
    given = {name: value for name, value in options.items() if value is not None}
    if method == "__call__" and not given:
        if function in _COMPOSED:
            return _COMPOSED[function](*operands)
        if function in UFUNCS:
            return elementwise(UFUNCS[function], *operands)
        if function in LOGICAL:
            return elementwise(LOGICAL[function], *map(truth, operands))
    kind = _REDUCTIONS.get(function)
    if method == "reduce" and kind is not None and set(given) <= {"axis", "keepdims"}:
        return rd.reduced(kind)(operands[0], options.get("axis", 0), given.get("keepdims", False))
    suffix = "" if method == "__call__" else f".{method}"
    shown = f" with {', '.join(given)}" if given else ""
    raise TensorTypeError(
        f"np.{function.__name__}{suffix}{shown} has no meaning for a sparsedsl tensor",
        hint="write a kernel, with a function of your own under @sd.function if need be, or call "
        ".to_numpy() to store every coordinate",
    )


def _result_type(*given: Any) -> Any:
    return np.result_type(*(x.dtype if isinstance(x, Tensor) else x for x in given))


def _attribute(name: str) -> Callable[[Any], Any]:
    def attribute(a: Any) -> Any:
        return getattr(a, name)

    return attribute


def _copy(a: Any) -> Any:
    return a.copy()


def _is_complex(x: Any) -> bool:
    return x.dtype.kind == "c"


def _is_real(x: Any) -> bool:
    return x.dtype.kind != "c"


def _einsum(spec: str, *operands: Any) -> Any:
    return einsum(spec, *operands)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.dot: matmul,
    np.einsum: _einsum,
    np.transpose: transpose,
    np.swapaxes: ma.swapaxes,
    np.moveaxis: ma.moveaxis,
    np.matrix_transpose: ma.matrix_transpose,
    np.tensordot: tensordot,
    np.inner: ma.inner,
    np.vdot: ma.vdot,
    np.outer: ma.outer,
    np.shape: _attribute("shape"),
    np.ndim: _attribute("ndim"),
    np.size: _attribute("size"),
    np.copy: _copy,
    np.result_type: _result_type,
    np.iscomplexobj: _is_complex,
    np.isrealobj: _is_real,
    np.amax: rd.reduced("max"),
    np.amin: rd.reduced("min"),
    np.mean: rd.mean,
    np.count_nonzero: rd.count_nonzero,
    np.linalg.norm: rd.norm,
    np.diagonal: ma.diagonal,
    np.diag: ma.diag,
    np.trace: ma.trace,
    np.tril: ma.triangle("tril", "<="),
    np.triu: ma.triangle("triu", ">="),
    np.where: el.where,
    np.clip: el.clip,
    np.nan_to_num: el.nan_to_num,
    np.round: el.round,
    np.around: el.round,
    np.real: partial(elementwise, "real"),
    np.imag: partial(elementwise, "imag"),
    np.nonzero: el.nonzero,
    np.argwhere: el.argwhere,
    np.isclose: el.isclose,
    np.allclose: el.allclose,
    np.array_equal: el.array_equal,
} | {getattr(np, name): rd.reduced(name) for name in ("sum", "prod", "min", "max", "any", "all")}

_SCIPY = "x.to_scipy() is a scipy array, and scipy.sparse.linalg takes x itself as an operator"
_JOINED = "join scipy arrays, scipy.sparse.vstack and hstack of x.to_scipy()"
_RESHAPED = "a kernel can subscript A[n * i + j] of a dense vector; or use x.to_scipy()"
_ORDERED = "x.values are the stored values; x.to_numpy() stores every coordinate"

_INSTEAD: dict[str, str] = {
    **dict.fromkeys(("concatenate", "stack", "vstack", "hstack", "dstack", "block"), _JOINED),
    **dict.fromkeys(("reshape", "ravel", "squeeze", "expand_dims"), _RESHAPED),
    **dict.fromkeys(("sort", "argsort", "median", "percentile", "quantile", "unique"), _ORDERED),
    **dict.fromkeys(("inv", "solve", "det", "lstsq", "eig", "eigh", "svd", "matrix_power"), _SCIPY),
    **dict.fromkeys(("argmax", "argmin"), "x.to_scipy() has argmax(axis) and argmin(axis)"),
    **dict.fromkeys(
        ("var", "std", "nanvar", "nanstd"), "the variance is np.mean(x * x) - np.mean(x) ** 2"
    ),
    "average": "the mean with weights w of columns is (x @ w) / w.sum()",
    "cumsum": "a kernel gives sums of leading parts: y[i] = sd.sum(sd.where(j <= i, x[j], 0), j)",
    "kron": "use scipy.sparse.kron of x.to_scipy() of both",
    "save": "use sd.write(path, x)",
    "savez": "use sd.write(path, x)",
}
"""What to do instead of functions that have no meaning here, by name."""


def function(called: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Carry out a NumPy function; tensors that store every coordinate go to NumPy itself.

    Raises
    ------
    TensorTypeError
        For a function, or an option of one, without a meaning for tensors.
    """
    found = _FUNCTIONS.get(called)
    if found is not None:
        given = {name: value for name, value in options.items() if value is not None}
        try:
            inspect.signature(found).bind(*arguments, **given)
        except TypeError as error:
            raise _refusal(called, f" with these arguments: {error}") from None
        try:
            return found(*arguments, **given)
        except TypeError as error:
            if isinstance(error, TensorTypeError | NotationError):
                raise
            raise _refusal(called, f": {error}") from None
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    if tensors and all(total(x.layout) for x in tensors):
        plain = (x.to_numpy() if isinstance(x, Tensor) else x for x in arguments)
        return called(*plain, **options)
    raise _refusal(called, "")


def _refusal(called: Any, why: str) -> TensorTypeError:
    name: str = called.__name__
    return TensorTypeError(
        f"{called.__module__.replace('numpy', 'np', 1)}.{name} has no meaning for a "
        f"sparsedsl tensor{why}",
        hint=_INSTEAD.get(name, "write a kernel, or call .to_numpy() to store every coordinate"),
    )


register("ufunc", ufunc)
register("function", function)
