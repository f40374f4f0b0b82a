"""Microseconds of a call on tiny arguments, where the kernel itself takes next to nothing.

Takes: nothing.  Gives: ``Overhead`` records: scipy's own call, calls with scipy arguments and
with bound tensors, and calls of the compiled kernel.  Each is measured in a loop of its own, and
single calls once more after other work has filled the caches, as calls in a program are.
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

WALKED = 1 << 20
"""Float64 values read between two of them: 8 MiB, several times a core's own caches."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of one call: the least over batches of the mean of a batch.

    ``cold`` are the medians of single calls after other work, in the order of the fields.
    """

    kernel: str
    scipy: float
    arguments: float
    bound: float
    compiled: float
    cold: tuple[float, ...] = ()


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


def overheads() -> tuple[Overhead, ...]:
    """Measure SpMV, the elementwise and the matrix product."""
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    A, B = (sp.random_array((ORDER, ORDER), density=0.3, format="csr", rng=rng) for _ in "AB")
    x = rng.random(ORDER)
    found: list[Overhead] = []
    for name, body, right, peer in (
        ("SpMV", _spmv, x, partial(matmul, A, x)),
        ("A .* B", _product, B, partial(mul, A, B)),
        ("SpGEMM", _spgemm, B, partial(matmul, A, B)),
    ):
        made = kernel(body)
        bound = asarray(A), asarray(right)
        compiled = made.compile(*bound)
        found.append(_measured(name, peer, made, compiled, (A, right), bound))
    return tuple(found)


def _measured(
    name: str,
    peer: Callable[[], Any],
    made: Kernel,
    compiled: Callable[..., Any],
    given: tuple[Any, Any],
    bound: tuple[Any, Any],
) -> Overhead:
    # kernels of their own: a kernel is quickest for the arguments of its last call
    taken = Kernel(made.function, made.engine.choices)
    calls = (
        peer,
        partial(made, *given),
        partial(taken, *bound),
        partial(compiled, *bound),
    )
    scipy, arguments, tensors, alone = (seconds_a_call(call) for call in calls)
    return Overhead(name, scipy, arguments, tensors, alone, seconds_after_work(calls))
