"""Typed constructors of loop IR, folding what is known, so that lowering reads like the result.

Every integer constructor takes ``Expr`` or a plain ``int``.  Only ``"int"`` and ``"bool"``
expressions fold: value arithmetic keeps IEEE rules and is left alone.  The folding rules are
the expression half of ``loops.simplify``, which lists them.

>>> from sparsedsl.loops import text
>>> text.expression(add(ivar("p"), sub(3, 2)))
'p + 1'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Apply,
    Binary,
    Cast,
    Const,
    Expr,
    Length,
    Load,
    Not,
    Select,
    Stmt,
    Store,
    Var,
)

IntLike: TypeAlias = "Expr | int"

TRUE = Const(True, BOOL)
FALSE = Const(False, BOOL)

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

_FOLD: dict[str, Callable[[int, int], int | bool]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "min": min,
    "max": max,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "below": lambda a, b: a % 2**64 < b % 2**64,
}
COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "below"})
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def i(value: int) -> Const:
    """Return the int constant ``value``."""
    return Const(int(value), INT)


def ivar(name: str) -> Var:
    """Return the int variable ``name``."""
    return Var(name, INT)


def const(value: bool | int | float | complex, type: str) -> Const:
    """Return the constant ``value`` of ``type``."""
    return Const(value, type)


def expr(value: IntLike) -> Expr:
    """Return ``value`` as an expression; a plain int becomes an int constant."""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    return i(value) if isinstance(value, int) else value


def _int_constant(value: Expr) -> int | None:
    """Return the value of an int constant, else None."""
    if isinstance(value, Const) and value.type == INT:
        return int(value.value.real)
    return None


def _fits(value: int) -> bool:
    return _INT64_MIN <= value <= _INT64_MAX


def _folded(operator: str, left: Expr, right: Expr) -> Expr | None:
    """Return the constant ``left operator right`` when both are int constants and it is defined."""
    a, b = _int_constant(left), _int_constant(right)
    if a is None or b is None:
        return None
    if operator in ("//", "%") and b == 0:
        return None
    if operator in ("<<", ">>") and not 0 <= b < 64:
        return None
    value = _FOLD[operator](a, b)
    if isinstance(value, bool):
        return TRUE if value else FALSE
    return i(value) if _fits(value) else None


def _split(value: Expr) -> tuple[Expr, int]:
    """Return ``(rest, constant)`` with ``value = rest + constant``."""
    match value:
        case Binary("+", left, Const(constant, "int"), "int"):
            return left, int(constant.real)
        case Binary("-", left, Const(constant, "int"), "int"):
            return left, -int(constant.real)
        case _:
            return value, 0


def _shifted(rest: Expr, constant: int) -> Expr:
    """Return ``rest + constant`` in the spelling a reader expects."""
    if constant == 0:
        return rest
    if constant < 0 and constant != _INT64_MIN:
        return Binary("-", rest, i(-constant), INT)
    return Binary("+", rest, i(constant), INT)


def add(left: IntLike, right: IntLike) -> Expr:
    """Return ``left + right``."""
    a, b = expr(left), expr(right)
    folded = _folded("+", a, b)
    if folded is not None:
        return folded
    if _int_constant(a) is not None and _int_constant(b) is None:
        a, b = b, a
    constant = _int_constant(b)
    if constant is not None:
        rest, inner = _split(a)
        if _fits(constant + inner):
            return _shifted(rest, constant + inner)
    return Binary("+", a, b, INT)


def sub(left: IntLike, right: IntLike) -> Expr:
    """Return ``left - right``."""
    a, b = expr(left), expr(right)
    folded = _folded("-", a, b)
    if folded is not None:
        return folded
    constant = _int_constant(b)
    if constant is not None and _fits(-constant):
        return add(a, -constant)
    if a == b:
        return i(0)
    rest_a, inner_a = _split(a)
    rest_b, inner_b = _split(b)
    if rest_a == rest_b and _fits(inner_a - inner_b):
        return i(inner_a - inner_b)
    if rest_a == b:
        return i(inner_a)
    return Binary("-", a, b, INT)


def mul(left: IntLike, right: IntLike) -> Expr:
    """Return ``left * right``."""
    a, b = expr(left), expr(right)
    folded = _folded("*", a, b)
    if folded is not None:
        return folded
    if _int_constant(a) is not None and _int_constant(b) is None:
        a, b = b, a
    match _int_constant(b):
        case 0:
            return i(0)
        case 1:
            return a
        case _:
            return Binary("*", a, b, INT)


def floordiv(left: IntLike, right: IntLike) -> Expr:
    """Return ``left // right``, rounded down."""
    a, b = expr(left), expr(right)
    if _int_constant(b) == 1:
        return a
    return _folded("//", a, b) or Binary("//", a, b, INT)


