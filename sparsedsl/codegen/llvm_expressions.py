"""Expressions of the loop IR as values of LLVM's.

Takes: an expression and the function being written.  Gives: a value of the declared type.
Invariant: what is short-circuited in the IR is so here; operands are converted as
``codegen.expressions`` prints the conversions for Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never

import numpy as np
from llvmlite import ir

from sparsedsl.codegen import llvm_packs, llvm_vectors, operators
from sparsedsl.codegen.expressions import dtype_of, operand_dtypes
from sparsedsl.codegen.llvm_function import Function
from sparsedsl.codegen.llvm_scalars import (
    BIT,
    OPERATIONS,
    WORD,
    NeedsNumbaError,
    Operation,
    Value,
    constant,
    converted,
    floor_divided,
    kind_of,
    llvm_type,
)
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
    Part,
    Select,
    Var,
)
from sparsedsl.loops.vectors import FOLDS, element, lanes

_INT_INSTRUCTIONS = {
    **{"+": "add", "-": "sub", "*": "mul", "&": "and_", "|": "or_", "^": "xor"},
    **{"<<": "shl", ">>": "ashr"},
}
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_VALUES = {"+": "add", "-": "sub", "*": "mul", "/": "div", "min": "minimum", "max": "maximum"}


def evaluate(f: Function, node: Expr) -> Value:
    """Write an expression and return its value, of the declared type."""
    builder = f.builder
    match node:
        case Const(value, type):
            return constant(value, type)
        case Var(name, type):
            return builder.load(f.variable(name, type))
        case Load(array, subscripts, type) if lanes(type) > 1:
            loaded: Any = builder.load(vector_place(f, array, subscripts, type))
            loaded.align = np.dtype(element(type)).itemsize
            return loaded
        case Load(array, subscripts, type, proved, natural):
            dtype = f.arrays[array].dtype
            loaded = f.loaded(f.place(array, places(f, subscripts, proved)), dtype)
            if natural and type == INT and loaded.type != WORD:
                if np.dtype(dtype).kind == "i":
                    # told so, LLVM compares it with others of its width
                    ends = loaded.type(0), loaded.type(-(2 ** (loaded.type.width - 1)))
                    loaded.set_metadata("range", builder.module.add_metadata(ends))
                return builder.zext(loaded, WORD)
            return loaded if dtype == type else converted(builder, loaded, dtype, type)
        case Part():
            return _part(f, node)
        case Length(array, axis):
            return f.arrays[array].length(axis)
        case Binary("and" | "or" as symbol, left, right, _):
            if symbol == "and":
                return either(f, left, lambda: evaluate(f, right), lambda: BIT(0), BIT)
            return either(f, left, lambda: BIT(1), lambda: evaluate(f, right), BIT)
        case Binary():
            return _binary(f, node)
        case Not(operand):
            return builder.not_(evaluate(f, operand))
        case Select(condition, yes, no, even=True):
            return llvm_vectors.selected(builder, *(evaluate(f, n) for n in (condition, yes, no)))
        case Select(condition, yes, no, type):
            made = llvm_type(type)
            return either(f, condition, lambda: evaluate(f, yes), lambda: evaluate(f, no), made)
        case Cast(operand, type):
            return converted_to(f, operand, type)
        case Apply():
            return _apply(f, node)
        case _:
            assert_never(node)


def places(f: Function, subscripts: tuple[Expr, ...], proved: bool) -> list[Value]:
    """Write the subscripts of an element; where they are ``proved``, none is negative.

    To extend an int by zeros takes no instruction, and by its sign one of some processors.
    """
    natural = (
        replace(s, natural=True) if proved and isinstance(s, Load) and s.type == INT else s
        for s in subscripts
    )
    return [evaluate(f, s) for s in natural]


def either(
    f: Function, condition: Expr, yes: Callable[[], Value], no: Callable[[], Value], kind: Any
) -> Value:
    """Write one of two expressions, the other one not evaluated."""
    then, otherwise, after = f.block("yes"), f.block("no"), f.block("after")
    f.builder.cbranch(evaluate(f, condition), then, otherwise)
    found: list[tuple[Value, Any]] = []
    for block, written in ((then, yes), (otherwise, no)):
        f.builder.position_at_end(block)
        value = written()
        found.append((value, f.builder.block))
        f.builder.branch(after)
    f.builder.position_at_end(after)
    phi = f.builder.phi(kind)
    for value, block in found:
        phi.add_incoming(value, block)
    return phi


def _binary(f: Function, node: Binary) -> Value:
    builder, symbol = f.builder, node.operator
    if symbol in _COMPARISONS:
        return _operator(f, _COMPARISONS[symbol], (node.left, node.right), BOOL)
    if node.type not in (INT, BOOL):
        if symbol not in _VALUES:
            raise NeedsNumbaError(f"{symbol} of {node.type}")
        return _operator(f, _VALUES[symbol], (node.left, node.right), node.type)
    left, right = evaluate(f, node.left), evaluate(f, node.right)
    match symbol:
        case "below":
            return builder.icmp_unsigned("<", left, right)
        case "min" | "max":
            return OPERATIONS[_VALUES[symbol]](builder, [left, right], INT, ())
        case "//" | "%":
            return floor_divided(builder, left, right, rest=symbol == "%")
        case _:
            return getattr(builder, _INT_INSTRUCTIONS[symbol])(left, right)


def _part(f: Function, node: Part) -> Value:
    """Write a vector of which the first elements alone are loaded."""
    if isinstance(node.count, Const) and node.count.value == lanes(node.type) and node.apart == 1:
        return _all_of(f, node)
    where = [evaluate(f, node.place)]
    if node.apart > 1:
        first, count = f.place(node.array, where), evaluate(f, node.count)
        return llvm_vectors.loaded_apart(f.builder, first, count, lanes(node.type), node.apart)
    mask = llvm_vectors.used(f.builder, evaluate(f, node.count), lanes(node.type))
    if not node.through:
        return llvm_vectors.loaded(f.builder, f.place(node.array, where), mask)
    places = llvm_vectors.loaded(f.builder, f.place(node.through, where), mask)
    return llvm_vectors.loaded_through(f.builder, f.arrays[node.array].address(), places, mask)


def _all_of(f: Function, node: Part) -> Value:
    """Write a vector whose elements are all loaded, those at scattered places one by one."""
    if not node.through:
        return evaluate(f, Load(node.array, (node.place,), node.type, True))
    builder, value = f.builder, ir.Constant(llvm_type(node.type), ir.Undefined)
    start = evaluate(f, node.place)
    for lane in range(lanes(node.type)):
        index = f.builder.load(f.place(node.through, [builder.add(start, WORD(lane))]))
        index = index if index.type == WORD else builder.zext(index, WORD)
        loaded = builder.load(f.place(node.array, [index]))
        value = builder.insert_element(value, loaded, ir.IntType(32)(lane))
    return value


def _apply(f: Function, node: Apply) -> Value:
    if node.function in FOLDS:
        combine = operation(FOLDS[node.function])
        value = evaluate(f, node.arguments[0])
        return llvm_vectors.folded(
            f.builder, value, lambda a, b: combine(f.builder, [a, b], node.type, f.fast)
        )
    if node.function == "first":
        value, count, other = (evaluate(f, argument) for argument in node.arguments)
        mask = llvm_vectors.used(f.builder, count, lanes(node.type))
        return llvm_vectors.kept(f.builder, value, mask, other)
    if node.function == "nans":
        return llvm_packs.nans(f.builder, evaluate(f, node.arguments[0]))
    if node.function == "differing":
        value, other, count = (evaluate(f, argument) for argument in node.arguments)
        return llvm_packs.differing(f.builder, value, other, count)
    if node.function == "lower":
        value, other, count = (evaluate(f, argument) for argument in node.arguments)
        return llvm_packs.lower(f.builder, value, other, count)
    if node.function == "alike":
        return llvm_packs.alike(f.builder, *(evaluate(f, argument) for argument in node.arguments))
    if node.function == "added":
        value, keys, key, term = (evaluate(f, argument) for argument in node.arguments)
        total = operation("add")(f.builder, [value, term], node.type, f.fast)
        return llvm_packs.where_equal(f.builder, keys, key, total, value)
    if lanes(node.type) > 1:
        values = [evaluate(f, argument) for argument in node.arguments]
        return operation(node.function)(f.builder, values, node.type, f.fast)
    if node.function in ("cttz", "ctpop"):
        word = evaluate(f, node.arguments[0])
        # a count of zero is not asked for: one instruction
        extra = [BIT(1)] if node.function == "cttz" else []
        return getattr(f.builder, node.function)(word, *extra)
    return _operator(f, node.function, node.arguments, dtype_of(node.type))


def operation(name: str) -> Operation:
    """Return an elementwise operator on operands of one type, if it is known here."""
    found = OPERATIONS.get(name)
    if found is None:
        raise NeedsNumbaError(name)
    return found


def _operator(f: Function, name: str, arguments: tuple[Expr, ...], dtype: str) -> Value:
    """Write an elementwise operator that gives ``dtype``, as ``Printer.operator`` spells it."""
    if name == "where":
        condition, yes, no = arguments
        return either(
            f,
            Cast(condition, BOOL),
            lambda: converted_to(f, yes, dtype),
            lambda: converted_to(f, no, dtype),
            llvm_type(dtype),
        )
    operate = operation(name)
    given = tuple(dtype_of(argument.type) for argument in arguments)
    spelling, computed = operators.spelling(name, dtype, given)
    targets = set(operand_dtypes(spelling, computed, given))
    if len(targets) > 1 and {kind_of(t) for t in targets} == {"i"}:
        targets = {"int64"}
    if len(targets) > 1:
        raise NeedsNumbaError(f"{name} of {' and '.join(given)}")
    (operand,) = targets
    values = [converted_to(f, argument, operand) for argument in arguments]
    found = operate(f.builder, values, operand, f.fast)
    have = BOOL if found.type == BIT else operand
    return found if have == dtype else converted(f.builder, found, have, dtype)


def vector_place(f: Function, name: str, subscripts: tuple[Expr, ...], type: str) -> Value:
    """Return the address of an element as that of a vector."""
    place = f.place(name, [evaluate(f, s) for s in subscripts])
    return f.builder.bitcast(place, llvm_type(type).as_pointer())


def converted_to(f: Function, node: Expr, type: str) -> Value:
    """Write an expression as another type; a scalar as a vector of as many times its value."""
    found = evaluate(f, node)
    if lanes(type) > 1:
        one, kind = ir.IntType(32), llvm_type(type)
        if kind.element != found.type:
            raise NeedsNumbaError("a vector of another type")
        first = f.builder.insert_element(ir.Constant(kind, ir.Undefined), found, one(0))
        zeros = ir.Constant(ir.VectorType(one, kind.count), None)
        return f.builder.shuffle_vector(first, first, zeros)
    have, want = dtype_of(node.type), dtype_of(type)
    return found if have == want else converted(f.builder, found, have, want)
