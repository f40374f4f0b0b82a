"""Programs as text: one line a statement for people, one canonical text for caches.

Takes: nodes.  Gives: text.  Invariant: two programs have the same canonical text exactly
when they are equal.
"""

from __future__ import annotations

from typing import assert_never

from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
    Tensor,
)
from sparsedsl.contraction.operators import OPERATORS

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_LEVELS = (_COMPARISONS, ("|",), ("^",), ("&",), ("+", "-"), ("*", "/", "//", "%"))
_UNARY = 20
_ATOM = 30
_REDUCTIONS = {"add": "sum", "mul": "prod"}


def program_text(program: Program) -> str:
    """Return the statements, one a line."""
    return "\n".join(statement_text(assign) for assign in program.statements)


def statement_text(assign: Assign) -> str:
    """Return one statement, such as ``C[i, j] = sum(k, A[i, k] * B[k, j])``."""
    target = _subscripted(assign.target, assign.subscripts)
    right = expression_text(assign.expression)
    match assign.accumulate:
        case None:
            return f"{target} = {right}"
        case "add":
            return f"{target} += {right}"
        case other:
            return f"{target} {other}= {right}"


def expression_text(expression: Expression) -> str:
    """Return the expression with as few parentheses as its operators need."""
    return _text(expression)[0]


def _text(expression: Expression) -> tuple[str, int]:
    """Return the text and how tightly its outermost operator binds."""
    match expression:
        case Literal(value):
            text = str(value)
            return text, _UNARY if text.startswith("-") else _ATOM
        case Access(tensor, subscripts):
            return _subscripted(tensor, subscripts), _ATOM
        case Stored(tensor, subscripts):
            return _subscripted(f"pattern({tensor})", subscripts), _ATOM
        case IndexValue(index):
            return str(index), _ATOM if index.name else _level("+")
        case Extent(name):
            return f"n_{name}", _ATOM
        case Call(operator, arguments):
            return _call_text(operator, arguments)
        case Reduce(monoid, indices, body):
            name = _REDUCTIONS.get(monoid, monoid)
            bound = indices[0] if len(indices) == 1 else f"({', '.join(indices)})"
            return f"{name}({bound}, {expression_text(body)})", _ATOM
        case _:
            assert_never(expression)


def _call_text(operator: str, arguments: tuple[Expression, ...]) -> tuple[str, int]:
    symbol = OPERATORS[operator].symbol
    if symbol is None:
        return f"{operator}({', '.join(expression_text(a) for a in arguments)})", _ATOM
    if len(arguments) == 1:
        return symbol + _wrapped(arguments[0], _UNARY), _UNARY
    level = _level(symbol)
    tighter_left = symbol == "**" or symbol in _COMPARISONS
    left = _wrapped(arguments[0], level + tighter_left)
    right = _wrapped(arguments[1], level if symbol == "**" else level + 1)
    return f"{left} {symbol} {right}", level


def _level(symbol: str) -> int:
    for level, symbols in enumerate(_LEVELS):
        if symbol in symbols:
            return level
    return _UNARY + 1  # a power binds more tightly than a sign


def _wrapped(expression: Expression, least: int) -> str:
    text, level = _text(expression)
    return text if level >= least else f"({text})"


def _subscripted(name: str, subscripts: tuple[Affine, ...]) -> str:
    if any(s.padded for s in subscripts):
        name = f"padded({name})"
    return f"{name}[{', '.join(str(s) for s in subscripts) or '()'}]"


def canonical(program: Program) -> str:
    """Return a text that identifies the program, for use as part of a cache key.

    It holds names, ranks, dtypes, fills and which tensors are total; places in the user's
    source are left out.
    """
    lines = [f"in {_tensor(t)}" for t in program.inputs]
    lines += [f"out {_tensor(t)}" for t in program.outputs]
    for assign in program.statements:
        target = _subscripted(assign.target, assign.subscripts)
        lines.append(f"{target} {assign.accumulate or ''}= {_prefix(assign.expression)}")
    lines += [f"{index} < {extent}" for index, extent in program.extents]
    lines.append(f"return {', '.join(program.results)}")
    return "\n".join(lines)


def _tensor(tensor: Tensor) -> str:
    total = " total" if tensor.total else ""
    return f"{tensor.name}/{tensor.rank} {tensor.dtype} fill={tensor.fill!r}{total}"


def _prefix(expression: Expression) -> str:
    match expression:
        case Literal(value, dtype):
            return f"{value!r}:{dtype}"
        case Access(tensor, subscripts):
            return _subscripted(tensor, subscripts)
        case Stored(tensor, subscripts):
            return "?" + _subscripted(tensor, subscripts)
        case IndexValue(index):
            return f"<{index}>"
        case Extent(name):
            return f"extent({name})"
        case Call(operator, arguments):
            return f"{operator}({' '.join(_prefix(a) for a in arguments)})"
        case Reduce(monoid, indices, body):
            return f"{monoid}[{','.join(indices)}]({_prefix(body)})"
        case _:
            assert_never(expression)
