"""Loop IR as compact text, for people: dumps, error messages, ``explain``.

Names and operators are printed as they stand in the IR; types appear where a variable or an
array is declared.  The generated Python is ``codegen.python``'s, not this.
"""

from __future__ import annotations

from typing import assert_never

from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    IntParam,
    Kernel,
    Length,
    Load,
    Not,
    Pack,
    Param,
    Part,
    Prefetch,
    Resize,
    ScalarParam,
    Select,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.vectors import lanes

# Binding strength, as in Python: a looser operand of a tighter operator needs parentheses.
PRECEDENCE = {
    "or": 1,
    "and": 2,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "==": 4,
    "!=": 4,
    "below": 4,
    "|": 5,
    "^": 6,
    "&": 7,
    "<<": 8,
    ">>": 8,
    "+": 9,
    "-": 9,
    "*": 10,
    "/": 10,
    "//": 10,
    "%": 10,
}
_SELECT, _NOT, _ATOM = 0, 3, 20


def expression(node: Expr) -> str:
    """Return ``node`` as one line of text."""
    return _expression(node)[0]


def _expression(node: Expr) -> tuple[str, int]:
    """Return the text of ``node`` and its binding strength."""
    match node:
        case Const(value, _):
            return repr(value), _ATOM
        case Var(name, _):
            return name, _ATOM
        case Load(array, subscripts, type, proved):
            mark = "" if proved else "?"
            return f"{array}[{_places(subscripts, type)}]{mark}", _ATOM
        case Part(array, place, count, type, through, apart):
            steps = f" by {apart}" if apart > 1 else ""
            where = f"{expression(place)} ..+{lanes(type) * apart}{steps}"
            where = f"{through}[{where}]" if through else where
            return f"{array}[{where}, at most {expression(count)}]", _ATOM
        case Length(array, axis):
            return f"len({array}, {axis})" if axis else f"len({array})", _ATOM
        case Binary("min" | "max" as operator, left, right, _):
            return f"{operator}({expression(left)}, {expression(right)})", _ATOM
        case Binary(operator, left, right, _):
            strength = PRECEDENCE.get(operator, PRECEDENCE["*"])
            # comparisons do not chain, so both sides must bind tighter
            left_strength = strength + 1 if strength == PRECEDENCE["<"] else strength
            text = f"{_operand(left, left_strength)} {operator} {_operand(right, strength + 1)}"
            return text, strength
        case Not(operand):
            return f"not {_operand(operand, _NOT)}", _NOT
        case Select(condition, yes, no, _):
            parts = (_operand(part, _SELECT + 1) for part in (yes, condition, no))
            return "{} if {} else {}".format(*parts), _SELECT
        case Cast(operand, type):
            return f"{type}({expression(operand)})", _ATOM
        case Apply(function, arguments, _):
            return f"{function}({', '.join(map(expression, arguments))})", _ATOM
        case _:
            assert_never(node)


def _operand(node: Expr, needed: int) -> str:
    text, strength = _expression(node)
    return text if strength >= needed else f"({text})"


def _places(subscripts: tuple[Expr, ...], type: str) -> str:
    """Return subscripts; a vector's end in how many elements it takes from there on."""
    shown = ", ".join(map(expression, subscripts))
    return f"{shown} ..+{lanes(type)}" if lanes(type) > 1 else shown


def statement(node: Stmt, *, deep: bool = True) -> str:
    """Return ``node`` as text; without ``deep``, a loop or branch shows its head alone."""
    return "\n".join(_statement(node, deep))


def _statement(node: Stmt, deep: bool) -> list[str]:
    match node:
        case Assign(variable, value):
            return [f"{variable.name}: {variable.type} = {expression(value)}"]
        case Store(array, subscripts, value, combine, proved, passing):
            place = f"{array}[{_places(subscripts, value.type)}]{'' if proved else '?'}"
            sign = "=" if combine is None else f"={combine}="
            past = "" if passing is None else f" past the caches if {passing.name}"
            return [f"{place} {sign} {expression(value)}{past}"]
        case For(variable, start, stop, body, step):
            by = f", {step}" if step != 1 else ""
            head = f"for {variable.name} in {expression(start)} .. {expression(stop)}{by}:"
            return [head, *_block(body, deep)]
        case While(condition, body):
            return [f"while {expression(condition)}:", *_block(body, deep)]
        case If(condition, then, otherwise):
            lines = [f"if {expression(condition)}:", *_block(then, deep)]
            if otherwise:
                lines += ["else:", *_block(otherwise, deep)]
            return lines
        case Break():
            return ["break"]
        case Allocate(array, dtype, shape, value):
            sizes = ", ".join(map(expression, shape))
            start = "uninitialised" if value is None else expression(value)
            return [f"{array} = {dtype}[{sizes}] of {start}"]
        case Resize(array, length):
            return [f"resize {array} to {expression(length)}"]
        case Prefetch(array, subscripts, to_store, of_row):
            purpose = " to store" if to_store else " of a row" if of_row else ""
            return [f"prefetch {array}[{', '.join(map(expression, subscripts))}]{purpose}"]
        case Pack(array, place, value, kept, through, count):
            shown = expression(value)
            if through:
                shown = f"{through}[{shown} ..+{count}]"
            elif lanes(value.type) == 1:
                shown = f"{shown} ..+{count}"
            return [f"pack {array}[{expression(place)} ..] = {shown} where {expression(kept)}"]
        case Comment(text):
            return [f"# {line}" for line in text.splitlines() or [""]]
        case _:
            assert_never(node)


def _block(body: tuple[Stmt, ...], deep: bool) -> list[str]:
    if not deep:
        return ["    ..."]
    lines = [line for node in body for line in _statement(node, deep)]
    return [f"    {line}" for line in lines or ["pass"]]


def parameter(node: Param) -> str:
    """Return the declaration of a parameter."""
    match node:
        case ArrayParam(name, dtype, ndim):
            return f"{name}: {dtype}[{', '.join(':' * ndim)}]"
        case IntParam(name):
            return f"{name}: int"
        case ScalarParam(name, dtype):
            return f"{name}: {dtype}"
        case _:
            assert_never(node)


def kernel(node: Kernel) -> str:
    """Return the whole kernel as indented text, without a final newline."""
    head = f"kernel {node.name}({', '.join(map(parameter, node.params))})"
    notes = [f"    # {line}" for note in node.notes for line in note.splitlines()]
    body = [f"    {line}" for part in node.body for line in _statement(part, deep=True)]
    return "\n".join([f"{head} -> ({', '.join(node.results)})", *notes, *body])
