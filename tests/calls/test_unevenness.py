"""How unevenly entries lie: found in a sample, kept with a tensor, and what plans make of it."""

import importlib
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.inputs import blocks, grid, rmat, uniform
from sparsedsl.calls import unevenness
from sparsedsl.calls.sources import source_of
from sparsedsl.calls.unevenness import changes, uneven
from sparsedsl.iteration.cost import Unevenness

GRAPH, EVEN, BANDED = rmat(12, 16), uniform(4000, 16), grid(100)


def found(matrix):
    (one,) = uneven(sd.asarray(matrix)).values()
    return one


@sd.kernel
def triangles(L):
    i, j, k = sd.indices("i j k")
    s = sd.output()
    s[()] = L[i, j] * L[i, k] * L[k, j]
    return s


@sd.kernel
def masked(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[k, j]
    return C


@sd.kernel
def scaled(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def finds(kernel, *given):
    return [name for unit in kernel.lower(*given).units for _, name, _ in unit.choices]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_pointers_are_looked_at_without_a_copy(dtype):
    rows = 200_000
    starts = np.minimum(np.arange(rows + 1), 20_000).astype(dtype)
    matrix = sp.csr_array(([1.0] * 20_000, np.arange(20_000).astype(dtype), starts), (rows, rows))
    tensor = sd.asarray(matrix)
    tracemalloc.start()
    try:
        assert uneven(tensor)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < starts.nbytes


def test_a_graph_is_uneven_in_rows_and_columns_alike():
    lying = found(GRAPH)
    assert lying.skew >= 4
    assert lying.crowd >= 4
    assert lying.mutual


def test_entries_anywhere_lie_evenly():
    assert found(EVEN) == Unevenness()


@pytest.mark.parametrize("matrix", [BANDED, blocks(8)])
def test_a_band_is_near_and_not_skewed(matrix):
    lying = found(matrix)
    assert lying.near >= 4
    assert (lying.skew, lying.crowd) == (1, 1)


def short_rows(lengths):
    """A matrix with so many entries in each row, in columns drawn anywhere."""
    rng = np.random.default_rng(3)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    keys = rng.random(starts[-1]) + np.repeat(np.arange(len(lengths)), lengths)
    columns = (np.sort(keys) % 1 * len(lengths)).astype(np.int32)
    matrix = sp.csr_array((rng.random(columns.size), columns, starts), shape=(len(lengths),) * 2)
    matrix.sum_duplicates()
    return matrix


ROWS = 20_000
DRAWN = np.random.default_rng(2).integers(0, 6, ROWS)


@pytest.mark.parametrize(
    ("lengths", "ragged"),
    [(DRAWN, True), (np.full(ROWS, 3), False), (np.sort(DRAWN), False), (9 + DRAWN, False)],
)
def test_ranges_are_ragged_where_many_differ_from_the_one_before(lengths, ragged):
    assert found(short_rows(lengths)).ragged is ragged


def test_values_are_looked_up_in_ragged_rows_and_positions_in_even_ones():
    x = sp.coo_array(([1.0] * 10, (np.arange(10) * 1999,)), shape=(ROWS,))
    assert finds(scaled, short_rows(DRAWN), x) == ["spread"]
    assert finds(scaled, short_rows(np.full(ROWS, 3)), x) == ["table"]


def test_loops_over_rows_that_differ_are_avoided():
    """Rows of B are all as long; those of its transpose, which products could go by, are not."""
    rng, n = np.random.default_rng(4), 9000
    columns = np.sort(np.stack([2 * rng.permutation(n // 2), 1 + 2 * rng.permutation(n // 2)], 1))
    even = sp.csr_array((np.ones(n), columns.ravel(), np.arange(0, n + 1, 2)), (n // 2, n))
    even = sp.vstack([even, even[::-1]], format="csr")
    long = sp.csr_array(uniform(n, 200))

    @sd.kernel
    def sampled(M, A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = M[i, j] * A[i, k] * B[j, k]
        return C

    (unit,) = sampled.lower(long, long.copy(), even).units
    assert [name for name, _, _ in unit.choices] == ["A_p"]
    assert not unit.nest.conversions
    expected = long.multiply(long @ even.T)
    assert abs(sampled(long, long.copy(), even) - expected).max() <= 1e-9


def in_runs(lengths, each):
    """A matrix whose rows come in runs of so many with equal columns, drawn anywhere."""
    one = uniform(len(lengths), each)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return sp.csr_array(one[rows])


RUNS = np.random.default_rng(5).integers(1, 4, 1500)


@pytest.mark.parametrize(
    ("matrix", "alike"),
    [
        (in_runs(np.full(1000, 2), 6), True),
        (in_runs(np.full(700, 3), 6), True),
        (in_runs(RUNS, 5), True),
        (in_runs(np.full(3000, 2), 3), False),
        (in_runs(np.repeat([1, 2], [3000, 300]), 6), False),
        (blocks(8), True),
        (sp.csr_array(sp.tril(blocks(8), -1)), False),
        (GRAPH, False),
        (EVEN, False),
        (BANDED, False),
    ],
)
def test_rows_are_alike_where_many_have_the_columns_of_the_one_before(matrix, alike):
    assert found(matrix).alike is alike
    wide = sp.csr_array(
        (matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)), matrix.shape
    )
    assert found(wide) == found(matrix)


@pytest.mark.parametrize(
    ("matrix", "run"),
    [(in_runs(np.full(1000, 2), 6), 2.0), (blocks(8), 3.0), (EVEN, 1.0), (BANDED, 1.0)],
)
def test_it_is_told_how_many_rows_have_the_columns_of_the_first(matrix, run):
    (found,) = changes(sd.asarray(matrix)).values()
    assert found.run == pytest.approx(run, rel=0.2)


@pytest.mark.parametrize("matrix", [GRAPH, EVEN, BANDED])
def test_lower_triangles_are_told(matrix):
    for diagonal, is_lower in ((-1, True), (0, False)):
        triangle = sp.csr_array(sp.tril(matrix + sp.eye_array(matrix.shape[0]), diagonal))
        assert found(triangle).lower is is_lower
    assert not found(matrix).lower
    assert not found(sp.csr_array(sp.triu(matrix, 1))).lower


def test_rows_as_long_as_the_one_before_are_not_alike_where_one_column_differs():
    matrix = in_runs(np.full(700, 3), 24)
    other = matrix.copy()
    other.indices[other.indptr[1:-1:2]] += 1  # the first of every other row
    assert found(matrix).alike
    assert not found(other).alike


def test_columns_drawn_alone_make_no_skewed_rows_and_are_not_mutual():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(4000), 16)
    columns = (4000 * rng.random(rows.size) ** 6).astype(int)
    matrix = sp.csr_array((np.ones(rows.size), (rows, columns)), shape=(4000, 4000))
    matrix.sum_duplicates()
    lying = found(matrix)
    assert lying.skew == 1
    assert lying.crowd >= 4
    assert not lying.mutual
    turned = found(sp.csr_array(matrix.T))
    assert turned.skew >= 4
    assert turned.crowd == 1


def exact(matrix):
    """The ratio of which a sample tells the magnitude, from all rows."""
    lengths = np.diff(matrix.indptr).astype(float)
    met = float(lengths @ lengths) / matrix.nnz
    return met / (matrix.nnz / matrix.shape[0] + 1)


@pytest.mark.parametrize("degree", [4, 8, 32])
@pytest.mark.parametrize("scale", [12, 14])
def test_a_sample_tells_what_all_rows_do(scale, degree):
    matrix = rmat(scale, degree)
    if matrix.nnz >= unevenness.LEAST:
        assert 0.4 <= found(matrix).skew / exact(matrix) <= 2.5


def test_equal_arrays_are_told_alike_whatever_their_values():
    other = sp.csr_array((GRAPH.data * -3, GRAPH.indices.copy(), GRAPH.indptr.copy()), GRAPH.shape)
    assert found(other) == found(GRAPH)


def test_it_is_looked_at_once(monkeypatch):
    tensor = sd.asarray(GRAPH)
    first = uneven(tensor)
    monkeypatch.setattr(unevenness, "_number", None)  # any look now fails
    assert uneven(tensor) == first
    tensor.forget()  # of the values
    assert uneven(tensor) == first


def test_it_is_looked_at_again_after_indices_changed():
    matrix = EVEN.copy()
    tensor = sd.asarray(matrix)
    assert [*uneven(tensor).values()] == [Unevenness()]
    for row in range(4000):  # the same number of entries in each row, all in the first columns
        begin, end = matrix.indptr[row], matrix.indptr[row + 1]
        matrix.indices[begin:end] = np.arange(end - begin)
    tensor.validate()
    assert [*uneven(tensor).values()] != [Unevenness()]


def test_small_matrices_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(unevenness, "_number", None)
    assert uneven(sd.asarray(uniform(100, 16))) == {}


def test_a_small_graph_is_uneven_too():
    graph = rmat(11, 4)
    assert found(graph).skew >= 4
    assert finds(triangles, sp.csr_array(sp.tril(graph + graph.T, -1))) == ["spread"]


def test_matrices_of_several_kinds_in_turn_keep_a_kernel_each(monkeypatch):
    even = uniform(4096, 13)
    pairs = [(m, sp.csr_array(m[:, ::-1])) for m in (even, GRAPH)]
    expected = [abs(a.multiply(b)).sum() for a, b in pairs]

    @sd.kernel
    def product(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] * B[i, j]
        return C

    for a, b in pairs:
        product(a, b)
    # any new plan now fails
    monkeypatch.setattr(importlib.import_module("sparsedsl.kernel"), "specialise", None)
    for _ in range(3):
        for (a, b), total in zip(pairs, expected, strict=True):
            assert abs(product(a.copy(), b.copy())).sum() == pytest.approx(total)
    assert len(product.engine._current) == 2


def test_matrices_without_entries_or_rows_lie_evenly():
    assert uneven(sd.asarray(sp.csr_array((40_000, 3)))) == {"p": Unevenness()}
    assert uneven(sd.asarray(sp.csr_array((40_000, 0)))) == {"p": Unevenness()}
    assert uneven(sd.asarray(sp.csr_array((0, 40_000)))) == {}


def test_one_sparse_operand_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(unevenness, "_number", None)
    x = np.ones(EVEN.shape[1])
    np.testing.assert_allclose(scaled(EVEN.copy(), x), EVEN @ x)


def test_ranges_of_every_level_are_told():
    rng = np.random.default_rng(1)
    coords = rng.integers(0, 60, (3, 30_000))
    dense = np.zeros((60, 60, 60))
    dense[tuple(coords)] = 1.0
    tensor = sd.asarray(dense).convert("csf")
    told = source_of(tensor, looking=True).uneven
    # all rows are full, and fibers of any length
    assert told == {"p1": Unevenness(alike=True), "p2": Unevenness(ragged=True)}


def test_the_find_is_that_for_how_entries_lie():
    assert finds(triangles, lower(GRAPH)) == ["spread"]
    assert finds(triangles, lower(EVEN)) == ["table"]


def lower(matrix):
    both = sp.csr_array(matrix + matrix.T)
    both.data = np.ones_like(both.data)
    found = sp.csr_array(sp.tril(both, k=-1, format="csr"))
    found.sort_indices()
    return found


@pytest.mark.parametrize("matrix", [GRAPH, EVEN, BANDED])
def test_results_are_those_of_scipy(matrix):
    L = lower(matrix)
    assert triangles(L) == pytest.approx((L.multiply(L @ L)).sum())
    expected = sp.csr_array(matrix.multiply(matrix @ matrix))
    assert abs(masked(matrix, matrix, matrix.copy()) - expected).max() <= 1e-9 * expected.max()


def test_a_copy_lies_as_its_source():
    """Rows of a copy in another order are as long as the columns were: no row of one entry."""
    (unit,) = masked.lower(GRAPH, GRAPH, GRAPH.copy()).units
    assert unit.nest.conversions
    assert [name for _, name, _ in unit.choices] == ["spread"]


def test_matrices_of_a_kind_share_a_kernel():
    kernel = sd.kernel(triangles.function)
    kinds = {id(kernel.engine.specialise([sd.asarray(lower(rmat(12, 16, s)))])) for s in range(8)}
    assert len(kinds) <= 2


def test_rows_of_other_lengths_have_another_plan():
    kernel = sd.kernel(triangles.function)
    few, many = uniform(1100, 5), uniform(2000, 13)  # of one number of rows, as it is rounded
    few, many = (kernel.engine.specialise([sd.asarray(lower(m))]) for m in (few, many))
    assert few is not many


def test_the_explanation_says_what_was_found():
    text = triangles.lower(lower(GRAPH)).explain()
    assert "ranges of p: of about 16 entries, of 64 where an entry is" in text
    assert "times as often as by chance" in text
    assert "ranges of p: of about 16 entries\n" in triangles.lower(lower(EVEN)).explain()
    text = masked.lower(blocks(8), blocks(8), blocks(8)).explain()
    assert "ranges often have the coordinates of the one before" in text
