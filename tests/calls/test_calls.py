"""Repeated calls: what is remembered from one to the next, and what is looked at anew."""

import gc
import itertools
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
from kernels_called import matrix, product, spgemm, spmv, unsorted

import sparsedsl as sd
from sparsedsl.calls.seen import MISS, mark


def test_calls_keep_no_operand_alive():
    def operands():
        A, B = matrix(), matrix(1)
        return [A, B, sd.asarray(A), sd.asarray(B)]

    held = operands()
    data = [weakref.ref(held[k].data) for k in (0, 1)]
    compiled = product.compile(*held[2:])
    for _ in range(3):
        product(*held[:2])
        product(*held[2:])
        compiled(*held[2:])
    del held
    gc.collect()
    assert [reference() for reference in data] == [None, None]


def test_the_next_call_may_be_of_any_kind():
    A, B, x = matrix(), matrix(1), np.arange(5.0)
    calls = [
        (A, x),
        (A, x),
        (A, x.copy()),
        (B, x),
        (A, x.astype(np.float32)),
        (A, np.arange(10.0)[::2]),
        (sd.asarray(A), x),
        (sd.asarray(A), sd.asarray(x)),
        (matrix(2, (3, 2)), x[:2]),
        (A.tocsc(), x),
        (A, list(x)),
    ]
    for A_, x_ in (*calls, *reversed(calls)):
        dense = A_.to_numpy() if isinstance(A_, sd.Tensor) else A_.toarray()
        values = x_.to_numpy() if isinstance(x_, sd.Tensor) else x_
        for _ in range(2):
            np.testing.assert_array_equal(spmv(A_, x_), dense @ values)
    for _ in range(2):
        with pytest.raises(sd.NotationError):
            spmv(A, x[:4])


@pytest.mark.parametrize("count", [1, 3, 20])
def test_some_matrices_in_turn_are_each_met_again(count):
    kernel, x = sd.kernel(spmv.function), np.arange(5.0)
    matrices = [matrix(seed) for seed in range(count)]
    matrices.append(sp.random_array((500, 5), density=0.5, format="csr", rng=0))
    runner = kernel.engine._runner
    for turn in range(4):
        for A in matrices:
            A.data *= 1 + turn
            np.testing.assert_allclose(kernel(A, x), A @ x)
    assert all(runner.again((A, x)) is not MISS for A in matrices)
    infinite = np.array([0.0, 1.0, np.inf, 3.0, 4.0])
    assert all(runner.again((A, infinite)) is MISS for A in matrices)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(
            kernel(matrices[1], infinite), matrices[1].toarray() @ infinite
        )
    gone = weakref.ref(matrices.pop())
    del A
    gc.collect()
    assert gone() is None
    np.testing.assert_allclose(kernel(matrices[0], x), matrices[0] @ x)


def test_a_matrix_that_gets_new_arrays_is_prepared_for_once():
    kernel, x = sd.kernel(spmv.function), np.arange(5.0)
    A, B = matrix(1), matrix(2)
    for turn in range(12):
        A.data = A.data + turn
        for other in (A, B):
            np.testing.assert_allclose(kernel(other, x), other @ x)
            np.testing.assert_allclose(kernel(other, x.astype("float32")), other @ x)
    # one for each matrix and kind of vector
    assert len(kernel.engine._runner._prepared) == 4
    old = weakref.ref(A.data)
    A.data = A.data.copy()
    for _ in range(2):
        kernel(A, x)
        kernel(A, x.astype("float32"))
    gc.collect()
    assert old() is None


def test_pairs_of_objects_have_marks_of_their_own():
    many = [object() for _ in range(60)]
    pairs = list(itertools.product(many, many))
    assert len({mark((0, 1), pair) for pair in pairs}) == len(pairs)


