import operator
import warnings

import numpy as np
import opt_einsum
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as linalg

import sparsedsl as sd
from sparsedsl.errors import NotationError, NotationTypeError, TensorTypeError


@pytest.fixture(name="A", scope="module")
def matrix():
    return sp.random_array((6, 5), density=0.4, rng=np.random.default_rng(0), format="csr")


def dense(x):
    if isinstance(x, sd.Tensor):
        return x.to_numpy()
    return x.toarray() if sp.issparse(x) else np.asarray(x)


BINARY = {
    "scipy @ tensor": (lambda A, T: A.T @ T, lambda D: D.T @ D),
    "spmatrix @ tensor": (lambda A, T: sp.csr_matrix(A).T @ T, lambda D: D.T @ D),
    "scipy * tensor": (lambda A, T: A * T, lambda D: D * D),
    "scipy - tensor": (lambda A, T: A - T, lambda D: D - D),
    "ufunc of two": (lambda A, T: np.add(T, T), lambda D: 2 * D),
    "array + tensor": (lambda A, T: np.ones(T.shape) + T, lambda D: 1 + D),
    "array @ tensor": (lambda A, T: np.ones((2, 6)) @ T, lambda D: np.ones((2, 6)) @ D),
    "power": (lambda A, T: T**2, lambda D: D**2),
    "power of a number": (lambda A, T: 2**T, lambda D: 2**D),
    "comparison": (lambda A, T: T > 0.5, lambda D: D > 0.5),
    "equal": (lambda A, T: T == A, lambda D: D == D),
    "unequal": (lambda A, T: A != 2 * T, lambda D: D != 2 * D),
    "equal to a number": (lambda A, T: T == 0, lambda D: D == 0),
    "and": (lambda A, T: (T > 0.3) & (T < 0.6), lambda D: (D > 0.3) & (D < 0.6)),
    "or, xor, not": (
        lambda A, T: (T > 0.3) | ((T < 0.6) ^ ~(T == 0)),
        lambda D: (D > 0.3) | ((D < 0.6) ^ ~(D == 0)),
    ),
    "quotient and remainder": (
        lambda A, T: T // 0.25 + T % 0.25 + (2 // (T + 1)) + (2 % (T + 1)),
        lambda D: D // 0.25 + D % 0.25 + (2 // (D + 1)) + (2 % (D + 1)),
    ),
    "np.any, np.all": (
        lambda A, T: np.stack([np.any(T > 0.5, axis=1), np.all(T == A, axis=1)]),
        lambda D: np.stack([(D > 0.5).any(axis=1), np.ones(len(D), bool)]),
    ),
    "absolute": (lambda A, T: abs(-T), lambda D: D),
    "np.einsum": (lambda A, T: np.einsum("ij,kj->ik", T, T), lambda D: D @ D.T),
    "np.tensordot": (lambda A, T: np.tensordot(T, T, axes=([1], [1])), lambda D: D @ D.T),
    "np.max": (lambda A, T: np.max(T, axis=0), lambda D: D.max(axis=0)),
}


@pytest.mark.parametrize("name", BINARY)
def test_operators_and_functions_mean_what_numpy_means(name, A):
    ours, theirs = BINARY[name]
    np.testing.assert_allclose(dense(ours(A, sd.asarray(A))), theirs(A.toarray()), rtol=1e-14)


NARROW = {
    "sum": lambda T: T.sum(axis=0),
    "np.sum": lambda T: np.sum(T),
    "np.prod": lambda T: np.prod(1 * T + T, axis=1),
    "np.add.reduce": lambda T: np.add.reduce(T),
    "np.logical_not": lambda T: np.logical_not(T),
    "np.logical_and": lambda T: np.logical_and(T, T == 100),
    "np.logical_or": lambda T: np.logical_or(T, 0 * T),
    "np.logical_xor with a number": lambda T: np.logical_xor(T, 2),
    "np.all along nothing": lambda T: np.all(T, axis=()),
}


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "float64"])
@pytest.mark.parametrize("name", NARROW)
def test_narrow_values_are_summed_and_asked_as_numpy_does(name, dtype):
    D = np.array([[100, 0, 100], [100, 0, 0], [100, 3, 0]]).astype(dtype)
    found, expected = (NARROW[name](x) for x in (sd.asarray(sp.csr_array(D)), D))
    np.testing.assert_array_equal(dense(found), expected)
    assert found.dtype == expected.dtype


def test_logical_functions_ask_for_zeros_in_kernels_too():
    def zero(x):
        i = sd.index("i")
        y = sd.output()
        y[i] = np.logical_not(x[i]) | np.logical_and(x[i], 2)
        return y

    x = np.array([0, 1, -4], "int8")
    np.testing.assert_array_equal(sd.kernel(zero)(x), [True, True, True])


def test_a_function_keeps_the_result_sparse_and_tracks_its_fill(A):
    found = np.exp(sd.asarray(A))
    assert isinstance(found, sd.Tensor)
    assert found.fill_value == 1
    assert found.nnz == A.nnz
    np.testing.assert_allclose(found.to_numpy(), np.exp(A.toarray()))


def test_tensors_are_equal_by_element_and_kept_apart_by_identity(A):
    first, second = sd.asarray(A), sd.asarray(A)
    assert np.all(first == second)
    assert {first: 1, second: 2}[second] == 2
    assert first != None  # noqa: E711
    assert first != "csr"


