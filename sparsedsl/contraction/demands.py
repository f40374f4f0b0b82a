"""What stored values must be for implicit annihilators to be exact in IEEE's sense.

Takes: an expression that meets an annihilator, and what excepts it.  Gives: demands on the stored
values of tensors.  Invariant: where all demands hold, the exception does not happen; overflow of
sums and products of finite values is ignored, but for ``always_finite``.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator
from typing import Literal as OneOf
from typing import TypeAlias, TypeVar, assert_never

import numpy as np

from sparsedsl.contraction.expressions import children, dtype_of
from sparsedsl.contraction.nodes import (
    Access,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)
from sparsedsl.contraction.operators import OPERATORS, Unless

_INF = float("inf")
_T = TypeVar("_T")

Demand: TypeAlias = OneOf["finite", "nonzero", "above", "below", "positive"]
"""What is asked of every stored value of a tensor: to be finite, not to be zero, to be above
minus infinity or below infinity and no NaN, or to be ``least_positive`` at least."""

BOUNDS: tuple[Demand, ...] = ("above", "below", "positive")
"""The demands that bound values on one side."""

Demands: TypeAlias = "frozenset[tuple[Demand, str]]"


def least_positive(dtype: str) -> float:
    """Return the least value that counts as positive: a product of two of them is no zero.

    >>> least_positive("float64") ** 2 > 0, least_positive("int8")
    (True, 1.0)
    """
    return 1.01 * _tiny(dtype) ** 0.5 if np.dtype(dtype).kind == "f" else 1.0


def _tiny(dtype: str) -> float:
    return float(np.finfo(dtype).tiny)


def demands_of(met: Expression, unless: Unless, program: Program) -> Demands | None:
    """Return what keeps ``met`` from being the exception to an annihilator."""
    if unless in ("infinity", "-infinity"):
        side: Demand = "below" if unless == "infinity" else "above"
        return _bounded_if(met, program, side)
    finite = finite_if(met, program)
    divisors = _nonzero_if(met, program) if unless == "zero" else frozenset[str]()
    if finite is not None and divisors is not None:
        return _each("finite", finite) | _each("nonzero", divisors)
    if unless != "zero":
        return _bounded_quotient(met, program)
    positive = _positive_if(met, program)
    return None if positive is None else positive[0]


def _each(demand: Demand, names: frozenset[str]) -> Demands:
    return frozenset((demand, name) for name in names)


def _bounded_quotient(expression: Expression, program: Program) -> Demands | None:
    """Return what makes a product with quotients by positive values finite, None if nothing does.

    Overflow is ignored as in ``finite_if``.
    """
    match expression:
        case Call("mul", (left, right)):
            parts = [_bounded_quotient(a, program) for a in (left, right)]
            return _union_or_none(iter(parts))
        case Call("div", (left, right)):
            parts = [_bounded_quotient(left, program), demands_of(right, "zero", program)]
            return _union_or_none(iter(parts))
        case Call("pow", (base, Literal(power))) if isinstance(power, int | float) and power < 0:
            below = _positive_if(base, program)
            return None if below is None else below[0]
        case _:
            finite = finite_if(expression, program)
            return None if finite is None else _each("finite", finite)


def _positive_if(expression: Expression, program: Program) -> tuple[Demands, float] | None:
    """Return what keeps the expression from zero, from below it and from NaN, and its least value.

    None where nothing does: products may underflow.
    """
    dtype = dtype_of(expression, program)
    parts = [_positive_if(a, program) for a in children(expression)]
    match expression, parts:
        case Literal(value), _ if isinstance(value, int | float) and value > 0:
            return frozenset(), float(value)
        case Access(name), _ if np.dtype(dtype).kind in "iuf":
            least, tensor = least_positive(dtype), program.tensor(name)
            fill = tensor.fill
            stored = program.covers(expression) or (
                isinstance(fill, int | float) and float(fill) >= least
            )
            return (frozenset({("positive", name)}), least) if stored else None
        case Call("maximum", (left, Literal())), [_, (_, least)]:
            finite = finite_if(left, program)
            return None if finite is None else (_each("finite", finite), least)
        case Call(operator, _), _:
            given = _union_or_none(None if p is None else p[0] for p in parts)
            least = _least(operator, expression, [p[1] for p in parts if p is not None])
            floating = np.dtype(dtype).kind == "f"
            if given is None or not floating or not least > _tiny(dtype):
                return None
            return given, least
        case _:
            return None


def _least(operator: str, call: Call, parts: list[float]) -> float:
    """Return what an operator gives at least for positive values that are so large, 0 if unknown.

    A little less, since it is rounded.
    """
    match operator, call.arguments, parts:
        case "add", _, [left, right]:
            least = left + right
        case "mul", _, [left, right]:
            least = left * right
        case "maximum", _, [left, right]:
            least = max(left, right)
        case "sqrt" | "abs" | "pos", _, [value]:
            least = value**0.5 if operator == "sqrt" else value
        case "pow", (_, Literal(int() | float() as power)), [value, _]:
            least = min(value, 1.0) ** power  # a literal of a positive value
        case _:
            return 0.0
    return 0.999 * least


def _bounded_if(expression: Expression, program: Program, side: Demand) -> Demands | None:
    """Return what keeps the expression from one infinity and from NaN; None if nothing does.

    The other infinity may occur: it is the fill of what is added.
    """
    excluded = _INF if side == "below" else -_INF
    other: Demand = "above" if side == "below" else "below"
    match expression:
        case Literal(value) if value == value and value != excluded:
            return frozenset()
        case Access(name):
            tensor = program.tensor(name)
            total = program.covers(expression)
            if total or (tensor.fill == tensor.fill and tensor.fill != excluded):
                whole = np.dtype(tensor.dtype).kind in "biu"
                return frozenset() if whole else frozenset({(side, name)})
            return None
        case Call("add" | "minimum" | "maximum", arguments):
            parts = [_bounded_if(a, program, side) for a in arguments]
        case Call("sub", (left, right)):
            parts = [_bounded_if(left, program, side), _bounded_if(right, program, other)]
        case Call("neg", (argument,)):
            return _bounded_if(argument, program, other)
        case _:
            finite = finite_if(expression, program)
            return None if finite is None else _each("finite", finite)
    return _union_or_none(iter(parts))


def _nonzero_if(expression: Expression, program: Program) -> frozenset[str] | None:
    """Return tensors whose stored values being nonzero makes the expression nonzero."""
    match expression:
        case Access(name):
            tensor = program.tensor(name)
            total = program.covers(expression)
            known = total or (tensor.fill == tensor.fill and tensor.fill != 0)
            return frozenset({name}) if known else None
        case Call("neg" | "pos" | "abs", (argument,)):
            return _nonzero_if(argument, program)
        case _:
            return None


def finite_if(expression: Expression, program: Program) -> frozenset[str] | None:
    """Return tensors whose finiteness makes the expression finite; None if none suffice.

    Overflow of sums and products of finite values is ignored.
    """
    if np.dtype(dtype_of(expression, program)).kind in "biu":
        return frozenset()
    match expression:
        case Literal(value):
            return frozenset() if cmath.isfinite(value) else None
        case Access(tensor):
            settled = program.covers(expression) or cmath.isfinite(program.tensor(tensor).fill)
            return frozenset({tensor}) if settled else None
        case Stored() | IndexValue() | Extent():
            return frozenset()
        case Call("pow", (base, Literal(int() | float() as power))) if is_product(power):
            return finite_if(base, program)
        case Call(operator, arguments):
            if not OPERATORS[operator].finite:
                return None
            operands = arguments[1:] if operator == "where" else arguments
            return _union_or_none(finite_if(a, program) for a in operands)
        case Reduce(monoid, _, body):
            return finite_if(body, program) if monoid == "add" else None
        case _:
            assert_never(expression)


def is_product(power: float) -> bool:
    """Whether a power is a product of so many factors."""
    return power >= 0 and float(power).is_integer()


def _union_or_none(parts: Iterator[frozenset[_T] | None]) -> frozenset[_T] | None:
    result: frozenset[_T] = frozenset()
    for part in parts:
        if part is None:
            return None
        result |= part
    return result


def always_finite(expression: Expression, program: Program) -> bool:
    """Return whether the expression is finite whatever operands store."""
    found = finite_if(expression, program)
    return found is not None and not found and not _overflows(expression, program)


def _overflows(expression: Expression, program: Program) -> bool:
    """Return whether floating sums or products in the expression might overflow."""
    if np.dtype(dtype_of(expression, program)).kind in "biu":
        return False
    match expression:
        case Call("add" | "sub" | "mul" | "pow") | Reduce("add"):
            return True
        case _:
            return any(_overflows(child, program) for child in children(expression))
