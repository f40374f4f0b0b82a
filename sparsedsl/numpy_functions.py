"""What NumPy's functions of tensors mean: ufuncs, reductions, norms, diagonals, choices.

Takes: what NumPy's protocols hand over.  Gives: what NumPy gives for the tensor stored densely,
sparse where ``evaluate`` keeps it so.  Invariant: nothing becomes dense that ``evaluate`` would
not make dense; a function without a meaning here is refused by name, with what to do instead.
"""

from __future__ import annotations

import inspect
import math
import operator as python
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from sparsedsl.api import einsum, evaluate
from sparsedsl.errors import NotationError, TensorTypeError
from sparsedsl.frontend.outputs import INFER
from sparsedsl.frontend.protocols import LOGICAL, UFUNCS
from sparsedsl.frontend.spans import here
from sparsedsl.interop import asarray
from sparsedsl.layouts.levels import total
from sparsedsl.operators import (
    LETTERS,
    axes_of,
    composed,
    elementwise,
    matmul,
    reduce,
    tensordot,
    transpose,
    truth,
)
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


def _square(x: Any) -> Any:
    return composed("square({0})", x)


def _reciprocal(x: Any) -> Any:
    if np.dtype(x.dtype).kind in "biu":
        raise TypeError("reciprocals of integers are integers; write 1 / x")
    return elementwise("div", 1.0, x)


def _fabs(x: Any) -> Any:
    return elementwise("abs", x if np.dtype(x.dtype).kind == "f" else 1.0 * x)


