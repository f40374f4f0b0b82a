"""Time of a model from the chip's numbers alone: a bandwidth model per kernel (section IV).

A fused kernel is a pipeline of stages that share the units in proportion to their work; it runs
at the pace of the slowest of units, HBM and peer links. An unfused kernel takes as many units as
keep up with its own memory traffic. No constant here is fitted to a measurement of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rdu.errors import CapacityError
from rdu.llm.collectives import Peers
from rdu.llm.footprint import memory_map
from rdu.llm.fusion import Fusion, Kernel, cut
from rdu.llm.launch import Orchestration, config_bytes, launch_seconds
from rdu.mapping.timing import passes
from rdu.models.operators import ModelGraph, Operator
from rdu.specs import Chip, Node


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the specs do not give.

    Attributes
    ----------
    hbm_efficiency, unit_share:
        Share of HBM bandwidth a kernel reaches, and of the units a fused kernel uses: published,
        about 85 % and 90 % for a decoder layer.
    peer_ports:
        Peer links of a socket, from figure 5.
    """

    hbm_efficiency: float = 0.85
    unit_share: float = 0.9
    peer_ports: int = 10


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel: seconds of one launch, and what they consist of.

    ``seconds`` is the longest of compute, memory and network, plus ``fill``, what latencies and
    the filling of the pipeline add to it; ``launch`` comes on top, for the first launch and
    (``relaunch``) for each repeat.
    """

    kernel: Kernel
    seconds: float
    compute: float
    memory: float
    network: float
    fill: float
    launch: float
    relaunch: float
    launches: int
    pcus: int
    pmus: int

    @property
    def total(self) -> float:
        """Seconds of all launches."""
        repeats = self.kernel.repeat
        return repeats * self.seconds + self.launch_total

    @property
    def launch_total(self) -> float:
        """Seconds of launching."""
        return self.launch + (self.launches - 1) * self.relaunch


@dataclass(frozen=True, slots=True)
class Estimate:
    """The outcome of `estimate`; per socket, seconds and bytes."""

    graph: ModelGraph
    fusion: Fusion
    orchestration: Orchestration
    kernels: tuple[KernelTime, ...]
    hbm_bytes_per_second: float
    ddr_bytes_per_second: float
    spilled_bytes: float = 0.0

    @property
    def seconds(self) -> float:
        """One pass: a prompt, a token step or a training step."""
        return sum(time.total for time in self.kernels) + self.spill_seconds

    @property
    def spill_seconds(self) -> float:
        """Seconds for what is spilled to DDR, not overlapped with the kernels."""
        return self.spilled_bytes / self.ddr_bytes_per_second

    @property
    def launches(self) -> int:
        """Kernel calls; a looped kernel is called once."""
        return sum(time.launches for time in self.kernels)

    @property
    def launch_seconds(self) -> float:
        """Seconds spent launching."""
        return sum(time.launch_total for time in self.kernels)

    @property
    def bytes(self) -> Mapping[str, float]:
        """Traffic by tier and link: ``hbm``, ``ddr`` and ``peer``."""
        payload = sum(
            op.network_bytes * t.kernel.repeat for t in self.kernels for op in t.kernel.operators
        )
        hbm = sum(t.kernel.memory_bytes * t.kernel.repeat for t in self.kernels)
        return {"hbm": hbm, "ddr": self.spilled_bytes, "peer": payload}

    @property
    def flops(self) -> float:
        """Operations."""
        return self.graph.flops

    @property
    def hbm_fraction(self) -> float:
        """Share of peak HBM bandwidth used, end to end."""
        return self.bytes["hbm"] / (self.seconds * self.hbm_bytes_per_second)

    def group(self, name: str) -> tuple[KernelTime, ...]:
        """Kernels of one group, such as ``"decoder"``."""
        return tuple(t for t in self.kernels if t.kernel.operators[0].group == name)


def estimate(
    graph: ModelGraph,
    node: Node,
    fusion: Fusion = "spatial",
    orchestration: Orchestration = "hardware",
    assumptions: Assumptions | None = None,
    *,
    spill: bool = False,
) -> Estimate:
    """Time one pass of ``graph`` on ``graph.tensor_parallel`` sockets of the node's chip.

    Parameters
    ----------
    spill:
        What does not fit HBM is spilled to DDR as `rdu.llm.footprint.memory_map` decides, and its
        traffic is charged on top. Otherwise it is an error.

    Raises
    ------
    CapacityError
        Where weights and cache do not fit HBM (with ``spill``: the cache, or DDR); says by how
        many bytes.
    MappingError
        For an unknown fusion or orchestration.

    Examples
    --------
    >>> from rdu.models import llama
    >>> from rdu.specs import sn40l_node
    >>> step = estimate(llama("llama2-7b", "decode"), sn40l_node())
    >>> 1e-3 < step.seconds < 2e-3
    True
    """
    a = assumptions if assumptions is not None else Assumptions()
    chip = node.chip
    spilled = memory_map(graph, chip, fusion, a.unit_share).spilled_transfer_bytes if spill else 0.0
    if not spill:
        _require(graph, chip)
    peers = Peers.of(node, graph.tensor_parallel, a.peer_ports)
    kernels = cut(graph, fusion, scratchpad=chip.sram_bytes, share=a.unit_share)
    alone: dict[str, int] = {}
    for kernel in kernels:
        group = kernel.operators[0].group
        alone[group] = alone.get(group, 0) + 1
    times: list[KernelTime] = []
    turns = _turns(graph, alone, orchestration)
    for kernel in kernels:
        # Only a group that is one kernel repeats it back to back.
        group = kernel.operators[0].group
        again = alone[group] == 1 and not (graph.alternating and group.startswith("decoder"))
        again |= group in turns
        time = _time(kernel, chip, peers, a, fusion, orchestration, again, graph.batch)
        if group in turns[1:]:
            time = replace(time, launch=0.0, relaunch=0.0, launches=0)
        times.append(time)
    return Estimate(
        graph=graph,
        fusion=fusion,
        orchestration=orchestration,
        kernels=tuple(times),
        hbm_bytes_per_second=1e12 * chip.hbm_tb_per_s,
        ddr_bytes_per_second=1e9 * chip.ddr_gb_per_s,
        spilled_bytes=spilled,
    )


_TURNS = ("decoder", "decoder.local")


def _turns(
    graph: ModelGraph, alone: Mapping[str, int], orchestration: Orchestration
) -> tuple[str, ...]:
    """Groups of layers that are turns of one loop, the first of them launched for all.

    Layers with and without a window have the same operators: how many keys their counters run
    over is an argument.
    """
    one_each = all(alone.get(group) == 1 for group in _TURNS)
    return _TURNS if orchestration == "looped" and graph.alternating and one_each else ()


def _require(graph: ModelGraph, chip: Chip) -> None:
    need = graph.resident_bytes + graph.cache_bytes
    if need > chip.hbm_bytes:
        raise CapacityError(
            f"{graph.name} {graph.phase} needs {need:,.0f} bytes of HBM a socket "
            f"({graph.resident_bytes:,.0f} of weights, {graph.cache_bytes:,.0f} of cache), "
            f"there are {chip.hbm_bytes:,}: {need - chip.hbm_bytes:,.0f} bytes too many",
            hint="use more sockets, a smaller batch, a shorter sequence, or spill=True",
        )


def _time(
    kernel: Kernel,
    chip: Chip,
    peers: Peers,
    a: Assumptions,
    fusion: Fusion,
    orchestration: Orchestration,
    again: bool,
    sequences: int,
) -> KernelTime:
    memory = kernel.memory_bytes / (1e12 * chip.hbm_tb_per_s * a.hbm_efficiency)
    collectives = [peers.all_reduce_parts(op.network_bytes) for op in kernel.operators]
    network = sum(transfer for _, transfer in collectives)
    work = [unit_seconds(op, chip) for op in kernel.operators]
    if fusion == "none":
        pcus, pmus = _few_units(kernel, sum(work), memory, chip)
        compute = sum(work) / pcus
    else:
        pcus, pmus = int(a.unit_share * chip.pcus), int(a.unit_share * chip.pmus)
        compute = pipelined(work, _sections(kernel.operators), pcus, sequences)
    fills = [
        _fill(op, chip) + wait for op, (wait, _) in zip(kernel.operators, collectives, strict=True)
    ]
    fill = 1e-9 * chip.hbm_latency_ns + sum(fills)
    # Weights depend on nothing: they stream into stage buffers while a sum between sockets is
    # under way. Only what follows the last of them is not hidden behind the memory's time.
    last = max((n for n, op in enumerate(kernel.operators) if op.weight_bytes), default=0)
    behind = 1e-9 * chip.hbm_latency_ns + sum(fills[last:])
    busy = max(compute, memory, network)
    looped = orchestration == "looped" and again
    seconds = busy if looped else max(max(compute, network) + fill, memory + behind)
    fill = max(seconds - busy, 0.0) if not looped else fill
    program = config_bytes(chip, pcus, pmus)
    return KernelTime(
        kernel=kernel,
        seconds=seconds,
        compute=compute,
        memory=memory,
        network=network,
        fill=fill,
        launch=launch_seconds(chip, program, orchestration) + (fill if looped else 0.0),
        relaunch=launch_seconds(chip, program, orchestration, loaded=again),
        launches=1 if looped else kernel.repeat,
        pcus=pcus,
        pmus=pmus,
    )


def _few_units(kernel: Kernel, work: float, memory: float, chip: Chip) -> tuple[int, int]:
    """Units that keep one operator as fast as its memory traffic, and no more."""
    window = max(memory, 1e-9 * chip.hbm_latency_ns)
    port = 1e9 * chip.clock_ghz * chip.pmu_port_bytes_per_cycle
    pcus = min(chip.pcus, max(1, math.ceil(work / window)))
    streams = math.ceil(kernel.memory_bytes / port / window)
    return pcus, min(chip.pmus, max(1, pcus, streams))


def unit_seconds(op: Operator, chip: Chip) -> float:
    """Seconds one PCU would take for the operator.

    Products run on the output-stationary array, in blocks that need not divide the shape, or,
    where the array would be nearly empty (a vector times a matrix), as dot products of SIMD lanes.
    fp32 fills half the lanes and, the array being one of bf16, leaves the lanes alone.
    """
    clock = 1e9 * chip.clock_ghz
    width = chip.simd_lanes * 2 // op.element_bytes
    cycles = op.elements / width
    if op.product is not None:
        p = op.product
        lanes = p.count * p.m * p.n * math.ceil(p.k / width)
        if op.element_bytes == 2:
            blocks = p.count * passes(chip, p.m, p.n) * max(p.k, chip.systolic_columns)
            lanes = min(blocks, lanes)
        cycles += lanes * p.density
    return cycles / clock


def _sections(operators: Sequence[Operator]) -> list[int]:
    """How many barriers lie before each operator, on the longest way to it."""
    passed: dict[str, int] = {}
    for op in operators:
        before = max((passed.get(tensor, 0) for tensor, _ in op.reads), default=0)
        passed[op.name] = before + op.barrier
    return list(passed.values())


def pipelined(
    work: Sequence[float], sections: Sequence[int], units: int, sequences: int = 1
) -> float:
    """Shortest time of a pipeline that barriers cut into sections.

    A section starts on a sequence when the one before has finished it, so several sequences keep
    all units busy, and one does not. Units are shared in proportion to the work (best for many
    sequences), or to its square root by section (least sum of the sections' times).

    >>> [pipelined([4.0, 4.0], [0, 1], 2, sequences) for sequences in (1, 4)]
    [8.0, 5.0]
    """
    even = balanced(work, units)
    total: dict[int, float] = {}
    for section, seconds in zip(sections, work, strict=True):
        total[section] = total.get(section, 0.0) + seconds
    parts = [seconds for seconds in total.values() if seconds > 0]
    if len(parts) < 2:
        return even
    roots = sum(math.sqrt(seconds) for seconds in parts)
    slowest = math.sqrt(max(parts)) * roots / units
    rooted = ((sequences - 1) * slowest + roots**2 / units) / sequences
    return min(even * (sequences - 1 + len(parts)) / sequences, max(rooted, even))


def balanced(work: Sequence[float], units: int) -> float:
    """Shortest time of a pipeline whose stages get whole units, at least one each.

    >>> [round(balanced([3.0, 1.0], units), 6) for units in (4, 3)]
    [1.0, 1.5]
    """
    stages = [seconds for seconds in work if seconds > 0]
    if not stages:
        return 0.0
    if len(stages) > units:
        return sum(stages) / units  # stages share units in turn
    low, high = sum(stages) / units, max(stages)
    for _ in range(60):
        middle = (low + high) / 2
        if sum(math.ceil(seconds / middle - 1e-9) for seconds in stages) <= units:
            high = middle
        else:
            low = middle
    return high


def _fill(op: Operator, chip: Chip) -> float:
    """Seconds from the first input of a stage to its first output."""
    if op.kind in ("layout", "gather", "collective"):
        cycles = chip.hop_cycles
    elif op.product is not None:
        cycles = chip.systolic_rows + chip.systolic_columns - 2 + chip.tail_cycles
    else:
        cycles = chip.simd_stages + chip.tail_cycles
    return (cycles + chip.hop_cycles) / (1e9 * chip.clock_ghz)
