"""Conversions beside scipy's, TACO's and hand-written ones.

Takes: nothing.  Gives: ``Conversion`` records.  Results are compared before anything is timed:
arrays with those of the hand-written conversion, values with scipy's and TACO's.  All take and
give arrays in memory; scipy's blocks are sorted as ours are, within the time.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.api import convert
from sparsedsl.bench.jobs import Job, Missing
from sparsedsl.bench.measure import QUICK, TOLERANCE, Spent, difference, in_turn
from sparsedsl.bench.peers import taco
from sparsedsl.interop import asarray, from_arrays
from sparsedsl.layouts.catalogue import layouts

HAND = Path(__file__).parents[2] / "bench" / "hand_conversions.py"
"""The hand-written conversions: in the project's sources, not in the installed package."""

ROUNDS = Spent(0.2, 7, 21)

_COMPRESSED = ("indptr", "indices", "data")


@dataclass(frozen=True, slots=True)
class Case:
    """A conversion and its peers; ``arrays`` names what the hand-written one returns."""

    name: str
    given: Any
    target: Any
    arrays: tuple[str, ...]
    scipy: Callable[[], Any] | None = None
    hand: Callable[[], Any] | None = None
    taco: Job | None = None

    def __call__(self) -> Any:
        """Convert."""
        return convert(self.given, self.target)

    def check(self) -> None:
        """Compare the result with those of the peers.

        Raises
        ------
        ValueError
            Where they differ.
        """
        made = self()
        made.validate()
        if self.hand is not None:
            for name, wanted in zip(self.arrays, self.hand(), strict=True):
                if not np.array_equal(made.arrays[name], wanted):
                    raise ValueError(f"{name} differs from the hand-written conversion's")
        if self.scipy is not None and difference(_rows(made), _rows(self.scipy())) > TOLERANCE:
            raise ValueError("values differ from scipy's")
        if self.taco is not None:
            found = self.taco.finish(self.taco.call())
            if difference(_rows(made), found) > TOLERANCE:
                raise ValueError("values differ from TACO's")


def _rows(x: Any) -> Any:
    """Return a result as scipy's compressed rows, leading modes joined."""
    if not hasattr(x, "layout"):
        return x.tocsr()
    *outer, last = x.shape
    coords, values = x.coordinates()
    rows = np.ravel_multi_index(tuple(coords[:-1]), tuple(outer))
    return sp.csr_array((values, (rows, coords[-1])), (int(np.prod(outer)), last))


@dataclass(frozen=True, slots=True)
class Conversion:
    """Seconds of ours and of each peer, by round; ``error`` where results differ."""

    name: str
    ours: tuple[float, ...] = ()
    peers: dict[str, tuple[float, ...]] = field(default_factory=dict[str, "tuple[float, ...]"])
    error: str = ""

    def ratio(self, peer: str) -> float:
        """Median over rounds of a peer's time over ours in the same round."""
        return statistics.median(t / o for t, o in zip(self.peers[peer], self.ours, strict=True))

    @property
    def best(self) -> str:
        """The fastest peer."""
        return min(self.peers, key=self.ratio)


def conversions(quick: bool) -> tuple[Conversion, ...]:
    """Compare, then measure in turn."""
    return tuple(_measured(case, quick) for case in cases(quick))


def _measured(case: Case, quick: bool) -> Conversion:
    try:
        case.check()
    except ValueError as error:
        return Conversion(case.name, error=str(error))
    job = case.taco
    known = {"scipy": case.scipy, "hand": case.hand, "TACO": None if job is None else job.call}
    calls = {name: call for name, call in known.items() if call is not None}
    ours, *others = in_turn([case, *calls.values()], QUICK if quick else ROUNDS)
    peers = {name: tuple(times) for name, times in zip(calls, others, strict=True)}
    return Conversion(case.name, tuple(ours), peers)