_COMPOSED: dict[Any, Callable[..., Any]] = {
    np.square: _square,
    np.reciprocal: _reciprocal,
    np.fabs: _fabs,
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
        return _reduced(kind)(operands[0], options.get("axis", 0), given.get("keepdims", False))
    suffix = "" if method == "__call__" else f".{method}"
    shown = f" with {', '.join(given)}" if given else ""
    raise TensorTypeError(
        f"np.{function.__name__}{suffix}{shown} has no meaning for a sparsedsl tensor",
        hint="write a kernel, with a function of your own under @sd.function if need be, or call "
        ".to_numpy() to store every coordinate",
    )


def _reduced(kind: str) -> Callable[..., Any]:
    def reduction(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _kept(reduce(kind, a, axis), a, axis, keepdims)

    return reduction


def _kept(result: Any, x: Any, axis: Any, keepdims: bool) -> Any:
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


def _mean(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = asarray(a)
    gone = axes_of(x, axis)
    count = math.prod(x.shape[n] for n in gone)
    whole = x.dtype.kind in "biu"
    added = _over("sum", "1.0 * {0}", x, axis) if whole else reduce("sum", x, axis)
    divided = elementwise("div", added, float(count)) if isinstance(added, Tensor) else None
    return _kept(added / count if divided is None else divided, x, axis, keepdims)


def _count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = asarray(a)
    found = _over("sum", "({0} != 0)", x, axis)
    return int(found) if axis is None and not keepdims else _kept(found, x, axis, keepdims)


def _magnitude(x: Tensor) -> str:
    """The text of the absolute values of a tensor's elements, floating."""
    return "abs({0})" if x.dtype.kind in "fc" else "abs(1.0 * {0})"


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """The norm of a vector, of a matrix, or of the vectors along an axis."""
    tensor = asarray(x)
    vectors = axis is not None or tensor.ndim == 1
    if ord is None or (vectors and ord == 2) or (ord == "fro" and tensor.ndim == 2):
        found = np.sqrt(_over("sum", f"square({_magnitude(tensor)})", tensor, axis))
        return _kept(found, tensor, axis, keepdims)
    if vectors and not isinstance(axis, tuple):
        return _kept(_vector_norm(tensor, ord, axis), tensor, axis, keepdims)
    if tensor.ndim == 2 and axis is None and ord in (1, -1, math.inf, -math.inf):
        sums = _over("sum", _magnitude(tensor), tensor, 0 if abs(ord) == 1 else 1)
        return _kept(reduce("max" if ord > 0 else "min", sums), tensor, axis, keepdims)
    raise TensorTypeError(
        f"np.linalg.norm with ord={ord!r} has no meaning for a sparsedsl tensor",
        hint="singular values are found by scipy.sparse.linalg.svds(x.to_scipy(), k=1)",
    )


def _vector_norm(x: Tensor, order: Any, axis: Any) -> Any:
    size = _magnitude(x)
    if order in (math.inf, -math.inf):
        return _over("max" if order > 0 else "min", size, x, axis)
    if order == 0:
        return 1.0 * _over("sum", "({0} != 0)", x, axis)
    if order == 1:
        return _over("sum", size, x, axis)
    return _over("sum", f"({size}) ** {float(order)!r}", x, axis) ** (1.0 / order)


def _matrix(x: Any, name: str) -> Tensor:
    tensor = asarray(x)
    if tensor.ndim != 2:
        raise NotationError(
            f"np.{name}: expected a matrix, found {tensor.ndim} modes",
            span=here(),
            hint='use sd.einsum for tensors, such as sd.einsum("iij->ij", x)',
        )
    return tensor


def _diagonal(a: Any, offset: int = 0) -> Any:
    x = _matrix(a, "diagonal")
    rows, columns = x.shape
    first, count = max(-offset, 0), max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    shifted = f"i + {offset}" if offset >= 0 else f"i - {-offset}"
    found = evaluate(f"d[i] = padded(x)[i, {shifted}]", x=x, out="dense")
    return found[first : first + count]


def _diag(v: Any, k: int = 0) -> Any:
    if asarray(v).ndim == 1:
        raise TensorTypeError(
            "np.diag of a vector has no meaning for a sparsedsl tensor",
            hint="scipy.sparse.diags_array(x.to_numpy()) is the matrix with that diagonal",
        )
    return _diagonal(v, k)


def _trace(a: Any, offset: int = 0) -> Any:
    x = _matrix(a, "trace")
    if offset or x.shape[0] != x.shape[1]:
        return np.sum(_diagonal(x, offset))
    wide = np.add.reduce(np.empty(0, x.dtype)).dtype
    return einsum("ii->", x) if wide == x.dtype else einsum("ii,->", x, wide.type(1))


def _triangle(name: str, relation: str) -> Callable[..., Any]:
    def triangle(m: Any, k: int = 0) -> Any:
        x = _matrix(m, name)
        zero = "False" if x.dtype == bool else "0"
        text = f"result[i, j] = where(j {relation} i + ({python.index(k)}), x[i, j], {zero})"
        return evaluate(text, fill_value=INFER, x=x)

    return triangle


def _where(condition: Any, *choices: Any) -> Any:
    if not choices:
        return _nonzero(condition)
    yes, no = choices
    return composed("where({0}, {1}, {2})", condition, yes, no)


def _clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    *,
    min: Any = None,  # noqa: A002
    max: Any = None,  # noqa: A002
) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is None and high is None:
        return composed("+{0}", a)
    if low is None or high is None:
        name, bound = ("minimum", high) if low is None else ("maximum", low)
        return elementwise(name, a, bound)
    return composed("clip({0}, {1}, {2})", a, low, high)


def _nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    if not copy:
        raise TypeError("copy=False: tensors are new")
    tensor = asarray(x)
    if tensor.dtype.kind in "biu":
        return tensor.copy()
    most = float(np.finfo(tensor.dtype).max)
    high, low = (most if posinf is None else posinf), (-most if neginf is None else neginf)
    return composed("nan_to_num({0}, {1}, {2}, {3})", tensor, nan, high, low)


def _round(a: Any, decimals: int = 0) -> Any:
    x = asarray(a)
    if x.dtype.kind in "iu" and decimals >= 0:
        return x.copy()
    if x.dtype.kind not in "fc":
        raise TypeError(f"decimals={decimals} of {x.dtype}")
    scale = float(10 ** abs(decimals))
    if not decimals:
        return elementwise("rint", x)
    body = "rint({0} * {1}) / {1}" if decimals > 0 else "rint({0} / {1}) * {1}"
    return composed(body, x, scale)


def _nonzero(a: Any) -> tuple[np.ndarray, ...]:
    x = asarray(a)
    if x.fill_value != 0:
        raise TensorTypeError(
            f"expected a tensor of fill 0 to list what is not zero, found {x.fill_value.item()}",
            hint="compare with the fill first, np.nonzero(x != x.fill_value), or list every "
            "coordinate: np.nonzero(x.to_numpy())",
        )
    coordinates, values = x.convert("coo").coordinates()
    return tuple(coordinates[:, values != 0])


def _argwhere(a: Any) -> np.ndarray:
    return np.stack(_nonzero(a), axis=1)


_CLOSE = "({0} == {1}) | ((abs({0} - 1.0 * {1}) <= {2} + {3} * abs({1})) & isfinite({1}))"
_BOTH_NAN = " | (isnan({0}) & isnan({1}))"


def _isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    template = _CLOSE + _BOTH_NAN * equal_nan
    return composed(template, a, b, float(atol), float(rtol))


def _allclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    return bool(reduce("all", _isclose(a, b, rtol, atol, equal_nan)))


def _array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    if np.shape(a1) != np.shape(a2):
        return False
    same = composed("({0} == {1})" + _BOTH_NAN * equal_nan, a1, a2)
    return bool(reduce("all", same))


def _inner(a: Any, b: Any) -> Any:
    return tensordot(a, b, axes=(-1, -1))


def _vdot(a: Any, b: Any) -> Any:
    x, y = asarray(a), asarray(b)
    letters = LETTERS[: x.ndim]
    x = np.conj(x) if x.dtype.kind == "c" else x
    return einsum(f"{letters},{letters}->", x, y)


def _outer(a: Any, b: Any) -> Any:
    return einsum("i,j->ij", asarray(a), asarray(b))


def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = [*range(np.ndim(a))]
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, order)


def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    # the axes that NumPy would move, told by those of an empty array
    extents = range(2, 2 + np.ndim(a))
    moved = np.moveaxis(np.broadcast_to(0, tuple(extents)), source, destination).shape
    return transpose(a, [extents.index(n) for n in moved])


def _matrix_transpose(x: Any) -> Any:
    return _swapaxes(x, -1, -2)


def _result_type(*given: Any) -> Any:
    return np.result_type(*(x.dtype if isinstance(x, Tensor) else x for x in given))


def _einsum(spec: str, *operands: Any) -> Any:
    return einsum(spec, *operands)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.dot: matmul,
    np.einsum: _einsum,
    np.transpose: transpose,
    np.swapaxes: _swapaxes,
    np.moveaxis: _moveaxis,
    np.matrix_transpose: _matrix_transpose,
    np.tensordot: tensordot,
    np.inner: _inner,
    np.vdot: _vdot,
    np.outer: _outer,
    np.shape: python.attrgetter("shape"),
    np.ndim: python.attrgetter("ndim"),
    np.size: python.attrgetter("size"),
    np.copy: python.methodcaller("copy"),
    np.result_type: _result_type,
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.amax: _reduced("max"),
    np.amin: _reduced("min"),
    np.mean: _mean,
    np.count_nonzero: _count_nonzero,
    np.linalg.norm: _norm,
    np.diagonal: _diagonal,
    np.diag: _diag,
    np.trace: _trace,
    np.tril: _triangle("tril", "<="),
    np.triu: _triangle("triu", ">="),
    np.where: _where,
    np.clip: _clip,
    np.nan_to_num: _nan_to_num,
    np.round: _round,
    np.around: _round,
    np.real: lambda val: elementwise("real", val),
    np.imag: lambda val: elementwise("imag", val),
    np.nonzero: _nonzero,
    np.argwhere: _argwhere,
    np.isclose: _isclose,
    np.allclose: _allclose,
    np.array_equal: _array_equal,
} | {getattr(np, name): _reduced(name) for name in ("sum", "prod", "min", "max", "any", "all")}

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
            _refuse(called, f" with these arguments: {error}")
        try:
            return found(*arguments, **given)
        except TypeError as error:
            if isinstance(error, TensorTypeError | NotationError):
                raise
            _refuse(called, f": {error}")
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    if tensors and all(total(x.layout) for x in tensors):
        plain = (x.to_numpy() if isinstance(x, Tensor) else x for x in arguments)
        return called(*plain, **options)
    _refuse(called, "")


def _refuse(called: Any, why: str) -> NoReturn:
    name: str = called.__name__
    raise TensorTypeError(
        f"{called.__module__.replace('numpy', 'np', 1)}.{name} has no meaning for a "
        f"sparsedsl tensor{why}",
        hint=_INSTEAD.get(name, "write a kernel, or call .to_numpy() to store every coordinate"),
    )


register("ufunc", ufunc)
register("function", function)
