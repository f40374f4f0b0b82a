"""Conversions beside scipy's and hand-written Numba, results checked first, one thread.

    pytest bench/test_conversions.py --benchmark-group-by=func,param:case

``test_ratios`` times ours and each peer in turns and prints the ratio of the least times.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd

_PATH = Path(__file__).with_name("hand_conversions.py")
_SPEC = importlib.util.spec_from_file_location("hand_conversions", _PATH)
hand = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hand)


@dataclass(frozen=True)
class Case:
    """A conversion and its peers; ``ours`` names the arrays the hand-written one returns."""

    given: Any
    target: Any
    scipy: Callable[[], Any] | None
    hand: Callable[[], Any] | None
    ours: tuple[str, ...]

    def convert(self):
        return sd.convert(self.given, self.target)


def matrices(quick):
    rng = np.random.default_rng(0)
    n, count = (2_000, 40_000) if quick else (20_000, 400_000)
    spread = sp.random_array((n, n), density=count / n / n, rng=rng, format="csr")
    band = sp.diags_array([np.arange(1.0, n + 1)] * 20, offsets=range(-10, 10), shape=(n, n))
    return rng, spread, band.tocsr()


def sorted_blocks(matrix):
    """scipy's blocks of 4 by 4, which lie in each row as they were met, in order as ours are."""
    made = matrix.tobsr((4, 4))
    made.sort_indices()
    return made


def cases(quick):
    rng, rows, band = matrices(quick)
    n = rows.shape[0]
    csr = ("indptr", "indices", "data")
    coo = rows.tocoo()
    order = rng.permutation(coo.nnz)
    loose = sp.coo_array((coo.data[order], (coo.row[order], coo.col[order])), shape=coo.shape)
    unsorted = {"crd0": loose.row, "crd1": loose.col, "data": loose.data}
    unsorted = sd.from_arrays("coo_unsorted", loose.shape, unsorted)
    drawn = rng.integers(0, coo.nnz, coo.nnz)
    repeated = sp.coo_array((coo.data[drawn], (coo.row[drawn], coo.col[drawn])), shape=coo.shape)
    blocks = sd.layouts["bcsr"](4, 4)
    shape = (200, 2000, 2000)
    flat = np.unique(rng.integers(0, np.prod(shape), coo.nnz))
    c0, c1, c2 = (np.ascontiguousarray(x.astype(np.int32)) for x in np.unravel_index(flat, shape))
    values = rng.random(len(flat))
    points = {"crd0": c0, "crd1": c1, "crd2": c2, "data": values}
    raw, own = (rows.indptr, rows.indices, rows.data), (band.indptr, band.indices, band.data)
    return {
        "coo-csr": Case(
            sd.asarray(coo),
            "csr",
            coo.tocsr,
            lambda: hand.rows_of_sorted(n, coo.row, coo.col, coo.data),
            csr,
        ),
        "unsorted-coo-csr": Case(
            unsorted,
            "csr",
            loose.tocsr,
            lambda: hand.rows_of_unsorted(n, n, loose.row, loose.col, loose.data),
            csr,
        ),
        "scipy-coo-csr": Case(
            loose,
            "csr",
            loose.tocsr,
            lambda: hand.rows_of_unsorted(n, n, loose.row, loose.col, loose.data),
            csr,
        ),
        "repeated-coo-csr": Case(repeated, "csr", repeated.tocsr, None, csr),
        "csr-csc": Case(
            sd.asarray(rows), "csc", rows.tocsc, lambda: hand.columns_of_rows(n, n, *raw), csr
        ),
        "csr-bcsr": Case(
            sd.asarray(rows),
            blocks,
            lambda: sorted_blocks(rows),
            lambda: hand.blocks(n, n, 4, 4, *raw),
            csr,
        ),
        "band-bcsr": Case(
            sd.asarray(band),
            blocks,
            lambda: sorted_blocks(band),
            lambda: hand.blocks(n, n, 4, 4, *own),
            csr,
        ),
        "band-dia": Case(
            sd.asarray(band),
            "dia",
            band.todia,
            lambda: hand.diagonals(n, n, *own),
            ("offsets", "data"),
        ),
        "csr-ell": Case(
            sd.asarray(rows),
            "ell",
            None,
            lambda: hand.padded(n, *raw),
            ("counts", "cols", "data"),
        ),
        "coo-csf": Case(
            sd.from_arrays("coo", shape, points),
            "csf",
            None,
            lambda: hand.tree(c0, c1, c2, values),
            ("crd0", "pos1", "crd1", "pos2", "crd2", "data"),
        ),
    }


NAMES = (
    *("coo-csr", "unsorted-coo-csr", "scipy-coo-csr", "repeated-coo-csr", "csr-csc", "csr-bcsr"),
    *("band-bcsr", "band-dia", "csr-ell", "coo-csf"),
)


@pytest.fixture(scope="module")
def made(request):
    """The cases, each result checked against both peers."""
    found = cases(request.config.getoption("--quick", default=False))
    for name, case in found.items():
        arrays = case.convert().validate().arrays
        if case.hand is not None:
            for key, wanted in zip(case.ours, case.hand(), strict=True):
                np.testing.assert_array_equal(arrays[key], wanted, err_msg=f"{name}: {key}")
        if case.scipy is not None:
            ours, theirs = case.convert().to_scipy().tocsr(), case.scipy().tocsr()
            assert abs(ours - theirs).max() <= 1e-12, name
    return found


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("who", ["ours", "scipy", "hand"])
def test_conversion(benchmark, made, case, who):
    chosen = made[case]
    call = {"ours": chosen.convert, "scipy": chosen.scipy, "hand": chosen.hand}[who]
    if call is None:
        pytest.skip("scipy has no such layout, or nothing is written by hand")
    benchmark(call)


def test_ratios(made, capsys):
    """Print least times in milliseconds, the callables run in turns."""
    lines = []
    for name, case in made.items():
        calls = [case.convert, case.scipy, case.hand]
        least = [float("inf")] * 3
        for _ in range(40):
            for place, call in enumerate(calls):
                if call is not None:
                    start = time.perf_counter()
                    call()
                    least[place] = min(least[place], time.perf_counter() - start)
        ours, scipy, own = (1e3 * x for x in least)
        best = ours / min(scipy, own)
        lines.append(f"{name:17} ours {ours:7.2f}  scipy {scipy:7.2f}  hand {own:7.2f}  {best:.2f}")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
