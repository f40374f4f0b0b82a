"""Dense operands that loops would step across are read from copies stored along them."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.aot.module import only_unit

N = 400


@sd.kernel
def sddmm(S, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * A[i, k] * B[k, j]
    return C


@sd.kernel
def product(A, X):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, k] = A[i, j] * X[k, j]
    return C


@sd.kernel
def rows(X, A):
    i, j, k = sd.indices("i j k")
    Y = sd.output()
    Y[k, j] = X[k, i] * A[i, j]
    return Y


def sparse(seed=0):
    return sp.random_array((N, N), density=0.1, format="csr", rng=np.random.default_rng(seed))


def copies(lowered):
    return [line.strip() for line in lowered.explain().splitlines() if ": copy of " in line]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "complex128"])
def test_sampled_products_read_columns_of_a_copy(dtype):
    rng = np.random.default_rng(1)
    S = sparse().astype(dtype)
    A, B = (rng.integers(1, 5, shape).astype(dtype) for shape in ((N, 64), (64, N)))
    (line,) = copies(sddmm.lower(S, A, B))
    assert line.startswith("B_10: copy of B in mode order (1, 0), made at each call (about ")
    expected = S.multiply(A @ B)
    for threads in (1, 2):
        with sd.options(threads=threads):
            assert abs(sddmm(S, A, B) - expected).max() < 1e-3


def test_a_copy_is_made_anew_when_values_change():
    S, rng = sparse(), np.random.default_rng(2)
    A, B = rng.random((N, 64)), rng.random((64, N))
    call = sddmm.compile(S, A, B)
    np.testing.assert_allclose(call(S, A, B).toarray(), S.toarray() * (A @ B), rtol=1e-12)
    B[:] = 1.0
    expected = S.toarray() * A.sum(1)[:, None]
    np.testing.assert_allclose(call(S, A, B).toarray(), expected, rtol=1e-12)


def test_a_matrix_given_by_rows_is_turned_for_a_product():
    X = np.random.default_rng(3).random((64, N))
    (line,) = copies(product.lower(sparse(), X))
    assert line.startswith("X_10: copy of X in mode order (1, 0)")
    np.testing.assert_allclose(product(sparse(), X), sparse() @ X.T, rtol=1e-12)
    assert not copies(product.lower(sparse(), np.asfortranarray(X)))
    np.testing.assert_allclose(product(sparse(), np.asfortranarray(X)), sparse() @ X.T, rtol=1e-12)


@pytest.mark.parametrize("count", [8, 64])
def test_rows_times_a_sparse_matrix_turn_the_rows_and_copy_no_entries(count):
    X = np.random.default_rng(4).random((count, N))
    (line,) = copies(rows.lower(X, sparse()))
    assert line.startswith("X_10: copy of X in mode order (1, 0), made at each call (about ")
    for threads in (1, 2):
        with sd.options(threads=threads):
            np.testing.assert_allclose(rows(X, sparse()), X @ sparse(), rtol=1e-12)


def test_what_runs_without_the_library_reads_operands_as_they_are():
    X = np.ones((64, N))
    assert copies(product.lower(sparse(), X))
    assert not only_unit(product.lower(sparse(), X)).recipe.copies
    assert "X_data" in product.compile(sparse(), X).njit.py_func.__code__.co_varnames
