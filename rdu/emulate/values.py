"""Data in and out of a simulation: dense arrays of float32 or int32, and fibre trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.emulate.functional import rounded
from rdu.errors import RDUError
from rdu.graph.arguments import entries_of
from rdu.graph.graph import Graph, Precision
from rdu.graph.nodes import Fibres
from rdu.graph.pattern import Table
from rdu.mapping.program import Program


@dataclass(frozen=True, slots=True)
class Tree:
    """A fibre tree's content: sorted coordinates ``[stored, levels]``, values ``[stored, *block]``.

    ``values`` is None in a timing-only run.
    """

    coordinates: Table
    values: npt.NDArray[Any] | None

    def between(self, start: int, stop: int) -> Tree:
        """Leaves whose outermost coordinate lies in ``[start, stop)``."""
        low, high = np.searchsorted(self.coordinates[:, 0], (start, stop))
        values = None if self.values is None else self.values[low:high]
        return Tree(self.coordinates[low:high], values)


def concatenated(parts: Sequence[Tree], levels: int) -> Tree:
    """Join trees of ascending outermost coordinates."""
    full = [part for part in parts if len(part.coordinates)]
    if not full:
        return parts[0] if parts else Tree(np.zeros((0, levels), dtype=np.int64), None)
    values = [part.values for part in full if part.values is not None]
    joined = np.concatenate(values) if len(values) == len(full) else None
    return Tree(np.concatenate([part.coordinates for part in full]), joined)


def bind(graph: Graph, name: str, array: Any) -> Any:
    """Check one input against the graph and round it to the storage precision.

    Raises
    ------
    RDUError
        On a wrong shape, complex data, a tree with more entries than were traced, or in an int32
        program on numbers that are no integers of 32 bits.
    """
    tensor = graph.tensor(name)
    shape = tuple(getattr(array, "shape", np.shape(array)))
    if shape != tensor.shape:
        raise RDUError(
            f"{name}: expected shape {tensor.shape}, found {shape}",
            hint="trace and compile the kernel again for other shapes",
        )
    structure = tensor.structure
    if not isinstance(structure, Fibres):
        if hasattr(array, "toarray"):
            array = array.toarray()
        elif hasattr(array, "to_numpy"):
            array = array.to_numpy()
        dense = np.asarray(array)
        if dense.dtype.kind not in "biuf" and dense.dtype.name != "bfloat16":
            raise RDUError(f"{name}: expected real numbers, found {dense.dtype}")
        return _stored(name, dense, graph.precision)
    coordinates, values = _entries(name, array)
    modes = [tensor.axes.index(axis) for axis in structure.levels]
    coordinates = coordinates[:, modes]
    order = np.lexsort(coordinates.T[::-1])
    coordinates, values = coordinates[order], values[order]
    if len(coordinates) > 1 and np.any(np.all(coordinates[1:] == coordinates[:-1], axis=1)):
        raise RDUError(f"{name}: the same coordinate is stored twice", hint="sum duplicates first")
    if len(coordinates) > structure.stored:
        raise RDUError(
            f"{name}: {len(coordinates)} stored entries, the program was traced for "
            f"{structure.stored}",
            hint="trace and compile the kernel again with this data",
        )
    return Tree(coordinates, _stored(name, values, graph.precision))


def _stored(name: str, values: npt.NDArray[Any], precision: Precision) -> npt.NDArray[Any]:
    """Round real numbers; narrow integers of any width to 32 bits if all of them fit."""
    if precision is not Precision.INT32:
        return rounded(values, precision)
    if values.dtype.kind not in "biu":
        raise RDUError(
            f"{name}: an int32 program takes integers, found {values.dtype}",
            hint="pass integers, or trace the kernel with precision='bf16' or 'fp32'",
        )
    narrow = values.astype(np.int32)
    wrong = narrow != values
    if np.any(wrong):
        raise RDUError(
            f"{name}: {values[wrong][0]} does not fit the units' 32-bit integers",
            hint="scale the numbers down, or trace the kernel with precision='fp32'",
        )
    return narrow


def _entries(name: str, array: Any) -> tuple[Table, npt.NDArray[Any]]:
    found = entries_of(array)
    if found is not None:
        return found
    dense = np.asarray(array)
    if dense.dtype.kind not in "biuf":
        raise RDUError(f"{name}: expected real numbers, found {dense.dtype}")
    table = np.argwhere(dense != 0).astype(np.int64)
    return table, dense[tuple(table.T)]


def densified(graph: Graph, name: str, tree: Tree) -> npt.NDArray[Any]:
    """Write a tree out with its fill value, in mode order."""
    tensor = graph.tensor(name)
    structure = tensor.structure
    assert isinstance(structure, Fibres)
    assert tree.values is not None
    axes = (*structure.levels, *tensor.block)
    shape = [tensor.extent(axis) for axis in axes]
    full = np.full(shape, structure.fill, dtype=tree.values.dtype)
    full[tuple(tree.coordinates.T)] = tree.values
    return np.ascontiguousarray(full.transpose([axes.index(axis) for axis in tensor.axes]))


def result(graph: Graph, name: str, value: Any) -> Any:
    """Return a result as the user gets it."""
    tensor = graph.tensor(name)
    if not isinstance(value, Tree):
        return value
    structure = tensor.structure
    assert isinstance(structure, Fibres)
    if len(tensor.axes) == 2 and not tensor.block and structure.fill == 0:
        from scipy.sparse import coo_array

        modes = [structure.levels.index(axis) for axis in tensor.axes]
        rows, columns = (value.coordinates[:, m] for m in modes)
        return coo_array((value.values, (rows, columns)), shape=tensor.shape).tocsr()
    return densified(graph, name, value)


def densified_block(graph: Graph, name: str, tree: Tree, span: slice) -> npt.NDArray[Any] | None:
    """Write out the part of a tree whose outermost coordinate lies in ``span``, in mode order.

    None without data.
    """
    if tree.values is None:
        return None
    tensor = graph.tensor(name)
    structure = tensor.structure
    assert isinstance(structure, Fibres)
    axes = (*structure.levels, *tensor.block)
    shape = [tensor.extent(axis) for axis in axes]
    shape[0] = span.stop - span.start
    full = np.full(shape, structure.fill, dtype=tree.values.dtype)
    place = tree.coordinates.copy()
    place[:, 0] -= span.start
    full[tuple(place.T)] = tree.values
    return np.ascontiguousarray(full.transpose([axes.index(axis) for axis in tensor.axes]))


def part_of(program: Program, name: str, value: Any, socket: int) -> Any:
    """Return what one socket holds of an input: its part along the cut mode, or all of it."""
    cut = _cut(program, name)
    if cut is None:
        return value
    mode, extent = cut
    place = slice(socket * extent, (socket + 1) * extent)
    if isinstance(value, Tree):
        values = value.values
        return Tree(value.coordinates, None if values is None else values.take(_range(place), mode))
    return value[(slice(None),) * mode + (place,)]


def whole_of(program: Program, name: str, parts: Sequence[Any]) -> Any:
    """Join the parts of a result; one that every socket holds whole is taken from the first."""
    cut = _cut(program, name)
    if cut is None:
        return parts[0]
    mode, _ = cut
    if isinstance(parts[0], Tree):
        joined = [np.asarray(part.values) for part in parts]
        return Tree(parts[0].coordinates, np.concatenate(joined, axis=mode))
    return np.concatenate(parts, axis=mode)


def _range(place: slice) -> npt.NDArray[np.int64]:
    return np.arange(place.start, place.stop)


def _cut(program: Program, name: str) -> tuple[int, int] | None:
    """Where a tensor's values are cut and how long a part is; a tree's leaves are one axis."""
    if program.shards is None or name not in program.shards.modes:
        return None
    mode = program.shards.modes[name]
    tensor = program.local.tensor(name)
    if tensor.sparse:
        return 1 + tensor.block.index(tensor.axes[mode]), tensor.shape[mode]
    return mode, tensor.shape[mode]
