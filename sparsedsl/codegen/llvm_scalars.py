"""What one scalar or vector operation of the loop IR is in LLVM's.

Takes: an ``IRBuilder`` and values whose IR types are known.  Gives: values.  Invariant: each
operation means what the Python printed for it means to Numba (``codegen.operators``); one that
is not here raises ``NeedsNumbaError``, and its kernel is compiled from that text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir

from sparsedsl.codegen.llvm_exponential import (
    exponential_less_one_of,
    exponential_of,
    hyperbolic_tangent_of,
)
from sparsedsl.codegen.llvm_logarithm import logarithm_of, logarithm_of_more
from sparsedsl.codegen.llvm_vectors import extreme, farther
from sparsedsl.loops.nodes import BOOL, INT
from sparsedsl.loops.vectors import element, lanes

Value: TypeAlias = Any

WORD = ir.IntType(64)
BIT = ir.IntType(1)

PORTABLE = "sparsedsl.portable"
"""Metadata of modules for processors that may have no fused multiplication and addition."""


class NeedsNumbaError(Exception):
    """Something that is compiled from the printed Python alone."""


def kind_of(type: str) -> str:
    """Return NumPy's letter for a scalar type: ``b``, ``i``, ``u``, ``f`` or ``c``."""
    return "i" if type == INT else np.dtype(element(type)).kind


def llvm_type(type: str) -> Any:
    """Return the type of values in registers.

    >>> str(llvm_type("int")), str(llvm_type("bool")), str(llvm_type("float64*8"))
    ('i64', 'i1', '<8 x double>')
    """
    if type == INT:
        return WORD
    if type == BOOL:
        return BIT
    if lanes(type) > 1:
        return ir.VectorType(llvm_type(element(type)), lanes(type))
    return _stored(type)


def stored_type(dtype: str) -> Any:
    """Return the type of an array's elements in memory: a bool takes a byte."""
    return ir.IntType(8) if dtype == BOOL else _stored(dtype)


def _stored(dtype: str) -> Any:
    found = np.dtype(dtype)
    match found.kind:
        case "i" | "u":
            return ir.IntType(8 * found.itemsize)
        case "f" if found.itemsize in (4, 8):
            return ir.FloatType() if found.itemsize == 4 else ir.DoubleType()
        case _:
            raise NeedsNumbaError(dtype)


def constant(value: complex, type: str) -> Value:
    """Return a literal."""
    match kind_of(type):
        case "b":
            return ir.Constant(BIT, int(bool(value)))
        case "i" | "u":
            return ir.Constant(llvm_type(type), int(value.real))
        case "f":
            return ir.Constant(llvm_type(type), float(np.dtype(type).type(value.real)))
        case _:
            raise NeedsNumbaError(type)


def converted(builder: Any, value: Value, source: str, target: str) -> Value:
    """Return a value of one scalar type as another."""
    made, have, want = llvm_type(target), kind_of(source), kind_of(target)
    if "c" in have + want:
        raise NeedsNumbaError(f"{source} to {target}")
    if want == "b":
        if have == "f":
            return builder.fcmp_unordered("!=", value, value.type(0.0))
        return value if have == "b" else builder.icmp_signed("!=", value, value.type(0))
    if have == "f":
        if want == "f":
            wider = lanes_bits(made) > lanes_bits(value.type)
            return (builder.fpext if wider else builder.fptrunc)(value, made)
        return (builder.fptosi if want == "i" else builder.fptoui)(value, made)
    if want == "f":
        return (builder.sitofp if have == "i" else builder.uitofp)(value, made)
    if made.width <= value.type.width:
        return builder.trunc(value, made)
    return (builder.sext if have == "i" else builder.zext)(value, made)


def lanes_bits(type: Any) -> int:
    """Return the bits of a float type."""
    return 64 if type == ir.DoubleType() else 32


Operation: TypeAlias = "Callable[[Any, list[Value], str, tuple[str, ...]], Value]"


