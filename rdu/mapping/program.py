"""A mapped program: kernels of placed stages joined by routed streams.

Takes: a graph and a chip.  Gives: what the emulator runs and what can be printed and drawn.
Invariant (see ``verify``): no unit is used twice, no buffer is larger than its PMUs, no link
carries more than its bandwidth, every stream has a route.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rdu.graph.graph import Graph
from rdu.graph.split import Sharded
from rdu.mapping.draw import draw_kernels
from rdu.mapping.kernel import Kernel
from rdu.mapping.stages import Tier
from rdu.memory.draw import Region, draw_map
from rdu.specs import Node


class Orchestration(Enum):
    """Who starts the kernels: the host, or a schedule held on the chip.

    ``LOOPED`` is such a schedule in which kernels of one program that follow each other are turns
    of one loop: one launch for all (kernel looping, arXiv 2410.23668).
    """

    SOFTWARE = "software"
    HARDWARE = "hardware"
    LOOPED = "looped"


@dataclass(frozen=True, slots=True)
class Symbol:
    """One tensor in a socket's memory: tier, first byte and length.

    Its bytes are taken in kernels ``start <= n < stop``; others may lie there before and after.
    """

    tensor: str
    tier: Tier
    address: int
    bytes: int
    socket: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """A tensor that kernel ``source`` makes and kernel ``target`` reads, tile by tile.

    Before it serves its load number n, the receiver must hold the first ``needs[n]`` tiles of
    the sender; ``window_bytes`` is the most it holds at once.
    """

    tensor: str
    source: int
    target: int
    needs: tuple[int, ...]
    window_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Kernels in launch order and the memory map; made by ``rdu.compile``.

    Placement, memory and configuration are those of one socket; ``sockets`` run them alike.
    Only in a ``pipeline`` does every kernel have a socket of its own; ``crossings`` are the tensors
    between them.
    """

    graph: Graph
    node: Node
    fusion: str
    orchestration: Orchestration
    kernels: tuple[Kernel, ...]
    memory: tuple[Symbol, ...]
    shards: Sharded | None = None
    pipeline: bool = False
    crossings: tuple[Crossing, ...] = ()

    @property
    def local(self) -> Graph:
        """What one socket runs: its part of the cut axes, with all-reduces."""
        return self.graph if self.shards is None else self.shards.local

    @property
    def sockets(self) -> int:
        """Sockets that run the program together."""
        if self.pipeline:
            return len(self.kernels)
        return 1 if self.shards is None else self.shards.sockets

    @property
    def config_bytes(self) -> int:
        """Configuration of all kernels."""
        return sum(kernel.config_bytes for kernel in self.kernels)

    @property
    def placement(self) -> dict[str, dict[str, tuple[tuple[int, int], ...]]]:
        """Kernel -> logical unit group -> (row, column) of its PCUs or PMUs."""
        return {kernel.name: kernel.placement.groups() for kernel in self.kernels}

    def bytes(self, tier: str) -> int:
        """Bytes between the chip and ``"hbm"`` or ``"ddr"``."""
        return sum(kernel.moved(Tier(tier)) for kernel in self.kernels)

    def draw(self, path: str | Path) -> Path:
        """Draw the placement and routes of every kernel.

        The suffix chooses the format: ``.svg``, or with matplotlib ``.png`` and ``.pdf``.
        """
        return draw_kernels(self.node.chip, self.kernels, Path(path))

    def draw_memory(self, path: str | Path) -> Path:
        """Draw what lies where in HBM and DDR of the first socket, kernel by kernel.

        The suffix chooses the format: ``.svg``, or with matplotlib ``.png`` and ``.pdf``.
        """
        chip = self.node.chip
        regions = [
            Region(s.tensor, s.tier.value, s.address, s.bytes, s.start, s.stop)
            for s in self.memory
            if s.socket == 0
        ]
        return draw_map(regions, {"hbm": chip.hbm_bytes, "ddr": chip.ddr_bytes}, Path(path))

    def __str__(self) -> str:
        chip = self.node.chip
        count = len(self.kernels)
        lines = [
            f"program {self.graph.name}: {count} kernel{'s' * (count != 1)}, fusion {self.fusion}, "
            f"{self.orchestration.value} orchestration, {self.graph.precision.value}"
            + (f", {self.sockets} sockets" if self.sockets > 1 else "")
        ]
        for kernel in self.kernels:
            order = ", ".join(
                f"{axis}:{kernel.schedule.count(axis)}x{kernel.schedule.tile[axis]}"
                for axis in kernel.schedule.order
            )
            lines.append(
                f"  {kernel.name}: {kernel.pcus}/{chip.pcus} PCUs, {kernel.pmus}/{chip.pmus} "
                f"PMUs, {kernel.config_bytes:,} configuration bytes, loops {order}"
            )
            for stage in kernel.stages:
                unit = stage.units
                lines.append(
                    f"    {stage.name}: {unit.pcus} PCUs, {unit.pmus} PMUs, "
                    f"{stage.shape.firings} firings"
                )
        for symbol in self.memory:
            lines.append(
                f"  {symbol.tier.value} {symbol.address:#014x} {symbol.bytes:>12,} "
                f"kernels {symbol.start}..{symbol.stop - 1} {symbol.tensor}"
            )
        return "\n".join(lines)
