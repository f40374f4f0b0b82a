"""What a run took: cycles, bytes by tier, use of the units, waiting, launches, a time line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    """One launch: its place in time (cycles from the start of the program) and its bytes."""

    name: str
    start: int
    launch_cycles: int
    cycles: int
    flops: int
    bytes: Mapping[str, int]
    pcus: int
    pmus: int
    loaded: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Result of ``rdu.run`` or ``rdu.estimate``.

    ``bytes`` maps ``"sram"``, ``"hbm"``, ``"ddr"`` and, on several sockets, ``"p2p"`` to bytes
    moved by all sockets; ``utilisation`` maps
    ``"pcu"``, ``"pmu"``, ``"hbm"`` and ``"ddr"`` to a fraction of the peak over the whole time;
    ``stalls`` maps a stage to its waiting cycles.
    """

    clock_ghz: float
    cycles: int
    launch_cycles: int
    flops: int
    bytes: Mapping[str, int]
    utilisation: Mapping[str, float]
    kernels: tuple[KernelReport, ...]
    stages: tuple[StageReport, ...]
    assumed: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Time from the first launch to the last result, launches included."""
        return self.cycles / (self.clock_ghz * 1e9)

    @property
    def launch_seconds(self) -> float:
        """Time spent starting kernels."""
        return self.launch_cycles / (self.clock_ghz * 1e9)

    @property
    def hbm_fraction(self) -> float:
        """HBM bandwidth reached as a fraction of its peak."""
        return self.utilisation["hbm"]

    @property
    def stalls(self) -> dict[str, dict[str, int]]:
        """Cycles each stage waited for input (``starved``) and for room (``blocked``)."""
        several = any(stage.socket for stage in self.stages)
        return {
            f"{stage.kernel}/{stage.name}" + (f"@{stage.socket}" if several else ""): {
                "starved": stage.starved,
                "blocked": stage.blocked,
            }
            for stage in self.stages
        }

    @property
    def operational_intensity(self) -> float:
        """Operations per byte moved to or from HBM and DDR."""
        return self.flops / max(self.bytes["hbm"] + self.bytes["ddr"], 1)

    def to_json(self) -> str:
        """Return everything but the busy spans as JSON."""
        data: dict[str, Any] = {
            "seconds": self.seconds,
            "cycles": self.cycles,
            "launch_seconds": self.launch_seconds,
            "flops": self.flops,
            "bytes": dict(self.bytes),
            "operational_intensity": self.operational_intensity,
            "utilisation": dict(self.utilisation),
            "hbm_fraction": self.hbm_fraction,
            "stalls": self.stalls,
            "kernels": [_plain(kernel) for kernel in self.kernels],
            "stages": [_plain(stage) for stage in self.stages],
            "assumed_patterns": list(self.assumed),
        }
        return json.dumps(data, indent=2)

    def chrome_trace(self, path: str | Path) -> Path:
        """Write a trace for ``chrome://tracing`` or Perfetto and return its path.

        One row a stage; times in microseconds.
        """
        scale = 1e-3 / self.clock_ghz
        events: list[dict[str, Any]] = []
        begin = {k.name: k.start + k.launch_cycles for k in self.kernels}
        for kernel in self.kernels:
            for name, start, length in (
                ("launch", kernel.start, kernel.launch_cycles),
                (kernel.name, kernel.start + kernel.launch_cycles, kernel.cycles),
            ):
                events.append(_event(name, "kernels", start * scale, length * scale))
        for stage in self.stages:
            for low, high in stage.spans:
                start = (begin[stage.kernel] + low) * scale
                events.append(_event(stage.name, stage.name, start, (high - low) * scale))
        path = Path(path)
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))
        return path

    def plot(self, path: str | Path) -> Path:
        """Draw the time line of all stages as SVG and return the path."""
        rows = [(f"{stage.name}", stage) for stage in self.stages]
        width, left, height = 900, 180, 22
        begin = {k.name: k.start + k.launch_cycles for k in self.kernels}
        scale = (width - left - 20) / max(self.cycles, 1)
        total = height * (len(rows) + 2)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{total}" fill="white"/>',
        ]
        for n, (name, stage) in enumerate(rows):
            y = height * (n + 1)
            parts.append(f'<text x="8" y="{y + 14}">{_escape(name)}</text>')
            base = begin[stage.kernel]
            x = left + (base + stage.start) * scale
            w = max((stage.end - stage.start) * scale, 0.5)
            parts.append(
                f'<rect x="{x:.2f}" y="{y + 3}" width="{w:.2f}" height="14" fill="#cfd8e3"/>'
            )
            for low, high in stage.spans:
                x, w = left + (base + low) * scale, max((high - low) * scale, 0.2)
                parts.append(
                    f'<rect x="{x:.2f}" y="{y + 3}" width="{w:.2f}" height="14" fill="#3b6ea5"/>'
                )
        y = height * (len(rows) + 1) + 14
        parts.append(
            f'<text x="{left}" y="{y}">0</text><text x="{width - 20}" y="{y}" '
            f'text-anchor="end">{self.seconds * 1e6:.2f} us</text></svg>'
        )
        path = Path(path)
        path.write_text("\n".join(parts), encoding="utf-8")
        return path

    def __str__(self) -> str:
        lines = [
            f"{self.seconds * 1e6:.2f} us ({self.cycles:,} cycles, {self.launch_seconds * 1e6:.2f} "
            f"us launching), {len(self.kernels)} kernels, {self.flops:,} flops",
            "bytes: "
            + ", ".join(f"{tier} {count:,}" for tier, count in self.bytes.items())
            + f"; {self.operational_intensity:.1f} flops a byte",
            "use: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in self.utilisation.items()),
        ]
        return "\n".join(lines)


def _plain(item: Any) -> dict[str, Any]:
    data = {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.name != "spans"}
    return {key: dict(v) if isinstance(v, Mapping) else v for key, v in data.items()}


def _event(name: str, row: str, start: float, length: float) -> dict[str, Any]:
    return {"name": name, "ph": "X", "pid": 0, "tid": row, "ts": start, "dur": length}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
