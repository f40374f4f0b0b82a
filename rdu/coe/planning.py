"""Capacity planning: how many nodes, what latency, and what each policy costs (Fig. 13)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from rdu.coe.parts import Composition
from rdu.coe.platform import Platform
from rdu.coe.policies import POLICIES
from rdu.coe.report import ServingReport
from rdu.coe.serve import serve
from rdu.coe.trace import Trace
from rdu.errors import CapacityError, SpecError

Held: TypeAlias = Literal["hbm", "node"]


def nodes_needed(composition: Composition, platform: Platform, held: Held | None = None) -> int:
    """Nodes that hold the router and all experts, taken together (Fig. 13).

    Parameters
    ----------
    held:
        ``"hbm"`` keeps every expert in HBM, ``"node"`` anywhere in the node. By default a staged
        platform (SN40L) may use all of its backing tier and any other must hold every expert in
        HBM, which is how the paper counts.

    Examples
    --------
    >>> from rdu.coe import dgx_a100, sn40l_node
    >>> experts = Composition.uniform(850)
    >>> nodes_needed(experts, dgx_a100()), nodes_needed(experts, sn40l_node())
    (19, 1)
    """
    if held is None:
        held = "node" if platform.staged else "hbm"
    room = platform.hbm_bytes if held == "hbm" else platform.capacity_bytes
    return math.ceil(composition.bytes / room)


@dataclass(frozen=True, slots=True)
class Plan:
    """One platform, one policy and one number of experts, at one request rate.

    ``report`` is ``None`` where the node cannot hold the composition; ``refusal`` then says what
    did not fit. ``stable`` is false where requests come faster than the node serves them: its
    latencies grow with the length of the trace.
    """

    platform: str
    policy: str
    experts: int
    rate: float | None
    nodes: int
    footprint_bytes: int
    resident: int
    report: ServingReport | None
    refusal: str | None

    @property
    def stable(self) -> bool:
        """Whether the node keeps up with the request rate."""
        if self.report is None:
            return False
        busy = self.report.seconds - self.report.time["idle"]
        return self.rate is None or busy * self.rate <= self.report.requests


def plan(
    composition: Composition,
    platform: Platform,
    *,
    rate: float | None = None,
    requests: int = 10_000,
    exponent: float = 1.0,
    batch: int = 1,
    output_tokens: int = 20,
    policies: Iterable[str] = tuple(POLICIES),
    seed: int = 0,
    prefetch: bool = False,
    overlap: bool = False,
    group_by_expert: bool = False,
) -> list[Plan]:
    """Serve one Zipf trace under each policy.

    Parameters
    ----------
    rate:
        Requests per second, Poisson; ``None`` is a closed loop.
    exponent:
        Of the Zipf law the experts are drawn from; 0 is uniform.
    """
    trace = Trace.zipf(
        requests,
        len(composition),
        exponent=exponent,
        seed=seed,
        batch=batch,
        output_tokens=output_tokens,
    )
    if rate is not None:
        trace = trace.with_rate(rate, seed=seed + 1)
    free = platform.hbm_bytes - composition.router.hbm_bytes
    sizes = sorted(expert.hbm_bytes for expert in composition.experts)
    rows: list[Plan] = []
    for policy in policies:
        report, refusal = None, None
        try:
            report = serve(
                composition,
                platform,
                trace,
                policy,
                prefetch,
                overlap,
                group_by_expert,
                max_events=0,
            )
        except CapacityError as error:
            refusal = error.message
        rows.append(
            Plan(
                platform=platform.name,
                policy=policy,
                experts=len(composition),
                rate=rate,
                nodes=nodes_needed(composition, platform),
                footprint_bytes=composition.bytes,
                resident=_resident(sizes, free),
                report=report,
                refusal=refusal,
            )
        )
    return rows


def sweep(
    counts: Sequence[int],
    platform: Platform,
    *,
    weight_bytes: float,
    policy: str = "lru",
    rate: float | None = None,
    requests: int = 2_000,
    exponent: float = 1.0,
    batch: int = 1,
    output_tokens: int = 20,
    seed: int = 0,
) -> list[Plan]:
    """Plan for each number of equal experts in ``counts`` under one policy."""
    return [
        row
        for count in counts
        for row in plan(
            Composition.uniform(count, weight_bytes),
            platform,
            rate=rate,
            requests=requests,
            exponent=exponent,
            batch=batch,
            output_tokens=output_tokens,
            policies=(policy,),
            seed=seed,
        )
    ]


def draw_sweep(rows: Iterable[Plan], path: str | Path) -> None:
    """Draw latency and hit rate over the number of experts, one line a platform and policy.

    Raises
    ------
    SpecError
        Where matplotlib is not installed or does not know the suffix of ``path``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SpecError(
            "drawing needs matplotlib, which is not installed", hint="pip install 'sparsedsl[plot]'"
        ) from None
    lines: dict[str, list[tuple[int, ServingReport]]] = {}
    for row in rows:
        if row.report is not None:
            lines.setdefault(f"{row.platform} {row.policy}", []).append((row.experts, row.report))
    figure = Figure(figsize=(7, 5), layout="constrained")
    latency, hits = figure.subplots(2, 1, sharex=True)
    for label, points in lines.items():
        counts = [count for count, _ in points]
        latency.plot(counts, [r.p50 * 1e3 for _, r in points], marker=".", label=f"{label} p50")
        latency.plot(counts, [r.p99 * 1e3 for _, r in points], ls="--", label=f"{label} p99")
        hits.plot(counts, [r.hit_rate for _, r in points], marker=".", label=label)
    latency.set_ylabel("latency, ms")
    latency.legend()
    hits.set_ylabel("hit rate")
    hits.set_xlabel("experts")
    try:
        figure.savefig(path)
    except ValueError as error:
        raise SpecError(f"cannot draw to {path}: {error}") from None


def _resident(sizes: Sequence[float], free: float) -> int:
    """How many experts, smallest first, fit ``free`` bytes."""
    count = 0
    for size in sizes:
        if size > free:
            break
        free -= size
        count += 1
    return count
