"""Running a case: agreement with its reference, and times.

Takes: ``Case``.  Gives: ``Measured``.  Times are medians of warm calls as a user makes them,
argument checking included; the first call, which plans, proves and compiles (or loads from
the cache), is timed apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.demo.cases import Case

TOLERANCE_EPS = 64
"""Allowed error relative to the largest magnitude, in units of the dtype's epsilon: sums of
up to a few hundred terms are taken in another order than the reference takes them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one kernel did on one matrix; times in seconds, error relative to the largest value."""

    kernel: str
    matrix: str
    peer: str
    stored: int
    error: float
    tolerance: float
    first_seconds: float
    seconds: float
    peer_seconds: float

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance."""
        return bool(self.error <= self.tolerance)


def measure(case: Case, matrix_name: str, quick: bool) -> Measured:
    """Run a case, compare it with its reference and time both."""
    start = time.perf_counter()
    result = case.kernel(*case.arguments)
    first = time.perf_counter() - start
    expected = dense(case.reference())
    found = dense(result)
    epsilon = float(np.finfo(expected.dtype).eps)
    return Measured(
        kernel=case.name,
        matrix=matrix_name,
        peer=case.peer,
        stored=int(case.arguments[0].nnz),
        error=relative_error(found, expected),
        tolerance=TOLERANCE_EPS * epsilon,
        first_seconds=first,
        seconds=median_seconds(lambda: case.kernel(*case.arguments), quick),
        peer_seconds=median_seconds(case.reference, quick),
    )


def dense(x: Any) -> np.ndarray:
    """Any result as a NumPy array."""
    if isinstance(x, np.ndarray):
        return x
    return x.to_numpy() if hasattr(x, "to_numpy") else x.toarray()


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference over the largest magnitude; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(found - expected).max())
    return difference / scale if np.isfinite(difference) else float("inf")


def median_seconds(call: Callable[[], object], quick: bool) -> float:
    """Median time of warm calls: seven samples of at least a millisecond each."""
    samples, least = (3, 2e-4) if quick else (7, 1e-3)
    call()
    start = time.perf_counter()
    call()
    repeats = max(1, round(least / max(time.perf_counter() - start, 1e-7)))
    times: list[float] = []
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)
