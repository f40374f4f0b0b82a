"""A dataflow graph: what streams where, how many operations, how many bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from rdu.errors import RDUError
from rdu.graph.draw import draw_graph
from rdu.graph.fusion import Fusion, groups
from rdu.graph.nodes import (
    AllReduce,
    Contract,
    Densify,
    Map,
    Operator,
    Rearrange,
    Reduction,
    RmsNorm,
    Role,
    Softmax,
    SparseMap,
    SparseProduct,
    SparseUnion,
    Tensor,
    loop_axes,
    operands,
)
from rdu.graph.pattern import Table


class Precision(Enum):
    """Storage of every tensor; arithmetic is float32, or int32 of whole numbers.

    A real result is rounded once, where its operator writes it; whole numbers are exact modulo
    2**32. So fusing operators into one kernel does not change a bit.
    """

    BF16 = "bf16"
    FP32 = "fp32"
    INT32 = "int32"

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return 2 if self is Precision.BF16 else 4

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers that are computed with."""
        return np.dtype(np.int32 if self is Precision.INT32 else np.float32)


class Rounding(Enum):
    """How the tail of a unit rounds a result to bf16."""

    NEAREST = "nearest"
    STOCHASTIC = "stochastic"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes one kernel moves between the chip and its memory for one tensor."""

    kernel: int
    tensor: str
    bytes: int
    direction: str
    counted: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Operators in order, the tensors between them, and the extents of their axes.

    ``patterns`` holds the stored coordinates of fibre-tree tensors in level order, and
    ``assumed`` names those inputs whose pattern was made up because only nnz was known. ``seed``
    is that of stochastic rounding.

    Examples
    --------
    >>> from rdu.models.monarch import monarch_fft
    >>> graph = monarch_fft()
    >>> graph.flops
    537919488
    >>> round(graph.operational_intensity("none", accounting="paper"), 1)
    39.5
    """

    name: str
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    extents: Mapping[str, int]
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    precision: Precision = Precision.BF16
    patterns: Mapping[str, Table] = field(default_factory=dict[str, Table])
    assumed: tuple[str, ...] = ()
    rounding: Rounding = Rounding.NEAREST
    seed: int = 0
    _by_name: dict[str, Tensor] = field(default_factory=dict[str, Tensor], init=False, repr=False)

    def __post_init__(self) -> None:
        self._by_name.update((tensor.name, tensor) for tensor in self.tensors)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor called ``name``; KeyError if there is none."""
        return self._by_name[name]

    def storage(self, name: str) -> Precision:
        """Return how a tensor is stored: partial sums of bf16 are float32."""
        wide = self.precision is Precision.BF16 and self.tensor(name).element_bytes == 4
        return Precision.FP32 if wide else self.precision

    def operator_flops(self, operator: Operator) -> int:
        """Operations of one operator; a multiply-add counts two.

        A map counts one an element whatever its function; softmax counts five and RMS norm
        four an element; a sparse operator counts only what it computes.
        """
        size = self._size
        match operator:
            case Contract():
                return 2 * size(loop_axes(operator))
            case Map():
                return size(operator.output.axes)
            case Reduction(operand=operand):
                return size(operand.axes)
            case Softmax():
                return 5 * size(operator.output.axes)
            case RmsNorm():
                return 4 * size(operator.output.axes)
            case AllReduce(output=output, sockets=sockets):
                return size(output.axes) * (sockets - 1) // sockets
            case Rearrange() | Densify():
                return 0
            case SparseProduct(factors=factors, loops=loops, matches=matches):
                block = size(tuple(a for a in loop_axes(operator) if a not in loops))
                summed = any(a not in operator.output.axes for a in loop_axes(operator))
                real = sum(not p for p in operator.patterns)
                return matches * block * max(real - 1 + summed, 1) * (len(factors) > 0)
            case SparseUnion(output=output) | SparseMap(output=output):
                tensor = self.tensor(output.tensor)
                stored = len(self.patterns[output.tensor])
                return stored * size(tensor.block)
            case _:
                assert_never(operator)

    @property
    def flops(self) -> int:
        """Operations of the whole graph."""
        return sum(self.operator_flops(operator) for operator in self.operators)

    def groups(self, fusion: Fusion) -> tuple[tuple[Operator, ...], ...]:
        """Return the operators of each kernel under ``fusion``."""
        return groups(self.operators, fusion)

    def traffic(self, fusion: Fusion = "spatial", accounting: str = "strict") -> list[Traffic]:
        """List what every kernel moves between the chip and memory, tensor by tensor.

        ``"strict"``: each kernel reads every tensor it needs from outside once and writes
        every tensor that is needed outside once.

        ``"paper"``: the accounting that yields table I. It departs twice. An input that only
        enters as a second operand of elementwise operators (``Scale``) is listed but not
        counted. And when the whole graph is one kernel, one more pass over its results is
        counted; the published number contains those bytes and does not explain them.

        Raises
        ------
        RDUError
            On an unknown accounting or fusion.
        """
        if accounting not in ("strict", "paper"):
            raise RDUError(f"accounting must be 'strict' or 'paper', found {accounting!r}")
        kernels = groups(self.operators, fusion)
        rows: list[Traffic] = []
        for index, group in enumerate(kernels):
            for name in kernel_reads(group):
                free = accounting == "paper" and _elementwise_second(self, name, group)
                note = "second operand of an elementwise operator" if free else ""
                rows.append(Traffic(index, name, self.tensor(name).bytes, "read", not free, note))
            for name in kernel_writes(self, group):
                rows.append(Traffic(index, name, self.tensor(name).bytes, "write"))
        if accounting == "paper" and len(kernels) == 1 and len(self.operators) > 1:
            for name in self.results:
                size = self.tensor(name).bytes
                rows.append(Traffic(0, name, size, "write", True, "unexplained in the paper"))
        return rows

    def bytes(self, fusion: Fusion = "spatial", accounting: str = "strict") -> int:
        """Bytes moved between the chip and memory under ``fusion``; see :meth:`traffic`."""
        return sum(row.bytes for row in self.traffic(fusion, accounting) if row.counted)

    def operational_intensity(
        self, fusion: Fusion = "spatial", accounting: str = "strict"
    ) -> float:
        """Operations per byte moved between the chip and memory (table I of the paper)."""
        return self.flops / self.bytes(fusion, accounting)

    def draw(self, path: str | Path) -> Path:
        """Write the graph to ``path`` and return the path.

        The suffix chooses the format: ``.svg``, or with matplotlib ``.png`` and ``.pdf``.
        """
        shapes = {tensor.name: tensor.shape for tensor in self.tensors}
        return draw_graph(self.operators, self.inputs, shapes, Path(path))

    def __str__(self) -> str:
        lines = [f"graph {self.name}: {len(self.operators)} operators, {self.flops:,} flops"]
        for operator in self.operators:
            reads = ", ".join(f"{o.tensor}[{','.join(o.axes)}]" for o in operands(operator))
            out = operator.output
            lines.append(
                f"  {operator.name}: {type(operator).__name__} {out.tensor}"
                f"[{','.join(out.axes)}] <- {reads}"
            )
        return "\n".join(lines)

    def _size(self, axes: tuple[str, ...]) -> int:
        return math.prod(self.extents[axis] for axis in axes)


def kernel_reads(group: tuple[Operator, ...]) -> list[str]:
    """Tensors a kernel reads from outside itself, in order of first use."""
    inside = {operator.output.tensor for operator in group}
    names: list[str] = []
    for operator in group:
        for operand in operands(operator):
            if operand.tensor not in inside and operand.tensor not in names:
                names.append(operand.tensor)
    return names


def kernel_writes(graph: Graph, group: tuple[Operator, ...]) -> list[str]:
    """Tensors a kernel makes that are results or are read by another kernel."""
    members = {operator.name for operator in group}
    needed = {
        operand.tensor
        for operator in graph.operators
        if operator.name not in members
        for operand in operands(operator)
    }
    return [
        operator.output.tensor
        for operator in group
        if operator.output.tensor in needed
        or graph.tensor(operator.output.tensor).role is Role.RESULT
    ]


def _elementwise_second(graph: Graph, name: str, group: tuple[Operator, ...]) -> bool:
    if graph.tensor(name).role is not Role.INPUT:
        return False
    uses = [op for op in group if any(o.tensor == name for o in operands(op))]
    return all(
        isinstance(op, Map) and len(op.arguments) > 1 and operands(op)[0].tensor != name
        for op in uses
    )
