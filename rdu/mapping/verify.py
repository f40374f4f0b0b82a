"""Checks of a mapped program, independent of how it was made."""

from __future__ import annotations

import math

from rdu.errors import MappingError
from rdu.mapping.kernel import Kernel
from rdu.mapping.place import Site
from rdu.mapping.program import Program
from rdu.specs import Chip


def verify(program: Program) -> None:
    """Check that no unit is used twice, no buffer overflows, no link is overloaded.

    Raises
    ------
    MappingError
        Naming the kernel, the unit, buffer, link or flow, and by how much it is over.
    """
    for kernel in program.kernels:
        _units(program.node.chip, kernel)
        _buffers(program.node.chip, kernel)
        _depths(kernel)
        _links(program.node.chip, kernel)


def _units(chip: Chip, kernel: Kernel) -> None:
    seen: dict[tuple[str, Site], str] = {}
    for unit, site in zip(kernel.placement.units, kernel.placement.sites, strict=True):
        row, column = site
        if not (0 <= row < chip.mesh_rows and 0 <= column < chip.mesh_columns):
            raise MappingError(
                f"{kernel.name}: {unit.group} is placed at {site}, outside the mesh of "
                f"{chip.mesh_rows} x {chip.mesh_columns}"
            )
        other = seen.setdefault((unit.kind, site), unit.group)
        if other is not unit.group or seen.get((unit.kind, site)) is None:
            raise MappingError(
                f"{kernel.name}: the {unit.kind.upper()} at {site} is used by {other} and "
                f"{unit.group}"
            )
    if len(seen) != len(kernel.placement.units):
        raise MappingError(f"{kernel.name}: a group uses one of its units twice")


def _buffers(chip: Chip, kernel: Kernel) -> None:
    pmu = chip.pmu_kib * 1024
    for stage in kernel.stages:
        for read, count in zip(stage.shape.reads, stage.units.reads, strict=True):
            if read.buffer_bytes > count * pmu:
                raise MappingError(
                    f"{kernel.name}: the buffer of {read.operand.tensor} in {stage.name} needs "
                    f"{read.buffer_bytes:,} bytes, its {count} PMUs hold {count * pmu:,}",
                    hint=f"give it {-(-read.buffer_bytes // pmu)} PMUs or smaller tiles",
                )


def _depths(kernel: Kernel) -> None:
    for stream in kernel.streams:
        if stream.target is None:
            continue
        stage = kernel.stages[stream.target]
        room = stage.shape.reads[stream.read].depth
        if stream.depth > room:
            raise MappingError(
                f"{kernel.name}: {stream.depth} tiles of {stream.tensor} wait for {stage.name}, "
                f"its buffer has room for {room}"
            )


def _links(chip: Chip, kernel: Kernel) -> None:
    routes = kernel.routes
    for flow, links in zip(routes.flows, routes.links, strict=True):
        if not links and flow.source is not None and flow.targets:
            ends = {kernel.placement.sites[t] for t in flow.targets}
            if ends != {kernel.placement.sites[flow.source]}:
                raise MappingError(f"{kernel.name}: a flow of {flow.bytes:,} bytes has no route")
    cycles = math.floor(kernel.interval * kernel.slowdown)
    fabrics = (
        ("bytes", routes.load, chip.hop_bytes_per_cycle),
        ("bytes of scalars", routes.scalar_load, chip.hop_scalar_bytes_per_cycle),
    )
    for what, loads, rate in fabrics:
        for link, load in loads.items():
            if load > cycles * rate:
                raise MappingError(
                    f"{kernel.name}: link {link[0]} to {link[1]} carries {load:,} {what} in "
                    f"{cycles:,} cycles, {rate} a cycle are possible",
                    hint=f"slow the kernel to {-(-load // rate):,} cycles or place its units "
                    "further apart",
                )
