"""Units in proportion to work: the slowest stage gets the next unit, until memory is slower."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdu.graph.graph import Graph
from rdu.graph.nodes import (
    AllReduce,
    Contract,
    Map,
    Rearrange,
    Reduction,
    RmsNorm,
    Softmax,
)
from rdu.mapping.schedule import Schedule, StageShape
from rdu.mapping.shapes import Shape
from rdu.mapping.sparse import SparseShape, sparse_work
from rdu.mapping.timing import (
    Cycles,
    access,
    bank_conflicts,
    interval,
    passes,
    reduction,
    simd,
    simd_ports,
    systolic,
    systolic_ports,
)
from rdu.specs import Chip

_THROTTLES = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Gemm:
    """Extents of a contraction as a batch of matrix products."""

    batch: tuple[str, ...]
    m: tuple[str, ...]
    k: tuple[str, ...]
    n: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def gemm_axes(operator: Contract) -> Gemm:
    """Classify a contraction's axes: in both and kept, left only, summed, right only."""
    left, right = set(operator.left.axes), set(operator.right.axes)
    out = operator.output.axes
    every = dict.fromkeys((*operator.left.axes, *operator.right.axes))
    return Gemm(
        tuple(a for a in out if a in left and a in right),
        tuple(a for a in out if a in left and a not in right),
        tuple(a for a in every if a not in out),
        tuple(a for a in out if a in right and a not in left),
    )


def firing(
    chip: Chip, graph: Graph, shape: StageShape, size: Mapping[str, int], width: int, every: int = 1
) -> Cycles:
    """Cycles of one firing on ``width`` units; ``size`` gives the tile's extent on each axis.

    A stage that is throttled takes a vector ``every`` so many of its turns.
    """
    found = _firing(chip, graph, shape, size, width)
    # Scratchpads serve bytes, of whatever numbers.
    moves = isinstance(shape.operator, Rearrange)
    return found if moves else found.every(every * interval(chip, graph.precision))


def _firing(
    chip: Chip, graph: Graph, shape: StageShape, size: Mapping[str, int], width: int
) -> Cycles:
    operator = shape.operator

    def volume(axes: Sequence[str]) -> int:
        return math.prod(size[axis] for axis in axes)

    match operator:
        case Contract():
            g = gemm_axes(operator)
            return systolic(chip, volume(g.batch), volume(g.m), volume(g.k), volume(g.n), width)
        case Map(output=output) | AllReduce(output=output):
            return simd(chip, volume(output.axes), width)
        case Reduction(operand=operand):
            return reduction(chip, volume(operand.axes), width)
        case Softmax(output=output):
            return _with_tree(chip, simd(chip, volume(output.axes), width, sweeps=3))
        case RmsNorm(output=output):
            return _with_tree(chip, simd(chip, volume(output.axes), width, sweeps=2))
        case Rearrange(output=output):
            tensor = graph.tensor(output.tensor)
            # Transposed buffers are written diagonally, so columns read as fast as rows.
            base = access(chip, volume(output.axes) * tensor.element_bytes, width)
            vector = min(chip.pmu_banks, chip.simd_lanes)
            across = operator.permutation != output.axes
            wait = bank_conflicts(chip.pmu_banks, vector, across=across, striped=True)
            return Cycles(base.busy * wait, base.fill)
        case _:
            raise AssertionError(f"{type(operator).__name__} is not a dense operator")


def _with_tree(chip: Chip, base: Cycles) -> Cycles:
    return Cycles(base.busy, base.fill + 2 * math.ceil(math.log2(max(chip.simd_lanes, 2))))


def full_tile(shape: StageShape, schedule: Schedule) -> dict[str, int]:
    """Extents of a whole tile on the stage's axes."""
    return {axis: min(schedule.tile[axis], schedule.extents[axis]) for axis in shape.loops}


