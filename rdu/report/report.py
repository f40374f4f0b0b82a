"""What a run took: cycles, bytes by tier, use of the units, waiting, launches, a time line."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdu.console import aligned
from rdu.report.draw import draw_report
from rdu.report.records import KernelReport, Roof, StageReport


@dataclass(frozen=True, slots=True)
class Report:
    """Result of ``rdu.run`` or ``rdu.estimate``.

    ``bytes`` maps ``"sram"``, ``"hbm"``, ``"ddr"`` and, on several sockets, ``"p2p"`` to bytes
    moved by all sockets; ``utilisation`` maps
    ``"pcu"``, ``"pmu"``, ``"hbm"`` and ``"ddr"`` to a fraction of the peak over the whole time;
    ``stalls`` maps a stage to its waiting cycles; ``memory`` says of ``"hbm"`` and ``"ddr"`` how
    many ``requests`` were made, how many joined another's burst (``merged``), and the bytes of
    the bursts ``moved``, of which ``bytes`` were asked for.
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
    peak_flops: float = math.inf
    hbm_bytes_per_second: float = math.inf

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
    def memory(self) -> dict[str, dict[str, int]]:
        """Requests, merged ones and bytes of bursts, by tier."""
        return {
            tier: {
                key: sum(kernel.memory[tier][key] for kernel in self.kernels)
                for key in ("requests", "merged", "moved")
            }
            for tier in ("hbm", "ddr")
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
            "memory": self.memory,
            "operational_intensity": self.operational_intensity,
            "utilisation": dict(self.utilisation),
            "hbm_fraction": self.hbm_fraction,
            "stalls": self.stalls,
            "rooflines": [
                _plain(r) | {"intensity": r.intensity, "share": r.share, "bound": r.bound}
                for r in self.rooflines
            ],
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
        rows: dict[tuple[int, str], int] = {}

        def row(socket: int, name: str) -> int:
            if (socket, name) not in rows:
                rows[socket, name] = len(rows)
                if not any(key[0] == socket for key in list(rows)[:-1]):
                    events.append(_named("process_name", socket, 0, f"socket {socket}"))
                events.append(_named("thread_name", socket, rows[socket, name], name))
            return rows[socket, name]

        at: dict[str, set[int]] = {}
        for stage in self.stages:
            at.setdefault(stage.kernel, set()).add(stage.socket)
        for kernel in self.kernels:
            # In a pipeline every kernel has a socket of its own; else all sockets run it alike.
            socket = min(at.get(kernel.name, {0}))
            for name, start, length in (
                ("launch", kernel.start, kernel.launch_cycles),
                (kernel.name, kernel.start + kernel.launch_cycles, kernel.cycles),
            ):
                place = (socket, row(socket, "kernels"))
                events.append(_event(name, place, start * scale, length * scale, {}))
        for stage in self.stages:
            place = (stage.socket, row(stage.socket, stage.name))
            facts = {"pcus": stage.pcus, "pmus": stage.pmus, "kernel": stage.kernel}
            facts |= {"starved": stage.starved, "blocked": stage.blocked}
            for low, high in stage.spans:
                start = (begin[stage.kernel] + low) * scale
                events.append(_event(stage.name, place, start, (high - low) * scale, facts))
        path = Path(path)
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))
        return path

    def plot(self, path: str | Path) -> Path:
        """Draw when each stage is busy, what it waits for, and the roofline of every kernel.

        The suffix chooses the format: ``.svg``, or with matplotlib ``.png`` and ``.pdf``.
        """
        time = (self.cycles, self.seconds)
        return draw_report(time, self.kernels, self.stages, self.rooflines, Path(path))

    @property
    def rooflines(self) -> tuple[Roof, ...]:
        """How close every kernel comes to the peak of its units and of memory."""
        found: list[Roof] = []
        for kernel in self.kernels:
            moved = max(kernel.bytes["hbm"] + kernel.bytes["ddr"], 1)
            seconds = max(kernel.cycles, 1) / (self.clock_ghz * 1e9)
            rates = (kernel.flops / seconds, moved / seconds)
            found.append(Roof(kernel.name, *rates, self.peak_flops, self.hbm_bytes_per_second))
        return tuple(found)

    def stall_table(self) -> str:
        """Cycles of every stage: busy, waiting for input, waiting for room."""
        return aligned(self.stall_cells(), left=2)

    def stall_cells(self) -> list[tuple[str, ...]]:
        """The heads of ``stall_table``, then the cells of each stage."""
        head = (
            "kernel",
            "stage",
            "socket",
            "PCUs",
            "PMUs",
            "firings",
            "busy",
            "starved",
            "blocked",
        )
        rows = [
            (
                s.kernel, s.name, f"{s.socket}", f"{s.pcus}", f"{s.pmus}", f"{s.firings:,}",
                f"{s.busy:,}", f"{s.starved:,}", f"{s.blocked:,}",
            )
            for s in self.stages
        ]  # fmt: skip
        return [head, *rows]

    def __str__(self) -> str:
        lines = [
            f"{self.seconds * 1e6:.2f} us ({self.cycles:,} cycles, {self.launch_seconds * 1e6:.2f} "
            f"us launching), {len(self.kernels)} kernel{'s' * (len(self.kernels) != 1)}, "
            f"{self.flops:,} flops",
            "bytes: "
            + ", ".join(f"{tier} {count:,}" for tier, count in self.bytes.items())
            + f"; {self.operational_intensity:.1f} flops a byte",
            "memory: "
            + "; ".join(_requests(t, n) for t, n in self.memory.items() if n["requests"]),
            *self._network(),
            "use: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in self.utilisation.items()),
        ]
        return "\n".join(lines)

    def _network(self) -> list[str]:
        """Say how packets fared, if any moved."""
        counted = [kernel.network for kernel in self.kernels if kernel.network]
        if not counted:
            return []
        hops, stalls = (sum(kernel[key] for kernel in counted) for key in ("hops", "stalls"))
        worst = max(kernel["worst_stalls"] for kernel in counted)
        return [
            f"network: {hops:,} hops of packets, {stalls:,} cycles waiting at links, {worst:,} at "
            "the worst of a kernel"
        ]


def _requests(tier: str, counts: Mapping[str, int]) -> str:
    return (
        f"{tier} {counts['requests']:,} requests, {counts['merged']:,} merged, "
        f"{counts['moved']:,} bytes of bursts"
    )


def _plain(item: Any) -> dict[str, Any]:
    data = {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.name != "spans"}
    return {key: dict(v) if isinstance(v, Mapping) else v for key, v in data.items()}


def _event(
    name: str, place: tuple[int, int], start: float, length: float, facts: Mapping[str, Any]
) -> dict[str, Any]:
    pid, tid = place
    event: dict[str, Any] = {"name": name, "ph": "X", "pid": pid, "tid": tid}
    return event | {"ts": start, "dur": length, "args": dict(facts)}


def _named(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
