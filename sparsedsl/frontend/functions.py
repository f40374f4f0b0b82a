"""Functions of expressions: explicit reductions and elementwise operators.

Takes: surface operands.  Gives: expressions.  Invariant: every function is an entry of the
operator or monoid table, or composed of such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsedsl.contraction.bindings import free_indices
from sparsedsl.contraction.nodes import Reduce
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend.spans import here
from sparsedsl.frontend.surface import Index, Value, as_value, combine, settled


def _reduction(name: str, monoid: str, meaning: str) -> Callable[..., Value]:
    def reduce(expression: Any, over: Any = None) -> Value:
        return reduced(name, monoid, expression, over)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"""Return {meaning} of an expression over an index or several.

    Parameters
    ----------
    expression:
        What is reduced, such as ``A[i, k] * B[k, j]``.
    over:
        An index, a tuple of indices, or their names in one string: ``k``, ``(j, k)``, ``"j k"``.

    Raises
    ------
    NotationError
        If an index does not occur in the expression.
    """
    return reduce


def _elementwise(name: str) -> Callable[..., Value]:
    arity = OPERATORS[name].arity

    def function(*arguments: Any) -> Value:
        if len(arguments) != arity:
            raise NotationTypeError(
                f"{name} takes {arity} argument{'s' * (arity > 1)}, found {len(arguments)}",
                span=here(),
            )
        return combine(name, *arguments)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return ``{name}`` of the expression, elementwise, as NumPy defines it."
    return function


def reduced(name: str, monoid: str, expression: Any, over: Any) -> Value:
    """Return the reduction ``name`` of an expression over indices."""
    indices = _over(name, over)
    body = settled(expression)
    for index in indices:
        if index not in free_indices(body.expression):
            raise NotationError(
                f"{name}: index {index} does not occur in the expression",
                span=here(),
                hint="reduce over indices that subscript some operand inside",
            )
    try:
        dtype = MONOIDS[monoid].result(body.dtype)
    except NotationTypeError as error:
        raise NotationTypeError(error.message, span=here()) from None
    return Value(Reduce(monoid, indices, body.expression), dtype)


def _over(name: str, over: Any) -> tuple[str, ...]:
    if over is None:
        raise NotationError(
            f"{name}: expected the indices to reduce over, found none",
            span=here(),
            hint=f"write sd.{name}(..., over=k)",
        )
    if isinstance(over, str):
        over = tuple(part for part in re.split(r"[,\s]+", over) if part)
    parts: tuple[Any, ...] = tuple(over) if isinstance(over, tuple | list) else (over,)
    found: list[str] = []
    for part in parts:
        plain = part.affine.name if isinstance(part, Index) else part
        if not isinstance(plain, str):
            raise NotationError(
                f"{name}: expected an index to reduce over, found {part!r}",
                span=here(),
                hint=_instead(name, part),
            )
        if plain in found:
            raise NotationError(f"{name}: index {plain} is given twice", span=here())
        found.append(plain)
    if not found:
        raise NotationError(f"{name}: expected an index to reduce over, found none", span=here())
    return tuple(found)


def _instead(name: str, part: Any) -> str:
    """Say what to write where something else than an index was given to reduce over."""
    pairs = {"min": "minimum", "max": "maximum"}
    if name in pairs and isinstance(part, Value | int | float):
        span = here()
        function = f"sd.{pairs[name]}" if span is None or span.file else pairs[name]
        return f"the {pairs[name]} of two values is {function}(a, b); over=j reduces over j"
    return "give an index or a tuple of indices: over=(j, k)"


sum = _reduction("sum", "add", "the sum")
prod = _reduction("prod", "mul", "the product")
min = _reduction("min", "min", "the least value")
max = _reduction("max", "max", "the greatest value")
any = _reduction("any", "any", "whether any value is true")
all = _reduction("all", "all", "whether all values are true")
REDUCTIONS = {"sum": "add", "prod": "mul", "min": "min", "max": "max", "any": "any", "all": "all"}

abs = _elementwise("abs")
sign = _elementwise("sign")
sqrt = _elementwise("sqrt")
exp = _elementwise("exp")
expm1 = _elementwise("expm1")
log = _elementwise("log")
log1p = _elementwise("log1p")
log2 = _elementwise("log2")
log10 = _elementwise("log10")
sin = _elementwise("sin")
cos = _elementwise("cos")
tan = _elementwise("tan")
arctan = _elementwise("arctan")
sinh = _elementwise("sinh")
cosh = _elementwise("cosh")
tanh = _elementwise("tanh")
sigmoid = _elementwise("sigmoid")
relu = _elementwise("relu")
minimum = _elementwise("minimum")
maximum = _elementwise("maximum")
where = _elementwise("where")
floor = _elementwise("floor")
ceil = _elementwise("ceil")
rint = _elementwise("rint")
trunc = _elementwise("trunc")
conj = _elementwise("conj")
real = _elementwise("real")
imag = _elementwise("imag")
isnan = _elementwise("isnan")
isinf = _elementwise("isinf")
isfinite = _elementwise("isfinite")


def silu(x: object) -> Value:
    """Return ``x * sigmoid(x)``."""
    return combine("mul", x, combine("sigmoid", x))


def square(x: object) -> Value:
    """Return ``x * x``."""
    return combine("mul", x, x)


def clip(x: object, low: object = None, high: object = None) -> Value:
    """Return ``x``, or the bound that it is beyond; None is no bound."""
    kept = as_value(x) if low is None else combine("maximum", x, low)
    return kept if high is None else combine("minimum", kept, high)


def nan_to_num(x: object, nan: object = 0.0, posinf: object = None, neginf: object = None) -> Value:
    """Return ``x`` with numbers in place of NaN and of infinities, by default the largest."""
    value = as_value(x)
    kind = np.dtype(value.dtype).kind
    if kind in "biu":
        return value
    if kind == "c":
        raise NotationTypeError(
            f"nan_to_num is not defined for {value.dtype}",
            span=here(),
            hint="take the parts apart: sd.real(x), sd.imag(x)",
        )
    most = float(np.finfo(value.dtype).max)
    high, low = (most if posinf is None else posinf), (-most if neginf is None else neginf)
    bounded = combine("where", combine("eq", value, -_INF), low, value)
    bounded = combine("where", combine("eq", value, _INF), high, bounded)
    return combine("where", combine("isnan", value), nan, bounded)


_INF = float("inf")

ELEMENTWISE: dict[str, Callable[..., Value]] = {
    name: globals()[name]
    for name, operator in OPERATORS.items()
    if operator.symbol is None and name in globals()
} | {"silu": silu, "square": square, "clip": clip, "nan_to_num": nan_to_num}
