"""Running a program: kernels one after the other, values and time in one simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from rdu.emulate import tables
from rdu.emulate.collective import PeerPort, connect
from rdu.emulate.engine import Engine
from rdu.emulate.launch import Launcher
from rdu.emulate.network import Disturbance, Network
from rdu.emulate.peers import Built, add_peers
from rdu.emulate.rates import ticks_a_cycle
from rdu.emulate.reports import Execution, kernel_report, stage_reports, summary
from rdu.emulate.rounds import rounds_of, rounds_of_line
from rdu.emulate.steady import run_steady
from rdu.emulate.wiring import build
from rdu.graph.nodes import AllReduce
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Program
from rdu.report import KernelReport, Report, StageReport
from rdu.specs import Chip


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
        kernels.append(kernel_report(program, kernel, execution, now, launch))
        stages += stage_reports(kernel, execution)
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
        report = kernel_report(program, part.kernel, execution, 0, latest)
        kernels.append(report)
        stages += [replace(s, socket=socket) for s in stage_reports(part.kernel, execution)]
    total = summary(program, kernels, stages, latest.cycles + line.cycles)
    return replace(total, launch_cycles=latest.cycles)


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