def test_pairs_of_matrices_in_turn_are_each_met_again():
    kernel = sd.kernel(product.function)
    matrices = [matrix(seed) for seed in range(5)]
    dense = [A.toarray() for A in matrices]
    for turn in range(12):
        for k, A in enumerate(matrices):
            for n, B in enumerate(matrices):
                if turn > 2:
                    assert kernel.engine._runner.again((A, B)) is not MISS
                np.testing.assert_allclose(kernel(A, B).toarray(), dense[k] * dense[n])
    with pytest.raises(sd.NotationError):
        kernel(matrices[0])
    # more than are kept: none is met soon enough
    kept = kernel.engine._runner._prepared
    more = [matrix(seed) for seed in range(100, 150)]
    for A in (*more, *more):
        np.testing.assert_allclose(kernel(A, A).toarray(), A.toarray() ** 2)
    assert kernel.engine._runner._prepared == kept


def test_options_apply_to_the_next_call():
    A, x = matrix(), np.arange(5.0)
    for _ in range(3):
        spmv(A, x)
    with sd.options(safe=True, cache=False):
        np.testing.assert_array_equal(spmv(A, x), A @ x)
    np.testing.assert_array_equal(spmv(A, x), A @ x)


@sd.kernel
def scaled(A, x, d):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = d * A[i, j] * x[j]
    return y


@pytest.mark.parametrize("kind", [float, int, complex, bool, np.float32, np.int8, np.array])
def test_scalars_are_known_again_by_their_dtypes(kind):
    kernel, A, x = sd.kernel(scaled.function), matrix(), np.arange(5.0)
    for _ in range(3):
        kernel(A, x, kind(3))
    for value in (1, 2):
        found = kernel.engine.again((A, x, kind(value)))
        assert found is not MISS
        expected = kind(value) * (A @ x)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    compiled = kernel.compile(A, x, kind(3))
    for value in (3, 2, 1):
        np.testing.assert_array_equal(compiled(A, x, kind(value)), kind(value) * (A @ x))


def test_a_scalar_that_is_not_finite_is_met():
    A, x = matrix(), np.arange(5.0)
    for _ in range(3):
        scaled(A, x, 2.0)
    found = scaled(A, x, np.inf)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found, (np.inf * A.toarray() * x).sum(axis=1))


@pytest.mark.parametrize("many", [np.arange(15.0).reshape(5, 3), np.arange(10)[::-1].reshape(5, 2)])
def test_columns_of_matrices_are_known_again_and_read_anew(many):
    kernel, A, column = sd.kernel(spmv.function), matrix(), many[:, 1]
    for _ in range(3):
        kernel(A, column)
    many[2] = 7
    for x in (column, many[:, 0], many[::-1, 1]):
        found = kernel.engine.again((A, x))
        assert found is not MISS
        np.testing.assert_array_equal(found, A @ x)


def test_read_only_arguments_need_no_code_of_their_own():
    A, x = matrix(), np.arange(5.0)
    kernel = sd.kernel(spmv.function)
    kernel(A, x)
    special = kernel.engine.specialise([sd.asarray(A), sd.asarray(x)])
    entry = special.prepare(0).entry
    arguments = A.indptr, A.data, A.indices, x, np.empty(5), 0, 5
    before = entry.function(arguments)
    for array in (A.data, A.indices, A.indptr, x):
        array.flags.writeable = False
    np.testing.assert_array_equal(kernel(A, x), A.toarray() @ x)
    assert entry.function(arguments) is before


def test_arguments_that_are_not_aligned():
    x = np.zeros(5 * 8 + 1, np.uint8)[1:].view(np.float64)
    x[:] = np.arange(5.0)
    A = matrix()
    for _ in range(3):
        np.testing.assert_array_equal(spmv(A, x), A @ np.arange(5.0))


