"""Predicted times: more work is never predicted to take less, and what is alike takes as long.

No time is measured here.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.find.rates import CAUSES, Spent


@sd.kernel
def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def matrices(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@sd.kernel
def total(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@sd.kernel
def met(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def sampled(S, P, Q):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * P[i, k] * Q[j, k]
    return C


N = 3000


def shape(nnz, n=N):
    return sd.ShapeOf((n, n), "float64", nnz=nnz)


def dense(*extents):
    return sd.ShapeOf(extents, "float64")


KERNELS = {
    "vector": (product, lambda nnz: (shape(nnz), dense(N))),
    "matrices": (matrices, lambda nnz: (shape(nnz), shape(nnz))),
    "dense matrices": (matrices, lambda nnz: (shape(nnz), dense(N, 32))),
    "sum": (total, lambda nnz: (shape(nnz), shape(nnz))),
    "elementwise": (met, lambda nnz: (shape(nnz), shape(nnz))),
    "sampled": (sampled, lambda nnz: (shape(nnz), dense(N, 16), dense(N, 16))),
}


@pytest.mark.parametrize("name", KERNELS)
def test_more_entries_take_longer(name):
    kernel, given = KERNELS[name]
    costs = [kernel.lower(*given(nnz)).cost for nnz in (6_000, 24_000, 96_000, 384_000)]
    assert costs == sorted(costs)
    assert costs[-1] > 4.0 * costs[0]


@pytest.mark.parametrize("name", KERNELS)
def test_equal_operands_are_predicted_alike(name):
    kernel, given = KERNELS[name]
    assert kernel.lower(*given(24_000)).cost == kernel.lower(*given(24_000)).cost


def test_more_columns_take_longer():
    costs = [matrices.lower(shape(60_000), dense(N, n)).cost for n in (8, 32, 128)]
    assert costs == sorted(costs)
    assert costs[-1] > 4.0 * costs[0]


def test_what_is_counted_is_what_loops_do():
    few, many = (product.lower(shape(nnz), dense(N)).units[0].spent for nnz in (30_000, 60_000))
    assert few.counts["turn"] == 30_000
    assert many.counts["turn"] == 60_000
    assert few.counts["gather"] == 30_000
    assert few.counts["outer"] == N
    assert few.counts["call"] == 1.0
    searched = met.lower(shape(30_000), shape(30_000)).units[0].spent
    assert searched.counts["finds"] > 0.0
    assert "finds" not in few.counts


@pytest.mark.parametrize(("each", "foreseen"), [(10, False), (4, True)])
def test_rows_of_one_length_are_foreseen_and_short_ones_of_any(each, foreseen):
    n = 60_000
    pointers = np.arange(0, n * each + 1, each)
    columns = np.tile(np.arange(each), n)
    even = sp.csr_array((np.ones(n * each), columns, pointers), shape=(n, each))
    lengths = np.random.default_rng(0).integers(0, 2 * each + 1, n)
    lengths[-1] += n * each - lengths.sum()
    columns = np.concatenate([np.arange(k) % each for k in np.maximum(lengths, 0)])
    rows = np.repeat(np.arange(n), np.maximum(lengths, 0))
    # as many entries, in rows of any length: columns wrap around, and are told apart
    shape = (n, 2 * each)
    uneven = sp.csr_array((np.ones(rows.size), (rows, columns + each * (rows % 2))), shape=shape)
    x = np.ones(2 * each)
    evenly = product.lower(even, x[:each]).units[0].spent
    unevenly = product.lower(uneven, x).units[0].spent
    assert evenly.counts["mistaken"] == 0.0
    # first entries of short rows are computed whether a row has them or not
    assert (unevenly.counts.get("mistaken", 0.0) < 0.5 * n) is foreseen


def test_memory_that_caches_hold_is_nearer():
    times: list[float] = []
    for among in (2.0**14, 2.0**18, 2.0**22, 2.0**27):
        spent = Spent()
        spent.stream(1e6, among)
        spent.jump(1e4, among)
        times.append(spent.nanoseconds)
    assert times == sorted(times)
    assert times[0] == 0.0 < times[1]


def test_rates_are_positive_and_kinds_add_up():
    assert all(cause.rate > 0.0 for cause in CAUSES.values())
    spent = matrices.lower(shape(60_000), shape(60_000)).units[0].spent
    assert sum(spent.by_kind.values()) == pytest.approx(spent.nanoseconds)
    assert list(spent.by_kind.values()) == sorted(spent.by_kind.values(), reverse=True)
