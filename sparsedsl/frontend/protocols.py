"""NumPy's functions of expressions inside a kernel: what each means there, or what to write.

Takes: what NumPy's protocols hand over.  Gives: expressions.  Invariant: a function means what
it means for arrays, value by value; what reduces or moves axes is refused with the indices to
write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.errors import NotationError
from sparsedsl.frontend import functions
from sparsedsl.frontend.spans import here
from sparsedsl.frontend.surface import Value, as_value, combine, truth

UFUNCS: dict[Any, str] = {
    operator.numpy: name
    for name, operator in OPERATORS.items()
    if isinstance(operator.numpy, np.ufunc)
}

LOGICAL: dict[Any, str] = {
    np.logical_and: "and",
    np.logical_or: "or",
    np.logical_not: "not",
    np.logical_xor: "xor",
}
"""Ufuncs that ask of each value whether it is zero, and the operator that they are for bools."""


def _rounded(x: Any, decimals: int = 0) -> Value:
    if decimals:
        raise TypeError("decimals other than 0")
    value = as_value(x)
    return value if np.dtype(value.dtype).kind in "iu" else combine("rint", value)


def _where(condition: Any, yes: Any, no: Any) -> Value:
    return combine("where", condition, yes, no)


def _clipped(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None):
    return functions.clip(x, a_min if min is None else min, a_max if max is None else max)


def _number(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    return functions.nan_to_num(x, nan, posinf, neginf)


_COMPOSED: dict[Any, Callable[..., Value]] = {
    np.square: functions.square,
    np.where: _where,
    np.clip: _clipped,
    np.nan_to_num: _number,
    np.round: _rounded,
    np.around: _rounded,
    np.real: functions.real,
    np.imag: functions.imag,
}
"""Functions that are no operator of the table, of expressions value by value."""

_SUBSCRIPTS = "write its indices: C[i, j] = A[i, k] * B[k, j]"
_OVER = "write sd.{name}(A[i, j], over=j)"

_INSTEAD = {
    **{name: _OVER.format(name=name) for name in ("sum", "prod", "min", "max", "any", "all")},
    "amax": _OVER.format(name="max"),
    "amin": _OVER.format(name="min"),
    "mean": "write sd.sum(A[i, j], over=j) / A.shape[1]",
    "average": "write sd.sum(A[i, j] * w[j], over=j) / sd.sum(w[j], over=j)",
    "count_nonzero": "write sd.sum(A[i, j] != 0, over=j)",
    "norm": "write sd.sqrt(sd.sum(sd.square(sd.abs(x[i])), over=i))",
    "trace": "write sd.sum(A[i, i], over=i)",
    "diagonal": "write A[i, i]",
    "diag": "write A[i, i], or sd.where(i == j, x[i], 0)",
    "transpose": "swap the subscripts: A[j, i]",
    "tril": "write sd.where(j <= i, A[i, j], 0)",
    "triu": "write sd.where(j >= i, A[i, j], 0)",
    "outer": "write C[i, j] = x[i] * y[j]",
    "isclose": "write sd.abs(x[i] - y[i]) <= tolerance",
    **dict.fromkeys(("dot", "matmul", "einsum", "tensordot", "inner", "vdot"), _SUBSCRIPTS),
}
"""What to write instead of functions that reduce, multiply or move axes, by name."""


def apply_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: Mapping[str, Any]
) -> Value:
    """Return a ufunc of expressions and numbers.

    Raises
    ------
    NotationError
        For one without a meaning in a kernel, or with options.
    """
    if method == "__call__" and not options:
        name = UFUNCS.get(ufunc) or LOGICAL.get(ufunc)
        if ufunc in _COMPOSED:
            return _COMPOSED[ufunc](*inputs)
        if name is not None:
            return combine(name, *(map(truth, inputs) if ufunc in LOGICAL else inputs))
    used = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    raise NotationError(
        f"the function {used} has no meaning for a sparsedsl expression",
        span=here(),
        hint=_INSTEAD.get(used)
        or "use the functions of sparsedsl, such as sd.exp and sd.sum(..., over=k), or "
        "one of your own under @sd.function",
    )


def apply_function(function: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Value:
    """Return another of NumPy's functions of expressions and numbers.

    Raises
    ------
    NotationError
        For one without a meaning in a kernel, or with options.
    """
    composed = _COMPOSED.get(function)
    if composed is not None:
        given = {name: value for name, value in options.items() if value is not None}
        try:
            return composed(*arguments, **given)
        except TypeError as error:
            if isinstance(error, NotationError):
                raise
    name: str = function.__name__
    raise NotationError(
        f"{function.__module__}.{name}".replace("numpy", "np", 1)
        + " has no meaning for a sparsedsl expression",
        span=here(),
        hint=_INSTEAD.get(name)
        or "use the functions of sparsedsl, such as sd.where and sd.sum(..., over=k); a "
        "product is written with its indices: C[i, j] = A[i, k] * B[k, j]",
    )
