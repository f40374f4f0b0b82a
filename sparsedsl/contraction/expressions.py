"""Expressions taken apart: their parts, their dtype, equality of scalars.

Takes: an expression.  Gives: what every pass over expressions asks of it.
Invariant: parts come outermost first, left to right, however the expression was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from sparsedsl.contraction.nodes import (
    Access,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Scalar,
    Stored,
)
from sparsedsl.contraction.operators import MONOIDS, OPERATORS


def dtype_of(expression: Expression, program: Program) -> str:
    """Return the NumPy dtype name of the expression's value.

    Raises
    ------
    NotationTypeError
        If an operator is not defined for its arguments' dtypes.
    """
    match expression:
        case Literal(_, dtype):
            return dtype
        case Access(tensor):
            return program.tensor(tensor).dtype
        case Stored():
            return "bool"
        case IndexValue() | Extent():
            return "int64"
        case Call(operator, arguments):
            return OPERATORS[operator].result(tuple(dtype_of(a, program) for a in arguments))
        case Reduce(monoid, _, body):
            return MONOIDS[monoid].result(dtype_of(body, program))
        case _:
            assert_never(expression)


def children(expression: Expression) -> tuple[Expression, ...]:
    """Return the direct subexpressions."""
    match expression:
        case Call(_, arguments):
            return arguments
        case Reduce(_, _, body):
            return (body,)
        case Literal() | Access() | Stored() | IndexValue() | Extent():
            return ()
        case _:
            assert_never(expression)


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and all its subexpressions, outermost first, left to right."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def same_value(left: Scalar, right: Scalar) -> bool:
    """Return whether two scalars are equal, NaN being equal to NaN."""
    return left == right or (left != left and right != right)
