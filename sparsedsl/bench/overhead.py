"""Microseconds of a call on tiny arguments, where the kernel itself takes next to nothing.

Takes: nothing.  Gives: ``Overhead`` records: scipy's own call, calls with scipy arguments and
with bound tensors, and calls of the compiled kernel.  Each is measured in a loop of its own, and
single calls once more after other work has filled the caches, as calls in a program are.  Scipy's
call and ours are measured, too, with matrices that no call had before.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import matmul, mul
from typing import Any

import numpy as np

from sparsedsl.api import kernel
from sparsedsl.frontend import indices, output
from sparsedsl.interop import asarray
from sparsedsl.kernel import Kernel

ORDER = 10
"""Rows and columns of the arguments."""

BATCHES, CALLS = 30, 300

ROUNDS = 200
"""Single calls of each kind after other work."""

NEW, TURNS = 60, 5
"""Matrices that are copied for each call, and how often; the first time is not counted."""

ENTRIES, LARGEST = 300, 1000
"""Entries of each of them, and the most rows."""

WALKED = 1 << 20
"""Float64 values read between two of them: 8 MiB, several times a core's own caches."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of one call: the least over batches of the mean of a batch.

    ``cold`` are the medians of single calls after other work, in the order of the fields.  ``new``
    are those of scipy's call and ours with scipy arguments, on matrices of another shape each time
    that no call had before.
    """

    kernel: str
    scipy: float
    arguments: float
    bound: float
    compiled: float
    cold: tuple[float, ...] = ()
    new: tuple[float, ...] = ()


def _spmv(A: Any, x: Any) -> Any:
    i, j = indices("i j")
    y = output()
    y[i] = A[i, j] * x[j]
    return y


def _product(A: Any, B: Any) -> Any:
    i, j = indices("i j")
    C = output()
    C[i, j] = A[i, j] * B[i, j]
    return C


def _spgemm(A: Any, B: Any) -> Any:
    i, j, k = indices("i j k")
    C = output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def seconds_a_call(call: Callable[[], Any]) -> float:
    """Return the least mean over batches, after two calls that are not counted."""
    call()
    call()
    least = float("inf")
    for _ in range(BATCHES):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        least = min(least, (time.perf_counter() - start) / CALLS)
    return least


def seconds_after_work(calls: Sequence[Callable[[], Any]]) -> tuple[float, ...]:
    """Return the median seconds of a single call of each, other work and the others between."""
    walked = np.ones(WALKED)
    draw = random.Random(0)
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for which in draw.sample(range(len(calls)), len(calls)):
            walked.sum()
            np.linalg.norm(walked[:1000])
            start = time.perf_counter()
            calls[which]()
            found[which].append(time.perf_counter() - start)
    return tuple(map(statistics.median, found))


def seconds_with_new(
    calls: Sequence[Callable[[Any, Any], Any]], *, vector: bool
) -> tuple[float, ...]:
    """Return the median seconds of a single call of each on a new matrix and a second operand.

    That is a ``vector``, or another new matrix.
    """
    rng = np.random.default_rng(0)
    kept: list[tuple[Any, Any]] = []
    for order in rng.integers(20, LARGEST, NEW):
        left, right = (_scattered(int(order), rng) for _ in range(2))
        kept.append((left, rng.random(order) if vector else right))
    found: list[list[float]] = [[] for _ in calls]
    for turn in range(TURNS):
        for left, right in kept:
            for call, times in zip(calls, found, strict=True):
                given = left.copy(), right.copy()
                start = time.perf_counter()
                call(*given)
                if turn:
                    times.append(time.perf_counter() - start)
    return tuple(map(statistics.median, found))


def _scattered(order: int, rng: np.random.Generator) -> Any:
    import scipy.sparse as sp

    density = min(1.0, ENTRIES / order**2)
    return sp.random_array((order, order), density=density, format="csr", rng=rng)


def overheads() -> tuple[Overhead, ...]:
    """Measure SpMV, the elementwise and the matrix product."""
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    A, B = (sp.random_array((ORDER, ORDER), density=0.3, format="csr", rng=rng) for _ in "AB")
    x = rng.random(ORDER)
    found: list[Overhead] = []
    for name, body, right, peer in (
        ("SpMV", _spmv, x, matmul),
        ("A .* B", _product, B, mul),
        ("SpGEMM", _spgemm, B, matmul),
    ):
        made = kernel(body)
        bound = asarray(A), asarray(right)
        compiled = made.compile(*bound)
        found.append(_measured(name, peer, made, compiled, (A, right), bound))
    return tuple(found)


def _measured(
    name: str,
    peer: Callable[[Any, Any], Any],
    made: Kernel,
    compiled: Callable[..., Any],
    given: tuple[Any, Any],
    bound: tuple[Any, Any],
) -> Overhead:
    # kernels of their own: a kernel is quickest for the arguments of its last call
    taken = Kernel(made.function, made.engine.choices)
    calls = (
        partial(peer, *given),
        partial(made, *given),
        partial(taken, *bound),
        partial(compiled, *bound),
    )
    scipy, arguments, tensors, alone = (seconds_a_call(call) for call in calls)
    cold = seconds_after_work(calls)
    fresh = Kernel(made.function, made.engine.choices)
    new = seconds_with_new((peer, fresh), vector=given[1].ndim == 1)
    return Overhead(name, scipy, arguments, tensors, alone, cold, new)
