"""What one scalar operation of the loop IR means, in NumPy: conversions, operators, monoids."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedsl.loops.nodes import BOOL, INT

try:  # TEMPORARY: until contraction.operators lands
    from sparsedsl.contraction.operators import MONOIDS, OPERATORS
except ImportError:
    from types import SimpleNamespace as _N

    _names = dict(
        add="add",
        sub="subtract",
        mul="multiply",
        div="divide",
        pow="power",
        floordiv="floor_divide",
        mod="remainder",
        neg="negative",
        abs="abs",
        sign="sign",
        sqrt="sqrt",
        exp="exp",
        log="log",
        sin="sin",
        cos="cos",
        tan="tan",
        tanh="tanh",
        minimum="minimum",
        maximum="maximum",
        eq="equal",
        ne="not_equal",
        lt="less",
        le="less_equal",
        gt="greater",
        ge="greater_equal",
        where="where",
        floor="floor",
        ceil="ceil",
        conj="conj",
        real="real",
        imag="imag",
        isnan="isnan",
        pos="positive",
    )
    _names |= {"and": "logical_and", "or": "logical_or", "xor": "logical_xor", "not": "logical_not"}
    OPERATORS = {k: _N(name=k, numpy=getattr(np, v)) for k, v in _names.items()}
    OPERATORS["relu"] = _N(name="relu", numpy=lambda x: np.maximum(x, 0))
    OPERATORS["sigmoid"] = _N(name="sigmoid", numpy=lambda x: 1 / (1 + np.exp(-x)))
    MONOIDS = {
        k: _N(name=k, ufunc=v)
        for k, v in dict(
            add=np.add,
            mul=np.multiply,
            min=np.minimum,
            max=np.maximum,
            any=np.logical_or,
            all=np.logical_and,
        ).items()
    }

INTRINSICS = frozenset({"cttz", "ctpop"})


def wrapped(value: int) -> int:
    """Return ``value`` modulo 2**64 in the range of int64.

    >>> wrapped(2**63)
    -9223372036854775808
    """
    if -(2**63) <= value < 2**63:
        return value
    return (value + 2**63) % 2**64 - 2**63


def converted(value: Any, type: str) -> Any:
    """Return a scalar as ``type``: a Python int or bool, or a NumPy scalar of a value dtype."""
    if type == INT:
        return wrapped(int(value))
    if type == BOOL:
        return bool(value)
    dtype = np.dtype(type)
    if isinstance(value, dtype.type):
        return value
    if isinstance(value, int) and dtype.kind in "iu":
        # NumPy refuses a Python int that does not fit; converting scalars wraps
        return (
            np.asarray(wrapped(value), np.int64).astype(dtype)[()]
            if value < 2**63
            else (np.asarray(value % 2**64, np.uint64).astype(dtype)[()])
        )
    array = np.asarray(value)
    if array.dtype.kind == "c" and dtype.kind != "c":
        array = array.real
    return array.astype(dtype)[()]


def combine(monoid: str, left: Any, right: Any, type: str) -> Any:
    """Return ``left`` combined with ``right`` by a monoid, as ``type``."""
    if type == INT:
        left, right = np.int64(left), np.int64(right)
    return converted(MONOIDS[monoid].ufunc(left, right), type)


def apply(function: str, arguments: tuple[Any, ...], type: str) -> Any:
    """Return an intrinsic or an elementwise operator of ``arguments``, as ``type``."""
    if function == "cttz":
        (word,) = arguments
        if word == 0:
            raise ValueError("cttz of zero")
        return (word & -word).bit_length() - 1 if word != -(2**63) else 63
    if function == "ctpop":
        (word,) = arguments
        return (word % 2**64).bit_count()
    typed = (
        np.int64(a) if isinstance(a, int) and not isinstance(a, bool) else a for a in arguments
    )
    return converted(OPERATORS[function].numpy(*typed), type)
