"""What users see: results, choices, errors, compiled kernels, operators."""

import numba
import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.runtime import cache


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def spgemm(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def matrix(shape=(6, 5), seed=0, layout="csr", dtype=float):
    rng = np.random.default_rng(seed)
    dense = rng.integers(-3, 4, shape) * (rng.random(shape) < 0.5)
    return sp.csr_array(dense.astype(dtype)).asformat(layout)


# ---- results -------------------------------------------------------------------------


def test_dense_results_are_numpy():
    A = matrix()
    y = spmv(A, np.arange(5.0))
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, A @ np.arange(5.0))


def test_scalar_results():
    A = matrix()
    total = sd.einsum("ij->", A)
    assert np.ndim(total) == 0
    assert total == A.sum()


def test_sparse_results_are_scipys_where_arguments_were():
    A, B = matrix(), matrix((5, 7), 1)
    C = spgemm(A, B)
    assert isinstance(C, sp.csr_array)
    assert C.has_canonical_format
    assert C.data.all()
    np.testing.assert_array_equal(C.toarray(), (A @ B).toarray())


def test_sparse_results_are_tensors_otherwise():
    A, B = matrix(), matrix((5, 7), 1)
    for left, right in ((sd.asarray(A), B), (A, sd.asarray(B))):
        C = spgemm(left, right)
        assert isinstance(C, sd.Tensor)
        np.testing.assert_array_equal(C.to_numpy(), (A @ B).toarray())
    v = sd.asarray(np.array([0.0, 2.0, 0.0, 1.0, 0.0]), "csf")
    w = sd.einsum("i,i->i", v, v)
    assert isinstance(w, sd.Tensor)
    np.testing.assert_array_equal(w.to_numpy(), [0, 4, 0, 1, 0])


def test_cancelled_entries_are_not_stored():
    A = matrix()
    zero = sd.evaluate("C[i,j] = A[i,j] - B[i,j]", A=A, B=A.copy())
    assert zero.nnz == 0
    assert zero.shape == A.shape


def test_spmatrix_arguments():
    A, B = sp.csr_matrix(matrix()), sp.csr_matrix(matrix((5, 7), 1))
    C = spgemm(A, B)
    assert sp.issparse(C)
    np.testing.assert_array_equal(C.toarray(), (A @ B).toarray())


@pytest.mark.parametrize("left", ["float32", "int16", "bool", "complex64"])
@pytest.mark.parametrize("right", ["float32", "int64"])
def test_dtypes_are_numpys(left, right):
    A, B = matrix(dtype=left), matrix(dtype=right)
    with np.errstate(all="ignore"):
        expected = A.toarray() * B.toarray()
    C = sd.evaluate("C[i,j] = A[i,j] * B[i,j]", A=A, B=B)
    assert C.dtype == expected.dtype
    np.testing.assert_array_equal(C.toarray(), expected)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
def test_arguments_that_are_not_canonical(layout):
    rows, columns = np.array([2, 0, 2, 0, 1, 2]), np.array([1, 2, 1, 0, 1, 0])
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    if layout == "coo":
        A = sp.coo_array((values, (rows, columns)), (3, 3))
    else:
        # the same entries by hand: duplicates kept, indices unsorted
        major, minor = (rows, columns) if layout == "csr" else (columns, rows)
        order = np.argsort(major, kind="stable")
        indptr = np.searchsorted(major[order], np.arange(4))
        kind = sp.csr_array if layout == "csr" else sp.csc_array
        A = kind((values[order], minor[order], indptr), (3, 3))
    names = ("row", "col", "data") if layout == "coo" else ("indptr", "indices", "data")
    before = {n: getattr(A, n).copy() for n in names}
    expected = A.toarray()
    x = np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(spmv(A, x), expected @ x)
    np.testing.assert_array_equal(spgemm(A, A).toarray(), expected @ expected)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(A, name), array)


def test_arguments_are_not_changed():
    A, x = matrix(), np.arange(5.0)
    before = A.copy(), x.copy()
    spmv(A, x)
    spgemm(A, A.T)
    np.testing.assert_array_equal(A.toarray(), before[0].toarray())
    np.testing.assert_array_equal(x, before[1])