def _instruction(ints: str | None, floats: str | None, bools: str | None = None) -> Operation:
    """Return one instruction for each kind of operand."""

    def operation(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
        kind = kind_of(type)
        name = {"b": bools, "f": floats}.get(kind, ints)
        if name is None or kind == "c":
            raise NeedsNumbaError(type)
        flags = {"flags": fast} if kind == "f" and fast else {}
        return getattr(builder, name)(*values, **flags)

    return operation


def _comparison(symbol: str) -> Operation:
    def operation(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
        match kind_of(type):
            case "f":
                flags = {"flags": fast} if fast else {}
                ordered = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
                return ordered(symbol, *values, **flags)
            case "i":
                return builder.icmp_signed(symbol, *values)
            case "u" | "b":
                return builder.icmp_unsigned(symbol, *values)
            case _:
                raise NeedsNumbaError(type)

    return operation


def _extreme(symbol: str, bools: str) -> Operation:
    """Return the smaller or larger; of floats the first that is NaN, as NumPy has it.

    Of vectors as ``loops.vectors`` has it.
    """

    def operation(builder: Any, values: list[Value], type: str, _: tuple[str, ...]) -> Value:
        left, right = values
        match kind_of(type):
            case "b":
                return getattr(builder, bools)(left, right)
            case "i" | "u" as kind:
                compare = builder.icmp_signed if kind == "i" else builder.icmp_unsigned
                return builder.select(compare(symbol, right, left), right, left)
            case "f":
                vectors = isinstance(left.type, ir.VectorType)
                return (farther if vectors else extreme)(builder, symbol, left, right)
            case _:
                raise NeedsNumbaError(type)

    return operation


def _intrinsic(name: str) -> Operation:
    """Return a function of LLVM's on floats; of ints it is the value itself."""

    def operation(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
        if kind_of(type) in "biu":
            return values[0]
        function = builder.module.declare_intrinsic(name, [llvm_type(type)])
        return builder.call(function, values, fastmath=fast)

    return operation


def _libm(name: str) -> Operation:
    """Return a function of C's library on floats."""

    def operation(builder: Any, values: list[Value], type: str, _: tuple[str, ...]) -> Value:
        if kind_of(type) != "f":
            raise NeedsNumbaError(type)
        real = llvm_type(type)
        called = name if real == ir.DoubleType() else f"{name}f"
        known = builder.module.globals.get(called)
        kind = ir.FunctionType(real, [real] * len(values))
        return builder.call(known or ir.Function(builder.module, kind, called), values)

    return operation


def _straight(name: str, made: Callable[[Any, Value], Value]) -> Operation:
    """Return a function on floats that is straight code, C's where processors are not known."""
    called = _libm(name)

    def operation(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
        if kind_of(type) == "f" and PORTABLE not in builder.module.namedmetadata:
            return made(builder, *values)
        return called(builder, values, type, fast)

    return operation


_exponential = _straight("exp", exponential_of)


def _sigmoid(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
    tail = _exponential(builder, [_negated(builder, values, type, fast)], type, fast)
    one = values[0].type(1.0)
    return builder.fdiv(one, builder.fadd(one, tail, flags=fast), flags=fast)


def _absolute(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
    (value,) = values
    if kind_of(type) == "i":
        negative = builder.icmp_signed("<", value, value.type(0))
        return builder.select(negative, builder.neg(value), value)
    return _intrinsic("llvm.fabs")(builder, values, type, fast)


def _negated(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
    if kind_of(type) == "b":
        raise NeedsNumbaError(type)
    return _instruction("neg", "fneg")(builder, values, type, fast)


def _rectified(builder: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:
    if kind_of(type) in "bu":
        return values[0]
    return _extreme(">", "or_")(builder, [*values, values[0].type(0)], type, fast)


def _same(_: Any, values: list[Value], type: str, fast: tuple[str, ...]) -> Value:  # noqa: ARG001
    if kind_of(type) == "c":
        raise NeedsNumbaError(type)
    return values[0]


def _tested(test: Callable[[Any, Value], Value], otherwise: int) -> Operation:
    """Return a test of a float; of ints it is always the same."""

    def operation(builder: Any, values: list[Value], type: str, _: tuple[str, ...]) -> Value:
        return test(builder, values[0]) if kind_of(type) == "f" else ir.Constant(BIT, otherwise)

    return operation


def _is_nan(builder: Any, value: Value) -> Value:
    return builder.fcmp_unordered("uno", value, value)


def _against_infinity(symbol: str) -> Callable[[Any, Value], Value]:
    def test(builder: Any, value: Value) -> Value:
        size = builder.call(builder.module.declare_intrinsic("llvm.fabs", [value.type]), [value])
        return builder.fcmp_ordered(symbol, size, value.type(float("inf")))

    return test


_OF_C = (*("log10", "sin", "cos", "tan", "sinh", "cosh"),)

OPERATIONS: dict[str, Operation] = {
    "add": _instruction("add", "fadd", "or_"),
    "sub": _instruction("sub", "fsub"),
    "mul": _instruction("mul", "fmul", "and_"),
    "div": _instruction(None, "fdiv"),
    "neg": _negated,
    "pos": _same,
    "conj": _same,
    "real": _same,
    "abs": _absolute,
    "relu": _rectified,
    "sqrt": _intrinsic("llvm.sqrt"),
    **{name: _libm(name) for name in _OF_C},
    "exp": _exponential,
    "expm1": _straight("expm1", exponential_less_one_of),
    "log": _straight("log", logarithm_of),
    "log1p": _straight("log1p", logarithm_of_more),
    "tanh": _straight("tanh", hyperbolic_tangent_of),
    "arctan": _libm("atan"),
    "sigmoid": _sigmoid,
    "floor": _intrinsic("llvm.floor"),
    "ceil": _intrinsic("llvm.ceil"),
    "trunc": _intrinsic("llvm.trunc"),
    "rint": _intrinsic("llvm.rint"),
    "minimum": _extreme("<", "and_"),
    "maximum": _extreme(">", "or_"),
    "eq": _comparison("=="),
    "ne": _comparison("!="),
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
    "and": _instruction("and_", None, "and_"),
    "or": _instruction("or_", None, "or_"),
    "xor": _instruction("xor", None, "xor"),
    "not": _instruction("not_", None, "not_"),
    "isnan": _tested(_is_nan, 0),
    "isinf": _tested(_against_infinity("=="), 0),
    "isfinite": _tested(_against_infinity("<"), 1),
}
"""Elementwise operators on operands of one type, by their names in ``contraction.operators``."""


def floor_divided(builder: Any, left: Value, right: Value, *, rest: bool) -> Value:
    """Return the floor of an int quotient, or its remainder; 0 for a divisor of 0, as Numba."""
    if isinstance(right, ir.Constant) and right.constant > 0:
        return _floored(builder, left, right, rest=rest)
    zero = builder.icmp_signed("==", right, WORD(0))
    # the one quotient beyond 64 bits traps on some machines: Numba has 0 for it, too
    least = builder.icmp_signed("==", left, WORD(-(2**63)))
    beyond = builder.and_(least, builder.icmp_signed("==", right, WORD(-1)))
    bad = builder.or_(zero, beyond)
    found = _floored(builder, left, builder.select(bad, WORD(1), right), rest=rest)
    return builder.select(bad, WORD(0), found)


def _floored(builder: Any, left: Value, right: Value, *, rest: bool) -> Value:
    remains = builder.srem(left, right)
    opposed = builder.icmp_signed("<", builder.xor(remains, right), WORD(0))
    down = builder.and_(opposed, builder.icmp_signed("!=", remains, WORD(0)))
    if rest:
        return builder.select(down, builder.add(remains, right), remains)
    quotient = builder.sdiv(left, right)
    return builder.select(down, builder.sub(quotient, WORD(1)), quotient)
