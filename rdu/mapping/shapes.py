"""Stages of either kind, dense or sparse, behind one set of functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from rdu.graph.graph import Graph
from rdu.graph.nodes import (
    Densify,
    Operator,
    SparseMap,
    SparseProduct,
    SparseUnion,
    loop_axes,
    operands,
)
from rdu.mapping.schedule import Schedule, StageShape, shape_of
from rdu.mapping.sparse import SparseShape, root_of, sparse_shape, tree_axes
from rdu.specs import Chip

Shape: TypeAlias = StageShape | SparseShape


def streamed_axes(graph: Graph, group: Sequence[Operator]) -> dict[str, tuple[str, ...]]:
    """Return the axes along which each tensor of a kernel is cut into tiles.

    Those of its producer; for a tensor from memory, those of its first reader. A mode that is
    not cut has the axis ``""``.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for operator in group:
        for operand in operands(operator):
            axes.setdefault(operand.tensor, operand.axes)
        axes[operator.output.tensor] = operator.output.axes
    for name, names in axes.items():
        tensor = graph.tensor(name)
        if tensor.sparse:
            axes[name] = tree_axes(tensor, names)
    return axes


def make_shape(
    chip: Chip,
    graph: Graph,
    operator: Operator,
    schedule: Schedule,
    axes: Mapping[str, tuple[str, ...]],
) -> Shape:
    """Work out one stage under a schedule."""
    if isinstance(operator, (SparseProduct, SparseUnion, SparseMap, Densify)):
        return sparse_shape(chip, graph, operator, schedule, axes)
    return shape_of(graph, operator, schedule, axes)


def scheduled_axes(graph: Graph, group: Sequence[Operator]) -> tuple[list[str], list[str]]:
    """Return the outermost axes of sparse stages, and all further axes a kernel cuts."""
    roots: list[str] = []
    others: list[str] = []
    streamed = streamed_axes(graph, group)
    for operator in group:
        if isinstance(operator, (SparseProduct, SparseUnion, SparseMap, Densify)):
            roots.append(root_of(graph, operator))
        else:
            others += loop_axes(operator)
        for operand in (*operands(operator), operator.output):
            others += [a for a in streamed[operand.tensor] if a]
    roots = list(dict.fromkeys(roots))
    return roots, [a for a in dict.fromkeys(others) if a not in roots]