# ---- errors --------------------------------------------------------------------------


def test_shapes_that_disagree_name_both_operands():
    with pytest.raises(sd.NotationError) as caught:
        spmv(matrix((6, 5)), np.ones(4))
    text = str(caught.value)
    assert "A, mode 1" in text
    assert "x, mode 0" in text
    assert "5" in text
    assert "4" in text
    assert "A[i, j] * x[j]" in text


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: spmv(matrix()), sd.NotationError),
        (lambda: spmv(matrix(), np.ones(5), 3), sd.NotationError),
        (lambda: spmv("A", np.ones(5)), sd.InvalidTensorError),
        (lambda: spmv(None, np.ones(5)), sd.InvalidTensorError),
        (lambda: spmv(matrix(), np.ones((5, 2))), sd.NotationError),
        (lambda: sd.kernel(3), sd.NotationError),
        (lambda: sd.kernel(semantics="exact"), sd.PlanError),
        (lambda: sd.kernel(find=3), sd.PlanError),
        (lambda: sd.kernel(parallel="yes"), sd.PlanError),
        (lambda: sd.kernel(order=["i"]), sd.PlanError),
        (lambda: sd.kernel(order="i q")(spmv.function)(matrix(), np.ones(5)), sd.PlanError),
        (lambda: sd.kernel(workspace="x")(spgemm.function)(matrix(), matrix().T), sd.PlanError),
        (lambda: sd.kernel(out="csx")(spgemm.function)(matrix(), matrix().T), sd.LayoutError),
        (lambda: sd.einsum("ij,jk->ik", matrix()), sd.NotationError),
        (lambda: sd.einsum("ij,jk->iq", matrix(), matrix().T), sd.NotationError),
        (lambda: sd.einsum(3, matrix()), sd.NotationError),
        (lambda: sd.einsum("ij,jk->ik", matrix(), matrix()), sd.NotationError),
        (lambda: sd.evaluate("y[i] = A[i,j", A=matrix()), sd.NotationError),
        (lambda: sd.evaluate("y[i] = A[i,j] * z[j]", A=matrix()), sd.NotationError),
        (lambda: sd.convert(matrix(), "csx"), sd.LayoutError),
        (lambda: sd.asarray(matrix()) @ np.ones((2, 2, 2)), sd.NotationError),
        (lambda: sd.asarray(matrix()) + matrix((5, 6)), sd.NotationError),
        (lambda: sd.asarray(matrix()).sum(2), sd.NotationError),
    ],
)
def test_mistakes(call, error):
    with pytest.raises(error):
        call()


# ---- choices -------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["dense", "csr", "csc", "coo"])
def test_out(out):
    A, B = matrix(), matrix((5, 7), 1)
    expected = (A @ B).toarray()
    found = sd.kernel(out=out)(spgemm.function)(A, B)
    if out == "dense":
        np.testing.assert_array_equal(found, expected)
    else:
        assert found.format == out
        np.testing.assert_array_equal(found.toarray(), expected)


def test_out_of_an_output_wins():
    @sd.kernel(out="csr")
    def product(A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output("csc")
        C[i, j] = A[i, k] * B[k, j]
        return C

    assert product(matrix(), matrix((5, 7), 1)).format == "csc"


@pytest.mark.parametrize("choices", [{"order": "i k j"}, {"order": "k i j"}, {"order": "j i k"}])
def test_order(choices):
    A, B = matrix(), matrix((5, 7), 1)
    kernel = sd.kernel(**choices)(spgemm.function)
    np.testing.assert_array_equal(kernel(A, B).toarray(), (A @ B).toarray())


@pytest.mark.parametrize("workspace", ["auto", "dense", "hash", "sort"])
def test_workspace(workspace):
    A, B = matrix(), matrix((5, 7), 1)
    found = sd.kernel(workspace=workspace)(spgemm.function)(A, B)
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), (A @ B).toarray())


def test_semantics():
    A, x = sp.csr_array(np.diag([1.0, 2.0])), np.array([np.inf, 1.0])
    np.testing.assert_array_equal(spmv(A, x), [np.inf, np.nan])
    chosen = sd.kernel(semantics="annihilator")(spmv.function)
    np.testing.assert_array_equal(chosen(A, x), [np.inf, 2.0])


