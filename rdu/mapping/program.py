"""A mapped program: kernels of placed stages joined by routed streams.

Takes: a graph and a chip.  Gives: what the emulator runs and what can be printed and drawn.
Invariant (see ``verify``): no unit is used twice, no buffer is larger than its PMUs, no link
carries more than its bandwidth, every stream has a route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from rdu.graph.graph import Graph
from rdu.graph.split import Sharded
from rdu.mapping.allocate import Units
from rdu.mapping.bursts import Access
from rdu.mapping.schedule import Coordinates, Schedule
from rdu.mapping.shapes import Shape
from rdu.memory.draw import Region, draw_map
from rdu.specs import Node

if TYPE_CHECKING:
    from rdu.mapping.place import Placement
    from rdu.mapping.route import Routes


class Orchestration(Enum):
    """Who starts the kernels: the host, or a schedule held on the chip."""

    SOFTWARE = "software"
    HARDWARE = "hardware"


class Tier(Enum):
    """Where bytes lie, or that they come from or go to another socket."""

    SRAM = "sram"
    HBM = "hbm"
    DDR = "ddr"
    PEER = "p2p"


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
class Stream:
    """Tiles of ``tensor`` on their way to operand ``read`` of stage ``target``.

    ``source`` is the stage that makes them, None for memory; ``depth`` tiles may wait.
    ``target`` None is a store to memory. A tile is ``hops`` links under way and takes
    ``tile_cycles`` to leave.
    """

    tensor: str
    source: int | None
    target: int | None
    read: int
    depth: int
    hops: int = 0
    tile_cycles: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One tile between memory and the streams that carry it.

    ``firings`` has for each stream the number of the stage's firing that takes or makes the
    tile. Its streams carry all ``bytes``; ``access`` is what is asked of memory for them, which is
    less where coordinates lead to some rows alone, and nothing where they lead to none.
    """

    tensor: str
    tile: Coordinates
    bytes: int
    streams: tuple[int, ...]
    firings: tuple[int, ...]
    access: Access


@dataclass(frozen=True, slots=True)
class Stage:
    """An operator on its units.

    ``busy`` cycles of a whole kernel, ``rates`` the PMU ports that feed each operand
    and ``inside`` the bytes they send,
    ``out_bytes`` what it emits in a whole kernel.
    """

    name: str
    shape: Shape
    units: Units
    busy: int
    rates: tuple[int, ...]
    inside: tuple[int, ...]
    out_bytes: int

    def buffer(self, read: int) -> str:
        """Name of the buffer in front of one operand."""
        return f"{self.name}.{read}:{self.shape.reads[read].operand.tensor}"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch: stages, the streams between them and the order of memory transfers.

    ``axes`` are the kernel's axes along which each tensor is cut into tiles. ``interval`` is
    the time of its slowest stage or memory tier by the static bandwidth model; ``slowdown``
    stretches it where a link needs longer. ``twin`` is the number of an earlier kernel that
    differs in names only.
    """

    name: str
    schedule: Schedule
    stages: tuple[Stage, ...]
    streams: tuple[Stream, ...]
    loads: Mapping[Tier, tuple[Transfer, ...]]
    stores: Mapping[Tier, tuple[Transfer, ...]]
    placement: Placement
    routes: Routes
    config_bytes: int
    axes: Mapping[str, tuple[str, ...]]
    interval: int
    slowdown: Fraction
    twin: int | None = None

    @property
    def pcus(self) -> int:
        """PCUs in use."""
        return sum(stage.units.pcus for stage in self.stages)

    @property
    def pmus(self) -> int:
        """PMUs in use."""
        return sum(stage.units.pmus for stage in self.stages)

    def signature(self) -> tuple[object, ...]:
        """What the configuration depends on; equal for kernels that only differ in arguments."""
        stages = tuple(
            (
                type(stage.shape.operator).__name__,
                getattr(getattr(stage.shape.operator, "function", None), "name", ""),
                stage.shape.counts,
                stage.units,
                stage.out_bytes,
            )
            for stage in self.stages
        )
        streams = tuple((s.source, s.target, s.read, s.depth) for s in self.streams)
        return (stages, streams, self.placement.sites)

    def moved(self, tier: Tier) -> int:
        """Bytes asked for between the chip and ``tier``."""
        return sum(access.bytes for access in self.accesses(tier))

    def accesses(self, tier: Tier) -> list[Access]:
        """Return what all tiles ask of ``tier``."""
        sides = (self.loads.get(tier, ()), self.stores.get(tier, ()))
        return [transfer.access for side in sides for transfer in side]


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
        from rdu.mapping.draw import draw_program

        return draw_program(self, Path(path))

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
        lines = [
            f"program {self.graph.name}: {len(self.kernels)} kernels, fusion {self.fusion}, "
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
