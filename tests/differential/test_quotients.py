"""Quotients by roots of what statements before give: sparse where these are positive."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, interpreting, remembering_proofs, store

import sparsedsl as sd


def _rows(P, A, x, d, i, j):
    P[i, j] = A[i, j] / sd.sqrt(d[i])


def _both(P, A, x, d, i, j):
    P[i, j] = A[i, j] / sd.sqrt(d[i] * d[j])


def _each(P, A, x, d, i, j):
    P[i, j] = A[i, j] / (sd.sqrt(d[i]) * sd.sqrt(d[j]))


def _powers(P, A, x, d, i, j):
    P[i, j] = d[i] ** -0.5 * A[i, j] * d[j] ** -0.5


def _inverse(P, A, x, d, i, j):
    P[i, j] = A[i, j] * (1.0 / d[i])


def _guarded(P, A, x, d, i, j):
    P[i, j] = A[i, j] / sd.maximum(d[i], 1e-9)


def _product(P, A, x, d, i, j):
    P[i] = A[i, j] * x[j] / sd.sqrt(d[i] * d[j])


CASES = (_rows, _both, _each, _powers, _inverse, _guarded, _product)


def kernel(statement):
    @sd.kernel
    def scaled(A, x):
        i, j = sd.indices("i j")
        d, P = sd.output(), sd.output()
        d[i] = A[i, j]
        statement(P, A, x, d, i, j)
        return P

    return scaled


@pytest.mark.parametrize("row", [None, 0.0, -2.0, np.inf, np.nan, 1e-200, 5e-324, 1e300], ids=str)
@pytest.mark.parametrize("statement", CASES, ids=lambda f: f.__name__.strip("_"))
def test_values(statement, row):
    """``row`` are the entries of one row, which is what it sums to."""
    if statement is _inverse and row == 5e-324:
        pytest.skip("overflow inside a kernel is not predicted (docs/semantics.md)")
    truth = {"A": np.array([[2.0, 0, 1, 0], [0, 3, 0, 1], [0, 0, 4, 0], [1, 0, 0, 1]])}
    if row is not None:
        truth["A"][2] = [0, 0, row, 0]
    truth["x"] = np.array([1.0, 2.0, -1.0, 0.5])
    masks = {"A": (truth["A"] != 0) | np.eye(4, dtype=bool), "x": np.ones(4, bool)}
    tensors = {n: store(v, masks[n], {"A": "csr", "x": "dense"}[n]) for n, v in truth.items()}
    with interpreting(), remembering_proofs(), np.errstate(all="ignore"):
        special = kernel(statement).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)


def test_a_graph_is_normalised_along_its_edges():
    n = 300
    A = sp.random_array((n, n), density=0.02, format="csr", rng=np.random.default_rng(0))
    A = (A + sp.eye_array(n)).tocsr()
    x = np.ones(n)
    d = np.asarray(A.sum(axis=1))
    P = kernel(_both)(A, x)
    assert sp.issparse(P)
    assert P.nnz == A.nnz
    np.testing.assert_allclose(P.toarray(), A.toarray() / np.sqrt(np.outer(d, d)), rtol=1e-13)
    text = kernel(_product).explain(A, x)
    assert "checked at each call to store positive values alone: d" in text


def test_zero_rows_give_nan_as_dense_arrays_do():
    A = sp.csr_array(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with np.errstate(all="ignore"):
        found = kernel(_rows)(A, np.ones(2))
        expected = A.toarray() / np.sqrt(A.toarray().sum(axis=1))[:, None]
    np.testing.assert_array_equal(found.toarray(), expected)
