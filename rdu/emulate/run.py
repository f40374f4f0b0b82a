"""Running a program: kernels one after the other, values and time in one simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from rdu.emulate import tables
from rdu.emulate.channel import Channel
from rdu.emulate.collective import Add, PeerPort, Peers, connect
from rdu.emulate.engine import Engine
from rdu.emulate.launch import Launch, Launcher
from rdu.emulate.network import Disturbance, Network
from rdu.emulate.packets import check_wires, stage_operands, stream_port
from rdu.emulate.peers import Built, Unit, add_peers
from rdu.emulate.rates import ticks_a_cycle, tier_rates
from rdu.emulate.rounds import Rounds, rounds_of, rounds_of_line
from rdu.emulate.sparse import SparseStage
from rdu.emulate.stages import DenseStage, Loader, Port, StaticPort, Store, Storer, slowed
from rdu.emulate.steady import run_steady
from rdu.graph.nodes import AllReduce, Role
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Program
from rdu.mapping.sparse import SparseShape
from rdu.mapping.stages import Stage, Tier
from rdu.mapping.timing import interval
from rdu.report import KernelReport, Report, StageReport
from rdu.specs import Chip


@dataclass(frozen=True, slots=True)
class Execution:
    """Cycles of one kernel, its stages' contexts socket by socket, bytes between sockets.

    ``skipped`` rounds followed from others and were not simulated. ``network`` counts packets.
    """

    cycles: int
    sockets: tuple[tuple[Unit, ...], ...]
    peer_bytes: int
    skipped: int = 0
    network: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Manner:
    """How kernels are simulated.

    Without data, tiles that follow from those before are skipped with ``fast_forward``. Tiles move
    as ``packets`` through the network, whose links may rest at random (``disturbance``), or else at
    the rates of the static bandwidth model.
    """

    fast_forward: bool = True
    packets: bool = False
    disturbance: Disturbance | None = None

    def network(self, chip: Chip) -> Network | None:
        """Make the network of one simulation, if packets move."""
        return Network.of_chip(chip, self.disturbance) if self.packets else None


PLAIN = Manner()


def simulate(
    program: Program, arrays: Sequence[dict[str, Any]] | None, manner: Manner = PLAIN
) -> Report:
    """Run all kernels.

    ``arrays`` holds each socket's inputs and receives the rest; None: timing only. Without
    data, a kernel that differs from an earlier one in names only takes its times over.

    Raises
    ------
    DeadlockError
        If units wait for each other; a verified program never does.
    MappingError
        If packets move and a link has too few wires for control tokens.
    """
    if program.pipeline:
        return _pipelined(program, execute_line(program, arrays, manner))
    launcher = Launcher(program.node.chip, program.orchestration)
    now = 0
    kernels: list[KernelReport] = []
    stages: list[StageReport] = []
    executed: list[Execution] = []
    for kernel in program.kernels:
        launch = launcher.launch(kernel)
        twin = None if arrays is not None or kernel.twin is None else executed[kernel.twin]
        execution = twin or execute(program, kernel, arrays, manner)
        executed.append(execution)
        kernels.append(_kernel_report(program, kernel, execution, now, launch))
        stages += _stage_reports(kernel, execution)
        now += launch.cycles + execution.cycles
    return summary(program, kernels, stages, now)


@dataclass(frozen=True, slots=True)
class Line:
    """A pipeline that has run: its kernels, the streams between them, the last clock."""

    parts: tuple[Built, ...]
    streams: tuple[PeerPort, ...]
    tick: int
    cycles: int
    skipped: int
    networks: tuple[Mapping[str, int], ...]


def execute_line(
    program: Program, arrays: Sequence[dict[str, Any]] | None, manner: Manner = PLAIN
) -> Line:
    """Simulate the kernels of a pipeline at once, each on its own socket.

    Raises
    ------
    DeadlockError
        If units wait for each other; names the channels.
    """
    kernels = [_paced(kernel, manner) for kernel in program.kernels]
    engine, network = _engine(program, kernels, manner)
    rounds = None
    if arrays is None and manner.fast_forward and network is None:
        rounds = rounds_of_line(kernels)
    parts = tuple(
        build(
            engine,
            program,
            kernel,
            socket,
            {},
            None if arrays is None else arrays[socket],
            None if rounds is None else rounds[socket],
            network,
        )
        for socket, kernel in enumerate(kernels)
    )
    streams = tuple(add_peers(engine, program, parts, rounds))
    skipped = 0 if rounds is None else run_steady(engine, rounds[0])
    cycles = finished(engine)
    counted = tuple(_counted(network, socket) for socket in range(program.sockets))
    return Line(parts, streams, engine.tick, cycles, skipped, counted)


def _paced(kernel: Kernel, manner: Manner) -> Kernel:
    """A kernel at the pace of its units: packets that wait slow it down, nothing else has to."""
    return replace(kernel, slowdown=Fraction(1)) if manner.packets else kernel


def _engine(
    program: Program, kernels: Sequence[Kernel], manner: Manner
) -> tuple[Engine, Network | None]:
    engine = Engine(ticks_a_cycle(program, *kernels))
    engine.network = network = manner.network(program.node.chip)
    return engine, network


def _counted(network: Network | None, socket: int | None = None) -> Mapping[str, int]:
    """Packets that crossed links of one socket, or all, and cycles that they waited for them."""
    if network is None:
        return {}
    carried, stalled = (
        network.counted(column, socket) for column in (tables.CARRIED, tables.STALLED)
    )
    return {
        "hops": sum(carried.values()),
        "stalls": sum(stalled.values()),
        "worst_stalls": max(stalled.values(), default=0),
    }


def _pipelined(program: Program, line: Line) -> Report:
    """Report a pipeline; it starts when the last socket's program is there."""
    chip = program.node.chip
    launches = [Launcher(chip, program.orchestration).launch(k) for k in program.kernels]
    latest = max(launches, key=lambda launch: launch.cycles)
    kernels: list[KernelReport] = []
    stages: list[StageReport] = []
    for socket, part in enumerate(line.parts):
        sent = [
            stream.channel.pushed_bytes
            for stream, crossing in zip(line.streams, program.crossings, strict=True)
            if crossing.source == socket
        ]
        last = max(unit.time for unit in part.units)
        cycles = -(-last // line.tick)
        execution = Execution(cycles, (part.units,), sum(sent), 0, line.networks[socket])
        report = _kernel_report(program, part.kernel, execution, 0, latest)
        kernels.append(report)
        stages += [replace(s, socket=socket) for s in _stage_reports(part.kernel, execution)]
    total = summary(program, kernels, stages, latest.cycles + line.cycles)
    return replace(total, launch_cycles=latest.cycles)


def _kernel_report(
    program: Program, kernel: Kernel, execution: Execution, now: int, launch: Launch
) -> KernelReport:
    flops = sum(program.local.operator_flops(stage.shape.operator) for stage in kernel.stages)
    copies = len(execution.sockets)
    moved = {tier.value: copies * kernel.moved(tier) for tier in (Tier.HBM, Tier.DDR)}
    # A result that also goes to another socket is written to memory on the way.
    written = [t for t in kernel.stores.get(Tier.PEER, ()) if _result(program, t.tensor)]
    moved["hbm"] += sum(t.bytes for t in written)
    moved["sram"] = sum(unit.moved for units in execution.sockets for unit in units)
    if program.sockets > 1:
        moved["p2p"] = execution.peer_bytes
    return KernelReport(
        kernel.name,
        now,
        launch.cycles,
        execution.cycles,
        copies * flops,
        moved,
        kernel.pcus,
        kernel.pmus,
        launch.loaded,
        {tier.value: _requests(kernel, tier, copies) for tier in (Tier.HBM, Tier.DDR)},
        execution.network,
    )


def _requests(kernel: Kernel, tier: Tier, copies: int) -> dict[str, int]:
    """Requests of all sockets to their memories, and what became of them."""
    made = kernel.accesses(tier)
    counted = {
        "requests": sum(access.requests for access in made),
        "merged": sum(access.merged for access in made),
        "moved": sum(access.moved for access in made),
    }
    return {key: copies * count for key, count in counted.items()}


def _result(program: Program, tensor: str) -> bool:
    return program.local.tensor(tensor).role is Role.RESULT


def _stage_reports(kernel: Kernel, execution: Execution) -> list[StageReport]:
    return [
        _stage_report(kernel, stage, unit, socket)
        for socket, units in enumerate(execution.sockets)
        for stage, unit in zip(kernel.stages, units, strict=True)
    ]


def _stage_report(kernel: Kernel, stage: Stage, unit: Unit, socket: int) -> StageReport:
    """Round a unit's ticks to cycles: work takes whole cycles, what is left over is waiting."""
    tick = unit.tick
    end, busy, blocked = -(-unit.time // tick), unit.busy // tick, unit.blocked // tick
    return StageReport(
        kernel.name,
        stage.name,
        stage.units.pcus,
        stage.units.pmus,
        (unit.start or 0) // tick,
        end,
        busy,
        end - busy - blocked,
        blocked,
        unit.firings,
        tuple((begin // tick, until // tick) for begin, until in unit.spans),
        socket,
    )


def summary(
    program: Program, kernels: list[KernelReport], stages: list[StageReport], now: int
) -> Report:
    """Add up the kernels of a run that took ``now`` cycles."""
    chip = program.node.chip
    tiers = ("sram", "hbm", "ddr", *(("p2p",) if program.sockets > 1 else ()))
    moved = {tier: sum(kernel.bytes[tier] for kernel in kernels) for tier in tiers}
    total = max(now, 1) * program.sockets
    utilisation = {
        "pcu": sum(s.pcus * s.busy for s in stages) / (chip.pcus * total),
        "pmu": sum(s.pmus * s.busy for s in stages) / (chip.pmus * total),
        "hbm": moved["hbm"] / (chip.hbm_bytes_per_cycle * total),
        "ddr": moved["ddr"] / (chip.ddr_bytes_per_cycle * total),
    }
    return Report(
        chip.clock_ghz,
        now,
        sum(kernel.launch_cycles for kernel in kernels),
        program.graph.flops,
        moved,
        utilisation,
        tuple(kernels),
        tuple(stages),
        program.graph.assumed,
        program.sockets * chip.peak_tflops * 1e12 / interval(chip, program.graph.precision),
        program.sockets * chip.hbm_tb_per_s * 1e12,
    )


def execute(
    program: Program,
    kernel: Kernel,
    arrays: Sequence[dict[str, Any]] | None,
    manner: Manner = PLAIN,
) -> Execution:
    """Simulate one kernel on all sockets; every byte sent must have been taken.

    Raises
    ------
    DeadlockError
        If units wait for each other; names the channels.
    """
    kernel = _paced(kernel, manner)
    engine, network = _engine(program, [kernel], manner)
    peers = {
        n: connect(engine, program.node, program.local, stage)
        for n, stage in enumerate(kernel.stages)
        if isinstance(stage.shape.operator, AllReduce)
    }
    rounds = None
    if arrays is None and manner.fast_forward and network is None:
        rounds = rounds_of(kernel)
    sockets = tuple(
        build(
            engine,
            program,
            kernel,
            s,
            peers,
            None if arrays is None else arrays[s],
            rounds,
            network,
        )
        for s in range(program.sockets)
    )
    skipped = 0 if rounds is None else run_steady(engine, rounds)
    units = tuple(built.units for built in sockets)
    cycles, sent = finished(engine), sum(p.bytes for p in peers.values())
    return Execution(cycles, units, sent, skipped, _counted(network))


def finished(engine: Engine) -> int:
    """Run to the end; check that every channel's bytes were taken out again."""
    cycles = engine.run()
    for channel in engine.channels:
        assert channel.pushed == channel.popped, channel.name
        assert channel.pushed_bytes == channel.popped_bytes, channel.name
    return cycles


def build(
    engine: Engine,
    program: Program,
    kernel: Kernel,
    socket: int,
    peers: Mapping[int, Peers],
    arrays: dict[str, Any] | None,
    rounds: Rounds | None = None,
    network: Network | None = None,
) -> Built:
    """Create the contexts and channels of one kernel on one socket; tell ``rounds`` of them.

    Raises
    ------
    MappingError
        If tiles go through a network, and a link has too few wires for their control tokens.
    """
    chip, graph = program.node.chip, program.local
    if network is not None:
        check_wires(chip, kernel)
    store = Store(graph, kernel, arrays) if arrays is not None else None
    channels: list[Channel] = []
    ports: list[Port] = []
    for number, stream in enumerate(kernel.streams):
        end = "memory" if stream.target is None else kernel.stages[stream.target].name
        begin = "memory" if stream.source is None else kernel.stages[stream.source].name
        name = f"{stream.tensor} ({begin} -> {end})"
        if program.sockets > 1:
            name += f" of socket {socket}"
        channel = engine.channel(name, stream.depth, stream.hops * chip.hop_cycles)
        channels.append(channel)
        if network is not None:
            ports.append(stream_port(network, chip, kernel, socket, number, channel))
        else:
            ticks = slowed(stream.tile_cycles, kernel.slowdown) * engine.tick
            ports.append(StaticPort(channel, ticks))
    contexts: list[Unit] = []
    for index, stage in enumerate(kernel.stages):
        inward = [
            channels[n]
            for r in range(len(stage.shape.reads))
            for n, stream in enumerate(kernel.streams)
            if stream.target == index and stream.read == r
        ]
        outward = [ports[n] for n, s in enumerate(kernel.streams) if s.source == index]
        values = arrays is not None
        if index in peers:
            adder = Add(program.node, graph, kernel, stage, socket, peers[index], values=values)
            if network is not None:
                adder.feed = stage_operands(network, chip, kernel, socket, index)
            adder.register(engine, inward[0], outward, index, rounds)
            contexts.append(adder)
            continue
        kind = SparseStage if isinstance(stage.shape, SparseShape) else DenseStage
        context = kind(chip, graph, kernel, stage, inward, outward, values=values)
        if network is not None:
            context.feed = stage_operands(network, chip, kernel, socket, index)
        contexts.append(context)
        engine.add(context)
        if rounds is not None:
            kinds = context.kinds() if isinstance(context, SparseStage) else ()
            rounds.add_stage(context, index, kinds)
    for tier in (Tier.HBM, Tier.DDR):
        reads, writes = map(engine.ticks_per_byte, tier_rates(chip, kernel, tier))
        latency = chip.cycles(
            1e-9 * (chip.hbm_latency_ns if tier is Tier.HBM else chip.ddr_latency_ns)
        )
        if loads := kernel.loads.get(tier, ()):
            loader = Loader(f"load {tier.value}", loads, ports, reads, latency, store)
            engine.add(loader)
            if rounds is not None:
                rounds.add_transfers(loader, kernel, loads, loads=True)
        if stores := kernel.stores.get(tier, ()):
            storer = Storer(f"store {tier.value}", stores, channels, writes, latency, store)
            engine.add(storer)
            if rounds is not None:
                rounds.add_transfers(storer, kernel, stores, loads=False)
    return Built(kernel, tuple(contexts), tuple(channels), tuple(ports), store)
