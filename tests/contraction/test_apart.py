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


@pytest.mark.parametrize(
    "text",
    [
        "y[i, j] = A[i, j] * n[j]",
        "y[i, data] = A[i, data] * n[data]",
        "y[indptr, room] = n[room] * A[indptr, room]",
        "y[i, x_i] = A[i, x_i] * n_x[x_i]",
    ],
)
@pytest.mark.parametrize("layout", ["dense", "bitmap", "dcsr"])
def test_tensors_whose_names_extents_begin_with(text, layout):
    """Extents are called ``n_i``, and so would be the dimensions of a tensor ``n``."""
    A = sp.random_array((4, 6), density=0.6, format="csr", rng=np.random.default_rng(0))
    x = np.arange(1.0, 7)
    name = "n_x" if "n_x" in text else "n"
    given = x if layout == "bitmap" else sd.asarray(x)
    stored = sd.convert(A, layout)
    found = sd.evaluate(text, A=stored, **{name: given})
    np.testing.assert_array_equal(_dense(found), A.toarray() * x)


def test_results_and_intermediates_called_n():
    @sd.kernel
    def means(A, B):
        i, j, at = sd.indices("i j at")
        n, y = sd.output(), sd.output()
        n[i, at] = A[i, j] * B[at, j]
        y[i] = n[i, at]
        return n, y

    rng = np.random.default_rng(1)
    A, B = (sp.random_array((n, 6), density=0.5, format="csr", rng=rng) for n in (4, 5))
    n, y = means(A, B)
    np.testing.assert_allclose(_dense(n), (A @ B.T).toarray(), rtol=1e-13)
    np.testing.assert_allclose(y, (A @ B.T).sum(axis=1), rtol=1e-13)


def _dense(found):
    if isinstance(found, sd.Tensor):
        return found.to_numpy()
    return found.toarray() if sp.issparse(found) else found
