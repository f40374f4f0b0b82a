"""NumPy's functions of tensors give what they give of arrays, or refuse with what to do."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.errors import TensorTypeError

INF, NAN = np.inf, np.nan

NAMED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
"""Whether ``np.clip`` takes its bounds by these names."""

FUNCTIONS = {
    "square": np.square,
    "square of integers": lambda x: np.square((10 * x).round().astype("int8")),
    "square of bools": lambda x: np.square(x > 0.5),
    "reciprocal": lambda x: np.reciprocal(x + 2),
    "fabs": lambda x: np.fabs(-x),
    "where, three tensors": lambda x: np.where(x > 0, x, -x),
    "where, numbers": lambda x: np.where(x > 0.5, 1.0, -2.0),
    "where, infinity": lambda x: np.where(x != 0, x, INF),
    "where, bools": lambda x: np.where(x > 0.5, True, False),
    "where, indices": lambda x: np.stack(np.where(x > 0.5)),
    "clip": lambda x: np.clip(x, -0.25, 0.5),
    "clip beyond zero": lambda x: np.clip(x, 0.25, 0.5),
    "clip below": lambda x: np.clip(x, None, 0.5),
    **({"clip above, by name": lambda x: np.clip(x, min=0.1, max=None)} if NAMED else {}),
    "clip between tensors": lambda x: np.clip(x, -np.abs(x) / 2, 0.3),
    "clip of a method": lambda x: x.clip(0, 0.5),
    "nan_to_num": lambda x: np.nan_to_num(np.where(x > 0.5, NAN, np.where(x < 0, -INF, x))),
    "nan_to_num with numbers": lambda x: np.nan_to_num(
        np.where(x > 0.5, INF, x), nan=3.0, posinf=4.0
    ),
    "nan_to_num of integers": lambda x: np.nan_to_num((3 * x).round().astype("int16")),
    "round": lambda x: np.round(3 * x),
    "round to decimals": lambda x: np.round(x, 2),
    "around": lambda x: np.around(100 * x, -1),
    "round of a method": lambda x: x.round(1),
    "real and imag": lambda x: np.real(x * (1 + 2j)) + np.imag(x * (1 + 2j)),
    "conj": lambda x: (x * (1 + 2j)).conj(),
    "sum, keepdims": lambda x: np.sum(x, axis=1, keepdims=True),
    "mean": np.mean,
    "mean of columns": lambda x: np.mean(x, axis=0),
    "mean of bools": lambda x: np.mean(x > 0.5, axis=1),
    "mean of integers": lambda x: x.astype("int32").mean(axis=-1),
    "mean, keepdims": lambda x: np.mean(x, axis=(0, 1), keepdims=True),
    "amax, amin": lambda x: np.amax(x, axis=0) - np.amin(x, axis=0),
    "max, min of methods": lambda x: x.max(axis=1) - x.min(),
    "prod": lambda x: (x + 1).prod(axis=0),
    "any, all": lambda x: np.stack([(x > 0.5).any(axis=0), (x < 0.9).all(axis=0)]),
    "count_nonzero": np.count_nonzero,
    "count_nonzero of rows": lambda x: np.count_nonzero(x > 0.2, axis=1),
    "norm": np.linalg.norm,
    "norm, fro": lambda x: np.linalg.norm(x, "fro"),
    "norm, 1": lambda x: np.linalg.norm(x, 1),
    "norm, -inf": lambda x: np.linalg.norm(x, -INF),
    "norm of rows": lambda x: np.linalg.norm(x, axis=1),
    "norm of columns, inf": lambda x: np.linalg.norm(x, INF, axis=0),
    "norm of rows, 0": lambda x: np.linalg.norm(x, 0, axis=1),
    "norm of rows, 1": lambda x: np.linalg.norm(x, 1, axis=1),
    "norm of rows, 3": lambda x: np.linalg.norm(x, 3, axis=1, keepdims=True),
    "norm of integers": lambda x: np.linalg.norm((9 * x).round().astype("int8")),
    "norm of complex numbers": lambda x: np.linalg.norm(x * (3 + 4j)),
    "diagonal": np.diagonal,
    "diagonal above": lambda x: np.diagonal(x, 2),
    "diagonal below": lambda x: x.diagonal(-3),
    "diagonal outside": lambda x: np.diagonal(x, 9),
    "diag": lambda x: np.diag(x, 1),
    "trace": np.trace,
    "trace below": lambda x: np.trace(x, -1),
    "trace of a square": lambda x: (x @ x.T).trace(),
    "trace of narrow integers": lambda x: np.trace((100 * (x @ x.T)).round().astype("int8")),
    "tril": np.tril,
    "triu above": lambda x: np.triu(x, 1),
    "tril of bools": lambda x: np.tril(x > 0.5, -1),
    "nonzero": lambda x: np.stack(np.nonzero(np.where(x > 0.5, x, 0))),
    "argwhere": lambda x: np.argwhere(np.where(x < 0.5, x, 0)),
    "isclose": lambda x: np.isclose(x, x + np.where(x > 0.5, 1e-3, 1e-9)),
    "isclose, NaN": lambda x: np.isclose(np.sqrt(x - 0.5), np.sqrt(x - 0.5), equal_nan=True),
    "isclose to a number": lambda x: np.isclose(x, 0, atol=0.3),
    "allclose": lambda x: np.array([np.allclose(x, x + 1e-9), np.allclose(x, 2 * x)]),
    "array_equal": lambda x: np.array([np.array_equal(x, +x), np.array_equal(x, 2 * x)]),
    "array_equal of shapes": lambda x: np.array(np.array_equal(x, x.T)),
    "inner": lambda x: np.inner(x, x),
    "vdot": lambda x: np.vdot(x * 1j, x),
    "outer": lambda x: np.outer(x.sum(axis=0), x.sum(axis=1)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "matrix_transpose": np.matrix_transpose,
    "transpose of a method": lambda x: x.transpose(),
    "products of methods": lambda x: x.dot(x.T),
    "isnan": lambda x: np.isnan(np.sqrt(x - 0.5)),
    "copy": np.copy,
}


def dense(x):
    if isinstance(x, sd.Tensor):
        return x.to_numpy()
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def stored():
    D = np.random.default_rng(0).normal(0.2, 0.5, (5, 7)).round(2)
    D[np.random.default_rng(1).random((5, 7)) < 0.5] = 0
    D[2] = 0
    return D


ARGUMENTS = {
    "csr": sd.convert(stored(), "csr"),
    "csc": sd.convert(stored(), "csc"),
    "coo": sd.convert(stored(), "coo"),
    "dense": sd.asarray(stored()),
    "fill 0.5": sd.convert(stored(), "csr") + 0.5,
}


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_what_numpy_gives(name, argument):
    x = ARGUMENTS[argument]
    fill_matters = {"nonzero", "argwhere", "where, indices"}
    if argument == "fill 0.5" and name in fill_matters:
        pytest.skip("lists what is not zero")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = FUNCTIONS[name](x), FUNCTIONS[name](x.to_numpy())
    assert np.shape(found) == np.shape(expected)
    assert found.dtype == expected.dtype if hasattr(expected, "dtype") else True
    np.testing.assert_allclose(dense(found), expected, rtol=1e-13, atol=1e-13)


SPARSE = {
    "square": (np.square, 0),
    "where": (lambda x: np.where(x > 0, x, 0), 0),
    "where, infinity": (lambda x: np.where(x != 0, x, INF), INF),
    "where, bools": (lambda x: np.where(x > 0, False, True), True),
    "clip": (lambda x: np.clip(x, 0.25, 1), 0.25),
    "nan_to_num": (lambda x: np.nan_to_num(x, nan=1), 0),
    "round": (lambda x: np.round(x, 2), 0),
    "tril": (np.tril, 0),
    "isclose": (lambda x: np.isclose(x, 2 * x), True),
    "isnan": (np.isnan, False),
}


@pytest.mark.parametrize("name", SPARSE)
def test_what_is_sparse_stays_so(name):
    of, fill = SPARSE[name]
    x = ARGUMENTS["csr"]
    found = of(x)
    assert isinstance(found, sd.Tensor)
    assert found.fill_value == fill
    assert found.nnz <= x.nnz


def test_nothing_of_the_size_of_a_huge_shape_is_made():
    x = sd.asarray(sp.coo_array(([3.0, -4.0], ([5, 2**40], [7, 2**41])), shape=(2**42, 2**42)))
    assert np.linalg.norm(x) == 5
    assert np.count_nonzero(x) == 2
    assert x.mean() == -1 / 2**84
    assert np.max(np.clip(x, -1, 1)) == 1
    assert np.trace(x) == 0
    assert [a.tolist() for a in np.nonzero(x)] == [[5, 2**40], [7, 2**41]]
    assert np.tril(x).nnz == 0


ROWS = {
    "sum": (lambda x, axis: x.sum(axis), [3.0, -4.0], 0),
    "max": (lambda x, axis: np.max(x, axis), [3.0, 0.0], 0),
    "min of a fill": (lambda x, axis: np.min(x + 1, axis), [1.0, -3.0], 1),
    "any": (lambda x, axis: np.any(x > 0, axis), [True, False], False),
    "mean": (lambda x, axis: x.mean(axis), [3.0 / 2**42, -1.0 / 2**40], 0),
    "norm": (lambda x, axis: np.linalg.norm(x, axis=axis), [3.0, 4.0], 0),
    "count_nonzero": (lambda x, axis: np.count_nonzero(x, axis), [1, 1], 0),
}


@pytest.mark.parametrize("layout", ["coo", "dcsr", "dcsc", "csf"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ROWS)
def test_rows_longer_than_memory_are_reduced_to_sparse_vectors(name, axis, layout):
    of, expected, fill = ROWS[name]
    places = np.array([[5, 2**40], [7, 2**41]])
    far = sp.coo_array(([3.0, -4.0], tuple(places)), shape=(2**42, 2**42))
    found = of(sd.asarray(far).convert(layout), axis)
    assert found.shape == (2**42,)
    assert found.fill_value == fill
    coordinates, values = found.coordinates()
    stored = dict(zip(coordinates[0].tolist(), values.tolist(), strict=True))
    wanted = dict(zip(places[1 - axis].tolist(), expected, strict=True))
    assert {**dict.fromkeys(wanted, fill), **stored} == pytest.approx(wanted, rel=1e-12)


def test_a_sum_of_fills_depends_on_their_number_and_is_refused_where_it_is_too_long():
    far = sp.coo_array(([3.0], ([5], [7])), shape=(2**42, 2**42))
    with pytest.raises(sd.PlanError, match=r'would be a dense array .*\n.*sd.output\("csf"\)'):
        np.sum(sd.asarray(far) + 1, axis=1)


REFUSED = {
    "a list of what the fill is": (lambda x: np.nonzero(x + 1), "x != x.fill_value"),
    "an option": (lambda x: np.sum(x, dtype=int), "write a kernel"),
    "singular values": (lambda x: np.linalg.norm(x, 2), "svds"),
    "reciprocals of integers": (lambda x: np.reciprocal(x.astype("int8")), "write 1 / x"),
    "moduli as real numbers": (lambda x: np.fabs(1j * x), "write np.abs(x)"),
    "a matrix of a vector": (lambda x: np.diag(sd.convert(np.eye(3)[0], "coo")), "diags_array"),
    "joining": (lambda x: np.vstack([x, x]), "scipy.sparse.vstack"),
    "a place": (np.argmax, "to_scipy"),
    "order": (np.sort, "x.values"),
    "a solution": (lambda x: np.linalg.solve(x @ x.T, np.ones(5)), "scipy.sparse.linalg"),
    "a variance": (np.var, "np.mean(x * x)"),
    "another shape": (lambda x: np.reshape(x, (7, 5)), "to_scipy"),
    "a ufunc": (np.arcsin, "sd.function"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused_with_a_way(name):
    of, way = REFUSED[name]
    with pytest.raises(TensorTypeError) as caught:
        of(ARGUMENTS["csr"])
    assert way in str(caught.value)


X = np.array([[0.0, 2.5, -1.0], [NAN, -INF, 0.5]])

IN_KERNELS = {
    "square": (np.square, np.square(X)),
    "clip": (lambda x: np.clip(x, 0, 2), np.clip(X, 0, 2)),
    **({"clip by name": (lambda x: np.clip(x, max=0.25), np.clip(X, None, 0.25))} if NAMED else {}),
    "sd.clip": (lambda x: sd.clip(x, -0.5), np.clip(X, -0.5, None)),
    "nan_to_num": (np.nan_to_num, np.nan_to_num(X)),
    "sd.nan_to_num": (lambda x: sd.nan_to_num(x, 1, neginf=2), np.nan_to_num(X, nan=1, neginf=2)),
    "round": (np.round, np.round(X)),
    "where": (lambda x: np.where(x > 0, x, -1), np.where(X > 0, X, -1)),
    "real": (np.real, X),
}


@pytest.mark.parametrize("name", IN_KERNELS)
def test_functions_of_numpy_in_kernels(name):
    of, expected = IN_KERNELS[name]

    def body(x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i, j] = of(x[i, j])
        return y

    np.testing.assert_array_equal(sd.kernel(body)(X), expected)
    read = {"clip": "clip(x[i, j], 0, 2)", "nan_to_num": "nan_to_num(x[i, j])"}.get(name)
    if read:
        np.testing.assert_array_equal(sd.evaluate(f"y[i, j] = {read}", x=X), expected)


NOT_IN_KERNELS = {
    "sum": (lambda x, i, j: np.sum(x[i, j]), "sd.sum(A[i, j], over=j)"),
    "max along an axis": (lambda x, i, j: np.max(x[i, j], axis=1), "sd.max(A[i, j], over=j)"),
    "mean": (lambda x, i, j: np.mean(x[i, j]), "/ A.shape[1]"),
    "norm": (lambda x, i, j: np.linalg.norm(x[i, j]), "sd.sqrt"),
    "trace": (lambda x, i, j: np.trace(x), "A[i, i]"),
    "dot": (lambda x, i, j: np.dot(x[i, j], x[i, j]), "C[i, j] = A[i, k] * B[k, j]"),
    "matmul": (lambda x, i, j: np.matmul(x[i, j], x[i, j]), "C[i, j] = A[i, k] * B[k, j]"),
    "count_nonzero": (lambda x, i, j: np.count_nonzero(x[i, j]), "A[i, j] != 0"),
    "a method": (lambda x, i, j: x[i, j].mean(), "/ A.shape[1]"),
    "rounding to decimals": (lambda x, i, j: np.round(x[i, j], 2), "sd.where"),
    "an option": (lambda x, i, j: np.clip(x[i, j], 0, 1, out=x), "sd.where"),
}


@pytest.mark.parametrize("name", NOT_IN_KERNELS)
def test_what_reduces_is_refused_in_kernels_with_what_to_write(name):
    of, way = NOT_IN_KERNELS[name]

    def body(x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i, j] = of(x, i, j)
        return y

    with pytest.raises(sd.NotationError) as caught:
        sd.kernel(body)(X)
    assert way in str(caught.value)


def test_the_largest_of_nothing_is_a_norm_of_0():
    found = np.linalg.norm(sd.asarray(np.zeros((0, 3)), "csr"), np.inf, axis=0)
    np.testing.assert_array_equal(found, np.zeros(3))
