"""Measuring a case: every result is checked first, then all calls are run in turn.

Takes: a ``Case`` and its peers.  Gives: ``Measured``.  A round runs this library and each
peer once, in an order drawn anew, so that what disturbs the machine, and what the call before
left in the caches, is alike for all; ratios are of times of one round.  Nothing is measured of
a peer whose result is wrong.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.cases import Case, plain
from sparsedsl.bench.jobs import Job
from sparsedsl.bench.peers import Peers
from sparsedsl.runtime.threads import each

TOLERANCE = 1e-10
"""Largest difference accepted, relative to the largest value; sums of up to some thousand
float64 terms are taken in another order by each peer."""

SHORTEST = 5e-4
"""Seconds that one sample takes at least; shorter calls are repeated within it."""

WARM = 32
"""Calls that are not counted, at most: the first ones load and prepare what later ones use."""


@dataclass(frozen=True, slots=True)
class Spent:
    """How long a round of calls may go on, and how many rounds at least and at most."""

    seconds: float
    fewest: int
    most: int


PATIENCE = 12.0
"""Seconds after which no further round is begun, though there were fewer than wanted."""

FAR, LONG = 30.0, 0.02
"""A peer so many times slower, whose call takes so many seconds, is timed in rounds of its own."""

ONCE = 2.0
"""Seconds of a call that is not made again: one that was made before, or is steady, is its time."""

HOPELESS = 2.0
"""A variant that took so many times as long as the fastest when it was checked is not tried."""

FULL = Spent(0.4, 7, 31)
QUICK = Spent(0.0, 3, 3)


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of one call in each round, and ratios over this library's in the same round.

    ``least_ratio`` is that of the least times of both: it suffers less from other work.
    """

    name: str
    variant: str
    seconds: tuple[float, ...]
    ratios: tuple[float, ...] = ()
    least_ratio: float = float("nan")

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """Least seconds."""
        return min(self.seconds)

    @property
    def ratio(self) -> float:
        """Median over rounds of this one's time over this library's: above 1, it is slower."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        low, high = np.quantile(self.ratios, (0.25, 0.75))
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Measured:
    """One case: this library's times, its peers', and what was wrong.

    ``bytes`` counts operands and result once.  ``errors`` maps a name to the reason why it
    was not timed; ``ours`` is None when this library itself failed.
    """

    kernel: str
    input: str
    streams: bool
    coiterates: bool
    bytes: int
    ours: Timed | None
    first_seconds: float
    peers: tuple[Timed, ...]
    errors: dict[str, str] = field(default_factory=dict[str, str])


def geometric_mean(ratios: Iterable[float]) -> float:
    """The geometric mean; NaN of nothing."""
    logs = [math.log(r) for r in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else float("nan")


def difference(found: Any, expected: Any) -> float:
    """Largest absolute difference over the largest magnitude expected; infinite if shapes differ.

    Takes NumPy arrays, scipy sparse arrays or numbers, one of each kind too.
    """
    if np.shape(found) != np.shape(expected):
        return float("inf")
    if sp.issparse(found) != sp.issparse(expected):
        found, expected = (x.toarray() if sp.issparse(x) else x for x in (found, expected))
    if sp.issparse(found):
        gap = abs(sp.csr_array(found) - sp.csr_array(expected))
        largest = float(abs(expected).max()) if expected.nnz else 0.0
        worst = float(gap.max()) if gap.nnz else 0.0
    else:
        largest = float(np.max(np.abs(expected), initial=0.0))
        worst = float(np.max(np.abs(np.subtract(found, expected)), initial=0.0))
    # a comparison with NaN is false: NaN on one side alone must not pass
    return worst / (largest or 1.0) if np.isfinite(worst) else float("inf")


def measure(case: Case, peers: Peers, spent: Spent = FULL) -> Measured:
    """Check every result against scipy's, then time all of them in turn."""
    scipy, *others = peers.jobs(case)
    found, took = _called(scipy[2])
    reference, found = plain(scipy[2].finish(found)), None
    errors: dict[str, str] = {}
    first = float("nan")
    ours: list[tuple[str, str, Job]] = []
    start = time.perf_counter()
    try:
        result = case()
        first = time.perf_counter() - start
        gap = difference(plain(result), reference)
        if gap <= TOLERANCE:
            ours = [("sparsedsl", "", Job(case))]
        else:
            errors["sparsedsl"] = f"differs from scipy by {gap:.2g}"
    except Exception as error:  # a failure is a row of the report, not its end
        errors["sparsedsl"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        result = None
    checked = [(scipy, took), *((job, _checked(job, reference, errors)) for job in others)]
    right = [(job, took) for job, took in checked if took is not None]
    long = [(job, took) for job, took in right if _once(job[2], took)]
    short = [(job, took) for job, took in right if not _once(job[2], took)]
    size = case.bytes + result_bytes(result)
    result = reference = None
    what = case.kernel.name, case.input, case.kernel.streams, case.kernel.coiterates
    if not ours:
        return Measured(*what, size, None, first, (), errors)
    base, *compared = _timed([*ours, *_fastest_variants(short)], spent)
    compared += _timed_once(long, base, {timed.name for timed in compared})
    return Measured(*what, size, base, first, tuple(compared), errors)


def _called(job: Job) -> tuple[Any, float]:
    """Return the result of a call, and its seconds."""
    start = time.perf_counter()
    result = job.call()
    return result, time.perf_counter() - start


def _once(job: Job, took: float) -> bool:
    return job.steady and took > ONCE


def _timed_once(
    long: list[tuple[tuple[str, str, Job], float]], base: Timed, faster: set[str]
) -> list[Timed]:
    """Return the times of checked calls, of each peer's fastest variant, over our median."""
    best: dict[str, Timed] = {}
    for (name, variant, _), took in sorted(long, key=lambda one: one[1]):
        if name not in faster:
            ratio = took / base.median
            best.setdefault(name, Timed(name, variant, (took,), (ratio,), took / base.least))
    return list(best.values())


def _timed(jobs: list[tuple[str, str, Job]], spent: Spent) -> list[Timed]:
    """Time all in turn; those that are far slower than the first only beside the first.

    Otherwise a round with them would be long, and there would be few.
    """
    spans = [_span(job.call) for _, _, job in jobs]
    far = [bool(at) and span > max(FAR * spans[0], LONG) for at, span in enumerate(spans)]
    together = [job for job, alone in zip(jobs, far, strict=True) if not alone]
    found = _in_turn(together, spent)
    for job, alone, span in zip(jobs, far, spans, strict=True):
        if alone and span > ONCE:
            found += _timed_once([(job, span)], found[0], set())
        elif alone:
            found.append(_in_turn([jobs[0], job], Spent(0.0, 3, 3))[1])
    order = {(name, variant): at for at, (name, variant, _) in enumerate(jobs)}
    return sorted(found, key=lambda timed: order[timed.name, timed.variant])


def _span(call: Callable[[], Any]) -> float:
    """Return the seconds of a call; of the faster of two where they are few."""
    first = _sample(call, 1)
    return first if first > ONCE else min(first, _sample(call, 1))


def _in_turn(jobs: list[tuple[str, str, Job]], spent: Spent) -> list[Timed]:
    """Time jobs in turn, with ratios to the first in the same round."""
    seconds = in_turn([job.call for _, _, job in jobs], spent)
    base = seconds[0]
    return [
        Timed(name, variant, tuple(s), _ratios(s, base), min(s) / min(base))
        if at
        else Timed(name, variant, tuple(s))
        for at, ((name, variant, _), s) in enumerate(zip(jobs, seconds, strict=True))
    ]


def _ratios(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, ...]:
    return tuple(t / o for t, o in zip(theirs, ours, strict=True))


def _checked(job: tuple[str, str, Job], reference: Any, errors: dict[str, str]) -> float | None:
    """Return the seconds of a first call whose result is right; say why where it is not."""
    name, variant, run = job
    label = f"{name} ({variant})" if variant else name
    try:
        result, took = _called(run)
        gap = difference(plain(run.finish(result)), reference)
    except Exception as error:  # a peer's failure is its own
        errors[label] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        return None
    if gap <= TOLERANCE:
        return took
    errors[label] = f"differs from scipy by {gap:.2g}"
    return None


def _fastest_variants(
    checked: list[tuple[tuple[str, str, Job], float]],
) -> list[tuple[str, str, Job]]:
    """Of the variants of one peer, keep the one that is fastest in three short rounds.

    A steady one that was far slower than another when both were checked has no chance.
    """
    kept: dict[str, list[tuple[tuple[str, str, Job], float]]] = {}
    for job, took in checked:
        kept.setdefault(job[0], []).append((job, took))
    best: list[tuple[str, str, Job]] = []
    for variants in kept.values():
        most = HOPELESS * min(took for _, took in variants)
        group = [job for job, took in variants if took <= most or not job[2].steady]
        if len(group) > 1:
            trial = in_turn([job.call for _, _, job in group], Spent(0.0, 3, 3))
            group = [group[int(np.argmin([min(t) for t in trial]))]]
        best += group
    return best


def result_bytes(result: Any) -> int:
    """Return the bytes of a result's arrays, of several results together."""
    if isinstance(result, tuple):
        return sum(map(result_bytes, result))
    if sp.issparse(result):
        names = ("data", "indices", "indptr")
        return sum(getattr(result, n).nbytes for n in names if hasattr(result, n))
    arrays = getattr(result, "arrays", None)
    if arrays is not None:
        return sum(a.nbytes for a in arrays.values())
    return int(getattr(result, "nbytes", 0))


def in_turn(calls: Sequence[Callable[[], Any]], spent: Spent) -> list[list[float]]:
    """Run all calls in each round, in an order drawn anew; return seconds of each by round."""
    draw = random.Random(0)
    repeats = [max(1, round(SHORTEST / max(_warmed(call), 1e-7))) for call in calls]
    found: list[list[float]] = [[] for _ in calls]
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    try:
        for number in range(spent.most):
            passed = time.perf_counter() - began
            if number >= spent.fewest and passed > spent.seconds * len(calls):
                break
            if number and passed > PATIENCE:
                break
            for which in draw.sample(range(len(calls)), len(calls)):
                found[which].append(_sample(calls[which], repeats[which]))
    finally:
        if was_on:
            gc.enable()
    return found


def _warmed(call: Callable[[], Any]) -> float:
    """Return the least seconds of a call, of the first ones: a slow one is made once or twice."""
    least = spent = _sample(call, 1)
    count = 1
    while spent < 1.0 and count < WARM and (count < 2 or spent < WARM * SHORTEST):
        once = _sample(call, 1)
        least, spent, count = min(least, once), spent + once, count + 1
    return least


def _sample(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def bandwidth(quick: bool, threads: int = 1) -> dict[str, float]:
    """Measure the memory's bytes a second, arrays far beyond the caches, on one thread and several.

    ``"read"`` is an inner product of two arrays, ``"copy"`` reads one and writes another
    (16 bytes an element, as STREAM counts); those on several ``threads`` say so in their names.
    """
    n = 1 << (16 if quick else 24)
    a, b = np.ones(n), np.ones(n)

    def on(count: int) -> tuple[Callable[[], None], Callable[[], None]]:
        parts = [slice(n * k // count, n * (k + 1) // count) for k in range(count)]
        return (
            lambda: each(parts, lambda part: np.einsum("i,i->", a[part], b[part]), count),
            lambda: each(parts, lambda part: np.copyto(b[part], a[part]), count),
        )

    names = ["read", "copy", *(on_threads(threads) if threads > 1 else ())]
    calls = [*on(1), *(on(threads) if threads > 1 else ())]
    spent = QUICK if quick else Spent(1.0, 7, 21)
    times = in_turn(calls, spent)
    return {name: 16 * n / min(t) for name, t in zip(names, times, strict=True)}


def on_threads(threads: int) -> tuple[str, str]:
    """Return the names of the bandwidths on several threads.

    >>> on_threads(2)
    ('read, 2 threads', 'copy, 2 threads')
    """
    return f"read, {threads} threads", f"copy, {threads} threads"
