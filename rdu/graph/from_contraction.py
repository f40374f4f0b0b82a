"""The only door to ``sparsedsl``: contraction programs become dataflow graphs.

A product summed over indices becomes a contraction (dense) or a stream product (some factor a
fibre tree); every other elementwise call is one map; a plain copy with permuted or affine
subscripts is an access pattern. `rdu.graph.combine` adds these operators.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import assert_never

import numpy as np

from rdu.errors import RDUError
from rdu.graph.arguments import Argument
from rdu.graph.axes import merge_orders
from rdu.graph.builder import GraphBuilder
from rdu.graph.combine import Combiner, Lowered, Value, Want
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
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)
from sparsedsl.contraction.operators import OPERATORS


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
        shapes = {name: known.shape for name, known in arguments.items()}
        try:
            self.extents = check_shapes(program, shapes)
        except ValueError as error:
            raise RDUError(str(error)) from None
        self.combine = Combiner(self.builder, self.extents)
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

        Every operand keeps the order of its storage if one order of the loops allows it: that
        makes a product of two matrices one of inner products, of linear combinations or of outer
        products. Else indices nest in the order in which the statement meets them. Where the
        first sparse operand keeps several indices, the one with the most dense data hanging on it
        comes first, so that this data (an expert's weights) is fetched once.
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
            nests: list[list[str]] = []
            for access in trees:
                stored = self.arguments[access.tensor].order or range(len(access.subscripts))
                nests.append([access.subscripts[mode].name or "" for mode in stored])
            if kept.issuperset(nests[0]):
                nests[0].sort(key=lambda n: -weight.get(n, 0))
            try:
                found = merge_orders(nests)
            except RDUError:
                found = tuple(dict.fromkeys(itertools.chain(*nests)))
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
        self.current[statement.target] = self.combine.call(
            _function(statement.accumulate),
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
        return self.builder.map(name, out, COPY, self.combine.dense(value).read, extents=extents)

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
            case Extent(name=name):
                return Constant(float(self.extents[name]))
            case Call(operator="mul"):
                return self._product(_factors(expression), (), want)
            case Call(operator=operator, arguments=arguments):
                values = [self.lower(a, None) for a in arguments]
                return self.combine.call(_function(operator), values, want)
            case Reduce(monoid="add", indices=indices, body=body):
                return self._product(_factors(body), indices, want)
            case Reduce(monoid=monoid, indices=indices, body=body):
                value = self.lower(body, None)
                return self.combine.reduce(Monoid(monoid), indices, value, want)
            case _:
                assert_never(expression)

    def _access(self, access: Access) -> Value:
        tensor = self.current[access.tensor]
        names = [affine.name for affine in access.subscripts]
        if None not in names and len(set(names)) == len(names):
            return Value(tensor, tuple(n for n in names if n is not None))
        if self.builder.is_sparse(tensor):
            tensor = self.combine.dense(Value(tensor, self._letters(tensor))).tensor
        out = tuple(dict.fromkeys(n for s in access.subscripts for n in s.indices))
        patterns = [_subscript(s) for s in access.subscripts]
        extents = {n: self.extents[n] for n in out}
        name = self.combine.temporary("view")
        self.builder.rearrange(name, out, tensor, patterns, extents=extents)
        return Value(name, out)

    def _product(self, factors: Sequence[Expression], sums: Sequence[str], want: Want) -> Lowered:
        values: list[Value] = []
        others: list[Lowered] = []
        for factor in factors:
            value = self.lower(factor, None)
            if isinstance(value, Value):
                values.append(value)
            else:
                others.append(value)
        return self.combine.product(values, others, sums, want)

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
        case Literal() | IndexValue() | Extent():
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
