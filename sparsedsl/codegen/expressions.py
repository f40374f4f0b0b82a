"""Loop expressions as Python text that Numba types as the IR says.

Numba promotes small ints to int64, turns int64 with uint64 into float64 and wraps negative
subscripts; the casts printed here are those that keep the declared types, and no others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from sparsedsl.codegen import operators
from sparsedsl.codegen.operators import ATOM, Operands, Spelling
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
    Pack,
    Part,
    Select,
    Var,
)
from sparsedsl.loops.operations import INTRINSICS
from sparsedsl.loops.text import PRECEDENCE
from sparsedsl.loops.vectors import FOLDS, lanes

CONSTRUCTORS = {
    "bool": "np.bool_",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "float32": "f32",
    "float64": "f64",
    "complex64": "c64",
    "complex128": "c128",
}
"""Short names under which generated code imports NumPy's scalar types."""

_SELECT, _NOT, _UNARY = 0, 3, 11
# dtypes whose arithmetic Numba keeps in the dtype by itself
_CLOSED = frozenset({"int64", "float32", "float64", "complex64", "complex128", "bool"})
_OPERATOR_NAMES = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floordiv",
    "%": "mod",
    "min": "minimum",
    "max": "maximum",
    "&": "and",
    "|": "or",
    "^": "xor",
}


_VECTOR_SYMBOLS = {"add": "+", "sub": "-", "mul": "*"}

VECTOR_CALLS = {"maximum": "larger", "minimum": "smaller"}
"""Operators on two vectors that are functions of ``codegen.intrinsics``."""

_OF_VECTORS = frozenset({"first", "differing", "lower", "alike", "added", "nans", *FOLDS})


def dtype_of(type: str) -> str:
    """Return the NumPy dtype name of an IR type.

    >>> dtype_of("int"), dtype_of("float32")
    ('int64', 'float32')
    """
    return "int64" if type == INT else type


