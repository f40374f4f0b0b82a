"""The context of a sparse stage: tiles in, streams within each tile, tiles out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from rdu.emulate import functional as f
from rdu.emulate.blocks import combine_blocks
from rdu.emulate.channel import Channel
from rdu.emulate.encode import Costs, Machine
from rdu.emulate.engine import Context, Steps
from rdu.emulate.stage_machine import (
    level_of,
    machine_of,
    most_gathered,
    parts_of,
    shared_factors,
)
from rdu.emulate.stages import Port, slowed
from rdu.emulate.sums import Entries, nothing
from rdu.emulate.tile import Arithmetic, Combine, Reader, Values, run_tile
from rdu.emulate.tile_times import closed_form, tile_times
from rdu.emulate.tokens import Level
from rdu.emulate.values import Tree, concatenated, densified_block
from rdu.graph.graph import Graph
from rdu.graph.nodes import (
    Densify,
    Fibres,
    Operand,
    SparseMap,
    SparseProduct,
    SparseUnion,
)
from rdu.graph.streams import block_axes, last_factor
from rdu.mapping.kernel import Kernel
from rdu.mapping.schedule import Coordinates, place_of
from rdu.mapping.sparse import SparseShape, tree_tile_bytes
from rdu.mapping.stages import Stage
from rdu.mapping.timing import Cycles
from rdu.specs import Chip


class SparseStage(Context):
    """One sparse operator on its units."""

    def __init__(
        self,
        chip: Chip,
        graph: Graph,
        kernel: Kernel,
        stage: Stage,
        inward: Sequence[Channel],
        outward: Sequence[Port],
        *,
        values: bool,
    ) -> None:
        super().__init__(stage.name)
        assert isinstance(stage.shape, SparseShape)
        self.chip = chip
        self.graph = graph
        self.schedule = kernel.schedule
        self.slowdown = kernel.slowdown
        self.axes = kernel.axes
        self.stage = stage
        self.shape = stage.shape
        self.inward = inward
        self.outward = outward
        self.values = values
        self.length = stage.shape.firings
        self.steps = tuple(stage.shape.steps())
        self.times = None if values else tile_times(chip, graph, kernel.schedule, stage)
        self._sizes: dict[str, list[int]] = {}
        self._machine: tuple[Costs, Machine] | None = None

    def program(self) -> Steps:
        """Run the streams of every tile of the root axis."""
        shape = self.shape
        held: dict[tuple[int, Coordinates], Any] = {}
        loops = shape.streams.loops if shape.streams is not None else ()
        result, sums = None, nothing(sum(axis in shape.operator.output.axes for axis in loops))
        while self.position < self.length:
            yield from self.rest()
            step = self.steps[self.position]
            for r, tile in step.takes:
                size = self._tile_bytes(shape.reads[r].operand.tensor, tile)
                held[r, tile] = yield from self.pop(self.inward[r], size)
                self.moved += size
            if self.times is None:
                result, sums, cycles = self._fire(step.index[0], held, sums)
            else:
                cycles = self.times.cycles[self.position]
            yield from self.fire(slowed(cycles.busy, self.slowdown))
            done = self.time + cycles.fill * self.tick
            if step.emits and self.values:
                result = self._assembled(result, step.index[0])
            for tile in step.emits:
                payload = self._payload(tile, result, step.index[0]) if self.values else None
                size = self._tile_bytes(shape.operator.output.tensor, tile)
                for port in self.outward:
                    yield from port.send(self, payload, done, size)
                self.moved += size
            for drop in step.drops:
                held.pop(drop, None)
            self.position += 1

    def kinds(self) -> list[Hashable]:
        """Describe every step: how long it takes and what it moves, without data."""
        assert self.times is not None
        reads, out = self.shape.reads, self.shape.operator.output.tensor
        return [
            (
                cycles,
                tuple((r, self._tile_bytes(reads[r].operand.tensor, t)) for r, t in step.takes),
                tuple(self._tile_bytes(out, t) for t in step.emits),
            )
            for step, cycles in zip(self.steps, self.times.cycles, strict=True)
        ]

    def _tile_bytes(self, name: str, tile: Coordinates) -> int:
        tensor = self.graph.tensor(name)
        axes = self.axes[name]
        if tensor.sparse:
            if name not in self._sizes:
                self._sizes[name] = tree_tile_bytes(self.graph, tensor, axes, self.schedule)
            return self._sizes[name][sum(tile)]
        size = tensor.element_bytes
        for part in place_of(self.schedule, axes, tile, tensor.shape):
            size *= part.stop - part.start
        return size

    # --- operands ----------------------------------------------------------------------

    def _tree(self, r: int, held: dict[tuple[int, Coordinates], Any]) -> Tree:
        """Join the held tiles of a tree operand."""
        tensor = self.graph.tensor(self.shape.reads[r].operand.tensor)
        structure = tensor.structure
        assert isinstance(structure, Fibres)
        mine = sorted(tile for other, tile in held if other == r)
        return concatenated([held[r, tile] for tile in mine], len(structure.levels))

    def _dense(self, r: int, held: dict[tuple[int, Coordinates], Any]) -> tuple[Any, int]:
        """Assemble the held tiles of a dense operand; also where its root axis starts."""
        operand = self.shape.reads[r].operand
        tensor = self.graph.tensor(operand.tensor)
        axes = self.axes[operand.tensor]
        mine = [tile for other, tile in held if other == r]
        places = [place_of(self.schedule, axes, tile, tensor.shape) for tile in mine]
        low = [min(p[m].start for p in places) for m in range(len(axes))]
        high = [max(p[m].stop for p in places) for m in range(len(axes))]
        extents = [b - a for a, b in zip(low, high, strict=True)]
        whole = np.empty(extents, dtype=self.graph.precision.dtype)
        for tile, place in zip(mine, places, strict=True):
            at = tuple(slice(p.start - a, p.stop - a) for p, a in zip(place, low, strict=True))
            whole[at] = held[r, tile]
        lead = self.shape.reads[r].modes[0] if self.shape.collects[r] else -1
        return whole, low[lead] if lead >= 0 else 0

    # --- firing ------------------------------------------------------------------------

    def _fire(
        self, index: int, held: dict[tuple[int, Coordinates], Any], sums: Entries
    ) -> tuple[Any, Entries, Cycles]:
        """Compute one tile: its result, the sums kept for later tiles, the cycles."""
        shape = self.shape
        span = self.schedule.span(shape.root, index)
        match shape.operator:
            case SparseMap(function=function, arguments=arguments):
                tree = self._tree(0, held)
                dtype = self.graph.precision.dtype
                given = [
                    tree.values if isinstance(a, Operand) else dtype.type(a.value)
                    for a in arguments
                ]
                assert tree.values is not None
                raw = f.mapped(function, given, tree.values.shape, dtype)
                values = f.rounded(raw, self.graph.precision)
                cycles = closed_form(self.chip, self.graph, self.stage, len(tree.coordinates))
                return Tree(tree.coordinates, values), sums, cycles
            case Densify():
                tree = self._tree(0, held)
                block = densified_block(self.graph, shape.reads[0].operand.tensor, tree, span)
                cycles = closed_form(self.chip, self.graph, self.stage, len(tree.coordinates))
                return block, sums, cycles
            case SparseProduct() | SparseUnion():
                return self._streams(span, held, sums)

    def _streams(
        self, span: slice, held: dict[tuple[int, Coordinates], Any], sums: Entries
    ) -> tuple[Entries, Entries, Cycles]:
        """Run the stream graph, on several copies of it where the tile is cut further."""
        if self._machine is None:
            self._machine = machine_of(self.chip, self.graph, self.stage)
        costs, machine = self._machine
        trees = {r: self._tree(r, held) for r in range(len(self.shape.reads)) if self._sparse(r)}
        parts = parts_of(self.shape, span, trees[min(trees)].coordinates[:, 0])
        levels = {
            r: level_of(self.graph, self.shape.reads[r].operand, self.shape.root, span, tree)
            for r, tree in trees.items()
        }
        arithmetic = self._arithmetic(levels, held)
        found, sums, cycles = run_tile(machine, costs, levels, parts, arithmetic, sums)
        return found if self.shape.stepwise else sums, sums, cycles

    def _sparse(self, r: int) -> bool:
        return self.graph.tensor(self.shape.reads[r].operand.tensor).sparse

    def _arithmetic(
        self, levels: dict[int, Level], held: dict[tuple[int, Coordinates], Any]
    ) -> Arithmetic:
        operator = self.shape.operator
        assert isinstance(operator, (SparseProduct, SparseUnion))
        reads: dict[int, Reader] = {}
        for r, read in enumerate(self.shape.reads):
            if r not in levels:
                reads[r] = self._dense_reader(operator, r, self._dense(r, held))
                continue
            structure = self.graph.tensor(read.operand.tensor).structure
            assert isinstance(structure, Fibres)
            values = levels[r].tree.values
            assert values is not None
            reads[r] = _tree_reader(values, structure.fill)
        dtype, gathered = self.graph.precision.dtype, most_gathered(self.chip, self.shape)
        return Arithmetic(
            reads, self._combine(operator), gathered, shared_factors(self.shape), dtype
        )

    def _dense_reader(
        self, operator: SparseProduct | SparseUnion, r: int, value: tuple[Any, int]
    ) -> Reader:
        assert isinstance(operator, SparseProduct)
        array, start = value
        axes = self.shape.reads[r].operand.axes
        inside = [a for a in operator.loops if a in axes]
        order = [axes.index(a) for a in (*inside, *block_axes(operator, r))]
        moved = array.transpose(order)
        offsets = [start if a == self.shape.root and self.shape.collects[r] else 0 for a in inside]
        if not inside:
            return lambda places: np.broadcast_to(moved, (len(places), *moved.shape))
        return lambda places: moved[tuple((places - offsets).T)]

    # --- values ------------------------------------------------------------------------

    def _combine(self, operator: SparseProduct | SparseUnion) -> Combine:
        precision = self.graph.precision
        if isinstance(operator, SparseUnion):
            function, dtype = operator.function, precision.dtype
            return lambda blocks, _: f.rounded(f.applied(function, blocks, dtype), precision)
        real = [n for n, pattern in enumerate(operator.patterns) if not pattern]
        out = [a for a in operator.output.axes if a not in operator.loops]
        axes = [block_axes(operator, n) for n in real]
        last = last_factor(operator)
        order = [n for n in range(len(real)) if real[n] != last]
        if last is not None:
            order.append(real.index(last))
        extents = self.graph.extents
        summed = [a for a in dict.fromkeys(a for names in axes for a in names) if a not in out]
        shared = last is not None and operator.loops[-1] not in operator.factors[last].axes

        def combine(blocks: Sequence[Values], items: int) -> Values:
            return combine_blocks(blocks, axes, order, out, summed, extents, items, shared=shared)

        return combine

    # --- output ------------------------------------------------------------------------

    def _assembled(self, result: Any, index: int) -> Any:
        """Turn a firing's items into a tree, or into a dense block over the emitted range."""
        shape = self.shape
        operator = shape.operator
        if isinstance(operator, (SparseMap, Densify)):
            return result
        loops = shape.streams.loops if shape.streams is not None else ()
        out = operator.output.axes
        kept = [a for a in loops if a in out]
        block = [a for a in out if a not in kept]
        if self.graph.tensor(operator.output.tensor).sparse:
            return self._tree_result(result, kept, block)
        span = self._span(index)
        size = [self.graph.extents[a] for a in (*kept, *block)]
        if shape.stepwise:
            size[0] = span.stop - span.start
        full = np.zeros(size, dtype=self.graph.precision.dtype)
        if len(result):
            places = result.places.copy()
            if kept:
                places[:, 0] -= span.start
                full[tuple(places.T)] = result.values
            else:
                full[...] = result.values[-1]
        names = [*kept, *block]
        storage = self.graph.storage(operator.output.tensor)
        return f.rounded(full.transpose([names.index(a) for a in out]), storage)

    def _span(self, index: int) -> slice:
        """Coordinates along the root axis that a dense result covers."""
        if self.shape.stepwise:
            return self.schedule.span(self.shape.root, index)
        return slice(0, 0)

    def _payload(self, tile: Coordinates, result: Any, index: int) -> Any:
        """Cut one output tile out of an assembled result."""
        out = self.graph.tensor(self.shape.operator.output.tensor)
        axes = self.axes[out.name]
        place = list(place_of(self.schedule, axes, tile, out.shape))
        if isinstance(result, Tree):
            structure = out.structure
            assert isinstance(structure, Fibres)
            first = out.axes.index(structure.levels[0])
            return result.between(place[first].start, place[first].stop)
        if self.shape.stepwise:
            lead = axes.index(self.shape.root)
            start = self._span(index).start
            place[lead] = slice(place[lead].start - start, place[lead].stop - start)
        return result[tuple(place)]

    def _tree_result(
        self,
        entries: Entries,
        kept: Sequence[str],
        block: Sequence[str],
    ) -> Tree:
        out = self.graph.tensor(self.shape.operator.output.tensor)
        structure = out.structure
        assert isinstance(structure, Fibres)
        sizes = [self.graph.extents[a] for a in block]
        values = entries.values
        if values is None:
            values = np.zeros((0, *sizes), dtype=self.graph.precision.dtype)
        own = dict(zip(out.axes, self.shape.operator.output.axes, strict=True))
        columns = [list(kept).index(own[axis]) for axis in structure.levels]
        return Tree(entries.places[:, columns], f.rounded(values, self.graph.storage(out.name)))


def _tree_reader(stored: Values, fill: float) -> Reader:
    """Read leaves by the first leaf of their references, which is -1 for none."""
    empty = np.full((1, *stored.shape[1:]), fill, dtype=stored.dtype)
    # The fill stands behind the last leaf, where -1 finds it.
    padded = np.concatenate([stored, empty])
    return lambda places: padded[places[:, 0]]
