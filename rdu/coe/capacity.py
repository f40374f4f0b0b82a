"""The other way round: how many experts a node serves within a latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rdu.coe.planning import Plan
from rdu.coe.platform import Platform
from rdu.errors import SpecError
from rdu.memory.tiers import positive


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most experts of one platform and policy within a latency.

    Attributes
    ----------
    best:
        The plan with the most experts; ``None`` where not even one expert is served in time.
    tried:
        Every number that was served to find it, ascending.
    """

    platform: str
    policy: str
    best: Plan | None
    tried: tuple[Plan, ...]


def within(plan: Plan, limit_seconds: float, share: float = 99.0) -> bool:
    """Whether ``share`` percent of the requests stay within the limit and the node keeps up."""
    return (
        plan.report is not None and plan.stable and plan.report.percentile(share) <= limit_seconds
    )


def most_experts(
    serve: Callable[[int], Plan],
    platform: Platform,
    weight_bytes: float,
    limit_seconds: float,
    *,
    share: float = 99.0,
) -> Capacity:
    """Find the most experts by doubling and bisection, up to what the node holds.

    With more experts of one size the same requests miss more often, so the latency rises with
    their number; where it does so unevenly, the answer is one that holds and whose successor does
    not.

    Parameters
    ----------
    serve:
        Plans for a number of experts, such as a sweep of one point.
    share:
        Percent of the requests that must stay within the limit.

    Raises
    ------
    SpecError
        For a limit that is no time, or a share outside (0, 100].
    """
    positive("capacity", limit_seconds=limit_seconds, weight_bytes=weight_bytes)
    if not 0 < share <= 100:
        raise SpecError(f"the share of requests must lie in (0, 100] percent, found {share}")
    tried: dict[int, Plan] = {}

    def holds(count: int) -> bool:
        tried[count] = serve(count)
        return within(tried[count], limit_seconds, share)

    low, high = 0, max(int(platform.capacity_bytes // weight_bytes), 1) + 1
    doubling = True
    while high - low > 1:
        # Doubled first, so that what was tried draws as a line.
        middle = min(2 * low or 1, high - 1) if doubling else (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high, doubling = middle, False
    rows = tuple(tried[count] for count in sorted(tried))
    return Capacity(platform.name, rows[0].policy, tried.get(low), rows)
