"""Index arrays that are written to after a tensor was bound to them."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.runtime import unchanged


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


def _long():
    """A matrix of which both index arrays are sampled, and a place that is not."""
    rng = np.random.default_rng(3)
    A = sp.random_array((20_000, 20_000), density=1e-4, format="csr", rng=rng)
    sampled = {int(place) for a in (A.indices, A.indptr) for place in unchanged._places(a.size)}
    return A, min(set(range(5_000, 10_000)) - sampled)


@pytest.mark.parametrize("bind", [lambda A: A, sd.asarray, _from_arrays])
@pytest.mark.parametrize("calls", range(5))
@pytest.mark.parametrize(("array", "value"), [("indices", 2**31 - 1), ("indptr", -5)])
def test_a_long_array_met_again_is_read_from_end_to_end(bind, calls, array, value):
    A, place = _long()
    x, bound = np.ones(20_000), bind(A)
    for _ in range(calls):
        np.testing.assert_allclose(product(bound, x), A @ x)
    getattr(A, array)[place] = value
    with pytest.raises(sd.InvalidTensorError, match=array):
        product(bound, x)


def _turn(A, place):
    """Write another valid pattern to the row of a matrix that holds a place."""
    row = np.searchsorted(A.indptr, place, side="right") - 1
    part = slice(A.indptr[row], A.indptr[row + 1])
    A.indices[part] = 19_999 - A.indices[part][::-1]


@pytest.mark.parametrize("bind", [lambda A: A, sd.asarray])
def test_a_sampled_array_is_read_from_end_to_end_now_and_then(bind):
    A, place = _long()
    x, bound = np.arange(20_000.0), bind(A)
    with sd.options(track_writes=False):
        for _ in range(40):
            product(bound, x)
        _turn(A, place)
        for _ in range(unchanged.SELDOM):
            product(bound, x)
        np.testing.assert_allclose(product(bound, x), A @ x)


@pytest.mark.parametrize("bind", [lambda A: A, sd.asarray, _from_arrays])
@pytest.mark.parametrize("calls", [0, 1, 2, 3, 4, 5, 8, 9, 12, 40])
def test_no_write_is_overlooked_where_the_system_tells_of_them(bind, calls, told):
    A, place = _long()
    x, bound = np.arange(20_000.0), bind(A)
    for _ in range(2):
        for _ in range(calls):
            product(bound, x)
        _turn(A, place)
        np.testing.assert_allclose(product(bound, x), A @ x)
    A.indices[place] = 2**31 - 1
    with pytest.raises(sd.InvalidTensorError, match="indices"):
        product(bound, x)


@pytest.mark.parametrize("calls", [1, 4, 40])
def test_copies_of_long_operands_follow_what_is_written(calls, told):
    A, place = _long()
    A = A.tocoo()
    A.coords = tuple(c[::-1].copy() for c in A.coords)  # unsorted: the kernel reads a copy
    A.has_canonical_format = False
    x = np.ones(20_000)
    for value in (5.0, 7.0):
        for _ in range(calls):
            np.testing.assert_allclose(product(A, x), A @ x)
        A.data[place] = value
        np.testing.assert_allclose(product(A, x), A @ x)


@pytest.mark.parametrize("n", [60, 20_000])
@pytest.mark.parametrize(
    "make", [lambda A: A.convert("csc"), lambda A: 2 * A, lambda A: A @ A, lambda A: A.T]
)
@pytest.mark.parametrize("reach", [lambda T: T.arrays["indices"], lambda T: T.to_scipy().indices])
def test_what_users_write_to_arrays_of_a_result_is_noticed(n, make, reach):
    A = sp.random_array((n, n), density=2 / n, format="csr", rng=np.random.default_rng(3))
    result = make(sd.asarray(A))
    reach(result)[17] = 2**31 - 1
    with pytest.raises(sd.InvalidTensorError, match="indices"):
        result @ np.ones(n)


def test_what_a_conversion_shares_with_its_source_is_noticed():
    # as many entries as passes are compiled for, and those share what is the same
    A = sp.random_array((1000, 1000), density=0.15, format="csr", rng=np.random.default_rng(3))
    converted = sd.asarray(A).convert("coo")
    assert np.shares_memory(A.indices, converted.held["crd1"])
    A.indices[7] = 2**31 - 1
    with pytest.raises(sd.InvalidTensorError, match="crd1"):
        converted @ np.ones(1000)


def test_operands_that_had_one_pattern_are_compared_again():
    A = _matrix()
    B = sp.csr_array((2 * A.data, A.indices.copy(), A.indptr.copy()), shape=A.shape)
    S, T = sd.asarray(A), sd.asarray(B)
    for _ in range(12):
        np.testing.assert_allclose((S * T).to_numpy(), A.toarray() * B.toarray())
    for row in range(60):
        part = slice(A.indptr[row], A.indptr[row + 1])
        A.indices[part] = 49 - A.indices[part][::-1]
    for _ in range(12):
        np.testing.assert_allclose((S * T).to_numpy(), A.toarray() * B.toarray())


@pytest.mark.parametrize("size", [20_000, 20_001, 4_096])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_a_digest_tells_any_one_element(size, dtype):
    x = np.arange(size, dtype=dtype)
    before = unchanged.digest(x)
    for place in (0, 1, size // 2, size - 2, size - 1):
        x[place] ^= 64
        assert unchanged.digest(x) != before
        x[place] ^= 64
    assert unchanged.digest(x) == before


@sd.kernel
def transposed(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def test_copies_in_other_layouts_are_made_again():
    A, B = _matrix().tocsc(), _matrix().T.tocsr()
    S, T = sd.asarray(A), sd.asarray(B)
    assert ": copy of A" in transposed.explain(S, T)
    for _ in range(12):
        np.testing.assert_allclose(transposed(S, T).to_numpy(), (A @ B).toarray())
    for column in range(50):
        part = slice(A.indptr[column], A.indptr[column + 1])
        A.indices[part] = 59 - A.indices[part][::-1]
    for _ in range(12):
        np.testing.assert_allclose(transposed(S, T).to_numpy(), (A @ B).toarray())


def test_gradients_follow_entries_that_moved():
    A = _matrix()
    bound, x = sd.asarray(A), np.arange(50.0)
    gradient = sd.grad(product, "A")
    for _ in range(3):
        gradient(bound, x, cotangent=np.ones(60))
    for row in range(60):
        part = slice(A.indptr[row], A.indptr[row + 1])
        A.indices[part] = 49 - A.indices[part][::-1]
    found = gradient(bound, x, cotangent=np.ones(60))
    np.testing.assert_allclose(found.values, x[A.indices])


@pytest.mark.parametrize(
    "use",
    [pickle.dumps, copy.copy, copy.deepcopy, lambda T: T.to_scipy()],
    ids=["pickle", "copy", "deepcopy", "to_scipy"],
)
@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_what_is_handed_on_is_checked(use, layout):
    bound = sd.asarray(_matrix(), layout)
    use(bound)
    name = next(iter(bound.layout.functions))
    bound.arrays[name][7] = 10**6
    with pytest.raises(sd.InvalidTensorError, match=name):
        use(bound)


@pytest.mark.parametrize("bind", [lambda A: A, _from_arrays])
@pytest.mark.parametrize("calls", [1, 20])
def test_values_that_were_cut_off_are_refused(bind, calls):
    A, x = _matrix(), np.ones(50)
    A.data = A.data.copy()
    bound = bind(A)
    for _ in range(calls):
        product(bound, x)
    A.data.resize((10,), refcheck=False)
    with pytest.raises(sd.InvalidTensorError, match="data to have length"):
        product(bound, x)
