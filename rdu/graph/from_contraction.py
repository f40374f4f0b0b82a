"""The only door to ``sparsedsl``: contraction programs become dataflow graphs.

A product summed over indices becomes a contraction (dense) or a stream product (some factor a
fibre tree); every other elementwise call is one map; a plain copy with permuted or affine
subscripts is an access pattern. Where a tree meets an operator that needs all coordinates,
it is written out (``Densify``). Products skip implicit zeros, as the hardware's streams do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import numpy as np

from rdu.errors import RDUError
from rdu.graph.arguments import Argument
from rdu.graph.builder import GraphBuilder, Read, merge_orders
from rdu.graph.functions import COPY, ONE
from rdu.graph.graph import Graph, Precision
from rdu.graph.nodes import Constant, Function, Monoid, Position, Subscript
from sparsedsl.contraction.extent import check_shapes
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)
from sparsedsl.contraction.operators import OPERATORS


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor read with index names; ``pattern`` if only its stored coordinates matter."""

    tensor: str
    indices: tuple[str, ...]
    pattern: bool = False

    @property
    def read(self) -> Read:
        """As the builder takes it."""
        return (self.tensor, self.indices)


Lowered: TypeAlias = Value | Constant | Position
Want: TypeAlias = "tuple[str, tuple[str, ...]] | None"


def from_contraction(
    program: Program,
    arguments: Mapping[str, Argument],
    *,
    name: str = "kernel",
    precision: Precision = Precision.BF16,
) -> Graph:
    """Lower a contraction program.

    Parameters
    ----------
    program:
        Statements over logical indices.
    arguments:
        Shape and pattern of every input.

    Raises
    ------
    RDUError
        On shapes that disagree, an extent of 0, complex data, or a statement the dataflow
        operators cannot express; names it.
    """
    return _Lowering(program, arguments, name, precision).run()


