"""Microseconds of a call on tiny arguments, where the kernel itself takes next to nothing.

Takes: nothing.  Gives: ``Overhead`` records: scipy's own call, calls with scipy arguments and
with bound tensors, and calls of the compiled kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import matmul, mul
from typing import Any

import numpy as np

from sparsedsl.api import kernel
from sparsedsl.frontend import indices, output
from sparsedsl.interop import asarray

ORDER = 10
"""Rows and columns of the arguments."""

BATCHES, CALLS = 30, 300


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of one call: the least over batches of the mean of a batch."""

    kernel: str
    scipy: float
    arguments: float
    bound: float
    compiled: float


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
    made: Callable[..., Any],
    compiled: Callable[..., Any],
    given: tuple[Any, Any],
    bound: tuple[Any, Any],
) -> Overhead:
    return Overhead(
        name,
        seconds_a_call(peer),
        seconds_a_call(lambda: made(*given)),
        seconds_a_call(lambda: made(*bound)),
        seconds_a_call(lambda: compiled(*bound)),
    )
