"""The partial derivatives of the elementwise operators: one entry an operator.

Takes: a call and the dtype of its result.  Gives: for each argument, the derivative of the
call by it as an expression of the arguments, or None where it is 0.  Invariant: operators
without a derivative almost everywhere other than 0 (comparisons, rounding, logic) give None;
every operator of the table is here.

Where a function has a kink, the derivative is one of those from its sides: 0 for ``abs``,
``relu`` and ``sign`` at 0; ``minimum`` and ``maximum`` of equal arguments take the left one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import TypeAlias

from sparsedsl.contraction.nodes import Call, Expression, Literal
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.errors import PlanError

Partial: TypeAlias = "Expression | None"
Rule: TypeAlias = Callable[[Call, str], tuple[Partial, ...]]


def number(value: float, dtype: str) -> Literal:
    """Return a constant of ``dtype``."""
    return Literal(float(value), dtype)


def call(operator: str, *arguments: Expression) -> Call:
    """Return an operator applied to expressions."""
    return Call(operator, arguments)


def product(left: Expression, right: Expression) -> Expression:
    """Return a product, without factors that are 1."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Literal) and one.value == 1:
            return other
    return call("mul", left, right)


def derivatives(node: Call, dtype: str) -> tuple[Partial, ...]:
    """Return the derivative of ``node`` by each of its arguments.

    Parameters
    ----------
    node:
        A call of an operator of the table.
    dtype:
        The dtype of its result, a floating one.

    Raises
    ------
    PlanError
        For a function of a user's own that came without derivatives.

    >>> x = Literal(2.0, "float64")
    >>> derivatives(Call("exp", (x,)), "float64")[0]
    Call(operator='exp', arguments=(Literal(value=2.0, dtype='float64'),))
    """
    own = OPERATORS[node.operator]
    if not own.source:
        return _RULES[node.operator](node, dtype)
    if own.partials is None:
        raise PlanError(
            f"the function '{node.operator}' has no derivative",
            hint="give one: sd.function(f, derivatives=(df,))",
        )
    return tuple(Call(partial, node.arguments) for partial in own.partials)


def _none(node: Call, dtype: str) -> tuple[Partial, ...]:
    del dtype
    return (None,) * len(node.arguments)


def _constant(*values: float) -> Rule:
    def rule(node: Call, dtype: str) -> tuple[Partial, ...]:
        del node
        return tuple(number(value, dtype) for value in values)

    return rule


def _mul(node: Call, dtype: str) -> tuple[Partial, ...]:
    del dtype
    left, right = node.arguments
    return right, left


def _div(node: Call, dtype: str) -> tuple[Partial, ...]:
    left, right = node.arguments
    first = call("div", number(1, dtype), right)
    return first, call("neg", call("div", call("div", left, right), right))


def _pow(node: Call, dtype: str) -> tuple[Partial, ...]:
    base, power = node.arguments
    less = call("sub", power, number(1, dtype))
    if isinstance(power, Literal):
        less = number(power.value.real - 1, dtype)
        if less.value == 0:
            return number(1, dtype), None
    first = product(power, base if less == number(1, dtype) else call("pow", base, less))
    if isinstance(power, Literal):
        return first, None
    return first, call("mul", node, call("log", base))


def _mod(node: Call, dtype: str) -> tuple[Partial, ...]:
    left, right = node.arguments
    return number(1, dtype), call("neg", call("floordiv", left, right))


def _chosen(comparison: str) -> Rule:
    def rule(node: Call, dtype: str) -> tuple[Partial, ...]:
        left, right = node.arguments
        first = call(comparison, left, right)
        one, zero = number(1, dtype), number(0, dtype)
        return call("where", first, one, zero), call("where", first, zero, one)

    return rule


def _relu(node: Call, dtype: str) -> tuple[Partial, ...]:
    (x,) = node.arguments
    positive = call("gt", x, number(0, dtype))
    return (call("where", positive, number(1, dtype), number(0, dtype)),)


def _by(make: Callable[[Expression, Call, str], Expression]) -> Rule:
    """Return the rule of a function of one argument."""

    def rule(node: Call, dtype: str) -> tuple[Partial, ...]:
        return (make(node.arguments[0], node, dtype),)

    return rule


def _square(x: Expression) -> Expression:
    return call("mul", x, x)


def _over(divisor: Expression, dtype: str) -> Expression:
    return call("div", number(1, dtype), divisor)


def _plus_one(x: Expression, dtype: str) -> Expression:
    return call("add", number(1, dtype), x)


def _one_minus(x: Expression, dtype: str) -> Expression:
    return call("sub", number(1, dtype), x)


_RULES: dict[str, Rule] = {
    "add": _constant(1, 1),
    "sub": _constant(1, -1),
    "mul": _mul,
    "div": _div,
    "mod": _mod,
    "pow": _pow,
    "neg": _constant(-1),
    "pos": _constant(1),
    "conj": _constant(1),
    "real": _constant(1),
    "abs": _by(lambda x, _, _d: call("sign", x)),
    "sqrt": _by(lambda _, y, d: call("div", number(0.5, d), y)),
    "exp": _by(lambda _, y, _d: y),
    "expm1": _by(lambda _, y, d: _plus_one(y, d)),
    "log": _by(lambda x, _, d: _over(x, d)),
    "log1p": _by(lambda x, _, d: _over(_plus_one(x, d), d)),
    "log2": _by(lambda x, _, d: call("div", number(1 / log(2), d), x)),
    "log10": _by(lambda x, _, d: call("div", number(1 / log(10), d), x)),
    "sin": _by(lambda x, _, _d: call("cos", x)),
    "cos": _by(lambda x, _, _d: call("neg", call("sin", x))),
    "tan": _by(lambda _, y, d: _plus_one(_square(y), d)),
    "arctan": _by(lambda x, _, d: _over(_plus_one(_square(x), d), d)),
    "sinh": _by(lambda x, _, _d: call("cosh", x)),
    "cosh": _by(lambda x, _, _d: call("sinh", x)),
    "tanh": _by(lambda _, y, d: _one_minus(_square(y), d)),
    "sigmoid": _by(lambda _, y, d: call("mul", y, _one_minus(y, d))),
    "relu": _relu,
    "minimum": _chosen("le"),
    "maximum": _chosen("ge"),
} | dict.fromkeys(
    (
        *("floordiv", "sign", "floor", "ceil", "rint", "trunc", "imag"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not"),
        *("isnan", "isinf", "isfinite", "where"),
    ),
    _none,
)
"""``where`` passes its derivative on branch by branch; see ``gradients.reverse``."""

assert set(_RULES) == set(OPERATORS), set(_RULES) ^ set(OPERATORS)
