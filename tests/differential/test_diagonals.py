"""Comparisons of indices for equality are patterns: results are sparse, loops go along them."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.api import statement_engine
from sparsedsl.calls.choices import Choices

STATEMENTS = {
    "L[i,j] = d[i]*(i == j) - A[i,j]": lambda A, d, e: e * d[:, None] - A,
    "L[i,j] = A[i,j] - 0.5*(j == i)": lambda A, d, e: A - 0.5 * e,
    "L[i,j] = where(i == j, d[i], A[i,j])": lambda A, d, e: np.where(e, d[:, None], A),
    "L[i,j] = A[i,j]*(i != j) + d[j]*(i == j)": lambda A, d, e: np.where(e, d[None], A),
    "L[i] = sum(A[i,j]*d[j]*(i == j), over=j)": lambda A, d, e: (A * d * e).sum(1),
    "L[i,j] = A[i,j] + d[i]*(j == i + 2)": lambda A, d, e: A + d[:, None] * shifted(e, 2),
    "L[i,j] = A[i,j] + d[j]*(i + 1 == j - 2)": lambda A, d, e: A + d * shifted(e, 3),
    "L[i,j] = A[i,j] + d[j]*(i == j + 1)": lambda A, d, e: A + d * shifted(e, -1),
    "L[i,j] = A[i,j]*(i == j)*(i == j + 1) + d[i]*0.0*A[i,j]": lambda A, d, e: 0 * A,
}


def dense(found):
    if isinstance(found, np.ndarray):
        return found
    return found.to_numpy() if isinstance(found, sd.Tensor) else found.toarray()


def shifted(e, offset):
    """One where the column is the row plus an offset."""
    return np.eye(*e.shape, offset)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dia", "bcsr"])
@pytest.mark.parametrize("text", STATEMENTS)
def test_results_are_those_of_numpy(text, layout):
    rng = np.random.default_rng(5)
    A = np.where(rng.random((9, 9)) < 0.3, rng.integers(1, 5, (9, 9)), 0).astype(float)
    d = rng.integers(1, 5, 9).astype(float)
    given = sd.asarray(sp.csr_array(A), layout)
    used = {"A": given} | ({"d": d} if "d[" in text else {})
    found = sd.evaluate(text, **used)
    assert isinstance(found, np.ndarray) == (found.ndim == 1)
    np.testing.assert_array_equal(dense(found), STATEMENTS[text](A, d, np.eye(9)))


def test_matrices_that_are_not_square_end_their_diagonal_early():
    A = sp.csr_array(np.arange(12.0).reshape(3, 4))
    for given in (A, A.T.tocsr()):
        found = sd.evaluate("L[i,j] = A[i,j] + 2*(i == j)", A=given)
        np.testing.assert_array_equal(found.toarray(), given.toarray() + 2 * np.eye(*given.shape))


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dia", "bcsr", "csb", "hicoo", "sell"])
def test_antidiagonals_are_those_of_numpy(layout):
    # the blocks that a row meets are bounded by the extent of the columns, which no index has
    rng = np.random.default_rng(6)
    A = np.where(rng.random((9, 9)) < 0.7, rng.integers(1, 5, (9, 9)), 0).astype(float)
    found = sd.evaluate("d[i] = A[i,8-i]", A=sd.asarray(sp.csr_array(A), layout))
    np.testing.assert_array_equal(found, np.diagonal(A[:, ::-1]))


def test_infinite_values_meet_the_zeros_beside_the_diagonal_as_in_numpy():
    d = np.array([1.0, np.inf, 2.0])
    A = sp.csr_array(np.zeros((3, 3)))
    with np.errstate(invalid="ignore"):
        expected = d[:, None] * np.eye(3) + A.toarray()
    found = sd.evaluate("L[i,j] = d[i]*(i == j) + A[i,j]", A=A, d=d)
    np.testing.assert_array_equal(dense(found), expected)

    @sd.kernel(semantics="annihilator")
    def shifted(A, d):
        i, j = sd.indices("i j")
        L = sd.output()
        L[i, j] = d[i] * (i == j) + A[i, j]
        return L

    np.testing.assert_array_equal(dense(shifted(A, d)), np.diag(d))


def test_a_diagonal_takes_as_many_entries_as_rows():
    d = np.arange(1.0, 100_001.0)

    @sd.kernel
    def diagonal(d):
        i, j = sd.indices("i j")
        D = sd.output(shape=(d.shape[0], d.shape[0]))
        D[i, j] = d[i] * (i == j)
        return D

    found = diagonal(d)
    assert found.nnz == len(d)
    np.testing.assert_array_equal(found.to_scipy().diagonal(), d)
    assert "i_is_j: bool in diagonal" in diagonal.lower(d).explain()


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("place", ["i == j", "j == i + 3", "i == j + 2"])
def test_a_diagonal_is_merged_with_rows_as_a_range_of_one_place(place, layout):
    A = sp.random_array((40, 30), density=0.2, format=layout, rng=np.random.default_rng(0))
    A.sort_indices()
    kernel = statement_engine(f"L[i,j] = A[i,j] - 2*({place})", ("A",), Choices())
    source = kernel.lower((A,)).source
    assert "while A_p < A_p_hi and" in source or "_hi and A_p < A_p_hi:" in source
    assert "accumulator" not in source
    offset = {"i == j": 0, "j == i + 3": 3, "i == j + 2": -2}[place]
    expected = A.toarray() - 2 * np.eye(40, 30, offset)
    np.testing.assert_array_equal(kernel.run((A,)).toarray(), expected)
