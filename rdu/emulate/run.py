"""Running a program: kernels one after the other, values and time in one simulation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

from rdu.emulate.channel import Channel
from rdu.emulate.engine import Engine
from rdu.emulate.launch import Launcher
from rdu.emulate.sparse import SparseStage
from rdu.emulate.stages import DenseStage, Loader, Port, Store, Storer, slowed
from rdu.graph.graph import Graph
from rdu.mapping.program import Kernel, Program, Tier
from rdu.mapping.sparse import SparseShape
from rdu.report import KernelReport, Report, StageReport
from rdu.specs import Chip

Execution: TypeAlias = "tuple[int, list[DenseStage | SparseStage]]"


def simulate(program: Program, arrays: dict[str, Any] | None) -> Report:
    """Run all kernels. ``arrays`` holds the inputs and receives the rest; None: timing only.

    Without data, a kernel that differs from an earlier one in names only takes its times over.

    Raises
    ------
    DeadlockError
        If units wait for each other; a verified program never does.
    """
    chip, graph = program.node.chip, program.graph
    launcher = Launcher(chip, program.orchestration)
    now = launching = 0
    kernels: list[KernelReport] = []
    stages: list[StageReport] = []
    moved: dict[str, int] = {"sram": 0, "hbm": 0, "ddr": 0}
    used = {"pcu": 0, "pmu": 0}
    flops = {operator.name: graph.operator_flops(operator) for operator in graph.operators}
    executed: list[Execution] = []
    for kernel in program.kernels:
        launch = launcher.launch(kernel)
        twin = None if arrays is not None or kernel.twin is None else executed[kernel.twin]
        execution = twin or execute(chip, graph, kernel, arrays)
        executed.append(execution)
        cycles, contexts = execution
        bytes_of = {tier.value: kernel.moved(tier) for tier in (Tier.HBM, Tier.DDR)}
        bytes_of["sram"] = sum(context.moved for context in contexts)
        for tier, count in bytes_of.items():
            moved[tier] += count
        kernels.append(
            KernelReport(
                kernel.name,
                now,
                launch.cycles,
                cycles,
                sum(flops[stage.shape.operator.name] for stage in kernel.stages),
                bytes_of,
                kernel.pcus,
                kernel.pmus,
                launch.loaded,
            )
        )
        for stage, context in zip(kernel.stages, contexts, strict=True):
            stages.append(
                StageReport(
                    kernel.name,
                    stage.name,
                    stage.units.pcus,
                    stage.units.pmus,
                    context.start or 0,
                    context.time,
                    context.busy,
                    context.starved,
                    context.blocked,
                    context.firings,
                    tuple(context.spans),
                )
            )
            used["pcu"] += stage.units.pcus * context.busy
            used["pmu"] += stage.units.pmus * context.busy
        now += launch.cycles + cycles
        launching += launch.cycles
    total = max(now, 1)
    utilisation = {
        "pcu": used["pcu"] / (chip.pcus * total),
        "pmu": used["pmu"] / (chip.pmus * total),
        "hbm": moved["hbm"] / (chip.hbm_bytes_per_cycle * total),
        "ddr": moved["ddr"] / (chip.ddr_bytes_per_cycle * total),
    }
    return Report(
        chip.clock_ghz,
        now,
        launching,
        sum(flops.values()),
        moved,
        utilisation,
        tuple(kernels),
        tuple(stages),
        graph.assumed,
    )


def execute(chip: Chip, graph: Graph, kernel: Kernel, arrays: dict[str, Any] | None) -> Execution:
    """Simulate one kernel; every byte sent into a channel must have been taken out."""
    engine, contexts = build(chip, graph, kernel, arrays)
    cycles = engine.run()
    for channel in engine.channels:
        assert channel.pushed == channel.popped, channel.name
        assert channel.pushed_bytes == channel.popped_bytes, channel.name
    return cycles, contexts


def build(
    chip: Chip, graph: Graph, kernel: Kernel, arrays: dict[str, Any] | None
) -> tuple[Engine, list[DenseStage | SparseStage]]:
    """Create the contexts and channels of one kernel."""
    engine = Engine()
    store = Store(graph, kernel, arrays) if arrays is not None else None
    channels: list[Channel] = []
    ports: list[Port] = []
    for stream in kernel.streams:
        end = "memory" if stream.target is None else kernel.stages[stream.target].name
        begin = "memory" if stream.source is None else kernel.stages[stream.source].name
        name = f"{stream.tensor} ({begin} -> {end})"
        channel = engine.channel(name, stream.depth, stream.hops * chip.hop_cycles)
        channels.append(channel)
        ports.append(Port(channel, slowed(stream.tile_cycles, kernel.slowdown)))
    contexts: list[DenseStage | SparseStage] = []
    for index, stage in enumerate(kernel.stages):
        inward = [
            channels[n]
            for r in range(len(stage.shape.reads))
            for n, stream in enumerate(kernel.streams)
            if stream.target == index and stream.read == r
        ]
        outward = [ports[n] for n, s in enumerate(kernel.streams) if s.source == index]
        kind = SparseStage if isinstance(stage.shape, SparseShape) else DenseStage
        context = kind(chip, graph, kernel, stage, inward, outward, values=arrays is not None)
        contexts.append(context)
        engine.add(context)
    for tier in (Tier.HBM, Tier.DDR):
        reads, writes = _shares(chip, kernel, tier)
        latency = chip.cycles(
            1e-9 * (chip.hbm_latency_ns if tier is Tier.HBM else chip.ddr_latency_ns)
        )
        if loads := kernel.loads.get(tier, ()):
            engine.add(Loader(f"load {tier.value}", loads, ports, reads, latency, store))
        if stores := kernel.stores.get(tier, ()):
            engine.add(Storer(f"store {tier.value}", stores, channels, writes, latency, store))
    return engine, contexts


def _shares(chip: Chip, kernel: Kernel, tier: Tier) -> tuple[Fraction, Fraction]:
    """Rates of a tier's loads and stores.

    Loads leave room for all stores, so that both together never take less than their bytes
    need; a store, when its tile is there, goes at full rate.
    """
    rate = chip.hbm_bytes_per_cycle if tier is Tier.HBM else chip.ddr_bytes_per_cycle
    whole = Fraction(rate).limit_denominator(1 << 16) / kernel.slowdown
    loads = sum(t.bytes for t in kernel.loads.get(tier, ()) if t.fetched)
    stores = sum(t.bytes for t in kernel.stores.get(tier, ()))
    both = max(loads + stores, 1)
    return whole * max(loads, 1) / both, whole
