"""What serving a trace took: latencies, switches, bytes and the time line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rdu.coe.timeline import Event, draw, write_chrome_trace


@dataclass(frozen=True, slots=True, eq=False)
class ServingReport:
    """The outcome of `rdu.coe.serve`.

    Attributes
    ----------
    latencies:
        Seconds from a request's arrival (the start of its batch in a closed loop) to the end of
        its own last run, shape ``(requests,)``.
    batch_latencies:
        Seconds from the start of a batch to the end of its last run.
    hits, switches:
        Uses that found their expert active, and uses that had to copy it.
    bytes_moved:
        Bytes by direction, such as ``{"ddr->hbm": ..., "hbm->ddr": ...}``.
    time:
        Where the compute units' time went: ``router``, ``run``, ``stall`` (waiting for a copy)
        and ``idle`` (nothing to do). They add up to ``seconds``.
    copy_seconds:
        How long the switch link was busy; more than ``stall`` where copies were overlapped.
    events:
        The time line, its first part where it is long (``truncated``).
    """

    platform: str
    policy: str
    latencies: npt.NDArray[np.float64]
    batch_latencies: npt.NDArray[np.float64]
    hits: int
    switches: int
    bytes_moved: Mapping[str, float]
    peak_hbm_bytes: float
    hbm_bytes: float
    seconds: float
    time: Mapping[str, float]
    copy_seconds: float
    events: tuple[Event, ...]
    truncated: bool

    @property
    def requests(self) -> int:
        """How many requests were served."""
        return len(self.latencies)

    @property
    def misses(self) -> int:
        """The same as ``switches``."""
        return self.switches

    @property
    def hit_rate(self) -> float:
        """Share of the uses that found their expert active; ``nan`` without uses."""
        uses = self.hits + self.switches
        return self.hits / uses if uses else float("nan")

    @property
    def mean_latency(self) -> float:
        """Mean of ``latencies``, seconds; ``nan`` without requests."""
        return float(self.latencies.mean()) if self.requests else float("nan")

    @property
    def throughput(self) -> float:
        """Requests per second of the whole trace; ``nan`` without requests."""
        return self.requests / self.seconds if self.seconds else float("nan")

    def percentile(self, share: float) -> float:
        """The latency, in seconds, that ``share`` percent of the requests stay within."""
        return float(np.percentile(self.latencies, share)) if self.requests else float("nan")

    @property
    def p50(self) -> float:
        """Median latency, seconds."""
        return self.percentile(50)

    @property
    def p90(self) -> float:
        """90th percentile of the latency, seconds."""
        return self.percentile(90)

    @property
    def p99(self) -> float:
        """99th percentile of the latency, seconds."""
        return self.percentile(99)

    def summary(self) -> dict[str, float | int | str | dict[str, float]]:
        """The figures of the report as plain values, times in seconds."""
        return {
            "platform": self.platform,
            "policy": self.policy,
            "requests": self.requests,
            "seconds": self.seconds,
            "throughput_per_s": self.throughput,
            "latency_mean_s": self.mean_latency,
            "latency_p50_s": self.p50,
            "latency_p90_s": self.p90,
            "latency_p99_s": self.p99,
            "hits": self.hits,
            "switches": self.switches,
            "hit_rate": self.hit_rate,
            "bytes_moved": dict(self.bytes_moved),
            "peak_hbm_bytes": self.peak_hbm_bytes,
            "time_s": dict(self.time),
            "copy_s": self.copy_seconds,
        }

    def to_json(self) -> str:
        """`summary` as JSON text; undefined figures (no requests) are ``null``."""
        plain = {k: None if v != v else v for k, v in self.summary().items()}
        return json.dumps(plain, indent=2)

    def chrome_trace(self, path: str | Path) -> None:
        """Write the time line for a trace viewer (chrome://tracing, Perfetto)."""
        write_chrome_trace(self.events, path)

    def plot(self, path: str | Path) -> None:
        """Draw the time line; the suffix of ``path`` chooses the format."""
        draw(self.events, path, title=f"{self.platform}, {self.policy}")

    def __str__(self) -> str:
        moved = ", ".join(f"{key} {count / 1e9:,.1f} GB" for key, count in self.bytes_moved.items())
        spent = ", ".join(f"{key} {seconds:.3f} s" for key, seconds in self.time.items())
        return (
            f"{self.requests} requests on {self.platform} ({self.policy}) in {self.seconds:.3f} s\n"
            f"  latency   mean {self.mean_latency * 1e3:.1f} ms, p50 {self.p50 * 1e3:.1f}, "
            f"p90 {self.p90 * 1e3:.1f}, p99 {self.p99 * 1e3:.1f}\n"
            f"  switches  {self.switches}, hit rate {self.hit_rate:.3f}\n"
            f"  moved     {moved}\n"
            f"  time      {spent}\n"
            f"  hbm       at most {self.peak_hbm_bytes / 1e9:,.1f} "
            f"of {self.hbm_bytes / 1e9:,.1f} GB"
        )
