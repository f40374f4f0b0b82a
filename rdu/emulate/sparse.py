"""The context of a sparse stage: tiles in, streams within each tile, tiles out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rdu.emulate import functional as f
from rdu.emulate.blocks import combine_blocks
from rdu.emulate.channel import Channel
from rdu.emulate.engine import Context, Steps
from rdu.emulate.stages import Port, place_of, slowed
from rdu.emulate.streams import Level, Sums
from rdu.emulate.tile import Behaviour, run_streams
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
from rdu.mapping.program import Kernel, Stage
from rdu.mapping.schedule import Coordinates
from rdu.mapping.sparse import SparseShape, tree_tile_bytes
from rdu.mapping.timing import Cycles, access, simd
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
        self.moved = 0
        self._sizes: dict[str, list[int]] = {}

    def program(self) -> Steps:
        """Run the streams of every tile of the root axis."""
        shape = self.shape
        held: dict[tuple[int, Coordinates], Any] = {}
        sums: Sums = {}
        for step in shape.steps():
            for r, tile in step.takes:
                size = self._tile_bytes(shape.reads[r].operand.tensor, tile)
                held[r, tile] = yield from self.pop(self.inward[r], size)
                self.moved += size
            result, cycles = self._fire(step.index[0], held, sums)
            self.work(slowed(cycles.busy, self.slowdown))
            done = self.time + cycles.fill
            if step.emits and self.values:
                result = self._assembled(result, step.index[0])
            for tile in step.emits:
                payload = self._payload(tile, result, step.index[0])
                size = self._tile_bytes(shape.operator.output.tensor, tile)
                for port in self.outward:
                    yield from port.send(self, payload, done, size)
                self.moved += size
            for drop in step.drops:
                held.pop(drop, None)

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
        """Join the held tiles of a tree operand; without data, cut it from the pattern."""
        tensor = self.graph.tensor(self.shape.reads[r].operand.tensor)
        structure = tensor.structure
        assert isinstance(structure, Fibres)
        mine = sorted(tile for other, tile in held if other == r)
        if self.values:
            return concatenated([held[r, tile] for tile in mine], len(structure.levels))
        whole = Tree(self.graph.patterns[tensor.name], None)
        axes = self.axes[tensor.name]
        cut = next((m for m, axis in enumerate(axes) if axis in self.schedule.tile), None)
        if cut is None or not mine:
            return whole
        low = self.schedule.span(axes[cut], mine[0][cut]).start
        high = self.schedule.span(axes[cut], mine[-1][cut]).stop
        return whole.between(low, high)

    def _dense(self, r: int, held: dict[tuple[int, Coordinates], Any]) -> tuple[Any, int]:
        """Assemble the held tiles of a dense operand; also where its root axis starts."""
        operand = self.shape.reads[r].operand
        tensor = self.graph.tensor(operand.tensor)
        axes = self.axes[operand.tensor]
        mine = [tile for other, tile in held if other == r]
        places = [place_of(self.schedule, axes, tile, tensor.shape) for tile in mine]
        low = [min(p[m].start for p in places) for m in range(len(axes))]
        high = [max(p[m].stop for p in places) for m in range(len(axes))]
        whole = np.empty([b - a for a, b in zip(low, high, strict=True)], dtype=np.float32)
        for tile, place in zip(mine, places, strict=True):
            at = tuple(slice(p.start - a, p.stop - a) for p, a in zip(place, low, strict=True))
            whole[at] = held[r, tile]
        lead = self.shape.reads[r].modes[0] if self.shape.collects[r] else -1
        return whole, low[lead] if lead >= 0 else 0

    # --- firing ------------------------------------------------------------------------

    def _fire(
        self, index: int, held: dict[tuple[int, Coordinates], Any], sums: Sums
    ) -> tuple[Any, Cycles]:
        shape = self.shape
        span = self.schedule.span(shape.root, index)
        match shape.operator:
            case SparseMap(operand=operand, function=function, arguments=arguments):
                tree = self._tree(0, held)
                size = len(tree.coordinates) * shape.block.elements
                cycles = simd(self.chip, size, self.stage.units.width)
                values = None
                if tree.values is not None:
                    given = [
                        tree.values if isinstance(a, Operand) else np.float32(a.value)
                        for a in arguments
                    ]
                    raw = np.broadcast_to(function.apply(*given), tree.values.shape)
                    values = f.rounded(self._modes(operand, raw), self.graph.precision)
                return Tree(tree.coordinates, values), cycles
            case Densify():
                tree = self._tree(0, held)
                out = self.graph.tensor(shape.operator.output.tensor)
                count = out.bytes // max(shape.firings, 1)
                cycles = access(self.chip, count, max(sum(self.stage.units.reads), 1))
                block = densified_block(self.graph, shape.reads[0].operand.tensor, tree, span)
                return block, Cycles(max(cycles.busy, len(tree.coordinates)), cycles.fill)
            case SparseProduct() | SparseUnion():
                return self._streams(span, held, sums)

    def _modes(self, operand: Operand, values: Any) -> Any:
        del operand
        return values

    def _streams(
        self, span: slice, held: dict[tuple[int, Coordinates], Any], sums: Sums
    ) -> tuple[Any, Cycles]:
        """Run the stream graph, on several copies of it where the tile is cut further."""
        shape = self.shape
        assert shape.streams is not None
        parts = self._parts(span, held)
        items: list[tuple[tuple[int, ...], Any]] = []
        busy = end = 0
        reads = self._reads(held)
        for low, high in parts:
            behaviour = self._behaviour(low, high, held, reads)
            found, cycles = run_streams(shape.streams, behaviour, sums)
            items += found
            busy = max(busy, cycles.busy)
            end = max(end, cycles.busy + cycles.fill)
        if not shape.stepwise and not items:
            items = sums  # type: ignore[assignment]
        return items, Cycles(busy, end - busy)

    def _parts(
        self, span: slice, held: dict[tuple[int, Coordinates], Any]
    ) -> list[tuple[int, int]]:
        copies = self.shape.copies
        extent = span.stop - span.start
        if copies == 1 or extent < 2:
            return [(span.start, span.stop)]
        lead = next(r for r in range(len(self.shape.reads)) if self._sparse(r))
        roots = self._tree(lead, held).coordinates[:, 0]
        inside = roots[(roots >= span.start) & (roots < span.stop)]
        cuts = {span.start, span.stop}
        for n in range(1, copies):
            if len(inside):
                cuts.add(int(inside[n * len(inside) // copies]))
        points = sorted(cuts)
        return list(itertools.pairwise(points))

    def _sparse(self, r: int) -> bool:
        return self.graph.tensor(self.shape.reads[r].operand.tensor).sparse

    def _reads(
        self, held: dict[tuple[int, Coordinates], Any]
    ) -> dict[int, tuple[Any, int] | Tree | None]:
        found: dict[int, tuple[Any, int] | Tree | None] = {}
        for r in range(len(self.shape.reads)):
            if self._sparse(r):
                found[r] = self._tree(r, held)
            else:
                found[r] = self._dense(r, held) if self.values else None
        return found

    def _behaviour(
        self,
        low: int,
        high: int,
        held: dict[tuple[int, Coordinates], Any],
        operands: dict[int, tuple[Any, int] | Tree | None],
    ) -> Behaviour:
        del held
        shape, chip = self.shape, self.chip
        operator = shape.operator
        assert isinstance(operator, (SparseProduct, SparseUnion))
        levels: dict[int, Level] = {}
        reads: dict[int, Callable[[tuple[Any, ...]], Any]] = {}
        fetch: dict[int, int] = {}
        for r, read in enumerate(shape.reads):
            tensor = self.graph.tensor(read.operand.tensor)
            value = operands[r]
            if isinstance(value, Tree):
                structure = tensor.structure
                assert isinstance(structure, Fibres)
                root = read.operand.axes[tensor.axes.index(structure.levels[0])]
                begins = root == shape.root
                start, stop = (low, high) if begins else (0, tensor.extent(structure.levels[0]))
                tree = value.between(start, stop)
                levels[r] = Level(tree, len(structure.levels) > 1, start, stop)
                reads[r] = _tree_reader(tree, structure.fill, self.values)
                size = math.prod(tensor.extent(a) for a in tensor.block) * tensor.element_bytes
            else:
                reads[r] = self._dense_reader(operator, r, value)
                size = self._block_bytes(operator, r)
            ports = max(self.stage.units.reads[r], 1)
            fetch[r] = access(chip, size, ports).busy
        loops = shape.streams.loops if shape.streams is not None else ()
        kept = [a for a in operator.output.axes if a not in loops]
        size = math.prod(self.graph.extents[a] for a in kept)
        width = self.stage.units.width
        block = shape.block
        # A gathered product streams its last factor through the arrays while it computes.
        streamed = 1
        if isinstance(operator, SparseProduct) and block.gather:
            last = last_factor(operator)
            if last is not None:
                streamed, fetch[last] = fetch[last], 1
        return Behaviour(
            levels,
            reads,
            fetch,
            self._combine(operator) if self.values else None,
            lambda items: max(block.cycles(chip, items, width).busy, streamed),
            simd(chip, size, width).busy,
            max(chip.systolic_rows, 1) * 4 if block.gather else 1,
            not shape.stepwise,
            chip.fifo_depth,
        )

    def _block_bytes(self, operator: SparseProduct | SparseUnion, r: int) -> int:
        assert isinstance(operator, SparseProduct)
        extents = self.graph.extents
        size = math.prod(extents[a] for a in block_axes(operator, r))
        return size * self.graph.precision.bytes

    def _dense_reader(
        self, operator: SparseProduct | SparseUnion, r: int, value: Any
    ) -> Callable[[tuple[Any, ...]], Any]:
        assert isinstance(operator, SparseProduct)
        if value is None:
            return _nothing
        array, start = value
        axes = self.shape.reads[r].operand.axes
        inside = [a for a in operator.loops if a in axes]
        order = [axes.index(a) for a in (*inside, *block_axes(operator, r))]
        moved = array.transpose(order)
        offsets = [start if a == self.shape.root and self.shape.collects[r] else 0 for a in inside]
        if not inside:
            return lambda _: moved
        return lambda place: moved[tuple(c - o for c, o in zip(place, offsets, strict=True))]

    # --- values ------------------------------------------------------------------------

    def _combine(
        self, operator: SparseProduct | SparseUnion
    ) -> Callable[[list[list[Any]]], list[Any]]:
        precision = self.graph.precision
        if isinstance(operator, SparseUnion):
            apply = operator.function.apply
            return lambda waiting: [f.rounded(apply(*values), precision) for values in waiting]
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

        def combine(waiting: list[list[Any]]) -> list[Any]:
            if not real:
                return [np.float32(1.0)] * len(waiting)
            return combine_blocks(waiting, axes, order, out, summed, extents, shared=shared)

        return combine

    # --- output ------------------------------------------------------------------------

    def _assembled(self, result: Any, index: int) -> Any:
        """Turn a firing's items into a tree, or into a dense block over the emitted range."""
        shape = self.shape
        operator = shape.operator
        if isinstance(operator, (SparseMap, Densify)):
            return result
        items = sorted(result.items()) if isinstance(result, dict) else result
        loops = shape.streams.loops if shape.streams is not None else ()
        out = operator.output.axes
        kept = [a for a in loops if a in out]
        block = [a for a in out if a not in kept]
        if self.graph.tensor(operator.output.tensor).sparse:
            return self._tree_result(items, kept, block)
        span = self._span(index)
        size = [self.graph.extents[a] for a in (*kept, *block)]
        if shape.stepwise:
            size[0] = span.stop - span.start
        full = np.zeros(size, dtype=np.float32)
        for coordinates, value in items:
            full[(coordinates[0] - span.start, *coordinates[1:]) if kept else ()] = value
        names = [*kept, *block]
        return f.rounded(full.transpose([names.index(a) for a in out]), self.graph.precision)

    def _span(self, index: int) -> slice:
        """Coordinates along the root axis that a dense result covers."""
        if self.shape.stepwise:
            return self.schedule.span(self.shape.root, index)
        return slice(0, 0)

    def _payload(self, tile: Coordinates, result: Any, index: int) -> Any:
        """Cut one output tile out of an assembled result."""
        if not self.values:
            return None
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
        items: Sequence[tuple[tuple[int, ...], Any]],
        kept: Sequence[str],
        block: Sequence[str],
    ) -> Tree:
        out = self.graph.tensor(self.shape.operator.output.tensor)
        structure = out.structure
        assert isinstance(structure, Fibres)
        sizes = [self.graph.extents[a] for a in block]
        table = np.array([c for c, _ in items], dtype=np.int64).reshape(len(items), len(kept))
        values = np.zeros((len(items), *sizes), dtype=np.float32)
        for n, (_, value) in enumerate(items):
            values[n] = value
        own = dict(zip(out.axes, self.shape.operator.output.axes, strict=True))
        columns = [list(kept).index(own[axis]) for axis in structure.levels]
        return Tree(table[:, columns], f.rounded(values, self.graph.precision))


def _nothing(place: tuple[Any, ...]) -> None:
    """Read nothing: a timing-only run."""
    del place


def _tree_reader(tree: Tree, fill: float, values: bool) -> Callable[[tuple[Any, ...]], Any]:
    if not values or tree.values is None:
        return _nothing
    stored = tree.values
    empty = np.full(stored.shape[1:], fill, dtype=np.float32)

    def read(place: tuple[Any, ...]) -> Any:
        (reference,) = place
        return empty if reference is None else stored[reference[0]]

    return read
