"""What a run took, as a report: cycles, bytes and stalls of kernels and stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rdu.emulate.launch import Launch
from rdu.emulate.peers import Unit
from rdu.graph.nodes import Role
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Program
from rdu.mapping.stages import Stage, Tier
from rdu.mapping.timing import interval
from rdu.report import KernelReport, Report, StageReport


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


def kernel_report(
    program: Program, kernel: Kernel, execution: Execution, now: int, launch: Launch
) -> KernelReport:
    """Report a kernel that was launched at cycle ``now``."""
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


def stage_reports(kernel: Kernel, execution: Execution) -> list[StageReport]:
    """Report every stage of a kernel, socket by socket."""
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
