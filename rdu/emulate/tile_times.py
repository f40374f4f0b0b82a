"""How long the tiles of a sparse stage take, from the patterns of its operands alone.

What the units of a tile do depends on coordinates, neither on time nor on values, so the cycles
of every tile are known before the kernel runs. Tiles that are alike take equally long, and one of
them is run: coordinates of an axis are compared with each other or counted from the first, so
tiles whose tables differ by a shift along an axis are alike (the tiles of a banded matrix, a
pattern of rows that comes again, a dense stretch).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rdu.emulate.encode import Machine
from rdu.emulate.stage_machine import level_of, machine_of, parts_of
from rdu.emulate.tile import tile_cycles
from rdu.emulate.tokens import Ints, Level
from rdu.emulate.values import Tree
from rdu.graph.graph import Graph
from rdu.graph.nodes import Densify, Fibres, SparseMap, SparseProduct, SparseUnion
from rdu.mapping.schedule import Schedule
from rdu.mapping.sparse import SparseShape
from rdu.mapping.stages import Stage
from rdu.mapping.timing import Cycles, access, interval, simd
from rdu.specs import Chip


@dataclass(frozen=True, slots=True)
class TileTimes:
    """Cycles of every tile of a stage's root axis; ``run`` of them were run token by token."""

    cycles: tuple[Cycles, ...]
    run: int


def tile_times(chip: Chip, graph: Graph, schedule: Schedule, stage: Stage) -> TileTimes:
    """Return the cycles of all tiles of a sparse stage.

    Raises
    ------
    DeadlockError
        If the streams' queues are too short for a tile; names the streams.
    """
    shape = stage.shape
    assert isinstance(shape, SparseShape)
    spans = [schedule.span(shape.root, n) for n in range(shape.firings)]
    match shape.operator:
        case SparseMap(operand=operand) | Densify(operand=operand):
            leaves = _leaves(graph, operand.tensor, spans)
            found = [closed_form(chip, graph, stage, count) for count in leaves]
            return TileTimes(tuple(found), 0)
        case SparseProduct() | SparseUnion():
            return _streamed(chip, graph, stage, spans)


def closed_form(chip: Chip, graph: Graph, stage: Stage, leaves: int) -> Cycles:
    """Cycles of a tile of a map over stored values or of a densification."""
    shape = stage.shape
    assert isinstance(shape, SparseShape)
    if isinstance(shape.operator, SparseMap):
        size = leaves * shape.block.elements
        return simd(chip, size, stage.units.width).every(interval(chip, graph.precision))
    count = graph.tensor(shape.operator.output.tensor).bytes // max(shape.firings, 1)
    found = access(chip, count, max(sum(stage.units.reads), 1))
    return Cycles(max(found.busy, leaves), found.fill)


def _leaves(graph: Graph, tensor: str, spans: Sequence[slice]) -> list[int]:
    column = graph.patterns[tensor][:, 0]
    ends = np.searchsorted(column, [[span.start, span.stop] for span in spans])
    return (ends[:, 1] - ends[:, 0]).tolist()


def _streamed(chip: Chip, graph: Graph, stage: Stage, spans: Sequence[slice]) -> TileTimes:
    """Run the streams of every tile that is unlike those before."""
    shape = stage.shape
    assert isinstance(shape, SparseShape)
    _, machine = machine_of(chip, graph, stage)
    trees = {
        r: Tree(graph.patterns[read.operand.tensor], None)
        for r, read in enumerate(shape.reads)
        if graph.tensor(read.operand.tensor).sparse
    }
    lead = trees[min(trees)].coordinates[:, 0]
    whole: dict[int, Level] = {}
    known: dict[bytes, Cycles] = {}
    cycles: list[Cycles] = []
    for span in spans:
        levels: dict[int, Level] = {}
        for r, tree in trees.items():
            level = whole.get(r)
            if level is None:
                level = level_of(graph, shape.reads[r].operand, shape.root, span, tree)
                if not level.cut:
                    whole[r] = level
            levels[r] = level
        parts = parts_of(shape, span, lead)
        fibres, windows = machine.operands(levels, parts)
        key = _likeness(graph, shape, machine, levels, fibres, windows)
        if key not in known:
            known[key] = tile_cycles(machine, fibres, windows)
        cycles.append(known[key])
    return TileTimes(tuple(cycles), len(known))


def _likeness(
    graph: Graph,
    shape: SparseShape,
    machine: Machine,
    levels: Mapping[int, Level],
    fibres: Ints,
    windows: Ints,
) -> bytes:
    """Return what tells tiles of one stage apart: equal for tiles that take equally long.

    Operands that every tile holds whole are the same in all; coordinates of their axes are
    compared as they are, those of others from the first one in the tile.
    """
    digest = hashlib.blake2b(windows.tobytes(), digest_size=32)
    tables: dict[str, list[Ints]] = {}
    fixed: set[str] = set()
    begin = 0
    for read in machine.reads:
        if read is None or read[1] < 0:
            continue
        factor, level = read
        operand = shape.reads[factor].operand
        tensor = graph.tensor(operand.tensor)
        structure = tensor.structure
        assert isinstance(structure, Fibres)
        axis = operand.axes[tensor.axes.index(structure.levels[level])]
        count = len(levels[factor].fibres(level))
        table, begin = fibres[begin : begin + count], begin + count
        if levels[factor].cut:
            tables.setdefault(axis, []).append(table)
        else:
            fixed.add(axis)
    for axis, parts in tables.items():
        first = min((int(part[0, 0]) for part in parts if len(part)), default=0)
        for part in parts:
            moved = part.copy()
            if axis not in fixed:
                moved[:, 0] -= first
            digest.update(moved.tobytes())
            digest.update(len(moved).to_bytes(8))
    return digest.digest()
