"""Predicted times: more work is never predicted to take less, and what is alike takes as long.

No time is measured here.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.inputs import blocks, grid
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


@sd.kernel(workspace="sort")
def transposed(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[j, i] = A[i, j]
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


@sd.kernel
def sampled_rows(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[j, k]
    return C


@sd.kernel
def sums_and_maxima(A):
    i, j = sd.indices("i j")
    s, m = sd.output(), sd.output()
    s[i] = A[i, j]
    m[i] = sd.max(A[i, j], over=j)
    return s, m


def spent_by(kernel, *given):
    (unit,) = kernel.lower(*given).units
    return unit.spent.counts


def test_rows_with_equal_indices_are_walked_over_once():
    single, alike = grid(60), blocks(9)
    for matrix, at_once in ((single, 1), (alike, 3)):
        A = sd.asarray(matrix)
        rows = np.diff(matrix.indptr)
        turns = float(rows[matrix.indices].sum())
        counts = spent_by(sampled_rows, A, A, A)
        assert counts["turn"] == pytest.approx(turns / at_once, rel=0.3)
        assert counts["append"] == pytest.approx(matrix.nnz, rel=0.01)


def test_products_of_rows_with_equal_indices_are_gathered_at_once():
    matrix = blocks(9)
    other = matrix[:, np.random.default_rng(0).permutation(matrix.shape[1])]
    other = sp.csr_array(other[np.random.default_rng(1).permutation(matrix.shape[0])])
    other.sort_indices()
    together, single = (spent_by(matrices, sd.asarray(m), sd.asarray(m)) for m in (matrix, other))
    # three rows of the first operand by one vector, and three of the second one by one store
    assert together["gathered"] < 0.2 * single["gathered"]
    assert together["turn"] == pytest.approx(single["turn"] / 3.0, rel=0.3)


def test_both_halves_of_a_symmetric_matrix_are_gone_through_once():
    half = sp.random_array((N, N), density=0.002, rng=np.random.default_rng(0))
    matrix = sp.csr_array(half + half.T)
    x = np.ones(N)
    stored = sd.convert(matrix, sd.layouts.SYMMETRIC)
    counts = spent_by(product, stored, x)
    assert counts["turn"] == pytest.approx(stored.values.size, rel=0.01)
    assert counts["update"] == pytest.approx(stored.values.size, rel=0.01)
    assert counts["turn"] < 0.6 * spent_by(product, matrix, x)["turn"]


def test_what_outputs_of_one_pass_read_is_gone_through_once():
    matrix = sp.random_array((N, N), density=0.004, format="csr", rng=np.random.default_rng(0))
    both = sums_and_maxima.lower(matrix)
    (unit,) = both.units
    assert len(unit.parts) == 2
    assert unit.spent.counts["begin"] == pytest.approx(N, rel=0.01)
    assert unit.cost < 1.5 * max(part.cost for part in unit.parts)


def test_sums_of_entries_in_the_order_of_rows_wait_for_each_other():
    matrix = sp.random_array((N, N), density=0.004, format="csr", rng=np.random.default_rng(0))
    counts = spent_by(product, matrix.tocoo(), np.ones(N))
    assert counts["chained"] == pytest.approx(matrix.nnz - N, rel=0.01)
    assert "chained" not in spent_by(product, matrix, np.ones(N))
    assert "chained" not in spent_by(product, matrix.tocsc(), np.ones(N))


def test_a_copy_that_is_kept_is_compared_with_its_source():
    matrix = sp.random_array((N, N), density=0.004, format="csr", rng=np.random.default_rng(0))
    counts = spent_by(total, matrix.tocoo(), matrix)
    assert counts["kept"] == 1.0
    assert spent_by(total, matrix, matrix)["kept"] == 0.0


def test_few_entries_are_sorted_without_compiled_passes():
    few, many = (
        spent_by(transposed, sp.random_array((n, n), density=0.01, format="csr", rng=0))
        for n in (1000, 3000)
    )
    assert few["few stream"] == 1.0
    assert "few stream" not in many


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
