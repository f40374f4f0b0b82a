"""Does the cost model choose the fastest find?  Each legal one is timed over a grid of sizes.

Takes: kernels, lengths of the shorter rows (their density, since the extent is fixed), and how
much longer the others are.  Gives: ``Cell``: the seconds of each find, and which one the cost
model takes.  Results of all finds are compared before anything is timed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.cases import plain
from sparsedsl.bench.inputs import uniform
from sparsedsl.bench.jobs import Operands
from sparsedsl.bench.measure import TOLERANCE, Spent, difference, geometric_mean, in_turn
from sparsedsl.bench.operands import sparse_vector
from sparsedsl.errors import PlanError
from sparsedsl.find.algorithms import ALGORITHMS

COLUMNS = 1 << 17
"""Extent of the index that is searched: the longest rows of the grid fill half of it."""

ENTRIES = 1 << 18
"""Entries of the larger operand, about."""

ROWS = 1 << 14
"""Rows of an operand at most."""

LENGTHS = (1, 4, 16, 32, 64)
SKEWS = (1, 4, 16, 64, 256, 1024)

BRIEF = Spent(0.02, 3, 9)
"""How long one cell takes."""

SLACK = 1.2
"""How much slower than the fastest find a choice may be."""

GAIN = 10.0
"""How much slower than the choice the slowest find is expected to be."""

HOPELESS, LONG = 20.0, 0.02
"""Finds that take so many times as long as the choice, and so many seconds, are not called again
to know it better."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kernel on rows of ``length`` and of ``length * skew`` entries.

    ``fixed`` holds the least seconds with each legal find, ``seconds`` those with the finds
    that the cost model chose, which ``chosen`` names.
    """

    kernel: str
    length: int
    skew: int
    chosen: str
    seconds: float
    fixed: dict[str, float]

    @property
    def best(self) -> str:
        """The fastest find."""
        return min(self.fixed, key=lambda name: self.fixed[name])

    @property
    def worst(self) -> str:
        """The slowest find."""
        return max(self.fixed, key=lambda name: self.fixed[name])

    @property
    def ratio(self) -> float:
        """Time with the choice of the cost model over that with the fastest find."""
        return self.seconds / self.fixed[self.best]

    @property
    def gain(self) -> float:
        """Time with the slowest find over that with the choice of the cost model."""
        return self.fixed[self.worst] / self.seconds


def _rows(count: int, length: int, seed: int) -> Any:
    """Return ``count`` rows of ``length`` entries, columns drawn uniformly without repeats."""
    rng = np.random.default_rng(seed)
    picked = np.stack([rng.choice(COLUMNS, length, replace=False) for _ in range(count)])
    picked.sort(axis=1)
    pointers = np.arange(0, count * length + 1, length, dtype=np.int32)
    entries: Any = rng.random(count * length), picked.ravel().astype(np.int32), pointers
    return sp.csr_array(entries, shape=(count, COLUMNS))


def _pair(length: int, skew: int) -> Operands:
    count = min(max(ENTRIES // (length * skew), 16), ROWS)
    return {"A": _rows(count, length, 1), "B": _rows(count, length * skew, 2)}


def _vector(length: int, skew: int) -> Operands:
    part = length * skew / COLUMNS
    rng = np.random.default_rng(3)
    count = min(ENTRIES // (4 * length), ROWS)  # each looks at the whole vector, at worst
    return {"A": _rows(count, length, 1), "x": sparse_vector(COLUMNS, part, rng)}


def _sampled(length: int, skew: int) -> Operands:
    given = _pair(length, skew)
    count = given["A"].shape[0]
    return {"M": uniform(count, min(8, count)), **given}


def product(A: Any, B: Any) -> Any:
    """Multiply element by element."""
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


def row_products(A: Any, B: Any) -> Any:
    """Multiply each row by the row of the same number."""
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * B[i, j]
    return y


def sparse_vector_product(A: Any, x: Any) -> Any:
    """Multiply by a sparse vector."""
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def sampled(M: Any, A: Any, B: Any) -> Any:
    """Multiply the rows that a mask names."""
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[j, k]
    return C


KERNELS: dict[str, tuple[Callable[..., Any], Callable[[int, int], Operands]]] = {
    "product": (product, _pair),
    "products of rows": (row_products, _pair),
    "sparse vector": (sparse_vector_product, _vector),
    "sampled products": (sampled, _sampled),
}
"""Kernels by name, and how the lengths of rows give their operands."""


def sweep(
    lengths: tuple[int, ...] = LENGTHS,
    skews: tuple[int, ...] = SKEWS,
    kernels: tuple[str, ...] = tuple(KERNELS),
    spent: Spent = BRIEF,
) -> Iterator[Cell]:
    """Measure each cell of the grid."""
    for kernel, length, skew in itertools.product(kernels, lengths, skews):
        yield measure(kernel, length, skew, spent)


def measure(kernel: str, length: int, skew: int, spent: Spent) -> Cell:
    """Time every legal find on one cell.

    Raises
    ------
    AssertionError
        If two finds do not agree.
    """
    body, make = KERNELS[kernel]
    given = tuple(make(length, skew).values())
    chosen = sd.kernel(body)
    choices = [choice for unit in chosen.lower(*given).units for choice in unit.choices]
    used = " and ".join(dict.fromkeys(name for _, name, _ in choices))
    choice = partial(chosen, *given)
    expected, seconds = plain(choice()), _briefly(choice)
    calls: dict[str, Callable[[], Any]] = {}
    once: dict[str, float] = {}
    for name in _legal(choices):
        call = partial(sd.kernel(find=name)(body), *given)
        with suppress(PlanError):
            found = plain(call())
            assert difference(found, expected) <= TOLERANCE, (kernel, length, skew, name)
            calls[name], once[name] = call, _briefly(call)
    again = [name for name in calls if once[name] < max(HOPELESS * seconds, LONG)]
    timed = in_turn([choice, *(calls[name] for name in again)], spent)
    seconds, *others = map(min, timed)
    fixed = once | dict(zip(again, others, strict=True))
    return Cell(kernel, length, skew, used, seconds, fixed)


def _legal(choices: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return the finds that were not rejected for what is not proved; sizes may forbid others."""
    rejected = "; ".join(why for _, _, why in choices)
    return [a.name for a in ALGORITHMS if f"{a.name}: not proved" not in rejected]