@pytest.mark.parametrize("name", ["csr", "csc"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_scipy_results_are_as_from_the_constructor(name, index):
    A = matrix().asformat(name)
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)
    found = sd.asarray(A).to_scipy()
    found.check_format(full_check=True)
    kind = type(A)
    made = kind((A.data, A.indices, A.indptr), shape=A.shape)
    assert type(found) is kind
    assert vars(found).keys() - vars(made).keys() <= {
        "_has_canonical_format",
        "_has_sorted_indices",
    }
    assert found.shape == made.shape
    assert found.has_canonical_format
    assert found.indices.dtype == index
    for operation in (
        lambda m: m @ m.T,
        lambda m: m + m,
        lambda m: m.T,
        lambda m: m[1:3, [0, 2]],
        lambda m: m.tocoo(),
        lambda m: m.multiply(m),
    ):
        np.testing.assert_array_equal(operation(found).toarray(), operation(made).toarray())
    found[0, 0] = 7.0
    made[0, 0] = 7.0
    np.testing.assert_array_equal(found.toarray(), made.toarray())
    again = sd.asarray(A).to_scipy()
    np.testing.assert_array_equal(again.toarray(), A.toarray())


@pytest.mark.parametrize("out", ["csr", "csc", "coo", "dcsr", "bitmap"])
def test_every_call_gives_scipy_a_matrix_of_its_own(out):
    A, B = matrix(), matrix(1)
    kernel = sd.kernel(product.function, out=out)
    expected = A.toarray() * B.toarray()
    found = [kernel(A, B) for _ in range(4)]
    for made in found:
        if made.format in ("csr", "csc"):
            made.check_format(full_check=True)
        assert type(made) is type(found[0])
        np.testing.assert_array_equal(made.toarray(), expected)
    found[0].data[:] = 0
    np.testing.assert_array_equal(found[3].toarray(), expected)
    np.testing.assert_array_equal(kernel(B, A).toarray(), expected)


@pytest.mark.parametrize("bind", [lambda x: x, sd.asarray])
def test_every_call_of_compute_writes_to_out(bind):
    A, B = matrix(), matrix(1)
    operands = bind(A), bind(B)
    compiled = product.compile(*operands)
    C = compiled.assemble(*operands)
    for factor in (1.0, 1.0, 2.0, 2.0, 1.0, 3.0):
        A.data[:] = matrix().data * factor
        assert compiled.compute(*operands, out=C) is C
        found = sd.asarray(C).to_numpy()
        np.testing.assert_array_equal(found, A.toarray() * B.toarray())
    A.data[:] = 0.0
    with pytest.raises(sd.InvalidTensorError, match="another pattern"):
        compiled.compute(*operands, out=C)
    np.testing.assert_array_equal(sd.asarray(C).to_numpy(), found)


def test_values_that_compute_wrote_are_looked_at_anew():
    A, B = matrix(), sd.asarray(matrix())
    compiled = product.compile(A, B)
    C = compiled.assemble(A, B)
    other = sp.csr_array((5, 5))
    assert spgemm(C, other).nnz == 0  # C is finite
    A.data[0] = np.inf
    compiled.compute(A, B, out=C)
    with np.errstate(invalid="ignore"):
        expected = C.to_numpy() @ other.toarray()
    np.testing.assert_array_equal(sd.asarray(spgemm(C, other)).to_numpy(), expected)


def test_compute_needs_the_arrays_of_out_themselves():
    A, B = matrix(), matrix(1)
    compiled = product.compile(A, B)
    C = unsorted(compiled.assemble(A, B))
    before = C.data.copy()
    for _ in range(3):
        with pytest.raises(sd.InvalidTensorError, match="what assemble returned"):
            compiled.compute(A, B, out=C)
    np.testing.assert_array_equal(C.data, before)


def test_a_dense_result_lies_as_its_loops_meet_it():
    A = matrix()
    X = np.random.default_rng(0).random((A.shape[0], 4))
    found = sd.einsum("ik,ij->kj", X, A)
    assert found.flags.f_contiguous
    np.testing.assert_allclose(found, X.T @ A.toarray())
    again = sd.einsum("ik,ij->kj", X, A)
    np.testing.assert_array_equal(again, found)
    assert sd.einsum("ij,jk->ik", A, np.ones((A.shape[1], 3))).flags.c_contiguous


def test_a_dense_result_is_stored_by_columns_where_rows_are_turned():
    A = matrix()
    Y = np.random.default_rng(0).random((4, A.shape[0]))
    found = sd.einsum("ki,ij->kj", Y, A)
    assert found.flags.f_contiguous
    np.testing.assert_allclose(found, Y @ A.toarray())


@sd.kernel
def steps(A, x):
    i, j, k = sd.indices("i j k")
    largest, y = sd.output(), sd.output()
    largest[()] = sd.max(A[i, j], over=(i, j))
    y[i] = A[i, j] * A[j, k] * x[k] / largest[()]
    return y, largest


def test_several_kernels_are_prepared_together():
    A = sp.random_array((40, 40), density=0.2, format="csr", rng=np.random.default_rng(0))
    runner = steps.engine._runner
    for n in range(12):
        x = np.random.default_rng(n).random(40)
        if n > 2:
            assert runner.again((A, x)) is not MISS
        if n == 9:
            A.data *= 2.0
        y, largest = steps(A, x)
        np.testing.assert_allclose(y, A @ (A @ x) / A.max())
        assert largest == A.max()
    overflowing = np.full(40, 1e308)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = A @ (A @ overflowing) / A.max()
        np.testing.assert_array_equal(np.isfinite(steps(A, overflowing)[0]), np.isfinite(expected))
    del A
    gc.collect()
    assert all(one.seen is None for one in runner._prepared)


@sd.kernel
def sparse_steps(A, x):
    i, j, k = sd.indices("i j k")
    square, C = sd.output("csr"), sd.output()
    square[i, j] = A[i, k] * A[k, j]
    C[i, j] = square[j, i] * x[j]
    return C


def test_sparse_results_between_kernels_may_grow_and_shrink():
    A = sp.random_array((40, 40), density=0.2, format="csr", rng=np.random.default_rng(0))
    runner, x = sparse_steps.engine._runner, np.arange(40.0)
    for n in range(12):
        if n > 2:
            assert runner.again((A, x)) is not MISS
        # entries that are zero are not stored
        A.data[: 5 * n] = 0.0
        A.data[5 * n :] = n + 1
        expected = (A @ A).T.toarray() * x
        np.testing.assert_allclose(sparse_steps(A, x).toarray(), expected)


def test_new_operands_at_each_call_are_not_prepared_for():
    x = np.ones(5)
    runner = spmv.engine._runner
    kept = [matrix(n) for n in range(20, 30)]
    before = runner._prepared
    for A in kept:
        np.testing.assert_allclose(spmv(A, x), A @ x)
    assert runner._prepared == before


@pytest.mark.parametrize("form", ["dia", "bsr"])
def test_rows_of_a_product_that_loops_do_not_meet_in_order_are_gathered(form):
    A = sp.csr_array(sp.diags_array([[1.0, 2, 3, 4], [5.0, 6, 7]], offsets=[0, 1]))
    B = sp.random_array((4, 6), density=0.5, format="csr", rng=np.random.default_rng(0))
    A = A.asformat(form)
    C = spgemm(A, B)
    np.testing.assert_allclose(C.toarray(), A.toarray() @ B.toarray())
    assert "sort of the entries" not in spgemm.explain(A, B)


def test_compiled_kernels_refuse_extents_that_their_indices_do_not_hold():
    @sd.kernel(out="coo")
    def copy(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = 2 * A[i, j]
        return C

    blocks = sd.layouts["bcsr"](2, 2)
    small = sd.convert(sp.csr_array(np.eye(4)), blocks)
    arrays = {name: array.copy() for name, array in small.arrays.items()}
    arrays["indices"][:] = 0, 2**31 - 1
    wide = sd.from_arrays(blocks, (4, 2**34), arrays)
    np.testing.assert_array_equal(copy(wide).arrays["crd1"], [0, 1, 2**32 - 2, 2**32 - 1])
    compiled = copy.compile(small)
    np.testing.assert_array_equal(compiled(small).arrays["crd1"], [0, 1, 2, 3])
    with pytest.raises(sd.PlanError, match="expected less than 2147483648 values of j"):
        compiled(wide)


@pytest.mark.parametrize("given", [[1, 2, 3], [1.0, 2.0, 3.0], [True, False, True], [1j, 2, 0]])
def test_lists_are_as_arrays(given):
    @sd.kernel
    def scaled(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    A = sp.csr_array(np.array([[1.0, 0, 2], [0, 3, 0]]))
    for _ in range(12):
        found = scaled(A, given)
        assert found.dtype == np.result_type(np.float64, np.asarray(given).dtype)
        np.testing.assert_array_equal(found, A.toarray() @ np.asarray(given))
    for refused in ([[1], [2, 3]], ["a", "b", "c"], [A, A, A], [sd.asarray(A)] * 3, [None] * 3, []):
        with pytest.raises(sd.SparseDSLError):
            scaled(A, refused)