# ---- lowered and compiled ------------------------------------------------------------


def test_lowered():
    A, B = matrix(), matrix((5, 7), 1)
    lowered = spgemm.lower(A, B)
    assert "A_indptr(" in lowered.iteration_space
    assert "scan A" in lowered.plan
    assert "def kernel(" in lowered.source
    assert lowered.cost > 0
    assert lowered.proofs
    for proof in lowered.proofs:
        assert proof.verdict in ("proved", "unknown")
        assert proof.goal
        assert proof.seconds >= 0
        assert proof.allows
    text = lowered.explain()
    for part in ("C[i, j] = ", "output C", "A: float64 in csr", "plan", "proofs"):
        assert part in text
    np.testing.assert_array_equal(lowered.compile()(A, B).toarray(), (A @ B).toarray())


def test_lowering_needs_no_data():
    lowered = spgemm.lower(sd.ShapeOf((1000, 1000), nnz=5000), sd.ShapeOf((1000, 1000), nnz=5000))
    assert "def kernel(" in lowered.source


def test_compiled():
    A, x = matrix(), np.arange(5.0)
    compiled = spmv.compile(A, x)
    np.testing.assert_array_equal(compiled(A, x), A @ x)
    out = np.full(6, 7.0)
    assert compiled.compute(A, x, out=out) is out
    np.testing.assert_array_equal(out, A @ x)
    for wrong in (np.zeros(5), np.zeros(6, "float32"), np.zeros(12)[::2]):
        with pytest.raises(sd.InvalidTensorError, match="expected out"):
            compiled.compute(A, x, out=wrong)
    with pytest.raises(sd.InvalidTensorError, match="csc"):
        compiled(A.tocsc(), x)
    with pytest.raises(sd.NotationError):
        compiled(A)


def test_compute_fills_a_pattern():
    A, B = matrix(), matrix((5, 7), 1)
    for left, right in ((A, B), (sd.asarray(A), sd.asarray(B))):
        compiled = spgemm.compile(left, right)
        C = compiled.assemble(left, right)
        data = C.data if sp.issparse(C) else C.values
        np.testing.assert_array_equal(data, spgemm(A, B).data)
        A.data *= 2
        assert compiled.compute(left, right, out=C) is C
        np.testing.assert_array_equal(data, spgemm(A, B).data)
        A.data /= 2
    compiled = spgemm.compile(A, B)
    C = compiled.assemble(A, B)
    before = C.toarray()
    for wrong in (C.tocsc(), C.astype("float32"), C[:, :3], np.zeros((6, 7)), compiled.assemble):
        with pytest.raises(sd.InvalidTensorError):
            compiled.compute(A, B, out=wrong)
    other = A.copy()
    other.data[:] = 0
    with pytest.raises(sd.InvalidTensorError, match="another pattern"):
        compiled.compute(other, B, out=C)
    np.testing.assert_array_equal(C.toarray(), before)


def test_compute_does_not_write_to_an_operand():
    A = matrix((5, 5))
    x = np.arange(5.0)
    compiled = spmv.compile(A, x)
    with pytest.raises(sd.InvalidTensorError, match="no operand"):
        compiled.compute(A, x, out=x)
    with pytest.raises(sd.InvalidTensorError, match="an array"):
        compiled.compute(A, x, out=A)


def test_njit_is_callable_from_compiled_code():
    A, x = matrix(), np.arange(5.0)
    compiled = spmv.compile(A, x)
    kernel = compiled.njit
    names = list(kernel.py_func.__code__.co_varnames[: kernel.py_func.__code__.co_argcount])
    given = {
        "A_indptr": A.indptr,
        "A_indices": A.indices,
        "A_data": A.data,
        "x_data": x,
        "y_data": np.zeros(6),
        "n_i": 6,
        "n_j": 5,
    }
    arguments = tuple(given[n] for n in names)

    @numba.njit
    def twice(arguments):
        kernel(*arguments)
        return 2

    assert twice(arguments) == 2
    np.testing.assert_array_equal(given["y_data"], A @ x)


