"""What a run took, stage by stage and kernel by kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of one kernel; times in cycles from the start of the kernel's execution.

    ``starved`` cycles waited for input, ``blocked`` for room in an output.
    """

    kernel: str
    name: str
    pcus: int
    pmus: int
    start: int
    end: int
    busy: int
    starved: int
    blocked: int
    firings: int
    spans: tuple[tuple[int, int], ...] = ()
    socket: int = 0


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One launch: its place in time (cycles from the start of the program) and its bytes.

    ``network`` counts the ``hops`` of all packets, the cycles that they waited for links
    (``stalls``), and those at the link where they waited longest (``worst_stalls``). It is empty
    where tiles moved at static rates.
    """

    name: str
    start: int
    launch_cycles: int
    cycles: int
    flops: int
    bytes: Mapping[str, int]
    pcus: int
    pmus: int
    loaded: bool
    memory: Mapping[str, Mapping[str, int]]
    network: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Roof:
    """A kernel under the roofline: operations and bytes a second, reached and possible."""

    kernel: str
    flops_per_second: float
    bytes_per_second: float
    peak_flops: float
    peak_bytes: float

    @property
    def intensity(self) -> float:
        """Operations a byte of HBM and DDR traffic."""
        return self.flops_per_second / self.bytes_per_second

    @property
    def share(self) -> float:
        """Speed as a part of the lower of the two roofs."""
        return max(self.flops_per_second / self.peak_flops, self.bytes_per_second / self.peak_bytes)

    @property
    def bound(self) -> str:
        """Which roof is lower: ``"memory"`` or ``"compute"``."""
        return "memory" if self.intensity * self.peak_bytes < self.peak_flops else "compute"
