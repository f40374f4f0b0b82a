"""Recognising kernels that differ only in the names of their tensors, as in repeated layers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from rdu.graph.graph import Graph, kernel_writes
from rdu.graph.nodes import (
    Operand,
    Operator,
    Rearrange,
    RmsNorm,
    Softmax,
    is_sparse,
    operands,
)
from rdu.mapping.stages import Tier


def group_key(
    graph: Graph, group: Sequence[Operator], tiers: Mapping[str, Tier]
) -> Hashable | None:
    """Return what mapping and timing of a kernel depend on, tensors and axes numbered.

    Equal keys give equal kernels up to names. None for kernels with sparse operators, whose
    time depends on their patterns.
    """
    if any(is_sparse(operator) for operator in group):
        return None
    tensors: dict[str, int] = {}
    axes: dict[str, int] = {}
    writes = set(kernel_writes(graph, tuple(group)))
    facts: list[Hashable] = []

    def number(operand: Operand) -> Hashable:
        index = tensors.setdefault(operand.tensor, len(tensors))
        names = tuple(axes.setdefault(a, len(axes)) if a else -1 for a in operand.axes)
        return (index, names)

    for operator in group:
        inside = tuple(number(operand) for operand in operands(operator))
        out = number(operator.output)
        extra: Hashable = getattr(getattr(operator, "function", None), "name", None)
        if isinstance(operator, (Softmax, RmsNorm)):
            extra = axes[operator.axis]
        if isinstance(operator, Rearrange):
            extra = operator.permutation is None
        stored = operator.output.tensor in writes
        facts.append((type(operator).__name__, inside, out, extra, stored))
    sizes = tuple(
        (graph.tensor(name).shape, graph.tensor(name).element_bytes, tiers.get(name))
        for name in tensors
    )
    return (tuple(facts), sizes, tuple(graph.extents[a] for a in axes), tuple(axes.values()))