def ports(
    chip: Chip, graph: Graph, shape: StageShape, size: Mapping[str, int], width: int
) -> tuple[int, ...]:
    """PMUs each operand needs for bandwidth when the stage runs on ``width`` units."""
    operator = shape.operator
    element = graph.precision.bytes
    match operator:
        case Contract():
            g = gemm_axes(operator)
            n = math.prod(size[axis] for axis in g.n)
            return systolic_ports(chip, n, width, element)
        case Map(output=output):
            full = math.prod(size[a] for a in output.axes)
            rate = simd_ports(chip, width, element)
            return tuple(
                max(1, -(-rate * math.prod(size[a] for a in r.operand.axes) // max(full, 1)))
                for r in shape.reads
            )
        case Reduction() | Softmax() | AllReduce():
            return (simd_ports(chip, width, element),)
        case RmsNorm():
            return (simd_ports(chip, width, element), 1)
        case Rearrange():
            return (width,)
        case _:
            raise AssertionError(f"{type(operator).__name__} is not a dense operator")


@dataclass(frozen=True, slots=True)
class Units:
    """What a stage occupies: PCUs, and PMUs behind each operand, the accumulators, the output.

    Where PMUs are too few for its full rate it is throttled to a vector ``every`` so many turns.
    """

    width: int
    pcus: int
    reads: tuple[int, ...]
    accumulators: int
    output: int
    every: int = 1

    @property
    def pmus(self) -> int:
        """All PMUs of the stage."""
        return sum(self.reads) + self.accumulators + self.output


def units(
    chip: Chip,
    graph: Graph,
    shape: Shape,
    schedule: Schedule,
    width: int,
    *,
    stored: bool,
    floor_cycles: float,
    throttle: int = 1,
) -> Units:
    """PCUs and PMUs of a stage on ``width`` units; ``stored``: its result goes to memory.

    A buffer gets PMUs to hold it, to be read at the rate of the stage and to be written in the
    time the stage or memory takes. With ``throttle`` the stage runs so many times slower, if that
    saves PMUs.
    """
    pmu = chip.pmu_kib * 1024
    every = min(throttle, max(rates_of(chip, graph, shape, schedule, width), default=1))
    if isinstance(shape, SparseShape) or isinstance(shape.operator, Rearrange):
        every = 1
    rates = rates_of(chip, graph, shape, schedule, width, every)
    busy = max(work(chip, graph, shape, schedule, width, every), floor_cycles, 1)
    per_port = busy * chip.pmu_port_bytes_per_cycle
    reads = tuple(
        max(
            rate,
            -(-read.buffer_bytes // pmu),
            math.ceil(read.sent * read.tile_bytes / per_port),
            1,
        )
        for rate, read in zip(rates, shape.reads, strict=True)
    )
    kept = sums_bytes(shape)
    element = graph.tensor(shape.operator.output.tensor).element_bytes
    out = 2 * shape.out_tile * element if stored else 0
    pcus = 0 if isinstance(shape.operator, Rearrange) else width
    nodes = 0
    if isinstance(shape, SparseShape) and shape.streams is not None:
        # Copies share one unit for scalars; each has its own for blocks.
        units_of_blocks = shape.copies * width if shape.block.elements > 1 else width
        pcus = shape.copies * shape.streams.compute_nodes + units_of_blocks
        nodes = shape.copies * shape.streams.memory_nodes
    written = graph.tensor(shape.operator.output.tensor).bytes / per_port if stored else 0
    output = max(-(-out // pmu), math.ceil(written))
    return Units(width, pcus, reads, -(-kept // pmu) + nodes, output, every)


def sums_bytes(shape: Shape) -> int:
    """Scratchpad bytes of the sums a stage keeps between firings."""
    if isinstance(shape, SparseShape):
        return shape.sums_bytes
    return shape.accumulators * shape.out_tile * 4 if shape.accumulators > 1 else 0


def rates_of(
    chip: Chip, graph: Graph, shape: Shape, schedule: Schedule, width: int, every: int = 1
) -> tuple[int, ...]:
    """PMUs each operand needs for bandwidth."""
    if isinstance(shape, SparseShape):
        # Every copy reads blocks through a port of its own.
        many = shape.copies if shape.block.elements > 1 else 1
        sparse = (graph.tensor(read.operand.tensor).sparse for read in shape.reads)
        return tuple(1 if tree else many for tree in sparse)
    full = ports(chip, graph, shape, full_tile(shape, schedule), width)
    return tuple(-(-rate // every) for rate in full)


def work(
    chip: Chip, graph: Graph, shape: Shape, schedule: Schedule, width: int, every: int = 1
) -> int:
    """Busy cycles of a stage over the whole kernel; of a sparse stage an estimate."""
    if isinstance(shape, SparseShape):
        return sparse_work(chip, shape, width, interval(chip, graph.precision))
    tile = full_tile(shape, schedule)
    return shape.firings * firing(chip, graph, shape, tile, width, every).busy


def next_width(
    chip: Chip, graph: Graph, shape: Shape, schedule: Schedule, width: int
) -> int | None:
    """Smallest larger width that makes a firing shorter, or None."""
    if isinstance(shape, SparseShape):
        wider = 2 * width
        gain = work(chip, graph, shape, schedule, wider) < work(chip, graph, shape, schedule, width)
        return wider if gain and shape.block.elements > 1 else None
    size = full_tile(shape, schedule)
    operator = shape.operator
    match operator:
        case Contract():
            g = gemm_axes(operator)
            vol = {key: math.prod(size[a] for a in getattr(g, key)) for key in ("batch", "m", "n")}
            items = vol["batch"] * passes(chip, vol["m"], vol["n"])
        case Rearrange(output=output):
            element = graph.tensor(output.tensor).element_bytes
            volume = math.prod(size[a] for a in output.axes) * element
            items = -(-volume // chip.pmu_port_bytes_per_cycle)
        case (
            Map(output=output)
            | Softmax(output=output)
            | RmsNorm(output=output)
            | AllReduce(output=output)
        ):
            items = -(-math.prod(size[a] for a in output.axes) // chip.simd_lanes)
        case Reduction(operand=operand):
            items = -(-math.prod(size[a] for a in operand.axes) // chip.simd_lanes)
        case _:
            raise AssertionError(f"{type(operator).__name__} is not a dense operator")
    rounds = -(-items // width)
    return None if rounds <= 1 else -(-items // (rounds - 1))


def allocate(
    chip: Chip,
    graph: Graph,
    shapes: Sequence[Shape],
    schedule: Schedule,
    stored: Sequence[bool],
    targets: Sequence[float],
) -> tuple[Units, ...] | None:
    """Give units to the stage furthest over its target first; None when one each does not fit.

    Where one unit each needs more PMUs than there are to be fed at full rate, stages are throttled.
    A stage at its target gets no more, nor one that cannot use more. When units run out, or
    the slowest of stages with one common target cannot use more, no other gets more either.
    """
    if not shapes:
        return ()

    def at(index: int, width: int, throttle: int = 1) -> Units:
        return units(
            chip,
            graph,
            shapes[index],
            schedule,
            width,
            stored=stored[index],
            floor_cycles=targets[index],
            throttle=throttle,
        )

    have = [at(index, 1) for index in range(len(shapes))]
    pcus, pmus = sum(u.pcus for u in have), sum(u.pmus for u in have)
    if pcus > chip.pcus:
        return None
    if pmus > chip.pmus:
        slower = ([at(n, 1, throttle) for n in range(len(shapes))] for throttle in _THROTTLES)
        return next((tuple(u) for u in slower if sum(x.pmus for x in u) <= chip.pmus), None)
    times = [work(chip, graph, shape, schedule, 1) for shape in shapes]
    # Start near the balance, so that few single steps remain.
    wanted = [time / target for time, target in zip(times, targets, strict=True)]
    scale = min(1.0, chip.pcus / max(sum(wanted), 1.0))
    guess = [at(n, max(int(0.7 * scale * w), 1)) for n, w in enumerate(wanted)]
    total = sum(u.pcus for u in guess), sum(u.pmus for u in guess)
    if total[0] <= chip.pcus and total[1] <= chip.pmus:
        have, (pcus, pmus) = guess, total
        widths = [u.width for u in have]
        times = [
            work(chip, graph, shape, schedule, w) for shape, w in zip(shapes, widths, strict=True)
        ]
    common = len(set(targets)) == 1
    open_to_more = set(range(len(shapes)))
    while open_to_more:
        last = max(open_to_more, key=lambda n: (times[n] / targets[n], -n))
        if times[last] <= targets[last]:
            break
        step = next_width(chip, graph, shapes[last], schedule, have[last].width)
        grown = have[last] if step is None else at(last, step)
        more_pcus = pcus + grown.pcus - have[last].pcus
        more_pmus = pmus + grown.pmus - have[last].pmus
        if step is None or more_pcus > chip.pcus or more_pmus > chip.pmus:
            if common:
                break
            open_to_more.discard(last)
            continue
        have[last], pcus, pmus = grown, more_pcus, more_pmus
        times[last] = work(chip, graph, shapes[last], schedule, step)
    return tuple(have)


def stage_targets(
    chip: Chip, graph: Graph, shapes: Sequence[Shape], outside: frozenset[str], memory: int
) -> list[float]:
    """Cycles each stage may take without making the kernel slower than memory.

    Stages that overlap may each take as long as memory takes for everything. When some stage
    sends nothing until it is (nearly) done, stages run one after the other, and each may take
    as long as memory takes for what it reads itself.
    """
    floor = max(memory / chip.hbm_bytes_per_cycle, 1.0)
    barrier = any(2 * shape.before_first > shape.firings for shape in shapes)
    if not barrier or len(shapes) == 1:
        return [floor] * len(shapes)
    found: list[float] = []
    for shape in shapes:
        own = sum(
            graph.tensor(read.operand.tensor).bytes
            for read in shape.reads
            if read.operand.tensor in outside
        )
        found.append(max(own / chip.hbm_bytes_per_cycle, floor / (8 * len(shapes)), 1.0))
    return found
