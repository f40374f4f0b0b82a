"""One statement as text: ``C[i, j] = A[i, k] * B[k, j]``.

Takes: text in Python's expression syntax, and what is known of the tensors.  Gives: the same
program a kernel of that statement would.  Invariant: nothing is executed; a name is a tensor
if one is given under it, and an index otherwise.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from sparsedsl.contraction.nodes import Program, Tensor
from sparsedsl.contraction.verify import verify
from sparsedsl.errors import NotationError, Span
from sparsedsl.frontend.arguments import Argument, ArgumentInfo, padded, pattern
from sparsedsl.frontend.functions import ELEMENTWISE, REDUCTIONS, reduced
from sparsedsl.frontend.outputs import Output, Trace
from sparsedsl.frontend.spans import at, bounded_depth, here
from sparsedsl.frontend.surface import Index, combine, index

_BINARY: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Pow: "pow",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
_PYTHON_NAMES = {"div": "truediv", "and": "and_", "or": "or_"}
_UNARY: dict[type[ast.AST], str] = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "not"}
_PYTHON: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    node: getattr(operator, _PYTHON_NAMES.get(name, name)) for node, name in _BINARY.items()
}
_VIEWS: dict[str, Callable[[Any], Any]] = {"pattern": pattern, "padded": padded}
_LARGEST_POWER = 1024


def parse_statement(
    text: str,
    infos: Mapping[str, ArgumentInfo],
    *,
    dtype: Any = None,
    fill_value: Any = 0,
) -> Program:
    """Return the program of one statement, ``=`` or ``+=``.

    Functions go by their names (``exp(D[i, j])``, ``where(i < j, x, y)``), reductions take
    their indices on either side: ``sum(k, A[i, k])``, ``sum(A[i, k], k)``, ``sum(A[i, k],
    over=k)``, ``min((j, k), ...)``; ``pattern(A)[i, j]`` is true where A stores an entry, and
    ``padded(A)[i - 1, j]`` reads its fill beyond the edges.  A scalar stands by its name alone.

    Parameters
    ----------
    infos:
        The tensors, by name, in the order the program takes them.
    dtype, fill_value:
        The result's, as in ``sd.output``.

    Raises
    ------
    NotationError
        With a caret under the place in ``text`` that cannot be read.
    """
    with bounded_depth(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own remarks on the text
        return _program(text, infos, dtype, fill_value)


def _program(text: str, infos: Mapping[str, ArgumentInfo], dtype: Any, fill_value: Any) -> Program:
    trace = Trace(
        {
            name: Tensor(name, len(info.shape), info.dtype, info.fill, info.total)
            for name, info in infos.items()
        }
    )
    target, value, accumulates = _parse(text)
    reader = _Reader(text, {name: Argument(name, info, trace) for name, info in infos.items()})
    name = target.value.id if isinstance(target.value, ast.Name) else ""
    if not name or name in infos:
        raise NotationError(
            "expected the name of a new tensor on the left of '='"
            + (f", found the given '{name}'" if name else ""),
            span=reader.span(target.value),
        )
    with at(reader.span(target)):
        output = Output(trace, None, dtype, fill_value, name)
    trace.outputs.append(output)
    subscripts = reader.subscripts(target.slice)
    right = reader.read(value)
    reader.check_names()
    with at(reader.span(target)):
        place = output[subscripts]
        output[subscripts] = place.__iadd__(right) if accumulates else right
    unused = [n for n in infos if n not in reader.used]
    if unused:
        raise NotationError(
            f"'{unused[0]}' is given but does not occur in the statement",
            span=Span(text, 0, len(text)),
        )
    return verify(
        Program(tuple(trace.inputs.values()), (output.tensor(),), tuple(trace.statements), (name,))
    )


def _parse(text: str) -> tuple[ast.Subscript, ast.expr, bool]:
    """Return the target, the right side, and whether the statement accumulates."""
    hint = "write C[i, j] = ..., or C[()] = ... for a scalar"
    try:
        statements = ast.parse(text.strip()).body
    except SyntaxError as error:
        shift = len(text) - len(text.lstrip())
        start = shift + max((error.offset or 1) - 1, 0)
        called = "assign to function call" in error.msg
        raise NotationError(
            "the statement cannot be read: "
            + ("subscripts stand in brackets" if called else error.msg),
            span=Span(_line(text), start, start + 1),
            hint="write y[i] = A[i, j] * x[j]" if called else None,
        ) from None
    except (RecursionError, MemoryError, ValueError):
        raise NotationError("the statement cannot be read: too deep, or no text") from None
    if not statements:
        raise NotationError("expected a statement, found no text", hint=hint)
    whole = Span(_line(text), 0, len(_line(text)))
    if len(statements) != 1:
        raise NotationError(
            f"expected one statement, found {len(statements)}", span=whole, hint=hint
        )
    match statements[0]:
        case ast.Assign([ast.Subscript() as target], value):
            return target, value, False
        case ast.AugAssign(ast.Subscript() as target, ast.Add(), value):
            return target, value, True
        case ast.Assign([ast.Name(name)], _):
            raise NotationError(f"expected subscripts after '{name}'", span=whole, hint=hint)
        case ast.Assign([ast.Tuple()], _):
            hint = "a statement has one result; a kernel has several with several sd.output()"
        case ast.AugAssign():
            hint = "= and += assign: y[i] = -x[i], y[i] += 2 * x[i]"
        case ast.Expr(ast.Compare()):
            hint = "one = assigns, two compare: y[i] = x[i]"
        case _:
            pass
    raise NotationError("expected an assignment", span=whole, hint=hint)


def _line(text: str) -> str:
    return text.strip("\n").split("\n")[0]


class _Reader:
    """Reads syntax into surface expressions, each operation at its place in the text."""

    def __init__(self, text: str, tensors: dict[str, Argument]) -> None:
        self.text = text
        self.shift = len(text) - len(text.lstrip())
        self.tensors = tensors
        self.used: set[str] = set()
        self.subscripting: set[str] = set()
        self.valued: dict[str, ast.expr] = {}

    def check_names(self) -> None:
        """Refuse a name that is read as a value and is neither given nor an index of anything."""
        for name, node in self.valued.items():
            if name not in self.subscripting:
                raise NotationError(
                    f"'{name}' is neither an index of an operand nor a given argument",
                    span=self.span(node),
                    hint=f"give it: {name}=...; an index stands in brackets somewhere: x[{name}]",
                )

    def span(self, node: ast.AST) -> Span:
        """Return the node's place; nodes that have none get the whole text."""
        # lines end where Python's parser ends them, at carriage returns too
        text = re.split("\r\n|\r|\n", self.text[self.shift :])
        line = getattr(node, "lineno", 1) - 1
        start = getattr(node, "col_offset", 0)
        end = getattr(node, "end_col_offset", len(text[line].encode()))
        raw = text[line].encode()
        return Span(
            text[line],
            len(raw[:start].decode(errors="ignore")),
            len(raw[:end].decode(errors="ignore")),
        )

    def read(self, node: ast.expr) -> Any:
        """Return the surface expression of a syntax node."""
        with at(self.span(node)):
            match node:
                case ast.Constant(bool() | int() | float() | complex() as number):
                    return number
                case ast.Name(name):
                    return self._name(node, name)
                case ast.Subscript(ast.Name(name), subscript):
                    return self._tensor(node.value, name)[self.subscripts(subscript)]
                case ast.Subscript(
                    ast.Call(ast.Name("pattern" | "padded" as view), [ast.Name(name)]), subscript
                ):
                    return _VIEWS[view](self._tensor(node, name))[self.subscripts(subscript)]
                case ast.BinOp(left, op, right) if type(op) in _BINARY:
                    return self._apply(type(op), self.read(left), self.read(right))
                case ast.UnaryOp(op, operand) if type(op) in _UNARY:
                    return self._negate(type(op), self.read(operand))
                case ast.Compare(left, [op], [right]) if type(op) in _BINARY:
                    return combine(_BINARY[type(op)], self.read(left), self.read(right))
                case ast.Compare(left, operators, rights) if len(operators) > 1:
                    return self._chain(left, operators, rights)
                case ast.Call(ast.Name(name), arguments, keywords):
                    return self._call(node, name, arguments, keywords)
                case _:
                    raise self._unreadable(node)

    def subscripts(self, node: ast.expr) -> tuple[Any, ...]:
        """Return the parts between brackets; a name that is no tensor is an index."""
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        self.subscripting |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        return tuple(self.read(part) for part in parts)

    def _apply(self, op: type[ast.AST], left: Any, right: Any) -> Any:
        if isinstance(left, Index) or isinstance(right, Index):
            match op:
                case ast.Add:
                    return left + right
                case ast.Sub:
                    return left - right
                case ast.Mult:
                    return left * right
                case _:
                    pass
        if isinstance(left, int | float | complex) and isinstance(right, int | float | complex):
            return _fold(op, left, right)
        return combine(_BINARY[op], left, right)

    def _negate(self, op: type[ast.AST], operand: Any) -> Any:
        if op is not ast.Invert and not isinstance(operand, bool):
            return -operand if op is ast.USub else +operand
        return combine(_UNARY[op], operand)

    def _chain(self, left: ast.expr, operators: list[ast.cmpop], rights: list[ast.expr]) -> Any:
        """Return ``a < b < c`` as ``(a < b) & (b < c)``."""
        operands = [self.read(part) for part in (left, *rights)]
        parts = [
            combine(_BINARY[type(op)], a, b)
            for op, a, b in zip(operators, operands, operands[1:], strict=False)
        ]
        result = parts[0]
        for part in parts[1:]:
            result = combine("and", result, part)
        return result

    def _name(self, node: ast.expr, name: str) -> Any:
        if name in self.tensors:
            return self._tensor(node, name)
        if name in ("inf", "nan"):
            return float(name)
        self.valued.setdefault(name, node)
        with at(self.span(node)):
            return index(name)

    def _tensor(self, node: ast.expr, name: str) -> Argument:
        if name not in self.tensors:
            close = difflib.get_close_matches(name, self.tensors, 1)
            known = ", ".join(self.tensors) or "none"
            raise NotationError(
                f"no tensor is called '{name}'; given are {known}",
                span=self.span(node),
                hint=f"did you mean {close[0]}?" if close else f"give it: {name}=...",
            )
        self.used.add(name)
        return self.tensors[name]

    def _call(
        self, node: ast.expr, name: str, arguments: list[ast.expr], keywords: list[ast.keyword]
    ) -> Any:
        if name in REDUCTIONS:
            return self._reduction(node, name, arguments, keywords)
        if name in _VIEWS:
            raise NotationError(f"{name} needs subscripts: {name}(A)[i, j]", span=self.span(node))
        if name not in ELEMENTWISE:
            close = difflib.get_close_matches(name, [*ELEMENTWISE, *REDUCTIONS], 1)
            hint = f"did you mean {close[0]}?" if close else None
            raise NotationError(
                f"no function is called '{name}'",
                span=self.span(node),
                hint=f"subscripts stand in brackets: {name}[i]" if name in self.tensors else hint,
            )
        if keywords:
            raise NotationError(f"{name} takes no keywords", span=self.span(node))
        return ELEMENTWISE[name](*(self.read(a) for a in arguments))

    def _reduction(
        self, node: ast.expr, name: str, arguments: list[ast.expr], keywords: list[ast.keyword]
    ) -> Any:
        match arguments, keywords:
            case [body, over], [] if self._names_indices(over) and not self._names_indices(body):
                pass
            case [over, body], [] if self._names_indices(over):
                pass
            case [body, over], []:  # two values: what is said of them names the second
                pass
            case [body], [ast.keyword("over", over)]:
                pass
            case _:
                raise NotationError(
                    f"expected {name}(k, expression) or {name}(expression, over=k)",
                    span=self.span(node),
                )
        many = over.elts if isinstance(over, ast.Tuple) else [over]
        return reduced(
            name, REDUCTIONS[name], self.read(body), tuple(self.read(part) for part in many)
        )

    def _names_indices(self, node: ast.expr) -> bool:
        """Whether an argument is an index or a tuple of them."""
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        return all(isinstance(p, ast.Name) and p.id not in self.tensors for p in parts)

    def _unreadable(self, node: ast.expr) -> NotationError:
        hint: str | None = None
        match node:
            case ast.BoolOp():
                hint = "combine conditions with & and |, each in parentheses"
            case ast.UnaryOp(ast.Not(), _):
                hint = "negate with ~"
            case ast.IfExp():
                hint = "choose with where(condition, x, y)"
            case ast.BinOp(_, ast.MatMult(), _):
                hint = "write the indices: A[i, k] * B[k, j]"
            case ast.BinOp(_, ast.LShift() | ast.RShift(), _):
                hint = "multiply by a power of two, or divide with //"
            case ast.Compare():
                hint = "compare with ==, !=, <, <=, > and >="
            case ast.Subscript(ast.Attribute(_, "T")):
                hint = "swap the subscripts: A[j, i]"
            case ast.Subscript(ast.Subscript()):
                hint = "all subscripts stand in one pair of brackets: A[i, j]"
            case ast.Subscript():
                hint = "subscript the operands: A[i] + B[i]"
            case ast.Starred():
                hint = "give one subscript for each mode: A[i, j]"
            case ast.Constant() if node.value is Ellipsis:
                hint = "give one subscript for each mode: A[i, j]"
            case ast.List() | ast.Tuple():
                hint = "one expression stands for every element: y[i] = x[i]"
            case ast.Slice():
                hint = "an index stands for a whole mode: A[i, j] instead of A[i, :]"
            case ast.Attribute() | ast.Call():
                hint = "functions go by their plain names: exp(A[i, j])"
            case ast.Constant(str()):
                hint = "indices are written without quotes"
            case _:
                pass
        return NotationError("this has no meaning here", span=self.span(node), hint=hint)


def _fold(op: type[ast.AST], left: Any, right: Any) -> Any:
    """Return the value of an operator on two plain numbers, as Python has it."""
    if op is ast.Pow and isinstance(right, int) and abs(right) > _LARGEST_POWER:
        right = float(right)
    try:
        return _PYTHON[op](left, right)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise NotationError(f"this number cannot be computed: {error}", span=here()) from None
