"""Choices, bounds, roundings and comparisons of tensors, element by element, as NumPy has them.

Takes: tensors of one shape, arrays and numbers.  Gives: tensors whose fill is the function of the
operands' fills.  Invariant: one kernel a function, so that nothing between is stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedsl.errors import TensorTypeError
from sparsedsl.interop import asarray
from sparsedsl.layouts import catalogue
from sparsedsl.operators import composed, elementwise, reduce


def square(x: Any) -> Any:
    return composed("square({0})", asarray(x).astype("int8") if x.dtype == bool else x)


def reciprocal(x: Any) -> Any:
    if np.dtype(x.dtype).kind in "biu":
        raise TensorTypeError(
            f"np.reciprocal of {x.dtype} is of integers and has no meaning for a sparsedsl tensor",
            hint="write 1 / x",
        )
    return elementwise("div", 1.0, x)


def fabs(x: Any) -> Any:
    if np.dtype(x.dtype).kind == "c":
        raise TensorTypeError(
            f"np.fabs of {x.dtype} has no meaning for a sparsedsl tensor", hint="write np.abs(x)"
        )
    return elementwise("abs", x if np.dtype(x.dtype).kind == "f" else 1.0 * x)


def where(condition: Any, *choices: Any) -> Any:
    if not choices:
        return nonzero(condition)
    yes, no = choices
    return composed("where({0}, {1}, {2})", condition, yes, no)


def clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    *,
    min: Any = None,
    max: Any = None,
) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    if low is None and high is None:
        return composed("+{0}", a)
    if low is None or high is None:
        name, bound = ("minimum", high) if low is None else ("maximum", low)
        return elementwise(name, a, bound)
    return composed("clip({0}, {1}, {2})", a, low, high)


def nan_to_num(
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


def round(a: Any, decimals: int = 0) -> Any:
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


def nonzero(a: Any) -> tuple[np.ndarray, ...]:
    x = asarray(a)
    if x.fill_value != 0:
        raise TensorTypeError(
            f"expected a tensor of fill 0 to list what is not zero, found {x.fill_value.item()}",
            hint="compare with the fill first, np.nonzero(x != x.fill_value), or list every "
            "coordinate: np.nonzero(x.to_numpy())",
        )
    coordinates, values = x.convert(catalogue.coordinates(x.ndim)).coordinates()
    return tuple(coordinates[:, values != 0])


def argwhere(a: Any) -> np.ndarray:
    return np.stack(nonzero(a), axis=1)


_CLOSE = "({0} == {1}) | ((abs({0} - 1.0 * {1}) <= {2} + {3} * abs({1})) & isfinite({1}))"
_BOTH_NAN = " | (isnan({0}) & isnan({1}))"


def isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    template = _CLOSE + _BOTH_NAN * equal_nan
    return composed(template, a, b, float(atol), float(rtol))


def allclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    return bool(reduce("all", isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    if np.shape(a1) != np.shape(a2):
        return False
    same = composed("({0} == {1})" + _BOTH_NAN * equal_nan, a1, a2)
    return bool(reduce("all", same))
