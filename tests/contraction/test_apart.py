"""Indices with names that later stages use for themselves."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd


@pytest.mark.parametrize(
    "text",
    [
        "y[A_i] = A[A_i, A_p] * x[A_p]",
        "y[n_i] = A[n_i, A_indptr] * x[A_indptr]",
        "y[i] = A[i, i_begin] * x[i_begin]",
        "y[y_v] = A[y_v, x_v] * x[x_v]",
    ],
)
def test_any_index_name_gives_the_same_result(text):
    A = sp.random_array((5, 5), density=0.4, format="csr", rng=np.random.default_rng(0))
    x = np.arange(5.0)
    np.testing.assert_allclose(sd.evaluate(text, A=A, x=x), A @ x)


def test_an_index_is_the_same_one_in_every_statement():
    """Sums inside of products get indices of their own, those of two statements too."""

    def body(A, B):
        i, j = sd.indices("i j")
        T, y = sd.output(), sd.output()
        T[i] = sd.sum(A[i, j], over=j) * sd.sum(A[i, j] * A[i, j], over=j)
        y[j] = sd.sum(B[i, j], over=i) * sd.sum(B[i, j] * T[i], over=i)
        return y

    rng = np.random.default_rng(0)
    A, B = rng.integers(0, 3, (3, 4)).astype(float), rng.integers(0, 3, (3, 4)).astype(float)
    expected = B.sum(0) * (B.T @ (A.sum(1) * (A * A).sum(1)))
    np.testing.assert_array_equal(sd.kernel(body)(A, B), expected)


def test_given_extents_follow_an_index():
    @sd.kernel
    def spread(x):
        n_i, n_j = sd.indices("n_i n_j")
        y = sd.output(shape=(None, 2))
        y[n_i, n_j] = x[n_i]
        return y

    np.testing.assert_array_equal(spread(np.arange(3.0)), [[0, 0], [1, 1], [2, 2]])