class _Lowering:
    def __init__(
        self,
        program: Program,
        arguments: Mapping[str, Argument],
        name: str,
        precision: Precision,
    ) -> None:
        self.program = program
        self.arguments = arguments
        self.builder = GraphBuilder(name, precision)
        self.current: dict[str, str] = {}
        self.counter = 0
        shapes = {name: known.shape for name, known in arguments.items()}
        try:
            self.extents = check_shapes(program, shapes)
        except ValueError as error:
            raise RDUError(str(error)) from None
        for index, extent in self.extents.items():
            if not extent:
                raise RDUError(
                    f"index {index} has the extent 0, which leaves the units nothing to do",
                    hint="give every argument at least one element along each mode",
                )

    def run(self) -> Graph:
        for tensor in (*self.program.inputs, *self.program.outputs):
            if np.dtype(tensor.dtype).kind == "c":
                raise RDUError(f"{tensor.name} is {tensor.dtype}; the units compute real numbers")
        order = self._tree_order()
        for tensor in self.program.inputs:
            known = self.arguments[tensor.name]
            levels = order.get(tensor.name)
            sparse = (known.pattern is not None or known.stored is not None) and known.shape
            if sparse and tensor.fill != 0:
                raise RDUError(f"{tensor.name} has the fill value {tensor.fill}, trees hold 0")
            self.builder.input(
                tensor.name,
                known.shape,
                pattern=known.pattern if sparse else None,
                stored=known.stored if sparse else None,
                levels=levels if sparse else None,
            )
            self.current[tensor.name] = tensor.name
        for statement in self.program.statements:
            self._statement(statement)
        return self.builder.finish([self.current[r] for r in self.program.results])

    # --- level orders ------------------------------------------------------------------

    def _tree_order(self) -> dict[str, list[int]]:
        """Choose how each sparse input's levels nest.

        Indices nest in the order in which the statement meets them, those of one operand in
        that of its storage. Where the first sparse operand keeps several indices, the one with
        the most dense data hanging on it comes first, so that this data (an expert's weights) is
        fetched once.
        """
        order: dict[str, list[int]] = {}
        for statement in self.program.statements:
            accesses = list(_accesses(statement.expression))
            trees = [a for a in accesses if self._is_tree(a.tensor) and _plain(a.subscripts)]
            if not trees:
                continue
            weight: dict[str, int] = {}
            for access in accesses:
                known = self.arguments.get(access.tensor)
                if known is not None and not self._is_tree(access.tensor):
                    size = int(np.prod(known.shape))
                    for affine in access.subscripts:
                        for index in affine.indices:
                            weight[index] = weight.get(index, 0) + size
            kept = {n for s in statement.subscripts for n in s.indices}
            found: list[str] = []
            for access in trees:
                stored = self.arguments[access.tensor].order or range(len(access.subscripts))
                names = [access.subscripts[mode].name or "" for mode in stored]
                fresh = [n for n in names if n not in found]
                movable = [n for n in fresh if n in kept]
                if not found and len(movable) == len(fresh):
                    fresh.sort(key=lambda n: -weight.get(n, 0))
                found += fresh
            for access in trees:
                names = [s.name or "" for s in access.subscripts]
                levels = sorted(range(len(names)), key=lambda m: found.index(names[m]))
                order.setdefault(access.tensor, levels)
        return order

    def _is_tree(self, tensor: str) -> bool:
        known = self.arguments.get(tensor)
        return known is not None and (known.pattern is not None or known.stored is not None)

    # --- statements --------------------------------------------------------------------

    def _statement(self, statement: Assign) -> None:
        target = tuple(s.name for s in statement.subscripts)
        if None in target or len(set(target)) != len(target):
            raise RDUError(
                f"{statement.target} is written at computed or repeated indices, which the "
                "dataflow operators cannot do",
                hint="write it at plain, distinct indices",
            )
        out = tuple(n for n in target if n is not None)
        previous = self.current.get(statement.target)
        if statement.accumulate is None or previous is None:
            name = self._version(statement.target)
            self.current[statement.target] = self._finish(statement.expression, name, out)
            return
        value = self.lower(statement.expression, None)
        self.current[statement.target] = self._call(
            statement.accumulate,
            [Value(previous, out), value],
            (self._version(statement.target), out),
        ).tensor

    def _finish(self, expression: Expression, name: str, out: tuple[str, ...]) -> str:
        value = self.lower(expression, (name, out))
        if isinstance(value, Value) and value.tensor == name:
            return name
        if not isinstance(value, Value):
            extents = {n: self.extents[n] for n in out}
            return self.builder.map(name, out, COPY, value, extents=extents)
        if value.pattern:
            return self.builder.sparse_map(name, ONE, value.read, fill=0.0)
        if value.indices == out:
            if self.builder.is_sparse(value.tensor):
                return self.builder.sparse_map(name, COPY, value.read)
            return self.builder.map(name, out, COPY, value.read)
        if sorted(value.indices) == sorted(out):
            if self.builder.is_sparse(value.tensor):
                return self.builder.sparse_product(name, out, [value.read])
            return self.builder.transpose(name, out, value.read)
        extents = {n: self.extents[n] for n in out}
        return self.builder.map(name, out, COPY, self._dense(value).read, extents=extents)

    # --- expressions -------------------------------------------------------------------

    def lower(self, expression: Expression, want: Want) -> Lowered:
        """Add the operators of an expression; its outermost one writes ``want`` if it can."""
        match expression:
            case Literal(value=value):
                return Constant(float(np.real(value)))
            case Access():
                return self._access(expression)
            case Stored(tensor=tensor):
                value = self._access(Access(tensor, expression.subscripts))
                return Value(value.tensor, value.indices, pattern=self.builder.is_sparse(tensor))
            case IndexValue(index=index):
                return Position(_subscript(index))
            case Call(operator="mul"):
                return self._product(_factors(expression), (), want)
            case Call(operator=operator, arguments=arguments):
                return self._call(operator, [self.lower(a, None) for a in arguments], want)
            case Reduce(monoid="add", indices=indices, body=body):
                return self._product(_factors(body), indices, want)
            case Reduce(monoid=monoid, indices=indices, body=body):
                value = self.lower(body, None)
                return self._reduce(Monoid(monoid), indices, value, want)
            case _:
                assert_never(expression)

    def _access(self, access: Access) -> Value:
        tensor = self.current[access.tensor]
        names = [affine.name for affine in access.subscripts]
        if None not in names and len(set(names)) == len(names):
            return Value(tensor, tuple(n for n in names if n is not None))
        if self.builder.is_sparse(tensor):
            tensor = self._dense(Value(tensor, self._letters(tensor))).tensor
        out = tuple(dict.fromkeys(n for s in access.subscripts for n in s.indices))
        patterns = [_subscript(s) for s in access.subscripts]
        extents = {n: self.extents[n] for n in out}
        name = self._temporary("view")
        self.builder.rearrange(name, out, tensor, patterns, extents=extents)
        return Value(name, out)

    def _product(self, factors: Sequence[Expression], sums: Sequence[str], want: Want) -> Lowered:
        values: list[Value] = []
        others: list[Lowered] = []
        for factor in factors:
            value = self.lower(factor, None)
            (values if isinstance(value, Value) else others).append(value)  # type: ignore[arg-type]
        if not values:
            product = self._chain(others, None) if len(others) > 1 else others[0]
            return product if not sums else self._reduce(Monoid.SUM, sums, product, want)
        last = want if not others else None
        missing = [n for n in sums if not any(n in v.indices for v in values)]
        if missing:
            return self._reduce(Monoid.SUM, sums, self._chain([*values, *others], None), want)
        if any(self.builder.is_sparse(v.tensor) for v in values):
            value = self._sparse(values, sums, last)
        else:
            value = self._dense_product(values, sums, last)
        return self._chain([value, *others], want) if others else value

    def _sparse(self, values: Sequence[Value], sums: Sequence[str], want: Want) -> Lowered:
        values = [self._covered(v, values) for v in values]
        trees = [v for v in values if self.builder.is_sparse(v.tensor)]
        if not trees:
            return self._dense_product(values, sums, want)
        try:
            merge_orders([self.builder.levels(v.read) for v in trees])
        except RDUError:
            # The last tree nests the other way round: read it by position instead.
            changed = [self._dense(v) if v is trees[-1] else v for v in values]
            return self._sparse(changed, sums, want)
        if len(values) == 1 and not sums and not values[0].pattern:
            return values[0]
        name, out = self._target(want, values, sums, "product")
        reads = [v.read for v in values]
        self.builder.sparse_product(name, out, reads, [v.pattern for v in values])
        return Value(name, out)

    def _covered(self, value: Value, values: Sequence[Value]) -> Value:
        """Write out a tree whose fill is not zero unless it stores all that the others do."""
        if not self.builder.is_sparse(value.tensor) or value.pattern:
            return value
        tree = self.builder.fibres(value.tensor)
        if tree.fill == 0:
            return value
        mine = self.builder.patterns[value.tensor]
        for other in values:
            if other is value or not self.builder.is_sparse(other.tensor):
                continue
            theirs = self.builder.patterns[other.tensor]
            same = self.builder.levels(other.read) == self.builder.levels(value.read)
            zero = self.builder.fibres(other.tensor).fill == 0
            if same and zero and np.array_equal(theirs, mine):
                return value
        return self._dense(value)

    def _dense_product(self, values: Sequence[Value], sums: Sequence[str], want: Want) -> Lowered:
        values = [self._dense(v) for v in values]
        left = list(sums)
        current = values[0]
        for position, factor in enumerate(values[1:], start=1):
            later = {n for v in values[position + 1 :] for n in v.indices}
            current, left = self._alone(current, {*factor.indices, *later}, left)
            factor, left = self._alone(factor, {*current.indices, *later}, left)
            now = [n for n in left if n not in later and n in factor.indices]
            final = want if position == len(values) - 1 else None
            if now:
                name, out = self._target(final, [current, factor], now, "gemm")
                self.builder.contract(name, out, current.read, factor.read)
                current, left = Value(name, out), [n for n in left if n not in now]
            else:
                result = self._call("mul", [current, factor], None if left else final)
                assert isinstance(result, Value)
                current = result
        if left:
            return self._reduce(Monoid.SUM, left, current, want)
        return current

    def _alone(self, value: Value, others: set[str], sums: list[str]) -> tuple[Value, list[str]]:
        """Sum away the indices that only this factor has."""
        own = [n for n in sums if n in value.indices and n not in others]
        if not own:
            return value, sums
        result = self._reduce(Monoid.SUM, own, value, None)
        assert isinstance(result, Value)
        return result, [n for n in sums if n not in own]

    def _chain(self, values: Sequence[Lowered], want: Want) -> Lowered:
        result = values[0]
        for n, value in enumerate(values[1:], start=1):
            result = self._call("mul", [result, value], want if n == len(values) - 1 else None)
        return result

    def _call(self, operator: str, arguments: Sequence[Lowered], want: Want) -> Value:
        function = _function(operator)
        values = [self._entries(a) for a in arguments]
        trees = [v for v in values if isinstance(v, Value) and self.builder.is_sparse(v.tensor)]
        if len(trees) == 1 and all(v is trees[0] or isinstance(v, Constant) for v in values):
            name, out = self._target(want, trees, (), operator)
            if out == trees[0].indices:
                used = [v.read if isinstance(v, Value) else v for v in values]
                self.builder.sparse_map(name, function, *used)  # type: ignore[arg-type]
                return Value(name, out)
        if len(trees) == len(values) == 2 and set(trees[0].indices) == set(trees[1].indices):
            orders = {tuple(self.builder.levels(t.read)) for t in trees}
            if len(orders) == 1:
                name, out = self._target(want, trees, (), operator)
                self.builder.sparse_union(name, out, function, trees[0].read, trees[1].read)
                return Value(name, out)
        dense = [self._dense(v) if isinstance(v, Value) else v for v in values]
        reads = [v for v in dense if isinstance(v, Value)]
        positions = [n for v in dense if isinstance(v, Position) for n in v.axes]
        names = list(dict.fromkeys([*(n for v in reads for n in v.indices), *positions]))
        widest = max(reads, key=lambda v: len(v.indices), default=None)
        natural = tuple(widest.indices) if widest else ()
        natural = (*natural, *(n for n in names if n not in natural))
        name, out = want if want is not None else (self._temporary(operator), natural)
        if sorted(out) != sorted(natural) or out != natural:
            name, out = self._temporary(operator), natural
        extents = {n: self.extents[n] for n in names}
        used = [v.read if isinstance(v, Value) else v for v in dense]
        self.builder.map(name, out, function, *used, extents=extents)
        return Value(name, out)

    def _reduce(self, monoid: Monoid, sums: Sequence[str], value: Lowered, want: Want) -> Lowered:
        if not isinstance(value, Value):
            names = tuple(dict.fromkeys((*sums, *(getattr(value, "axes", ())))))
            extents = {n: self.extents[n] for n in names}
            name = self._temporary("full")
            self.builder.map(name, names, COPY, value, extents=extents)
            value = Value(name, names)
        absent = [n for n in sums if n not in value.indices]
        if absent:
            names = (*value.indices, *absent)
            name = self._temporary("full")
            extents = {n: self.extents[n] for n in names}
            self.builder.map(name, names, COPY, self._dense(value).read, extents=extents)
            value = Value(name, names)
        value = self._dense(self._ones(value))
        name, out = self._target(want, [value], sums, monoid.value)
        self.builder.reduce(name, out, monoid, value.read)
        return Value(name, out)

    # --- small pieces ------------------------------------------------------------------

    def _entries(self, value: Lowered) -> Lowered:
        return self._ones(value) if isinstance(value, Value) else value

    def _ones(self, value: Value) -> Value:
        if not value.pattern:
            return value
        name = self._temporary("pattern")
        self.builder.sparse_map(name, ONE, value.read, fill=0.0)
        return Value(name, value.indices)

    def _dense(self, value: Value) -> Value:
        value = self._ones(value)
        if not self.builder.is_sparse(value.tensor):
            return value
        name = self._temporary(f"{value.tensor}_dense")
        self.builder.densify(name, value.read)
        return Value(name, value.indices)

    def _target(
        self, want: Want, values: Sequence[Value], sums: Sequence[str], stem: str
    ) -> tuple[str, tuple[str, ...]]:
        names = dict.fromkeys(n for v in values for n in v.indices if n not in sums)
        if want is not None and sorted(want[1]) == sorted(names):
            return want
        return self._temporary(stem), tuple(names)

    def _temporary(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}_{self.counter}"

    def _version(self, target: str) -> str:
        name, n = target, 1
        while name in self.builder.shapes:
            n += 1
            name = f"{target}_{n}"
        return name

    def _letters(self, tensor: str) -> tuple[str, ...]:
        return tuple(f"i{n}" for n in range(len(self.builder.shapes[tensor])))


