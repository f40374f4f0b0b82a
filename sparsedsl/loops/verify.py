"""The rules of loop IR, checked at the border of every stage that makes it.

A kernel that passes can be interpreted and printed: names are identifiers with one type each,
everything is assigned before it is used on every path, subscripts are ints and one per axis,
conditions are bools, parameters are not reassigned, ``Break`` stands in a loop.
"""

from __future__ import annotations

import keyword
from typing import assert_never, cast

import numpy as np

from sparsedsl.contraction.nodes import VALUE_DTYPES
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.loops import text, vectors
from sparsedsl.loops.build import COMPARISONS
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
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
from sparsedsl.loops.operations import INTRINSICS

# Binary operators of values by the dtype kinds they are defined for; INT counts as "i".
_KINDS = {
    "+": "iufc",
    "-": "iufc",
    "*": "iufc",
    "/": "fc",
    "//": "iuf",
    "%": "iuf",
    "min": "iuf",
    "max": "iuf",
    "&": "biu",
    "|": "biu",
    "^": "biu",
    "<<": "i",
    ">>": "i",
}


class VerificationError(AssertionError):
    """A kernel breaks a rule of loop IR: a mistake of the compiler, not of its user."""


def verify(kernel: Kernel) -> Kernel:
    """Return ``kernel``, or raise naming the broken rule and the statement that breaks it.

    Raises
    ------
    VerificationError
        The first broken rule found.
    """
    return _Verifier(kernel).verify()


def same(left: str, right: str) -> bool:
    """Whether two IR types are one: equal, or "int" beside "int64"."""
    return left == right or {left, right} == {INT, "int64"}


def kind(type: str) -> str:
    """Return the NumPy dtype kind of an IR type."""
    return "i" if type == INT else np.dtype(vectors.element(type)).kind


def _may_be_even(node: If, defined: frozenset[str]) -> bool:
    """Whether there are only variables with values, and elements, that may stay as they are."""
    single = [
        s.variable.name in defined if isinstance(s, Assign) else vectors.lanes(s.value.type) == 1
        for s in node.then
        if isinstance(s, Assign | Store)
    ]
    return all(single) and len(single) == len(node.then) and not node.otherwise


def known_type(type: str) -> bool:
    """Whether a value may have this type."""
    return type == INT or type in VALUE_DTYPES or vectors.is_vector(type)


def holds(dtype: str, type: str) -> bool:
    """Whether elements of an array of ``dtype`` are values of ``type``, one or a vector of them."""
    return type == dtype or (vectors.is_vector(type) and vectors.element(type) == dtype)


