"""A sparse stage's streams as a machine, and its operands as that machine scans them."""

from __future__ import annotations

import itertools
import math

from rdu.emulate.encode import Costs, Machine, encoded
from rdu.emulate.tokens import Ints, Level
from rdu.emulate.values import Tree
from rdu.graph.graph import Graph
from rdu.graph.nodes import Fibres, Operand, SparseProduct, SparseUnion
from rdu.graph.streams import block_axes, last_factor
from rdu.mapping.sparse import SparseShape
from rdu.mapping.stages import Stage
from rdu.mapping.timing import access, interval, simd
from rdu.specs import Chip


def machine_of(chip: Chip, graph: Graph, stage: Stage) -> tuple[Costs, Machine]:
    """Work out what the units of a product or union cost, and number its streams."""
    shape = stage.shape
    assert isinstance(shape, SparseShape)
    operator, block, width = shape.operator, shape.block, stage.units.width
    assert isinstance(operator, (SparseProduct, SparseUnion))
    assert shape.streams is not None
    every = interval(chip, graph.precision)
    fetch: dict[int, int] = {}
    for r, read in enumerate(shape.reads):
        tensor = graph.tensor(read.operand.tensor)
        if tensor.sparse:
            size = math.prod(tensor.extent(a) for a in tensor.block) * tensor.element_bytes
        else:
            size = _block_bytes(graph, operator, r)
        ports = stage.units.reads[r]
        if not tensor.sparse and block.elements > 1:
            ports //= shape.copies
        fetch[r] = access(chip, size, max(ports, 1)).busy
    kept = [a for a in operator.output.axes if a not in shape.streams.loops]
    size = math.prod(graph.extents[a] for a in kept)
    # A gathered product streams its last factor through the arrays while it computes.
    streamed = 1
    for last in shared_factors(shape):
        streamed, fetch[last] = fetch[last], 1
    costs = Costs(
        fetch,
        lambda items: max(block.cycles(chip, items, width).busy * every, streamed),
        simd(chip, size, width).busy * every,
        most_gathered(chip, shape),
        not shape.stepwise,
        chip.fifo_depth,
    )
    return costs, encoded(shape.streams, costs)


def most_gathered(chip: Chip, shape: SparseShape) -> int:
    """Items that enter the arrays together."""
    return max(chip.systolic_rows, 1) * 4 if shape.block.gather else 1


def shared_factors(shape: SparseShape) -> frozenset[int]:
    """Return the factor that all gathered items share, if there is one."""
    operator = shape.operator
    if not isinstance(operator, SparseProduct) or not shape.block.gather:
        return frozenset()
    last = last_factor(operator)
    return frozenset() if last is None else frozenset((last,))


def _block_bytes(graph: Graph, operator: SparseProduct | SparseUnion, r: int) -> int:
    assert isinstance(operator, SparseProduct)
    size = math.prod(graph.extents[a] for a in block_axes(operator, r))
    return size * graph.precision.bytes


def level_of(graph: Graph, operand: Operand, root: str, span: slice, tree: Tree) -> Level:
    """Return a tree operand as it is scanned: the part of it in the tile ``span``, or all."""
    tensor = graph.tensor(operand.tensor)
    structure = tensor.structure
    assert isinstance(structure, Fibres)
    axis = structure.levels[0]
    cut = operand.axes[tensor.axes.index(axis)] == root
    start, stop = (span.start, span.stop) if cut else (0, tensor.extent(axis))
    return Level(tree.between(start, stop), len(structure.levels) > 1, start, stop, cut)


def parts_of(shape: SparseShape, span: slice, roots: Ints) -> list[tuple[int, int]]:
    """Cut a tile for the copies of a stage, so that each has as many of the ``roots``.

    ``roots`` are the sorted coordinates of the first tree along the root axis.
    """
    copies = shape.copies
    if copies == 1 or span.stop - span.start < 2:
        return [(span.start, span.stop)]
    inside = roots[(roots >= span.start) & (roots < span.stop)]
    cuts = {span.start, span.stop}
    for n in range(1, copies):
        if len(inside):
            cuts.add(int(inside[n * len(inside) // copies]))
    return list(itertools.pairwise(sorted(cuts)))
