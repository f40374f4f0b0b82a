"""Index arrays that are written to after a tensor was bound to them."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def _matrix():
    return sp.random_array((60, 50), density=0.1, format="csr", rng=np.random.default_rng(3))


def _from_arrays(A):
    arrays = {"indptr": A.indptr, "indices": A.indices, "data": A.data}
    return sd.from_arrays("csr", A.shape, arrays)


@pytest.mark.parametrize(
    "bind", [sd.asarray, lambda A: sd.asarray(A, validate=False), _from_arrays]
)
@pytest.mark.parametrize("calls", [0, 1, 20])
@pytest.mark.parametrize(
    ("array", "place", "value"),
    [
        ("indices", 7, 50),
        ("indices", 0, -1),
        ("indices", -1, 2**31 - 1),
        ("indptr", 5, 2**31 - 1),
        ("indptr", 5, -5),
        ("indptr", 0, 3),
    ],
)
def test_numbers_beyond_the_matrix_are_refused_at_the_next_call(bind, calls, array, place, value):
    A = _matrix()
    x, bound = np.ones(50), bind(A)
    compiled = product.compile(bound, x)
    for _ in range(calls):
        np.testing.assert_allclose(product(bound, x), A @ x)
        np.testing.assert_allclose(compiled(bound, x), A @ x)
    getattr(A, array)[place] = value
    for use in (
        lambda: product(bound, x),
        lambda: compiled(bound, x),
        lambda: bound @ x,
        lambda: bound.convert("coo"),
        lambda: bound.T.to_numpy(),
    ):
        with pytest.raises(sd.InvalidTensorError, match=array):
            use()


def test_another_valid_pattern_is_followed():
    A = _matrix()
    x, bound = np.arange(50.0), sd.asarray(A)
    for _ in range(3):
        product(bound, x)
    for row in range(60):
        part = slice(A.indptr[row], A.indptr[row + 1])
        A.indices[part] = 49 - A.indices[part][::-1]
    for _ in range(3):
        np.testing.assert_allclose(product(bound, x), A @ x)
        np.testing.assert_allclose(
            sd.einsum("ij,kj->ik", bound, bound).to_numpy(), (A @ A.T).toarray()
        )


def test_entries_that_move_to_another_row_are_followed():
    A = sp.csr_array((np.arange(1.0, 4), np.array([0, 1, 2]), np.array([0, 2, 3])), shape=(2, 3))
    x, bound = np.array([1.0, 10, 100]), sd.asarray(A)
    for first in (2, 1, 0, 3):
        A.indptr[1] = first
        for _ in range(3):
            np.testing.assert_allclose(product(bound, x), A @ x)


def test_what_views_share_is_looked_at_too():
    A = _matrix()
    bound = sd.asarray(A)
    turned = bound.T
    A.indices[4] = 10**6
    with pytest.raises(sd.InvalidTensorError, match="indices"):
        product(turned, np.ones(60))


def test_long_arrays_are_looked_at_as_a_whole_when_asked_to():
    A = sp.random_array((4000, 4000), density=0.005, format="csr", rng=np.random.default_rng(3))
    bound, x = sd.asarray(A), np.ones(4000)
    with sd.options(safe=True):
        for _ in range(3):
            np.testing.assert_allclose(product(bound, x), A @ x)
        A.indices[12345] = 2**31 - 1
        with pytest.raises(sd.InvalidTensorError, match="indices"):
            product(bound, x)
