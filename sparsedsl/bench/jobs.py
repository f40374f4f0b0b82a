"""What a peer hands to the measurement: calls, how their results are read, or why it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Operands = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A call to time, and how its result becomes NumPy or scipy to compare.

    ``steady`` calls take as long the first time: nothing is compiled or kept by them.
    """

    call: Callable[[], Any]
    finish: Callable[[Any], Any] = lambda result: result
    steady: bool = False


Prepare = Callable[[Operands], Job]
"""Put operands into a peer's own form; nothing of it is timed."""


def in_turn(jobs: list[Job]) -> Job:
    """Return the job of doing several one after another."""
    if len(jobs) == 1:
        return jobs[0]
    calls, finishes = [job.call for job in jobs], [job.finish for job in jobs]

    def finish(found: list[Any]) -> Any:
        return tuple(end(one) for end, one in zip(finishes, found, strict=True))

    return Job(lambda: [call() for call in calls], finish)


class Missing(Exception):  # noqa: N818
    """A peer cannot run here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Known:
    """A peer that can run: its version, and for each kernel its variants by name."""

    version: str
    kernels: dict[str, list[tuple[str, Prepare]]]


def single(version: str, kernels: dict[str, Prepare]) -> Known:
    """Return a peer with one variant of each kernel."""
    return Known(version, {name: [("", prepare)] for name, prepare in kernels.items()})