def mod(left: IntLike, right: IntLike) -> Expr:
    """Return ``left % right``, with the sign of ``right``."""
    a, b = expr(left), expr(right)
    if _int_constant(b) == 1:
        return i(0)
    return _folded("%", a, b) or Binary("%", a, b, INT)


def min_(left: IntLike, right: IntLike) -> Expr:
    """Return the smaller of two ints."""
    a, b = expr(left), expr(right)
    return a if a == b else _folded("min", a, b) or Binary("min", a, b, INT)


def max_(left: IntLike, right: IntLike) -> Expr:
    """Return the larger of two ints."""
    a, b = expr(left), expr(right)
    return a if a == b else _folded("max", a, b) or Binary("max", a, b, INT)


def bit_and(left: IntLike, right: IntLike) -> Expr:
    """Return ``left & right`` of two ints."""
    a, b = expr(left), expr(right)
    if 0 in (_int_constant(a), _int_constant(b)):
        return i(0)
    return a if a == b else _folded("&", a, b) or Binary("&", a, b, INT)


def _bit_identity(operator: str, left: IntLike, right: IntLike) -> Expr:
    """Build an operator of two ints whose right identity is zero."""
    a, b = expr(left), expr(right)
    if _int_constant(b) == 0:
        return a
    if _int_constant(a) == 0 and operator in ("|", "^"):
        return b
    return _folded(operator, a, b) or Binary(operator, a, b, INT)


def bit_or(left: IntLike, right: IntLike) -> Expr:
    """Return ``left | right`` of two ints."""
    a = expr(left)
    return a if a == expr(right) else _bit_identity("|", left, right)


def bit_xor(left: IntLike, right: IntLike) -> Expr:
    """Return ``left ^ right`` of two ints."""
    a = expr(left)
    return i(0) if a == expr(right) else _bit_identity("^", left, right)


def shift_left(left: IntLike, right: IntLike) -> Expr:
    """Return ``left << right``; the count is in ``[0, 64)`` and the result wraps."""
    return _bit_identity("<<", left, right)


def shift_right(left: IntLike, right: IntLike) -> Expr:
    """Return ``left >> right`` with the sign kept; the count is in ``[0, 64)``."""
    return _bit_identity(">>", left, right)


def compare(operator: str, left: IntLike, right: IntLike) -> Expr:
    """Return the comparison ``left operator right`` of two operands of one type."""
    a, b = expr(left), expr(right)
    if a.type == INT and b.type == INT:
        folded = _folded(operator, a, b)
        if folded is not None:
            return folded
        if a == b:
            return TRUE if operator in ("<=", ">=", "==") else FALSE
    return Binary(operator, a, b, BOOL)


def lt(left: IntLike, right: IntLike) -> Expr:
    """Return ``left < right``."""
    return compare("<", left, right)


def le(left: IntLike, right: IntLike) -> Expr:
    """Return ``left <= right``."""
    return compare("<=", left, right)


def gt(left: IntLike, right: IntLike) -> Expr:
    """Return ``left > right``."""
    return compare(">", left, right)


def ge(left: IntLike, right: IntLike) -> Expr:
    """Return ``left >= right``."""
    return compare(">=", left, right)


