"""Capacity planning: how many nodes, what latency, and what each policy costs (Fig. 13)."""

from __future__ import annotations

import itertools
import math
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rdu.coe.parts import Composition
from rdu.coe.platform import Platform
from rdu.coe.policies import POLICIES
from rdu.coe.report import ServingReport
from rdu.coe.serve import serve
from rdu.coe.trace import Trace
from rdu.errors import CapacityError, SpecError
from rdu.memory.tiers import counts as check_counts

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
    did not fit, and ``advice`` what to do. ``stable`` is false where requests come faster than the
    node serves them: its latencies grow with the length of the trace.
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
    advice: str | None = None

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
    window: int | None = None,
    trace: Trace | None = None,
) -> list[Plan]:
    """Serve one trace under each policy.

    Parameters
    ----------
    rate:
        Requests per second, Poisson; ``None`` is a closed loop.
    exponent:
        Of the Zipf law the experts are drawn from; 0 is uniform.
    trace:
        The experts that are asked for, instead of ``requests`` draws of the Zipf law.
    """
    if trace is None:
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
        report, refusal, advice = None, None, None
        try:
            report = serve(
                composition,
                platform,
                trace,
                policy,
                prefetch,
                overlap,
                group_by_expert,
                window=window,
                max_events=0,
            )
        except CapacityError as error:
            refusal, advice = error.message, error.hint
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
                advice=advice,
            )
        )
    return rows


@dataclass(frozen=True, slots=True)
class _Job:
    """One point of a sweep, by value, so that another process can take it."""

    count: int
    weight_bytes: float
    platform: Platform
    policy: str
    rate: float | None
    requests: int
    exponent: float
    batch: int
    output_tokens: int
    seed: int
    prefetch: bool
    overlap: bool
    group_by_expert: bool
    window: int | None


def _point(job: _Job) -> Plan:
    (row,) = plan(
        Composition.uniform(job.count, job.weight_bytes),
        job.platform,
        rate=job.rate,
        requests=job.requests,
        exponent=job.exponent,
        batch=job.batch,
        output_tokens=job.output_tokens,
        policies=(job.policy,),
        seed=job.seed,
        prefetch=job.prefetch,
        overlap=job.overlap,
        group_by_expert=job.group_by_expert,
        window=job.window,
    )
    return row


def sweep(
    counts: Sequence[int],
    platform: Platform | Sequence[Platform],
    *,
    weight_bytes: float,
    policy: str | Sequence[str] = "lru",
    rate: float | None = None,
    requests: int = 2_000,
    exponent: float = 1.0,
    batch: int = 1,
    output_tokens: int = 20,
    seed: int = 0,
    prefetch: bool = False,
    overlap: bool = False,
    group_by_expert: bool = False,
    window: int | None = None,
    processes: int = 1,
    client: Any = None,
) -> list[Plan]:
    """Plan for each platform, policy and number of equal experts, in this order.

    Parameters
    ----------
    processes:
        Points are shared among so many processes of this machine.
    client:
        A ``distributed.Client`` instead: points are shared among the workers of its cluster.

    Raises
    ------
    SpecError
        For an unknown policy or a number below 1.

    Examples
    --------
    >>> from rdu.coe import dgx_a100, sn40l_node
    >>> rows = sweep([10, 100], [dgx_a100(), sn40l_node()], weight_bytes=14e9, requests=50)
    >>> [(row.platform, row.experts) for row in rows]
    [('dgx_a100', 10), ('dgx_a100', 100), ('sn40l_node', 10), ('sn40l_node', 100)]
    """
    check_counts("sweep", processes=processes, requests=requests)
    platforms = [platform] if isinstance(platform, Platform) else list(platform)
    policies = [policy] if isinstance(policy, str) else list(policy)
    for name in policies:
        if name not in POLICIES:
            raise SpecError(f"unknown cache policy {name!r}", hint=f"known: {', '.join(POLICIES)}")
    same = (rate, requests, exponent, batch, output_tokens, seed)
    modes = (prefetch, overlap, group_by_expert, window)
    jobs = [
        _Job(n, weight_bytes, p, q, *same, *modes)
        for p, q, n in itertools.product(platforms, policies, counts)
    ]
    if client is not None:
        return list(client.gather(client.map(_point, jobs)))
    if processes == 1:
        return [_point(job) for job in jobs]
    # Fresh processes: a fork would copy the threads of numerical libraries in any state.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_point, jobs))


def draw_sweep(rows: Iterable[Plan], path: str | Path, limit_seconds: float | None = None) -> None:
    """Draw latency and hit rate over the number of experts, one line a platform and policy.

    Parameters
    ----------
    limit_seconds:
        A latency to mark.

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
    figure = Figure(figsize=(9, 5), layout="constrained")
    latency, hits = figure.subplots(2, 1, sharex=True)
    for label, points in lines.items():
        counts = [count for count, _ in points]
        (mean,) = latency.plot(
            counts, [r.mean_latency * 1e3 for _, r in points], marker=".", label=f"{label}, mean"
        )
        colour, slow = mean.get_color(), [r.p99 * 1e3 for _, r in points]
        latency.plot(counts, slow, ls="--", color=colour, label=f"{label}, p99")
        hits.plot(counts, [r.hit_rate for _, r in points], marker=".", color=colour, label=label)
    latency.set_ylabel("latency, ms")
    tails = [r.p99 * 1e3 for points in lines.values() for _, r in points]
    if limit_seconds is not None:
        latency.axhline(1e3 * limit_seconds, color="black", lw=0.8, ls=":", label="limit")
        tails.append(1e3 * limit_seconds)
    latency.set_ylim(0, 1.08 * max(tails, default=1.0))
    if lines:
        latency.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    hits.set_ylabel("hit rate")
    hits.set_ylim(0, 1.02)
    hits.set_xlabel("experts")
    most = [max(count for count, _ in points) for points in lines.values()]
    ticks = _apart([*most, *sorted({count for points in lines.values() for count, _ in points})])
    for axes in (latency, hits):
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise SpecError(f"cannot draw to {path}: {error}") from None


def _apart(counts: Sequence[int]) -> list[int]:
    """Counts whose labels do not overlap on a logarithmic axis, those that come first preferred.

    >>> _apart([191, 876, 1, 2, 128, 184, 191, 512, 785, 876])
    [1, 2, 128, 191, 512, 876]
    """
    if not counts:
        return []
    gap = math.log(max(counts) / min(counts)) / 20
    kept: list[int] = []
    for count in counts:
        if all(count != other and abs(math.log(count / other)) >= gap for other in kept):
            kept.append(count)
    return sorted(kept)


def _resident(sizes: Sequence[float], free: float) -> int:
    """How many experts, smallest first, fit ``free`` bytes."""
    count = 0
    for size in sizes:
        if size > free:
            break
        free -= size
        count += 1
    return count