def _accesses(expression: Expression) -> list[Access]:
    match expression:
        case Access():
            return [expression]
        case Stored(tensor=tensor, subscripts=subscripts):
            return [Access(tensor, subscripts)]
        case Call(arguments=arguments):
            return [a for part in arguments for a in _accesses(part)]
        case Reduce(body=body):
            return _accesses(body)
        case Literal() | IndexValue():
            return []
        case _:
            assert_never(expression)


def _factors(expression: Expression) -> list[Expression]:
    """Flatten a product; anything else is its own only factor."""
    if isinstance(expression, Call) and expression.operator == "mul":
        return [f for part in expression.arguments for f in _factors(part)]
    return [expression]


def _plain(subscripts: Sequence[Affine]) -> bool:
    names = [s.name for s in subscripts]
    return None not in names and len(set(names)) == len(names)


def _subscript(affine: Affine) -> Subscript:
    if affine.padded:
        raise RDUError(
            f"the units read no element beyond an edge, as '{affine}' does; pad the operand first"
        )
    return Subscript(affine.terms, affine.constant)


def _function(operator: str) -> Function:
    found = OPERATORS.get(operator)
    if found is None:
        raise RDUError(f"unknown elementwise operator {operator!r}")
    if operator in ("and", "or", "xor", "not"):
        apply = found.numpy
        return Function(operator, lambda *x: apply(*(np.asarray(a, dtype=bool) for a in x)))
    return Function(operator, found.numpy)