@dataclass(slots=True)
class Printer:
    """Prints expressions; remembers which imports and helper functions the text needs.

    Parameters
    ----------
    dtypes:
        The dtype of every array of the kernel.
    names:
        How variables and arrays are called in the text, where not by their own name.
    used:
        Names that have a meaning in the kernel.
    unsigned:
        Print every subscript unsigned, also one not proved in range.
    """

    dtypes: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    used: set[str] = field(default_factory=set[str])
    unsigned: bool = False
    constructors: set[str] = field(default_factory=set[str])
    helpers: dict[str, str] = field(default_factory=dict[str, str])
    intrinsics: set[str] = field(default_factory=set[str])

    def name(self, name: str) -> str:
        """Return the name in the text of a variable or an array."""
        return self.names.get(name, name)

    def scratch(self, name: str) -> str:
        """Return ``name``, or one like it that means nothing in the kernel."""
        while name in self.used:
            name += "_"
        return name

    def constructor(self, dtype: str) -> str:
        """Return the name of a NumPy scalar type, and import it."""
        short = CONSTRUCTORS[dtype]
        if short.isidentifier():
            self.constructors.add(dtype)
        return short

    def text(self, node: Expr, needed: int = 0) -> str:
        """Return ``node``, in parentheses if it binds less tightly than ``needed``."""
        text, strength = self.expression(node)
        return text if strength >= needed else f"({text})"

    def exact(self, node: Expr, needed: int = 0) -> str:
        """Return ``node`` such that Numba gives it exactly the declared type."""
        if isinstance(node, Load) and node.type == INT and self.dtypes[node.array] != "int64":
            return f"{self.constructor('int64')}({self.load(node)})"
        return self.text(node, needed)

    def element(self, array: str, subscripts: tuple[Expr, ...], proved: bool) -> str:
        """Return ``array[subscripts]``, unsigned where that is known to be right."""
        places = (self.subscript(subscript, proved) for subscript in subscripts)
        return f"{self.name(array)}[{', '.join(places) or '()'}]"

    def subscript(self, node: Expr, proved: bool) -> str:
        if isinstance(node, Const) or not (proved or self.unsigned):
            return self.text(node)
        return f"{self.constructor('uint64')}({self.text(node)})"

    def load(self, node: Load) -> str:
        """Return a load as it stands, of the array's dtype."""
        return self.element(node.array, node.subscripts, node.proved)

    def expression(self, node: Expr) -> tuple[str, int]:
        """Return the text of ``node`` and its binding strength."""
        match node:
            case Const():
                return self.constant(node)
            case Var(name, _):
                return self.name(name), ATOM
            case Load(array, subscripts, type) if lanes(type) > 1:
                place = self.place(subscripts)
                call = f"vector({self.name(array)}, {place}, {lanes(type)})"
                return self.intrinsic(call), ATOM
            case Load(array, _, type):
                if type == INT and self.dtypes[array] == "uint64":
                    # int64 with uint64 would become float64
                    return f"{self.constructor('int64')}({self.load(node)})", ATOM
                return self.load(node), ATOM
            case Part():
                return self.part(node), ATOM
            case Length(array, 0):
                return f"len({self.name(array)})", ATOM
            case Length(array, axis):
                return f"{self.name(array)}.shape[{axis}]", ATOM
            case Binary():
                return self.binary(node)
            case Not(operand):
                return f"not {self.text(operand, _NOT)}", _NOT
            case Select(condition, yes, no, even=True):
                call = f"chosen({', '.join(map(self.exact, (condition, yes, no)))})"
                return self.intrinsic(call), ATOM
            case Select(condition, yes, no, _):
                chosen, test = self.exact(yes, 1), self.text(condition, 1)
                return f"{chosen} if {test} else {self.exact(no, 1)}", _SELECT
            case Cast(operand, type) if lanes(type) > 1:
                return self.intrinsic(f"spread({self.text(operand)}, {lanes(type)})"), ATOM
            case Cast(operand, type):
                return self.converted(operand, dtype_of(type))
            case Apply(function, arguments) if function in _OF_VECTORS:
                call = f"{function}({', '.join(map(self.exact, arguments))})"
                return self.intrinsic(call), ATOM
            case Apply(function, (left, right), type) if lanes(type) > 1:
                symbol = _VECTOR_SYMBOLS.get(function)
                if symbol is None:
                    call = f"{VECTOR_CALLS[function]}({self.exact(left)}, {self.exact(right)})"
                    return self.intrinsic(call), ATOM
                strength = PRECEDENCE[symbol]
                return (
                    f"{self.text(left, strength)} {symbol} {self.text(right, strength + 1)}",
                    strength,
                )
            case Apply(function, arguments, type):
                if function in INTRINSICS:
                    shown = f"{function}({', '.join(map(self.exact, arguments))})"
                    return self.intrinsic(shown), ATOM
                return self.operator(function, arguments, dtype_of(type))
            case _:
                assert_never(node)

    def part(self, node: Part) -> str:
        """Return a vector of which the first elements alone are loaded."""
        arrays = [self.name(node.array)] + [self.name(node.through)] * bool(node.through)
        ends = self.subscript(node.place, True), self.exact(node.count)
        call = "part_through" if node.through else "part" if node.apart == 1 else "part_apart"
        sizes = [str(lanes(node.type))] + [str(node.apart)] * (node.apart > 1)
        return self.intrinsic(f"{call}({', '.join((*arrays, *ends, *sizes))})")

    def pack(self, node: Pack) -> str:
        """Return the call that stores what is kept, one behind the other."""
        into, kept = (
            (self.name(node.array), self.subscript(node.place, True)),
            self.exact(node.kept),
        )
        value = self.exact(node.value)
        if node.value.type != INT:
            call, given = "pack", [value]
        elif node.through:
            call, given = "pack_through", [self.name(node.through), value]
        else:
            call, given = "pack_numbers", [value]
        sizes = [] if node.value.type != INT else [str(node.lanes)]
        return self.intrinsic(f"{call}({', '.join((*into, *given, kept, *sizes))})")

    def place(self, subscripts: tuple[Expr, ...]) -> str:
        """Return subscripts as a tuple, those of a vector: they are in range."""
        shown = [self.subscript(subscript, True) for subscript in subscripts]
        return f"({', '.join(shown)}{',' if len(shown) == 1 else ''})"

    def intrinsic(self, call: str) -> str:
        """Return a call of one of ``codegen.intrinsics``, and import it."""
        self.intrinsics.add(call.partition("(")[0])
        return call

    def constant(self, node: Const) -> tuple[str, int]:
        value, dtype = node.value, dtype_of(node.type)
        match np.dtype(dtype).kind:
            case "b":
                return str(bool(value)), ATOM
            case "i" | "u":
                text = str(int(value.real))
                if node.type == INT or dtype == "int64":
                    return text, _UNARY if text.startswith("-") else ATOM
            case "f":
                text = _float(float(value.real))
                if dtype == "float64":
                    return text, _UNARY if text.startswith("-") else ATOM
            case _:
                text = f"complex({_float(value.real)}, {_float(value.imag)})"
                if dtype == "complex128":
                    return text, ATOM
        return f"{self.constructor(dtype)}({text})", ATOM

    def binary(self, node: Binary) -> tuple[str, int]:
        symbol, left, right = node.operator, node.left, node.right
        if symbol in ("and", "or"):
            strength = PRECEDENCE[symbol]
            return (
                f"{self.text(left, strength)} {symbol} {self.text(right, strength + 1)}",
                strength,
            )
        if node.type not in (INT, BOOL) and symbol in _OPERATOR_NAMES:
            return self.operator(_OPERATOR_NAMES[symbol], (left, right), node.type)
        if symbol in ("min", "max"):
            return f"{symbol}({self.exact(left)}, {self.exact(right)})", ATOM
        strength = PRECEDENCE[symbol]
        if symbol == "below":
            u64 = self.constructor("uint64")
            return f"{u64}({self.text(left)}) < {u64}({self.text(right)})", strength
        first = strength + 1 if strength == PRECEDENCE["<"] else strength
        return f"{self.text(left, first)} {symbol} {self.text(right, strength + 1)}", strength

    def converted(self, node: Expr, dtype: str) -> tuple[str, int]:
        """Return ``node`` converted to ``dtype``."""
        source = dtype_of(node.type)
        if isinstance(node, Const) and np.dtype(dtype).kind in "fc" and source in ("bool", "int64"):
            return self.constant(Const(np.dtype(dtype).type(node.value).item(), dtype))
        if source == dtype and not (isinstance(node, Load) and node.type == INT):
            return self.expression(node)
        if source == dtype:
            return self.exact(node), ATOM
        kind = np.dtype(source).kind
        if dtype == BOOL:
            return f"{self.text(node, PRECEDENCE['=='] + 1)} != 0", PRECEDENCE["=="]
        if kind == "c" and np.dtype(dtype).kind != "c":
            text = f"{self.text(node, ATOM)}.real"
            return f"{self.constructor(dtype)}({text})", ATOM
        return f"{self.constructor(dtype)}({self.text(node)})", ATOM

    def operator(self, name: str, arguments: tuple[Expr, ...], dtype: str) -> tuple[str, int]:
        """Return an elementwise operator of ``arguments`` giving ``dtype``."""
        given = tuple(dtype_of(argument.type) for argument in arguments)
        spelling, computed = operators.spelling(name, dtype, given)
        if spelling.helper:
            self.helpers[name + np.dtype(computed).kind] = spelling.helper
        if spelling.intrinsic:
            self.intrinsics.add(spelling.intrinsic)
        targets = operand_dtypes(spelling, computed, given)
        slots: list[str] = []
        for position, (argument, target) in enumerate(zip(arguments, targets, strict=True)):
            text, strength = self.converted(argument, target)
            if spelling.template == "{0}":
                return text, strength
            slots.append(text if strength >= _needed(spelling, position) else f"({text})")
        type = self.constructor(computed) if "{type}" in spelling.template else ""
        text = spelling.template.format(*slots, type=type)
        if dtype not in _CLOSED or (spelling.helper and dtype in ("float32", "complex64")):
            return f"{self.constructor(dtype)}({text})", ATOM
        return text, spelling.strength


def operand_dtypes(spelling: Spelling, computed: str, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dtype each argument is converted to."""
    match spelling.operands:
        case Operands.OWN:
            return given
        case Operands.CHOICE:
            return ("bool", *(computed for _ in given[1:]))
        case Operands.COMMON if all(np.dtype(d).kind in "iu" for d in given):
            # Numba compares ints of any signedness exactly
            return given
        case _:
            return tuple(computed for _ in given)


def _needed(spelling: Spelling, position: int) -> int:
    """Return how tightly the argument at ``position`` must bind to go without parentheses."""
    if spelling.strength == ATOM:
        return 0
    left_associative = position == 0 and PRECEDENCE["|"] <= spelling.strength <= PRECEDENCE["*"]
    return spelling.strength if left_associative else spelling.strength + 1


def _float(value: float) -> str:
    """Return a Python literal of ``value``, also for infinities and NaN."""
    if math.isnan(value):
        return "np.nan"
    if math.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    return repr(value)
