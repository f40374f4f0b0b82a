"""Statements that map the values of tensors at one place to the value there.

Takes: a statement.  Gives: the tensors whose values it maps, or none; whether it takes a library
call for each value.  Invariant: nothing else is read but tensors without modes and numbers, so that
an entry of the result depends on the entries at its place alone.
"""

from __future__ import annotations

import numpy as np

from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.nodes import (
    Access,
    Assign,
    Call,
    Expression,
    Literal,
    Program,
)
from sparsedsl.contraction.operators import OPERATORS

_OF_LIBRARY = frozenset(
    (
        *("exp", "expm1", "log", "log1p", "log2", "log10", "pow", "sigmoid"),
        *("sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh"),
    )
)
"""Functions for which a kernel calls C's library, value by value."""


def mapped(statement: Assign) -> tuple[str, ...]:
    """Return the tensors whose values a statement maps, () where it does anything else.

    They are read at the very subscripts of the result, each a plain index of its own.
    """
    found: dict[str, None] = {}
    for part in walk(statement.expression):
        match part:
            case Access(_, ()) | Literal():
                continue
            case Access(name, subscripts) if subscripts == statement.subscripts:
                found[name] = None
            case Call(operator) if not OPERATORS[operator].source:
                continue
            case _:
                return ()
    indices = {subscript.name for subscript in statement.subscripts}
    plain = None not in indices and len(indices) == len(statement.subscripts)
    return tuple(found) if plain and statement.accumulate is None else ()


def by_library(expression: Expression, program: Program) -> bool:
    """Whether a kernel calls a library for each value of an expression; squares are products."""
    return any(
        isinstance(part, Call)
        and part.operator in _OF_LIBRARY
        and np.dtype(dtype_of(part, program)).kind in "fc"
        and not _is_square(part)
        for part in walk(expression)
    )


def _is_square(call: Call) -> bool:
    match call:
        case Call("pow", (_, Literal(value, _))):
            return value == 2
        case _:
            return False
