"""One thread beside several: the same call in turn, results compared bit for bit.

Takes: cells and a number of threads.  Gives: ``Speedup`` records.  Results must not depend on
the number of threads; a cell where they do is told as such.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsedsl.bench.cases import Case, case, plain
from sparsedsl.bench.measure import FULL, QUICK, in_turn
from sparsedsl.options import options

LONG = 5e-3
"""Seconds on one thread from which a cell is expected to gain from threads."""


@dataclass(frozen=True, slots=True)
class Speedup:
    """Seconds of one cell on one thread and on ``threads``, in each round.

    ``same``: both results are the same bit for bit.
    """

    kernel: str
    input: str
    threads: int
    one: tuple[float, ...]
    several: tuple[float, ...]
    same: bool

    @property
    def ratios(self) -> tuple[float, ...]:
        """One thread's time over the other in each round: above 1, threads gain."""
        return tuple(a / b for a, b in zip(self.one, self.several, strict=True))

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def long(self) -> bool:
        """Whether one thread takes long enough for threads to be expected to gain."""
        return statistics.median(self.one) >= LONG


def speedups(
    cells: Sequence[tuple[str, str]], threads: int, quick: bool, step: Callable[[str], None]
) -> tuple[Speedup, ...]:
    """Measure each cell (kernel and input) on one thread and on ``threads``."""
    found: list[Speedup] = []
    for kernel, place in cells:
        step(f"{kernel} on {place}, {threads} threads")
        found.append(_speedup(case(kernel, place, quick), threads, quick))
    return tuple(found)


def _speedup(made: Case, threads: int, quick: bool) -> Speedup:
    calls = [_on(made, 1), _on(made, threads)]
    same = _same(plain(calls[0]()), plain(calls[1]()))
    one, several = in_turn(calls, QUICK if quick else FULL)
    return Speedup(made.kernel.name, made.input, threads, tuple(one), tuple(several), same)


def _on(made: Case, threads: int) -> Callable[[], Any]:
    def call() -> Any:
        with options(threads=threads):
            return made()

    return call


def _same(left: Any, right: Any) -> bool:
    """Compare NumPy arrays or scipy CSR arrays bit for bit."""
    if hasattr(left, "indptr"):
        return all(
            getattr(left, name).tobytes() == getattr(right, name).tobytes()
            for name in ("indptr", "indices", "data")
        )
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()
