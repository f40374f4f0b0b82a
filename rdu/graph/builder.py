"""Building a graph operator by operator, with index strings as in einsum.

Axes that must be the same loop are found here: every mode of every tensor and every index of
every operator starts as an axis of its own; reading a tensor joins its modes with the
operator's indices, unless that would make two axes of one tensor or operator the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rdu.errors import RDUError
from rdu.graph.axes import Axes, merge_orders, renamed
from rdu.graph.graph import Graph, Precision
from rdu.graph.integers import require_integers
from rdu.graph.nodes import (
    Constant,
    Contract,
    Dense,
    Densify,
    Fibres,
    Function,
    Map,
    Monoid,
    Operand,
    Operator,
    Position,
    Rearrange,
    Reduction,
    RmsNorm,
    Role,
    Softmax,
    SparseMap,
    SparseProduct,
    SparseUnion,
    Structure,
    Subscript,
    Tensor,
    loop_axes,
)
from rdu.graph.pattern import Table, join, random_table, reorder, sort_rows

Read = tuple[str, Sequence[str]]


class GraphBuilder:
    """Collects tensors and operators; :meth:`finish` names the axes and returns the graph.

    A read is ``(tensor, indices)``, one index name a mode; an operator's ``out`` are the index
    names of its output. Every method returns the name of the tensor it makes.

    Examples
    --------
    >>> b = GraphBuilder("gemm")
    >>> x, w = b.input("x", (4, 8)), b.input("w", (8, 2))
    >>> y = b.contract("y", "ij", (x, "ik"), (w, "kj"))
    >>> b.finish([y]).flops
    128
    """

    def __init__(self, name: str, precision: Precision = Precision.BF16) -> None:
        self.name = name
        self.precision = precision
        self.operators: list[Operator] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.structures: dict[str, Structure] = {}
        self.patterns: dict[str, Table] = {}
        self.inputs: list[str] = []
        self.assumed: list[str] = []
        self._axes = Axes()

    # --- tensors -----------------------------------------------------------------------

    def input(
        self,
        name: str,
        shape: Sequence[int],
        *,
        pattern: Table | None = None,
        stored: int | None = None,
        levels: Sequence[int] | None = None,
    ) -> str:
        """Add an input: dense, or a fibre tree with coordinates ``pattern`` (mode order).

        ``stored`` alone assumes a uniform pattern with that many entries; ``levels`` orders
        the modes of the tree, outermost first (default: as they are).
        """
        if name in self.shapes:
            raise RDUError(f"the graph already has a tensor {name!r}")
        axes = self._declare(name, shape)
        self.inputs.append(name)
        if pattern is None and stored is not None:
            pattern = random_table(shape, stored)
            self.assumed.append(name)
        if pattern is not None:
            modes = list(levels) if levels is not None else list(range(len(shape)))
            table = sort_rows(pattern[:, modes])
            self.patterns[name] = table
            self.structures[name] = Fibres(tuple(axes[m] for m in modes), len(table))
        return name

    def is_sparse(self, name: str) -> bool:
        """Whether a tensor is a fibre tree."""
        return isinstance(self.structures[name], Fibres)

    def fibres(self, name: str) -> Fibres:
        """Return the structure of a tensor known to be a fibre tree."""
        structure = self.structures[name]
        assert isinstance(structure, Fibres)
        return structure

    def levels(self, read: Read) -> tuple[str, ...]:
        """Return the index names of a read along the tensor's levels."""
        modes = [self._mode(axis) for axis in self.fibres(read[0]).levels]
        return tuple(read[1][m] for m in modes)

    # --- dense operators ---------------------------------------------------------------

    def contract(
        self, name: str, out: Sequence[str], left: Read, right: Read, *, op: str = ""
    ) -> str:
        """``name[out] = sum(left * right)``."""
        operator = self._serial(op or name)
        index = self._indices(operator, (left, right))
        output = self._output(operator, name, out, index)
        return self._add(
            Contract(operator, output, self._use(left, operator), self._use(right, operator))
        )

    def map(
        self,
        name: str,
        out: Sequence[str],
        function: Function,
        *arguments: Read | Constant | Position,
        op: str = "",
        extents: dict[str, int] | None = None,
    ) -> str:
        """``name[out] = function(arguments)``; ``extents`` sizes axes no argument has."""
        operator = self._serial(op or name)
        reads = [a for a in arguments if isinstance(a, tuple)]
        index = self._indices(operator, reads) | (extents or {})
        output = self._output(operator, name, out, index)
        used: list[Any] = []
        for argument in arguments:
            match argument:
                case Constant():
                    used.append(argument)
                case Position(subscript=subscript):
                    used.append(Position(self._subscript(operator, subscript)))
                case _:
                    used.append(self._use(argument, operator))
        return self._add(Map(operator, output, function, tuple(used)))

    def reduce(
        self, name: str, out: Sequence[str], monoid: Monoid, read: Read, *, op: str = ""
    ) -> str:
        """``name[out] = monoid(read)`` over the indices ``out`` lacks."""
        operator = self._serial(op or name)
        output = self._output(operator, name, out, self._indices(operator, (read,)))
        return self._add(Reduction(operator, output, self._use(read, operator), monoid))

    def softmax(self, name: str, read: Read, axis: str, *, op: str = "") -> str:
        """``name = softmax(read)`` along the index ``axis``."""
        operator = self._serial(op or name)
        output = self._output(operator, name, read[1], self._indices(operator, (read,)))
        used = self._use(read, operator)
        return self._add(Softmax(operator, output, used, f"{operator}.{axis}"))

    def rms_norm(
        self, name: str, read: Read, weight: str, axis: str, *, epsilon: float = 1e-5, op: str = ""
    ) -> str:
        """RMS norm of ``read`` along ``axis``, times the vector ``weight``."""
        operator = self._serial(op or name)
        scale: Read = (weight, (axis,))
        output = self._output(operator, name, read[1], self._indices(operator, (read, scale)))
        used, weights = self._use(read, operator), self._use(scale, operator)
        node = RmsNorm(operator, output, used, weights, f"{operator}.{axis}", epsilon)
        return self._add(node)

    def rearrange(
        self,
        name: str,
        out: Sequence[str],
        source: str,
        subscripts: Sequence[Subscript],
        *,
        op: str = "",
        extents: dict[str, int] | None = None,
    ) -> str:
        """``name[out] = source[subscripts]``; a transpose when it only permutes the modes."""
        operator = self._serial(op or name)
        plain = [s.axes[0] for s in subscripts if s.constant == 0 and len(s.terms) == 1]
        permutes = sorted(plain) == sorted(out) and all(
            s.constant == 0 and s.terms[0][1] == 1 for s in subscripts if s.terms
        )
        if len(plain) == len(subscripts) and permutes:
            read: Read = (source, plain)
            output = self._output(operator, name, out, self._indices(operator, (read,)))
            self._use(read, operator)
        else:
            output = self._output(operator, name, out, extents or {})
        patterns = tuple(self._subscript(operator, s) for s in subscripts)
        return self._add(Rearrange(operator, output, source, patterns))

    def transpose(self, name: str, out: Sequence[str], read: Read, *, op: str = "") -> str:
        """``name[out] = read`` with the modes permuted."""
        return self.rearrange(
            name, out, read[0], [Subscript(((axis, 1),)) for axis in read[1]], op=op
        )

    # --- sparse operators --------------------------------------------------------------

    def sparse_product(
        self,
        name: str,
        out: Sequence[str],
        factors: Sequence[Read],
        patterns: Sequence[bool] | None = None,
        *,
        op: str = "",
    ) -> str:
        """``name[out] = sum(product(factors))``, driven by the fibre-tree factors.

        The trees' levels must nest in one order. The output is a fibre tree over the indices
        it keeps of them; a single index left of a larger tree gives a dense output.
        """
        operator = self._serial(op or name)
        flags = tuple(patterns) if patterns is not None else (False,) * len(factors)
        index = self._indices(operator, factors)
        trees = [read for read in factors if self.is_sparse(read[0])]
        loops = merge_orders([self.levels(read) for read in trees])
        columns, table = loops, None
        for read in sorted(trees, key=lambda r: self.fibres(r[0]).fill != 0):
            levels = self.levels(read)
            part = self.patterns[read[0]]
            if table is None:
                table, columns = part, levels
            else:
                joined = join(table, columns, part, levels)
                columns = (*columns, *(a for a in levels if a not in columns))
                table = joined
        assert table is not None
        kept = tuple(a for a in loops if a in out)
        whole = any(set(self.levels(read)) <= set(out) for read in trees)
        sparse_out = kept if whole or len(kept) > 1 else ()
        output = self._output(operator, name, out, index)
        if sparse_out:
            rows = reorder(table, columns, sparse_out)
            self.patterns[name] = rows
            axes = [self._axis(name, list(out).index(a)) for a in sparse_out]
            self.structures[name] = Fibres(tuple(axes), len(rows))
        used = tuple(self._use(read, operator) for read in factors)
        loop_names = tuple(f"{operator}.{a}" for a in loops)
        return self._add(SparseProduct(operator, output, used, flags, loop_names, len(table)))

    def sparse_union(
        self,
        name: str,
        out: Sequence[str],
        function: Function,
        left: Read,
        right: Read,
        op: str = "",
    ) -> str:
        """``name[out] = function(left, right)`` where either tree stores an entry."""
        operator = self._serial(op or name)
        index = self._indices(operator, (left, right))
        levels = self.levels(left)
        table = reorder(self.patterns[right[0]], self.levels(right), levels)
        rows = sort_rows(np.concatenate([self.patterns[left[0]], table]))
        output = self._output(operator, name, out, index)
        self.patterns[name] = rows
        axes = tuple(self._axis(name, list(out).index(a)) for a in levels)
        fill = float(function.apply(*(self.fibres(r[0]).fill for r in (left, right))))
        self.structures[name] = Fibres(axes, len(rows), fill)
        used = (self._use(left, operator), self._use(right, operator))
        return self._add(SparseUnion(operator, output, *used, function))

    def sparse_map(
        self,
        name: str,
        function: Function,
        *arguments: Read | Constant,
        op: str = "",
        fill: float | None = None,
    ) -> str:
        """``name = function(stored values)``; exactly one argument is a read.

        Places that are not stored hold ``fill``, or the function of the operand's fill.
        """
        operator = self._serial(op or name)
        (read,) = [a for a in arguments if isinstance(a, tuple)]
        output = self._output(operator, name, read[1], self._indices(operator, (read,)))
        used = self._use(read, operator)
        tree = self.fibres(read[0])
        modes = [self._mode(axis) for axis in tree.levels]
        values = [tree.fill if isinstance(a, tuple) else a.value for a in arguments]
        levels = tuple(self._axis(name, m) for m in modes)
        value = float(function.apply(*values)) if fill is None else fill
        self.structures[name] = Fibres(levels, tree.stored, value)
        self.patterns[name] = self.patterns[read[0]]
        final = tuple(used if isinstance(a, tuple) else a for a in arguments)
        return self._add(SparseMap(operator, output, used, function, final))

    def densify(self, name: str, read: Read, *, op: str = "") -> str:
        """``name = read`` with every coordinate written out."""
        operator = self._serial(op or name)
        output = self._output(operator, name, read[1], self._indices(operator, (read,)))
        return self._add(Densify(operator, output, self._use(read, operator)))

    # --- finishing ---------------------------------------------------------------------

    def finish(self, results: Sequence[str]) -> Graph:
        """Name the axes, mark the results and return the graph."""
        names = self._axes.names()
        operators = tuple(renamed(operator, names) for operator in self.operators)
        extents: dict[str, int] = {}
        tensors: list[Tensor] = []
        for tensor, shape in self.shapes.items():
            axes = tuple(names[self._axis(tensor, m)] for m in range(len(shape)))
            extents |= dict(zip(axes, shape, strict=True))
            role = Role.INPUT if tensor in self.inputs else Role.INTERMEDIATE
            if tensor in results and role is not Role.INPUT:
                role = Role.RESULT
            structure = renamed(self.structures[tensor], names)
            tensors.append(Tensor(tensor, axes, shape, role, self.precision.bytes, structure))
        by_name = {t.name: t for t in tensors}
        for operator in operators:
            for axis in loop_axes(operator):
                assert axis in extents, (operator, axis)
        assert all(r in by_name for r in results)
        if self.precision is Precision.INT32:
            require_integers(operators, [tensor.structure for tensor in tensors])
        return Graph(
            self.name,
            operators,
            tuple(tensors),
            extents,
            tuple(self.inputs),
            tuple(results),
            self.precision,
            dict(self.patterns),
            tuple(self.assumed),
        )

    # --- axes --------------------------------------------------------------------------

    def _axis(self, tensor: str, mode: int) -> str:
        return f"{tensor}#{mode}"

    def _mode(self, axis: str) -> int:
        return int(axis.rsplit("#", 1)[1])

    def _declare(self, name: str, shape: Sequence[int]) -> list[str]:
        self.shapes[name] = tuple(int(n) for n in shape)
        self.structures[name] = Dense()
        axes = [self._axis(name, m) for m in range(len(shape))]
        for axis in axes:
            self._axes.add(axis, f"tensor {name}", "")
        return axes

    def _serial(self, name: str) -> str:
        taken = {operator.name for operator in self.operators}
        serial, n = name, 1
        while serial in taken:
            n += 1
            serial = f"{name}{n}"
        return serial

    def _indices(self, operator: str, reads: Sequence[Read]) -> dict[str, int]:
        extents: dict[str, int] = {}
        for tensor, indices in reads:
            shape = self.shapes[tensor]
            if len(indices) != len(shape):
                raise RDUError(
                    f"{operator}: {tensor} has {len(shape)} modes and is read with "
                    f"{len(indices)} indices"
                )
            for index, extent in zip(indices, shape, strict=True):
                if extents.setdefault(index, extent) != extent:
                    raise RDUError(
                        f"{operator}: index {index} is {extents[index]} elsewhere and {extent} "
                        f"in {tensor}"
                    )
        return extents

    def _use(self, read: Read, operator: str) -> Operand:
        tensor, indices = read
        nodes: list[str] = []
        for mode, index in enumerate(indices):
            node = f"{operator}.{index}"
            self._axes.add(node, f"operator {operator}", index)
            self._axes.merge(self._axis(tensor, mode), node)
            nodes.append(node)
        return Operand(tensor, tuple(nodes))

    def _output(
        self, operator: str, name: str, out: Sequence[str], extents: dict[str, int]
    ) -> Operand:
        if name in self.shapes:
            raise RDUError(f"the graph already has a tensor {name!r}")
        missing = [index for index in out if index not in extents]
        if missing:
            raise RDUError(f"{operator}: nothing gives index {missing[0]} an extent")
        self._declare(name, [extents[index] for index in out])
        return self._use((name, out), operator)

    def _subscript(self, operator: str, subscript: Subscript) -> Subscript:
        for index in subscript.axes:
            self._axes.add(f"{operator}.{index}", f"operator {operator}", index)
        terms = tuple((f"{operator}.{index}", c) for index, c in subscript.terms)
        return Subscript(terms, subscript.constant)

    def _add(self, operator: Operator) -> str:
        self.operators.append(operator)
        return operator.output.tensor
