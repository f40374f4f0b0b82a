"""Rows of a dense operand that a sparse product asks memory for: those its coordinates lead to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdu.graph.graph import Graph
from rdu.graph.nodes import Fibres, SparseProduct, Tensor
from rdu.graph.streams import tree_levels
from rdu.mapping.bursts import UNTOUCHED, Access, access
from rdu.mapping.shapes import Shape
from rdu.specs import Chip

# Runs beyond which a tile is rather streamed than listed.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Rows:
    """Places ``[rows, modes]`` along ``modes`` of an operand, in the order of the streams.

    ``order`` sorts them along the first mode.
    """

    modes: tuple[int, ...]
    places: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    sorted_first: npt.NDArray[np.int64]

    @classmethod
    def of(cls, modes: tuple[int, ...], places: npt.NDArray[np.int64]) -> Rows:
        """Sort places, so that those of a tile are found without looking at all."""
        order = np.argsort(places[:, 0], kind="stable")
        return cls(modes, places, order, places[order, 0])

    def inside(self, place: Sequence[slice]) -> npt.NDArray[np.int64]:
        """Return the places in a tile, in the order of the streams."""
        first = place[self.modes[0]]
        low, high = np.searchsorted(self.sorted_first, (first.start, first.stop))
        found = self.places[np.sort(self.order[low:high])]
        for n, mode in enumerate(self.modes[1:], start=1):
            column = found[:, n]
            found = found[(column >= place[mode].start) & (column < place[mode].stop)]
        return found


def rows_of(graph: Graph, shape: Shape, read: int) -> Rows | None:
    """Return the rows of a dense operand that coordinates lead to, None if all are needed.

    They are those of the tree that holds the operand's streamed axes and stores the fewest.
    """
    operator = shape.operator
    if not isinstance(operator, SparseProduct):
        return None
    operand = operator.factors[read]
    axes = [axis for axis in operator.loops if axis in operand.axes]
    found: npt.NDArray[np.int64] | None = None
    for factor in operator.factors:
        levels = tree_levels(graph, factor)
        structure = graph.tensor(factor.tensor).structure
        # What a tree with another fill value does not store is needed all the same.
        restricts = isinstance(structure, Fibres) and structure.fill == 0
        if not axes or not restricts or not set(axes) <= set(levels):
            continue
        table = graph.patterns[factor.tensor][:, [levels.index(axis) for axis in axes]]
        # A tree stores no place twice; parts of places may come again.
        if len(axes) < len(levels):
            one = table[:, 0] if len(axes) == 1 else table
            _, first = np.unique(one, axis=0, return_index=True)
            table = table[np.sort(first)]
        if found is None or len(table) < len(found):
            found = table
    if found is None:
        return None
    return Rows.of(tuple(operand.axes.index(axis) for axis in axes), found)


def gathered(chip: Chip, tensor: Tensor, rows: Rows, place: Sequence[slice]) -> Access | None:
    """Ask for the rows that lie in a tile, None where that is too many runs to list."""
    shape, element = tensor.shape, tensor.element_bytes
    strides = [element * math.prod(shape[mode + 1 :]) for mode in range(len(shape))]
    starts = rows.inside(place) @ np.array([strides[mode] for mode in rows.modes], dtype=np.int64)
    if not len(starts):
        return UNTOUCHED
    blocks = [mode for mode in range(len(shape)) if mode not in rows.modes]
    length = element
    while blocks and strides[blocks[-1]] == length:
        part = place[blocks.pop()]
        starts, length = starts + part.start * length, (part.stop - part.start) * length
    for mode in blocks:
        part = place[mode]
        if len(starts) * (part.stop - part.start) > _MOST:
            return None
        steps = np.arange(part.start, part.stop) * strides[mode]
        starts = (starts[:, None] + steps).reshape(-1)
    return access(chip, starts, length)