def _briefly(call: Callable[[], Any]) -> float:
    """Return the least seconds of two calls."""
    times: list[float] = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def summary(cells: list[Cell]) -> dict[str, float]:
    """Return how near the choice is to the fastest find, and how far from the slowest.

    ``mean`` and ``worst`` are of the ratios to the fastest, ``within`` is the part up to
    ``SLACK``; ``gain`` is the mean over the slowest, ``tenfold`` the part from ``GAIN`` on.  Means
    are geometric.
    """
    ratios, gains = [cell.ratio for cell in cells], [cell.gain for cell in cells]
    return {
        "mean": geometric_mean(ratios),
        "worst": max(ratios),
        "within": sum(r <= SLACK for r in ratios) / len(ratios),
        "gain": geometric_mean(gains),
        "tenfold": sum(g >= GAIN for g in gains) / len(gains),
    }


def table(cells: list[Cell], note: str = "") -> str:
    """Return the cells as a table in Markdown, the summary above it.

    >>> fixed = {"table": 3e-3, "gallop": 2e-3, "linear": 6e-2}
    >>> print(table([Cell("product", 4, 16, "table", 3e-3, fixed)]).splitlines()[-1])
    | product | 4 | 64 | table | 3 | gallop | 2 | 1.50 | linear | 60 | 20.0 |
    """
    found = summary(cells)
    lines = [
        "# Finds",
        "",
        "Two operands with rows of given lengths; the longer ones are searched for the entries of "
        f"the shorter ones, or both are merged. Columns are drawn from {COLUMNS}. The least time "
        "of a call with the find that the cost model chose, beside the least with each legal "
        "find forced.",
        *(["", note] if note else []),
        "",
        f"{len(cells)} cells: the choice takes {found['mean']:.2f} times the fastest find "
        f"(geometric mean), {found['worst']:.2f} at worst; {found['within']:.0%} are within "
        f"{SLACK}. The slowest find takes {found['gain']:.1f} times the choice (geometric mean), "
        f"{GAIN:.0f} times or more in {found['tenfold']:.0%} of the cells.",
        "",
        "| kernel | row | other row | chosen | ms | fastest | ms | ratio | slowest | ms | ratio |",
        f"|{'---|' * 11}",
    ]
    for cell in sorted(cells, key=lambda c: -c.ratio):
        lines.append(
            f"| {cell.kernel} | {cell.length} | {cell.length * cell.skew} | {cell.chosen} "
            f"| {1e3 * cell.seconds:.3g} | {cell.best} | {1e3 * cell.fixed[cell.best]:.3g} "
            f"| {cell.ratio:.2f} | {cell.worst} | {1e3 * cell.fixed[cell.worst]:.3g} "
            f"| {cell.gain:.1f} |"
        )
    return "\n".join(lines)
