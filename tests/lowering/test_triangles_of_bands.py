"""Triangles of banded matrices: rows are read backwards, to where those begin that they meet."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.inputs import uniform

ROWS, WIDTH = 1500, 40


@sd.kernel(find="spread")
def triangles(L):
    i, j, k = sd.indices("i j k")
    s = sd.output()
    s[()] = L[i, j] * L[i, k] * L[k, j]
    return s


def band(dtype="float64", seed=0):
    """A strict lower triangle of a band, of rows that begin and end anywhere in it."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(ROWS), WIDTH)
    columns = rows - 1 - np.tile(np.arange(WIDTH), ROWS)
    kept = (columns >= 0) & (rng.random(rows.size) < 0.8) & (rows % 97 != 5)
    data = rng.integers(-3, 4, kept.sum()).astype(dtype)
    found = sp.csr_array((data, (rows[kept], columns[kept])), shape=(ROWS, ROWS))
    found.sort_indices()
    return found


def is_backwards(kernel, matrix):
    return "begins" in kernel.lower(matrix).source


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_triangles_are_those_of_numpy_on_any_number_of_threads(dtype):
    L = band(dtype)
    assert is_backwards(triangles, L)
    dense = L.toarray().astype(float)
    found = []
    for threads in (1, 2, 3):
        with sd.options(threads=threads, parallel_threshold=0):
            found.append(float(triangles(L)))
    assert found == [(dense * (dense @ dense)).sum()] * 3


def test_any_values_have_the_same_bits_on_any_number_of_threads():
    L = band()
    L.data[:] = np.random.default_rng(1).standard_normal(L.nnz)
    dense, found = L.toarray(), []
    for threads in (1, 2, 3):
        with sd.options(threads=threads, parallel_threshold=0):
            found.append(float(triangles(L)))
    assert found[0] == found[1] == found[2]
    assert found[0] == pytest.approx((dense * (dense @ dense)).sum(), rel=1e-11)


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_infinities_meet_implicit_zeros(odd):
    L = band()
    L.data[1000] = odd
    assert np.isnan(float(sd.kernel(triangles.function)(L)))


def test_other_matrices_are_read_as_they_lie():
    whole = sp.csr_array(band() + band().T)
    far = sp.csr_array(sp.tril(uniform(ROWS, 2 * WIDTH), -1))
    for matrix in (whole, far, sp.csr_array(band().T)):
        matrix.sort_indices()
        assert not is_backwards(triangles, matrix)
        dense = matrix.toarray()
        assert float(triangles(matrix)) == pytest.approx((dense * (dense @ dense)).sum())
