"""A plain interpreter of loop IR over NumPy arrays: slow, checked, the meaning of a kernel.

Every subscript is checked, also one marked ``proved``: an index that is negative or outside
the array is an error here, never a wrapped or wild access.  So is reading an element of an
``Allocate`` without a value before it was stored.  Ints are int64 and wrap; values are NumPy
scalars of their dtype, with NumPy's rules for NaN, infinities and integer overflow.
"""

from __future__ import annotations

import operator as op
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from sparsedsl.loops import operations, text, vectors
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
from sparsedsl.loops.operations import ExecutionError as ExecutionError

Array: TypeAlias = npt.NDArray[Any]
# A Python int or bool for "int" and "bool", a NumPy scalar for a value dtype.
Value: TypeAlias = Any

_OPERATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": op.add,
    "-": op.sub,
    "*": op.mul,
    "/": op.truediv,
    "//": op.floordiv,
    "%": op.mod,
    "&": op.and_,
    "|": op.or_,
    "^": op.xor,
    "<<": op.lshift,
    ">>": op.rshift,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
    "==": op.eq,
    "!=": op.ne,
    "below": lambda a, b: a % 2**64 < b % 2**64,
}


def interpret(kernel: Kernel, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    """Run ``kernel`` and return its results, arrays or scalars, in the order of the kernel.

    Parameters
    ----------
    kernel:
        A kernel that ``loops.verify`` accepts.
    arguments:
        One entry per parameter: arrays of the declared dtype and ndim (stored to in place),
        ints, scalars.  Other entries are ignored.

    Raises
    ------
    ExecutionError
        A subscript out of range, an uninitialised element read, a missing or wrong argument.

    Examples
    --------
    >>> from sparsedsl.loops.nodes import Kernel, IntParam, Assign, Var
    >>> from sparsedsl.loops.build import add, ivar
    >>> body = (Assign(ivar("m"), add(ivar("n"), 1)),)
    >>> interpret(Kernel("next", (IntParam("n"),), body, ("m",)), {"n": 2})
    (3,)
    """
    machine = _Machine()
    for param in kernel.params:
        if param.name not in arguments:
            raise ExecutionError(f"argument {param.name} of kernel {kernel.name} is missing")
        value = arguments[param.name]
        match param:
            case ArrayParam(name, dtype, ndim):
                found = np.asarray(value)
                if found.dtype != np.dtype(dtype) or found.ndim != ndim:
                    raise ExecutionError(
                        f"argument {name} of kernel {kernel.name}: expected {dtype} of {ndim} "
                        f"axes, found {found.dtype} of {found.ndim}"
                    )
                machine.arrays[name] = found
            case IntParam(name):
                machine.scalars[name] = int(value)
            case ScalarParam(name, dtype):
                machine.scalars[name] = (
                    bool(value) if dtype == BOOL else np.dtype(dtype).type(value)
                )
            case _:
                assert_never(param)
    with np.errstate(all="ignore"):
        machine.run(kernel.body)
    return tuple(
        machine.arrays[name] if name in machine.arrays else machine.scalars[name]
        for name in kernel.results
    )


class _Machine:
    """The state of one run: scalars and arrays by name, and what was never written."""

    def __init__(self) -> None:
        self.scalars: dict[str, Value] = {}
        self.arrays: dict[str, Array] = {}
        # for an array allocated without a value: which elements were stored since
        self.written: dict[str, npt.NDArray[np.bool_]] = {}

    def run(self, body: tuple[Stmt, ...]) -> bool:
        """Execute ``body``; True when it ended in a ``Break``."""
        return any(self.step(statement) for statement in body)

    def step(self, statement: Stmt) -> bool:
        match statement:
            case Assign(variable, value):
                self.scalars[variable.name] = self.evaluate(value)
            case Store():
                self.store(statement)
            case For(variable, start, stop, body, step):
                for value in range(self.evaluate(start), self.evaluate(stop), step):
                    self.scalars[variable.name] = value
                    if self.run(body):
                        break
            case While(condition, body):
                while self.evaluate(condition):
                    if self.run(body):
                        break
            case If(condition, then, otherwise, even=even):
                if even:
                    self.look_at(then)
                return self.run(then if self.evaluate(condition) else otherwise)
            case Break():
                return True
            case Allocate(array, dtype, shape, value):
                self.allocate(array, dtype, tuple(map(self.evaluate, shape)), value)
            case Resize(array, length):
                self.resize(array, self.evaluate(length))
            case Prefetch(_, subscripts):
                for subscript in subscripts:
                    self.evaluate(subscript)  # what it loads must be there
            case Pack():
                self.pack(statement)
            case Comment():
                pass
            case _:
                assert_never(statement)
        return False

    def allocate(self, name: str, dtype: str, shape: tuple[int, ...], value: Const | None) -> None:
        if any(extent < 0 for extent in shape):
            raise ExecutionError(f"array {name} allocated with negative shape {shape}")
        if value is None:
            self.arrays[name] = np.zeros(shape, dtype)
            self.written[name] = np.zeros(shape, np.bool_)
        else:
            self.arrays[name] = np.full(shape, value.value, dtype)
            self.written.pop(name, None)

    def resize(self, name: str, length: int) -> None:
        old = self.arrays[name]
        kept = min(length, len(old))
        written = np.zeros(max(length, 0), np.bool_)
        written[:kept] = self.written[name][:kept] if name in self.written else True
        self.allocate(name, old.dtype.name, (length,), None)
        self.arrays[name][:kept] = old[:kept]
        self.written[name] = written

    def look_at(self, body: tuple[Stmt, ...]) -> None:
        """Evaluate what statements read that are computed whether they are kept or not."""
        known = dict(self.scalars)
        for statement in body:
            match statement:
                case Assign(variable, value):
                    self.scalars[variable.name] = self.evaluate(value)
                case Store(value=value):
                    self.place(statement)
                    self.evaluate(value)
                case _:
                    raise ExecutionError(f"not without a branch: {text.statement(statement)}")
        self.scalars = known

    def place(self, node: Load | Store) -> tuple[Any, ...]:
        """Return the checked subscripts of a load or a store: a slice last for a vector."""
        array = self.arrays[node.array]
        place = tuple(self.evaluate(subscript) for subscript in node.subscripts)
        inside = all(0 <= p < extent for p, extent in zip(place, array.shape, strict=True))
        count = vectors.lanes(node.type if isinstance(node, Load) else node.value.type)
        if count > 1:
            inside = inside and place[-1] + count <= array.shape[-1]
            place = (*place[:-1], slice(place[-1], place[-1] + count))
        if not inside:
            shown = text.statement(node) if isinstance(node, Store) else text.expression(node)
            raise ExecutionError(
                f"subscripts {place} outside array {node.array} of shape {array.shape} in: {shown}"
            )
        return place

    def store(self, node: Store) -> None:
        value = self.evaluate(node.value)
        place = self.place(node)
        array = self.arrays[node.array]
        if node.combine is not None:
            self.require_written(node, place)
            value = operations.combine(node.combine, array[place], value, array.dtype.name)
        vector = vectors.lanes(node.value.type) > 1
        array[place] = value if vector else operations.converted(value, array.dtype.name)
        if node.array in self.written:
            self.written[node.array][place] = True

    def pack(self, node: Pack) -> None:
        place, value, kept = map(self.evaluate, (node.place, node.value, node.kept))
        places = [k for k in range(node.lanes) if kept >> k & 1]
        for count, k in enumerate(places):
            found = value[k] if node.value.type != INT else value + k
            if node.through:
                found = self.element(node.through, found)
            dtype = self.arrays[node.array].dtype.name
            given = Const(np.asarray(found).item(), INT if node.value.type == INT else dtype)
            self.store(Store(node.array, (Const(place + count, INT),), given))

    def require_written(self, node: Load | Store, place: tuple[Any, ...]) -> None:
        written = self.written.get(node.array)
        if written is not None and not written[place].all():
            shown = text.statement(node) if isinstance(node, Store) else text.expression(node)
            raise ExecutionError(f"uninitialised element {place} of {node.array} read in: {shown}")

    def evaluate(self, node: Expr) -> Value:
        match node:
            case Var(name, _):
                if name not in self.scalars:
                    raise ExecutionError(f"variable {name} read before it was assigned")
                return self.scalars[name]
            case Const(value, type):
                return operations.converted(value, type)
            case Load(array, _, type):
                place = self.place(node)
                self.require_written(node, place)
                found = operations.converted(self.arrays[array][place], type)
                if node.natural and found < 0:
                    raise ExecutionError(f"{found} is negative in: {text.expression(node)}")
                return found
            case Part():
                return self.part(node)
            case Length(array, axis):
                return self.arrays[array].shape[axis]
            case Binary():
                return self.binary(node)
            case Not(operand):
                return not self.evaluate(operand)
            case Select(condition, yes, no, _, even):
                if even:
                    both = self.evaluate(yes), self.evaluate(no)
                    return both[0] if self.evaluate(condition) else both[1]
                return self.evaluate(yes if self.evaluate(condition) else no)
            case Cast(operand, type):
                return operations.converted(self.evaluate(operand), type)
            case Apply(function, arguments, type):
                return operations.apply(function, tuple(map(self.evaluate, arguments)), type)
            case _:
                assert_never(node)

    def part(self, node: Part) -> Value:
        lanes = vectors.lanes(node.type)
        count = min(max(self.evaluate(node.count), 0), lanes)
        start = self.evaluate(node.place)
        places = range(start, start + count * node.apart, node.apart)
        if node.through:
            places = [int(self.element(node.through, place)) for place in places]
        found = np.zeros(lanes, vectors.element(node.type))
        found[:count] = [self.element(node.array, place) for place in places]
        return found

    def element(self, array: str, place: int) -> Value:
        """Return an element that must be there."""
        return self.evaluate(Load(array, (Const(place, INT),), self.arrays[array].dtype.name))

    def binary(self, node: Binary) -> Value:
        if node.operator == "and":
            return self.evaluate(node.left) and self.evaluate(node.right)
        if node.operator == "or":
            return self.evaluate(node.left) or self.evaluate(node.right)
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        if node.operator in ("min", "max"):
            return operations.combine(node.operator, left, right, node.type)
        if node.type == INT and node.operator in ("//", "%") and right == 0:
            raise ExecutionError(f"division by zero in: {text.expression(node)}")
        if node.operator in ("<<", ">>") and not 0 <= right < 64:
            raise ExecutionError(f"shift count {right} in: {text.expression(node)}")
        return operations.converted(_OPERATE[node.operator](left, right), node.type)