def test_second_call_finds_the_kernel_on_disk(tmp_path):
    A, x = matrix(), np.arange(5.0)
    with sd.options(cache_dir=str(tmp_path)):
        expected = sd.kernel(spmv.function)(A, x)
        kernels = cache.default().info().kernels
        assert kernels == 1
        again = sd.kernel(spmv.function)
        np.testing.assert_array_equal(again(A, x), expected)
        assert cache.default().info().kernels == kernels


def test_options_in_force():
    A, x = matrix(), np.arange(5.0)
    with sd.options(safe=True, cache=False):
        np.testing.assert_array_equal(sd.kernel(spmv.function)(A, x), A @ x)


# ---- einsum, strings, operators ------------------------------------------------------


@pytest.mark.parametrize(
    "spec", ["ij,jk->ik", "ij,jk", "ij,jk->ki", "ij,jk->i", "ij,jk->", "ij,jk->j"]
)
def test_einsum(spec):
    A, B = matrix(), matrix((5, 7), 1)
    found = sd.einsum(spec, A, B)
    found = found.toarray() if sp.issparse(found) else found
    np.testing.assert_array_equal(found, np.einsum(spec, A.toarray(), B.toarray()))


def test_einsum_of_other_rings():
    A = matrix()
    found = sd.einsum("ij->i", A, reduce="max")
    np.testing.assert_array_equal(found, A.toarray().max(axis=1))
    found = sd.einsum("ij,j->i", A, np.arange(5.0), combine="add", reduce="min")
    np.testing.assert_array_equal(found, (A.toarray() + np.arange(5.0)).min(axis=1))


def test_evaluate():
    A, x = matrix(), np.arange(5.0)
    np.testing.assert_array_equal(sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x), A @ x)
    found = sd.evaluate("C[j,i] = A[i,j]", out="csr", A=A)
    assert found.format == "csr"
    np.testing.assert_array_equal(found.toarray(), A.toarray().T)


def test_operators():
    left, right = matrix(), matrix(seed=1)
    A, B = sd.asarray(left), sd.asarray(right)
    a, b = left.toarray(), right.toarray()

    def dense(x):
        return x.to_numpy() if isinstance(x, sd.Tensor) else x

    np.testing.assert_array_equal(dense(A + B), a + b)
    np.testing.assert_array_equal(dense(A - B), a - b)
    np.testing.assert_array_equal(dense(A * B), a * b)
    np.testing.assert_array_equal(dense(A * 2), a * 2)
    np.testing.assert_array_equal(dense(2 * A), a * 2)
    np.testing.assert_array_equal(dense(-A), -a)
    np.testing.assert_array_equal(dense(A @ B.T), a @ b.T)
    np.testing.assert_array_equal(dense(A @ np.arange(5.0)), a @ np.arange(5.0))
    np.testing.assert_array_equal(dense(np.arange(6.0) @ A), np.arange(6.0) @ a)
    for axis in (None, 0, 1, -1, (0, 1)):
        np.testing.assert_array_equal(dense(A.sum(axis)), a.sum(axis))


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr", "ell", "dia", "csf", "dense"])
def test_convert(layout):
    A = matrix()
    found = sd.convert(A, layout)
    assert found.layout.name == layout
    np.testing.assert_array_equal(found.to_numpy(), A.toarray())


def test_shapes_without_entries():
    for shape in ((0, 0), (0, 5), (5, 0)):
        A = sp.csr_array(shape)
        np.testing.assert_array_equal(spmv(A, np.ones(shape[1])), np.zeros(shape[0]))
        C = spgemm(A, sp.csr_array((shape[1], 3)))
        assert C.shape == (shape[0], 3)
        assert C.nnz == 0


def test_huge_logical_shapes():
    n = 2**40
    rows = np.array([1, n - 1])
    A = sd.asarray(sp.coo_array((np.array([2.0, 3.0]), (rows, rows)), (n, n)))
    C = sd.evaluate("C[i,j] = A[i,j] * B[i,j]", out="coo", A=A, B=A)
    coords, values = C.coordinates()
    assert coords.tolist() == [[1, n - 1], [1, n - 1]]
    assert values.tolist() == [4.0, 9.0]
