"""Products with functions of dense vectors: sparse where NumPy's result is, and equal to it."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd

ODD = [0.0, -0.0, -2.0, np.inf, -np.inf, np.nan, 1e4, -1e4]

FUNCTIONS = {
    "exp": (sd.exp, np.exp),
    "log": (sd.log, np.log),
    "sqrt": (sd.sqrt, np.sqrt),
    "tanh": (sd.tanh, np.tanh),
    "inverse": (lambda v: 1 / v, lambda v: 1 / v),
    "softplus": (lambda v: sd.log1p(sd.exp(v - 1)), lambda v: np.log1p(np.exp(v - 1))),
    "power": (lambda v: abs(v) ** 1.5, lambda v: np.abs(v) ** 1.5),
}


def columns(of):
    @sd.kernel
    def scaled(A, x):
        i, j = sd.indices("i j")
        Y = sd.output()
        Y[i, j] = A[i, j] * of(x[j])
        return Y

    return scaled


def rows(of):
    @sd.kernel
    def scaled(A, x):
        i, j = sd.indices("i j")
        Y = sd.output()
        Y[i, j] = A[i, j] * of(x[i])
        return Y

    return scaled


def product(of):
    @sd.kernel
    def summed(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.sum(A[i, j] * of(x[j]), over=j)
        return y

    return summed


@sd.kernel
def beforehand(A, x):
    i, j = sd.indices("i j")
    t, Y = sd.output(), sd.output()
    t[j] = sd.exp(x[j])
    Y[i, j] = A[i, j] * t[j]
    return Y


def matrix(rows, columns, count, dtype="float64"):
    rng = np.random.default_rng(rows + count)
    dense = np.zeros((rows, columns), dtype)
    where = rng.integers(0, rows, count), rng.integers(0, columns, count)
    dense[where] = rng.integers(-3, 4, count)
    if np.dtype(dtype).kind == "c":
        dense[where] += 1j * rng.integers(-3, 4, count)
    return dense


def same(found, expected, rounded="float64"):
    """Compare with NumPy: what is not finite is at the same places.

    ``rounded`` is the dtype that functions are rounded to before they are multiplied.
    """
    values = found.toarray() if sp.issparse(found) else found
    assert values.dtype == expected.dtype
    tolerance = 1e-6 if 32 in (np.finfo(d).bits for d in (expected.dtype, rounded)) else 1e-13
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_values_of_numpy_and_sparse_where_factors_are_finite(name, odd):
    ours, theirs = FUNCTIONS[name]
    A = matrix(5, 4, 8)
    for x in (np.array([1.5, 2.0, 0.5, 3.0]), np.array([1.5, odd, 0.25, odd])):
        with np.errstate(all="ignore"):
            factor = theirs(x)
            expected = A * factor
        found = columns(ours)(sp.csr_array(A), x)
        assert sp.issparse(found)
        assert (found.nnz == np.count_nonzero(A)) == np.isfinite(factor).all()
        same(found, expected)
        with np.errstate(all="ignore"):
            same(rows(ours)(sp.csr_array(A.T.copy()), x), A.T * factor[:, None])
            same(product(ours)(sp.csr_array(A), x), expected.sum(axis=1))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(60, 40, 0), (200, 100, 15_000)])
def test_small_and_large_operands(name, shape):
    ours, theirs = FUNCTIONS[name]
    A = matrix(*shape)
    x = np.linspace(0.5, 3, shape[1])
    for values in (x, np.where(x > 2.9, np.inf, x)):
        with np.errstate(all="ignore"):
            expected = A * theirs(values)
            for _ in range(3):  # the third call is prepared
                same(columns(ours)(sp.csr_array(A), values), expected)
            same(product(ours)(sp.csr_array(A), values), expected.sum(axis=1))
            same(columns(ours)(sp.csc_array(A), values), expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_at_all(shape):
    A, x = np.zeros(shape), np.ones(shape[1])
    found = columns(sd.exp)(sp.csr_array(A), x)
    assert sp.issparse(found)
    assert found.shape == shape
    np.testing.assert_array_equal(product(sd.exp)(sp.csr_array(A), x), np.zeros(shape[0]))


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("other", ["int64", "float32", "float64", "complex128"])
def test_dtypes_are_those_of_numpy(dtype, other):
    A, x = matrix(5, 4, 8, dtype), np.array([1, 2, -1, 3], other)
    found = columns(sd.exp)(sp.csr_array(A), x)
    assert sp.issparse(found)
    same(found, A * np.exp(x), np.exp(x).dtype)


def test_bits_are_those_of_the_vector_computed_first():
    A, x = sp.csr_array(matrix(200, 100, 15_000)), np.linspace(-5, 5, 100)
    found, wanted = columns(sd.exp)(A, x), beforehand(A, x)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.data, wanted.data)


def test_values_written_between_calls_are_seen():
    kernel, A, x = columns(sd.exp), sp.csr_array(matrix(5, 4, 8)), np.ones(4)
    for value, sparse in ((1.0, True), (2.0, True), (1e4, False), (-1e4, True), (np.nan, False)):
        x[1] = value
        with np.errstate(all="ignore"):
            expected = A.toarray() * np.exp(x)
        for _ in range(3):
            found = kernel(A, x)
            assert sp.issparse(found)
            assert (found.nnz == A.nnz) == sparse
            same(found, expected)


def test_implicit_zeros_annihilate_infinities_if_asked():
    A, x = matrix(5, 4, 8), np.array([1.0, 1e4, -1.0, 2.0])
    found = sd.evaluate(
        "Y[i,j] = A[i,j] * exp(x[j])", A=sp.csr_array(A), x=x, semantics="annihilator"
    )
    assert sp.issparse(found)
    with np.errstate(all="ignore"):
        expected = np.where(A != 0, A * np.exp(x), 0)
    same(found, expected)


def test_gradients_by_the_operand_of_a_function():
    @sd.kernel
    def energy(A, x):
        i, j = sd.indices("i j")
        e = sd.output()
        e[()] = sd.sum(A[i, j] * sd.exp(x[j]), over=(i, j))
        return e

    for shape in ((5, 4, 8), (200, 100, 15_000)):
        A, x = matrix(*shape), np.linspace(-1, 1, shape[1])
        found = sd.grad(energy, wrt="x")(sp.csr_array(A), x)
        same(np.asarray(found), A.sum(axis=0) * np.exp(x))


def test_explain_shows_what_is_computed_first():
    A, x = sp.csr_array(matrix(5, 4, 8)), np.ones(4)
    told = str(columns(sd.exp).explain(A, x))
    assert "once0[j] = exp(x[j])" in told
    assert "checked at each call to be finite: once0" in told