@lru_cache(maxsize=1)
def _hand() -> Any:
    """The module of hand-written conversions; None without the project's sources."""
    if not HAND.exists():
        return None
    spec = importlib.util.spec_from_file_location("sparsedsl_bench_hand_conversions", HAND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Numba's cache finds functions by the name of their module
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _by_hand(name: str, *arguments: Any) -> Callable[[], Any] | None:
    module = _hand()
    return None if module is None else partial(getattr(module, name), *arguments)


def _taco(expression: str, formats: str, operand: Any) -> Job | None:
    """TACO's conversion of lists of coordinates; None where there is no TACO."""
    try:
        return taco.conversion(expression, formats, operand)
    except Missing:
        return None


def _blocks(matrix: Any) -> Any:
    """Scipy's blocks of 4 by 4, which lie in each row as they were met, in order as ours are."""
    made = matrix.tobsr((4, 4))
    made.sort_indices()
    return made


def cases(quick: bool) -> Iterator[Case]:
    """Make the conversions, one after another."""
    rng = np.random.default_rng(0)
    n, count = (2_000, 40_000) if quick else (20_000, 400_000)
    rows = sp.random_array((n, n), density=count / n / n, rng=rng, format="csr")
    yield from _coordinates(rows, rng)
    dense = np.broadcast_to(np.arange(1.0, n + 1), (20, n))
    yield from _compressed(rows, sp.dia_array((dense, np.arange(-10, 10)), (n, n)).tocsr())
    yield _tree(count, rng)


def _coordinates(rows: Any, rng: np.random.Generator) -> Iterator[Case]:
    n, coo = rows.shape[0], rows.tocoo()
    sorted_ = _by_hand("rows_of_sorted", n, coo.row, coo.col, coo.data)
    listed = _taco("A(i,j)=B(i,j)", "A:ds B:uq", ((coo.row, coo.col), coo.data, coo.shape))
    yield Case("COO to CSR", asarray(coo), "csr", _COMPRESSED, coo.tocsr, sorted_, listed)
    order = rng.permutation(coo.nnz)
    loose = sp.coo_array((coo.data[order], (coo.row[order], coo.col[order])), shape=coo.shape)
    columns = {"crd0": loose.row, "crd1": loose.col, "data": loose.data}
    bound = from_arrays("coo_unsorted", (n, n), columns)
    by_hand = _by_hand("rows_of_unsorted", n, n, loose.row, loose.col, loose.data)
    for name, given in (("unsorted COO to CSR", bound), ("scipy's unsorted COO to CSR", loose)):
        yield Case(name, given, "csr", _COMPRESSED, loose.tocsr, by_hand)
    drawn = rng.integers(0, coo.nnz, coo.nnz)
    repeated = sp.coo_array((coo.data[drawn], (coo.row[drawn], coo.col[drawn])), shape=coo.shape)
    yield Case("repeated COO to CSR", repeated, "csr", _COMPRESSED, repeated.tocsr)


def _compressed(rows: Any, band: Any) -> Iterator[Case]:
    n, blocks = rows.shape[0], layouts["bcsr"](4, 4)
    raw, own = ((x.indptr, x.indices, x.data) for x in (rows, band))
    given, narrow = asarray(rows), asarray(band)
    turned = _by_hand("columns_of_rows", n, n, *raw)
    yield Case("CSR to CSC", given, "csc", _COMPRESSED, rows.tocsc, turned)
    for name, x, matrix, parts in (
        ("CSR to BCSR 4 x 4", given, rows, raw),
        ("band CSR to BCSR 4 x 4", narrow, band, own),
    ):
        by_hand = _by_hand("blocks", n, n, 4, 4, *parts)
        yield Case(name, x, blocks, _COMPRESSED, partial(_blocks, matrix), by_hand)
    diagonals = _by_hand("diagonals", n, n, *own)
    yield Case("band CSR to DIA", narrow, "dia", ("offsets", "data"), band.todia, diagonals)
    padded = _by_hand("padded", n, *raw)
    yield Case("CSR to ELL", given, "ell", ("counts", "cols", "data"), None, padded)


def _tree(count: int, rng: np.random.Generator) -> Case:
    shape = (200, 2000, 2000)
    flat = np.unique(rng.integers(0, np.prod(shape), count))
    points = tuple(np.ascontiguousarray(x, np.int32) for x in np.unravel_index(flat, shape))
    values = rng.random(len(flat))
    arrays = {"crd0": points[0], "crd1": points[1], "crd2": points[2], "data": values}
    names = ("crd0", "pos1", "crd1", "pos2", "crd2", "data")
    by_hand = _by_hand("tree", *points, values)
    listed = _taco("A(i,j,k)=B(i,j,k)", "A:sss B:ucq", (points, values, shape))
    given = from_arrays("coo", shape, arrays)
    return Case("COO to CSF, order 3", given, "csf", names, None, by_hand, listed)