def test_a_python_number_does_not_widen_the_dtype(A):
    assert (sd.asarray(A.astype("float32")) * 2.0).dtype == np.float32
    assert (2 * sd.asarray(A.astype("int32"))).dtype == np.int32


SCALARS = (np.float64(0.1), np.float32(0.1), np.int64(2), np.int8(2), np.uint8(2), np.bool_(True))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda x: type(x).__name__)
def test_scalars_of_numpy_are_numbers_of_their_dtype(scalar, dtype):
    D = np.array([[0.1, 0, 100], [0, 2, 0]]).astype(dtype)
    T = sd.asarray(sp.csr_array(D))
    for combine in (operator.gt, operator.add, operator.eq):
        found, expected = combine(T, scalar), combine(D, scalar)
        np.testing.assert_array_equal(dense(found), expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("number", [300, -129, 10**25])
@pytest.mark.parametrize("combine", [operator.mul, operator.add, operator.eq])
def test_integers_that_the_dtype_does_not_hold_are_refused(number, combine):
    D = np.array([[1, 0], [0, 2]], "int8")
    T = sd.asarray(sp.csr_array(D))
    np.testing.assert_array_equal((T / number).to_numpy(), D / number)
    if combine is operator.eq and number != 10**25:
        np.testing.assert_array_equal((number == T).to_numpy(), number == D)
        return
    with pytest.raises(NotationTypeError, match=f"{number} does not fit int8"):
        combine(T, number)


@pytest.mark.parametrize("combine", [operator.mul, operator.add, operator.truediv, operator.gt])
def test_integers_beyond_every_float_are_refused(combine, A):
    with pytest.raises(NotationTypeError, match="does not fit float64"):
        combine(sd.asarray(A), 10**400)


def test_a_comparison_with_a_mean_stays_sparse(A):
    T = sd.asarray(A)
    found = A.toarray().max() / 2 < T
    assert isinstance(found, sd.Tensor)
    assert found.fill_value == 0
    np.testing.assert_array_equal(found.to_numpy(), A.toarray() > A.toarray().max() / 2)


REFUSED = {
    "a ufunc's output": lambda T: np.add(T, T, out=np.zeros((6, 5))),
    "an outer product": lambda T: np.add.outer(T, T),
    "a function without a meaning": lambda T: np.linalg.norm(T, "nuc"),
    "another dtype": lambda T: np.sum(T, dtype=int),
    "an axis that is text": lambda T: T.sum("x"),
    "an axis twice": lambda T: T.sum((0, 0)),
    "an axis too many": lambda T: T.sum(2),
    "a truth value": bool,
    "iteration": list,
    "another shape": lambda T: T + T.T,
    "another number of rows": lambda T: T @ T,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(name, A):
    with pytest.raises((TensorTypeError, NotationError)):
        REFUSED[name](sd.asarray(A))


def test_a_product_names_the_shapes(A):
    T = sd.asarray(A)
    with pytest.raises(
        NotationError, match=r"rows on the right of @ .* shapes \(6, 5\) and \(6,\)"
    ):
        T @ np.ones(6)


def test_solvers_of_scipy_take_tensors():
    A = sp.diags_array([4.0, -1.0, -2.0], offsets=[0, 1, -1], shape=(40, 40), format="csr")
    T, b = sd.asarray(A), np.ones(40)
    expected = linalg.spsolve(A.tocsc(), b)
    operator = linalg.aslinearoperator(T)
    assert operator.shape == (40, 40)
    for solve in (linalg.gmres, linalg.bicgstab):  # the one calls matvec, the other alike
        found, failed = solve(operator, b, rtol=1e-12)
        assert not failed
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(operator.rmatvec(b), A.T @ b)
    np.testing.assert_allclose(operator @ np.eye(40), A.toarray())


def test_opt_einsum_finds_the_package_by_the_operands(A):
    T, D = sd.asarray(A), A.toarray()
    found = opt_einsum.contract("ij,kj,kl->il", T, T, T)
    np.testing.assert_allclose(found.to_numpy(), D @ D.T @ D)
    named = opt_einsum.contract("ij,ik->kj", A, A, backend="sparsedsl")
    np.testing.assert_allclose(dense(named), D.T @ D)


def test_arrays_changed_after_binding_are_seen_in_safe_mode(A):
    changed = A.copy()
    x = np.ones(5)
    sd.einsum("ij,j->i", changed, x)
    changed.indices[0] = 1000
    with sd.options(safe=True), pytest.raises(sd.InvalidTensorError, match="indices"):
        sd.einsum("ij,j->i", changed, x)


@pytest.mark.parametrize("made", ["big-endian", "read-only", "strided", "backwards", "broadcast"])
def test_arrays_of_any_kind_are_read(made, A):
    x = np.arange(5.0)
    y = {
        "big-endian": x.astype(">f8"),
        "read-only": np.frombuffer(x.tobytes()),
        "strided": np.repeat(x, 2)[::2],
        "backwards": x[::-1].copy()[::-1],
        "broadcast": np.broadcast_to(2.0, (5,)),
    }[made]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(sd.einsum("ij,j->i", A, y), A @ y)


def test_what_cannot_fit_is_refused():
    far = sp.coo_array(([1.0], ([2**40], [5])), shape=(2**42, 2**42))
    with pytest.raises(sd.InvalidTensorError, match="does not fit in memory"):
        sd.convert(far, "csr")
    assert sd.convert(far, "dcsr").nnz == 1