class _Verifier:
    """One walk over a kernel: what each name is, and what is assigned where the walk stands."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.params = {param.name for param in kernel.params}
        self.types: dict[str, str] = {}
        self.arrays: dict[str, tuple[str, int]] = {}
        self.loop_variables: list[str] = []
        self.loops = 0
        self.where: Stmt | None = None

    def fail(self, rule: str) -> None:
        place = "" if self.where is None else f" in: {text.statement(self.where, deep=False)}"
        raise VerificationError(f"kernel {self.kernel.name}: {rule}{place}")

    def need(self, holds: bool, rule: str) -> None:
        if not holds:
            self.fail(rule)

    def verify(self) -> Kernel:
        self.identifier(self.kernel.name)
        self.need(len(self.params) == len(self.kernel.params), "two parameters share a name")
        for param in self.kernel.params:
            self.identifier(param.name)
            match param:
                case ArrayParam(name, dtype, ndim):
                    self.need(ndim >= 0, f"parameter {name} has {ndim} axes")
                    self.array(name, dtype, ndim)
                case IntParam(name):
                    self.variable(Var(name, INT))
                case ScalarParam(name, dtype):
                    self.need(dtype in VALUE_DTYPES, f"unknown dtype {dtype}")
                    self.variable(Var(name, dtype))
                case _:
                    assert_never(param)
        end = self.block(self.kernel.body, frozenset(self.params))
        self.where = None
        for name in self.kernel.results:
            self.need(end is None or name in end, f"result {name} is not assigned on every path")
        return self.kernel

    def identifier(self, name: str) -> None:
        good = name.isidentifier() and not keyword.iskeyword(name)
        self.need(good, f"{name!r} is not a usable name")

    def variable(self, variable: Var) -> None:
        """Record a scalar, or check that it was recorded alike."""
        name, type = variable.name, variable.type
        self.identifier(name)
        self.need(name not in self.arrays, f"{name} is both an array and a variable")
        self.need(known_type(type), f"variable {name} of unknown type {type}")
        known = self.types.setdefault(name, type)
        self.need(known == type, f"variable {name} is {known} and {type}")

    def array(self, name: str, dtype: str, ndim: int) -> None:
        """Record an array, or check that it was recorded alike."""
        self.identifier(name)
        self.need(name not in self.types, f"{name} is both an array and a variable")
        self.need(dtype in VALUE_DTYPES, f"array {name} of unknown dtype {dtype}")
        known = self.arrays.setdefault(name, (dtype, ndim))
        self.need(known == (dtype, ndim), f"array {name} is {known} and {(dtype, ndim)}")

    # Statements. ``defined`` holds the names assigned so far; None means unreachable.

    def block(
        self, body: tuple[Stmt, ...], defined: frozenset[str] | None
    ) -> frozenset[str] | None:
        for statement in body:
            self.where = statement
            if defined is None:
                # after a Break: checked as if reached with every name known so far
                defined = frozenset(self.types) | frozenset(self.arrays)
                self.statement(statement, defined)
                defined = None
            else:
                defined = self.statement(statement, defined)
        return defined

    def statement(self, node: Stmt, defined: frozenset[str]) -> frozenset[str] | None:
        match node:
            case Assign(variable, value):
                self.need(same(self.type(value, defined), variable.type), "types differ")
                self.assignable(variable.name)
                self.variable(variable)
                return defined | {variable.name}
            case Store():
                self.store(node, defined)
            case For(variable, start, stop, body, step):
                self.int(start, defined)
                self.int(stop, defined)
                self.need(step != 0, "step is zero")
                self.need(variable.type == INT, "loop variable is not an int")
                self.assignable(variable.name)
                self.variable(variable)
                self.loop_variables.append(variable.name)
                self.loop(body, defined | {variable.name})
                self.loop_variables.pop()
            case While(condition, body):
                self.bool(condition, defined)
                self.loop(body, defined)
            case If(condition, then, otherwise, even=even):
                self.bool(condition, defined)
                self.need(not even or _may_be_even(node, defined), "not without a branch")
                ends = (self.block(then, defined), self.block(otherwise, defined))
                reached = [end for end in ends if end is not None]
                return frozenset.intersection(*reached) if reached else None
            case Break():
                self.need(self.loops > 0, "Break outside a loop")
                return None
            case Allocate(array, dtype, shape, value):
                self.allocate(node, defined)
                self.assignable(array)
                self.array(array, dtype, len(shape))
                if value is not None:
                    self.need(self.storable(self.type(value, defined), dtype), "value's dtype")
                return defined | {array}
            case Resize(array, length):
                self.known_array(array, defined)
                self.assignable(array)
                self.need(self.arrays[array][1] == 1, f"array {array} is not 1-D")
                self.int(length, defined)
            case Prefetch(array, subscripts):
                self.subscripts(array, subscripts, defined)
            case Pack():
                self.pack(node, defined)
            case Comment():
                pass
            case _:
                assert_never(node)
        return defined

    def loop(self, body: tuple[Stmt, ...], defined: frozenset[str]) -> None:
        self.loops += 1
        self.block(body, defined)
        self.loops -= 1

    def allocate(self, node: Allocate, defined: frozenset[str]) -> None:
        for extent in node.shape:
            self.int(extent, defined)

    def assignable(self, name: str) -> None:
        self.need(name not in self.params, f"parameter {name} is reassigned")
        self.need(name not in self.loop_variables, f"loop variable {name} is reassigned")

    def store(self, node: Store, defined: frozenset[str]) -> None:
        self.subscripts(node.array, node.subscripts, defined)
        dtype = self.arrays[node.array][0]
        value = self.type(node.value, defined)
        self.need(self.storable(value, dtype), f"{value} stored to {dtype} array {node.array}")
        single = vectors.lanes(value) == 1 or node.combine is None
        self.need(single, f"{value} combined with elements of {node.array}")
        if node.passing is not None:
            told = self.type(node.passing, defined)
            alone = single and vectors.lanes(value) == 1 and node.combine is None
            self.need(told == BOOL and alone, f"{value} past the caches to {node.array}: {told}")
        if node.combine is not None:
            self.need(node.combine in MONOIDS, f"unknown monoid {node.combine}")
            logical = node.combine in ("any", "all")
            self.need(dtype == BOOL or not logical, f"{node.combine} into a {dtype} array")
            order = node.combine in ("min", "max")
            self.need(not (order and kind(dtype) == "c"), f"{node.combine} of complex values")

    def pack(self, node: Pack, defined: frozenset[str]) -> None:
        self.subscripts(node.array, (node.place,), defined)
        self.int(node.kept, defined)
        value, dtype = self.type(node.value, defined), self.arrays[node.array][0]
        if value != INT:
            good = vectors.is_vector(value) and holds(dtype, value) and not node.through
            good = good and vectors.lanes(value) == node.lanes
            self.need(good, f"{value} packed into {dtype} array {node.array}")
            return
        self.need(dtype in ("int32", "int64"), f"numbers packed into {dtype} array {node.array}")
        self.need(node.lanes in (8, 16, 64), f"{node.lanes} elements packed")
        if node.through:
            self.known_array(node.through, defined)
            whole = self.arrays[node.through] in (("int32", 1), ("int64", 1))
            self.need(whole, f"{node.through} holds no coordinates")

    def storable(self, type: str, dtype: str) -> bool:
        return holds(dtype, type) or (type == INT and kind(dtype) in "iu")

    # Expressions: each method returns the type, or checks it.

    def int(self, node: Expr, defined: frozenset[str]) -> None:
        found = self.type(node, defined)
        self.need(found == INT, f"expected an int, found {found}: {text.expression(node)}")

    def bool(self, node: Expr, defined: frozenset[str]) -> None:
        found = self.type(node, defined)
        self.need(found == BOOL, f"expected a bool, found {found}: {text.expression(node)}")

    def known_array(self, name: str, defined: frozenset[str]) -> None:
        self.need(name in self.arrays, f"unknown array {name}")
        self.need(name in defined, f"array {name} is not allocated on every path")

    def subscripts(self, array: str, places: tuple[Expr, ...], defined: frozenset[str]) -> None:
        self.known_array(array, defined)
        ndim = self.arrays[array][1]
        self.need(len(places) == ndim, f"{len(places)} subscripts of {array}, which has {ndim}")
        for place in places:
            self.int(place, defined)

    def type(self, node: Expr, defined: frozenset[str]) -> str:
        match node:
            case Const(value, type):
                self.constant(value, type)
            case Var(name, type):
                self.need(name in self.types, f"unknown variable {name}")
                self.need(self.types[name] == type, f"{name} is {self.types[name]}, not {type}")
                self.need(name in defined, f"variable {name} is not assigned on every path")
            case Load(array, places, type):
                self.subscripts(array, places, defined)
                dtype = self.arrays[array][0]
                good = kind(dtype) in "iu" if type == INT else holds(dtype, type)
                self.need(good, f"{dtype} array {array} loaded as {type}")
            case Part():
                self.part(node, defined)
            case Length(array, axis):
                self.known_array(array, defined)
                self.need(0 <= axis < self.arrays[array][1], f"{array} has no axis {axis}")
            case Binary():
                self.binary(node, defined)
            case Not(operand):
                self.bool(operand, defined)
            case Select(condition, yes, no, type):
                self.bool(condition, defined)
                types = (self.type(yes, defined), self.type(no, defined))
                self.need(all(same(t, type) for t in types), f"{types} selected as {type}")
            case Cast(operand, type):
                given = self.type(operand, defined)
                self.need(known_type(type), f"cast to unknown type {type}")
                whole = vectors.lanes(type) == 1 or given == vectors.element(type)
                self.need(whole, f"{given} given to all elements of {type}")
            case Apply():
                self.apply(node, defined)
            case _:
                assert_never(node)
        return node.type

    def constant(self, value: object, type: str) -> None:
        self.need(type == INT or type in VALUE_DTYPES, f"constant of unknown type {type}")
        match kind(type):
            case "b":
                good = isinstance(value, bool)
            case "i" | "u":
                limits = np.iinfo("int64" if type == INT else type)
                good = isinstance(value, int) and not isinstance(value, bool)
                good = good and limits.min <= cast(int, value) <= limits.max
            case "f":
                good = isinstance(value, float)
            case _:
                good = isinstance(value, float | complex)
        self.need(good, f"{value!r} is no constant of type {type}")

    def binary(self, node: Binary, defined: frozenset[str]) -> None:
        left, right = self.type(node.left, defined), self.type(node.right, defined)
        shown = f"{left} {node.operator} {right} giving {node.type}"
        if node.operator in ("and", "or"):
            self.need(left == right == node.type == BOOL, shown)
        elif node.operator in COMPARISONS:
            ordered = node.operator not in ("==", "!=")
            self.need(same(left, right) and node.type == BOOL, shown)
            self.need(not (ordered and kind(left) == "c"), f"{shown}: complex is unordered")
        else:
            self.need(node.operator in _KINDS, f"unknown operator {node.operator}")
            self.need(kind(left) in _KINDS[node.operator], shown)
            self.need(same(left, right) and same(left, node.type), shown)

    def part(self, node: Part, defined: frozenset[str]) -> None:
        self.int(node.place, defined)
        self.int(node.count, defined)
        for array in (node.array, node.through or node.array):
            self.known_array(array, defined)
            self.need(self.arrays[array][1] == 1, f"array {array} is not 1-D")
        good = vectors.is_vector(node.type) and holds(self.arrays[node.array][0], node.type)
        self.need(good, f"{node.array} loaded as {node.type}")
        self.need(node.apart > 0, f"elements {node.apart} places apart")
        if node.through:
            self.need(node.apart == 1, f"places of {node.through} that are apart")
            whole = self.arrays[node.through][0] in ("int32", "int64")
            self.need(whole, f"{node.through} holds no places")

    def apply(self, node: Apply, defined: frozenset[str]) -> None:
        types = [self.type(argument, defined) for argument in node.arguments]
        if node.function == "first":
            good = types == [node.type, INT, vectors.element(node.type)]
            good = good and vectors.is_vector(node.type)
            self.need(good, f"first of {types} gives {node.type}")
            return
        if node.function in vectors.FOLDS:
            whole = len(types) == 1 and vectors.is_vector(types[0])
            good = whole and vectors.element(types[0]) == node.type
            self.need(good, f"{node.function} of {types} gives {node.type}")
            return
        if node.function == "nans":
            good = len(types) == 1 and vectors.is_vector(types[0]) and node.type == INT
            good = good and kind(vectors.element(types[0])) == "f"
            self.need(good, f"nans of {types} gives {node.type}")
            return
        if node.function == "differing":
            good = len(types) == 3 and vectors.is_vector(types[0]) and node.type == INT
            good = good and types[1:] == [vectors.element(types[0]), INT]
            self.need(good, f"differing of {types} gives {node.type}")
            return
        if node.function == "lower":
            good = len(types) == 3 and vectors.is_vector(types[0]) and node.type == INT
            good = good and types[1] in (INT, types[0]) and types[2] == INT
            good = good and kind(vectors.element(types[0])) == "i"
            self.need(good, f"lower of {types} gives {node.type}")
            return
        if node.function == "alike":
            good = types in ([kind, INT, kind, INT] for kind in ("int32*8", "int64*8"))
            self.need(good and node.type == INT, f"alike of {types} gives {node.type}")
            return
        if node.function == "added":
            good = len(types) == 4 and types[2] == INT and types[0] == types[3] == node.type
            good = good and vectors.is_vector(types[0]) and vectors.is_vector(types[1])
            good = good and vectors.lanes(types[0]) == vectors.lanes(types[1])
            good = good and kind(types[0]) == "f" and kind(types[1]) == "i"
            self.need(good, f"added of {types} gives {node.type}")
            return
        if node.function in INTRINSICS:
            self.need(types == [INT] and node.type == INT, f"{node.function} of {types}")
            return
        self.need(node.function in OPERATORS, f"unknown operator {node.function}")
        if vectors.lanes(node.type) > 1:
            good = node.function in vectors.OPERATORS and set(types) == {node.type}
            self.need(good, f"{node.function} of {types} gives {node.type}")
            return
        arity = OPERATORS[node.function].arity
        self.need(len(types) == arity, f"{node.function} takes {arity} arguments")
        self.need(node.type in (INT, *VALUE_DTYPES), f"{node.function} gives {node.type}")