def within(low: Expr, value: Expr, count: Expr) -> Expr:
    """Return ``low <= value < low + count`` as one comparison; ``count`` is not negative.

    >>> from sparsedsl.loops import text
    >>> text.expression(within(ivar("lo"), ivar("p"), ivar("count")))
    'p - lo below count'
    """
    return compare("below", sub(value, low), count)


def eq(left: IntLike, right: IntLike) -> Expr:
    """Return ``left == right``."""
    return compare("==", left, right)


def ne(left: IntLike, right: IntLike) -> Expr:
    """Return ``left != right``."""
    return compare("!=", left, right)


def conj(*conditions: Expr) -> Expr:
    """Return the conjunction, evaluated left to right and stopping at the first false one."""
    result: Expr = TRUE
    for condition in conditions:
        if result == FALSE or condition in (TRUE, result):
            continue
        result = condition if result == TRUE else Binary("and", result, condition, BOOL)
    return result


def disj(*conditions: Expr) -> Expr:
    """Return the disjunction, evaluated left to right and stopping at the first true one."""
    result: Expr = FALSE
    for condition in conditions:
        if result == TRUE or condition in (FALSE, result):
            continue
        result = condition if result == FALSE else Binary("or", result, condition, BOOL)
    return result


def not_(operand: Expr) -> Expr:
    """Return the negation; comparisons of ints are turned round instead."""
    match operand:
        case Const(value, "bool"):
            return FALSE if value else TRUE
        case Not(inner):
            return inner
        case Binary(operator, left, right, "bool") if (
            operator in NEGATED and left.type == INT and right.type == INT
        ):
            return Binary(NEGATED[operator], left, right, BOOL)
        case _:
            return Not(operand)


def select(condition: Expr, yes: IntLike, no: IntLike, *, even: bool = False) -> Expr:
    """Return ``yes if condition else no``, of the type of ``yes``; ``even`` is as in ``Select``."""
    a, b = expr(yes), expr(no)
    if condition == TRUE or a == b:
        return a
    return b if condition == FALSE else Select(condition, a, b, a.type, even)


def cast(operand: Expr, type: str) -> Expr:
    """Return ``operand`` converted to ``type``."""
    if operand.type == type:
        return operand
    if isinstance(operand, Const) and operand.type in (INT, BOOL):
        value = int(operand.value.real)
        if type == BOOL:
            return TRUE if value else FALSE
        if type == INT:
            return i(value)
        dtype = np.dtype(type)
        if dtype.kind not in "iu" or np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            return Const(dtype.type(value).item(), type)
    return Cast(operand, type)


def load(array: str, *subscripts: IntLike, type: str = INT, proved: bool = True) -> Load:
    """Return ``array[subscripts]`` of ``type``."""
    return Load(array, tuple(expr(s) for s in subscripts), type, proved)


def store(
    array: str,
    subscripts: Iterable[IntLike],
    value: IntLike,
    combine: str | None = None,
    *,
    proved: bool = True,
) -> Store:
    """Return the store of ``value`` at ``subscripts``."""
    return Store(array, tuple(expr(s) for s in subscripts), expr(value), combine, proved)


def length(array: str, axis: int = 0) -> Length:
    """Return the number of elements of ``array`` along ``axis``."""
    return Length(array, axis)


def apply(function: str, *arguments: Expr, type: str) -> Apply:
    """Return an elementwise operator or an intrinsic of ``arguments``, giving ``type``."""
    return Apply(function, arguments, type)


def cttz(word: Expr) -> Apply:
    """Return the number of trailing zero bits of a nonzero int."""
    return Apply("cttz", (word,), INT)


def ctpop(word: Expr) -> Apply:
    """Return the number of one bits of an int."""
    return Apply("ctpop", (word,), INT)


def block(*parts: Stmt | Iterable[Stmt]) -> tuple[Stmt, ...]:
    """Return one body of statements and groups of statements, in order."""
    result: list[Stmt] = []
    for part in parts:
        if isinstance(part, Iterable):
            result.extend(part)
        else:
            result.append(part)
    return tuple(result)
