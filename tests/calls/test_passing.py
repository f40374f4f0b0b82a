"""Small operands that were not met before: checked whole at each call, used and let go."""

import gc
import weakref

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls.passing import Plan
from sparsedsl.interop import in_passing, known
from sparsedsl.runtime import checked


@pytest.fixture(autouse=True)
def machine_code_from_the_start(monkeypatch):
    monkeypatch.setattr(checked, "LOOK", 1e-9)
    monkeypatch.setattr(checked, "COMPILE", 1e-9)
    monkeypatch.setattr(checked, "_loops", {})
    for name in ("csr", "csc"):
        for dtype in (np.int32, np.int64):
            sd.asarray(matrix(0, name, dtype))


@pytest.fixture
def passed(monkeypatch):
    """The operands of each call that was made in passing."""
    calls = []
    run = Plan.run

    def noted(plan, operands):
        calls.append(operands)
        return run(plan, operands)

    monkeypatch.setattr(Plan, "run", noted)
    return calls


def matrix(seed, layout="csr", dtype=np.int32, shape=(20, 24)):
    rng = np.random.default_rng(seed)
    A = sp.random_array(shape, density=0.2, format=layout, rng=rng)
    return type(A)((A.data, A.indices.astype(dtype), A.indptr.astype(dtype)), shape=A.shape)


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def together(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@sd.kernel
def overlap(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_new_matrices_give_what_scipy_gives(layout, dtype, passed):
    for seed in range(8):
        # sizes vary within their orders of magnitude, so that the kind stays what it is
        shape = 16 + seed, 24 + seed
        A, B = (matrix(seed + k, layout, dtype, shape) for k in (0, 100))
        x = np.random.default_rng(seed).random(shape[1])
        np.testing.assert_allclose(spmv(A, x), A @ x)
        for kernel, expected in ((together, A + B), (overlap, A.multiply(B))):
            made = kernel(A, B)
            assert (made.format, made.dtype) == (layout, np.float64)
            np.testing.assert_allclose(made.toarray(), expected.toarray())
    assert len(passed) >= 15


def test_each_operand_is_checked(passed):
    x = np.ones(24)
    for seed in range(3):
        spmv(matrix(seed), x)
    assert passed
    before = len(passed)
    for change in (lambda A: A.indices.__setitem__(3, 24), lambda A: A.indptr.__setitem__(2, -1)):
        A = matrix(9)
        change(A)
        with pytest.raises(sd.InvalidTensorError):
            spmv(A, x)
    short = matrix(9)
    short.indices = short.indices[:-1]
    with pytest.raises(sd.InvalidTensorError):
        spmv(short, x)
    with pytest.raises(sd.NotationError, match="index j"):
        spmv(matrix(9), np.ones(25))
    assert len(passed) == before + 1  # the last, whose arrays are right, and whose extents are not


def test_what_is_out_of_order_or_repeated_is_put_right():
    x = np.random.default_rng(0).random(24)
    for seed in range(4):
        A = matrix(seed)
        expected = A @ x
        np.testing.assert_allclose(spmv(A, x), expected)
        turned = sp.csr_array((A.data.copy(), A.indices.copy(), A.indptr), shape=A.shape)
        begin, end = A.indptr[:2]
        turned.indices[begin:end] = A.indices[begin:end][::-1]
        turned.data[begin:end] = A.data[begin:end][::-1]
        np.testing.assert_allclose(spmv(turned, x), expected)
        twice = sp.csr_array((A.data, A.indices // 2 * 2, A.indptr), shape=A.shape)
        np.testing.assert_allclose(spmv(twice, x), twice @ x)


def test_values_that_are_not_finite_take_part_as_in_numpy():
    x = np.ones(24)
    for seed in range(3):
        spmv(matrix(seed), x)
    x[5] = np.inf
    A = matrix(7)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(spmv(A, x), A.toarray() @ x)


def test_what_is_written_between_calls_is_seen(passed):
    x = np.arange(24.0)
    for seed in range(3):
        spmv(matrix(seed), x)
    A = matrix(8)
    for _ in range(6):  # in passing, then bound, then prepared
        A.data += 1.0
        A.indices[A.indptr[1] - 1] = 23
        np.testing.assert_allclose(spmv(A, x), A @ x)
    A.indices[0] = 24
    with pytest.raises(sd.InvalidTensorError):
        spmv(A, x)
    assert passed


def test_nothing_is_kept_of_an_operand(passed):
    x = np.ones(24)
    for seed in range(3):
        spmv(matrix(seed), x)
    A = matrix(9)
    count = len(passed)
    spmv(A, x)
    assert len(passed) == count + 1
    assert known(A) is None
    passed.clear()
    gone = [weakref.ref(A), weakref.ref(A.data), weakref.ref(A.indices)]
    del A
    gc.collect()
    assert [x() for x in gone] == [None] * 3


def test_an_operand_met_again_is_remembered(passed):
    x = np.ones(24)
    for seed in range(3):
        spmv(matrix(seed), x)
    A = matrix(9)
    for _ in range(4):
        spmv(A, x)
    count = len(passed)
    for _ in range(4):
        spmv(A, x)
    assert len(passed) == count
    assert known(A) is not None


def test_safe_calls_take_the_long_way(passed):
    x = np.ones(24)
    with sd.options(safe=True):
        for seed in range(4):
            np.testing.assert_allclose(spmv(matrix(seed), x), matrix(seed) @ x)
    assert not passed


@pytest.mark.parametrize(
    "odd",
    [
        lambda A: A.asformat("coo"),
        lambda A: sp.csr_array(np.ones((1, 20_000))),
        lambda A: sp.csr_array(np.ones(5)),
        lambda A: np.asfortranarray(np.ones((2, 3))),
        lambda A: np.ones(3, np.float16),
        lambda A: 3.0,
    ],
)
def test_others_are_to_be_bound(odd):
    assert in_passing(matrix(0)) is not None
    assert in_passing(odd(matrix(0))) is None


def test_results_with_more_entries_than_operands_have_room_from_the_second_call_on():
    @sd.kernel
    def product(A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = A[i, k] * B[k, j]
        return C

    def given(n):
        column = sp.csr_array(np.ones((n, 1)))
        return column, column.T.tocsr()

    def right(n):
        np.testing.assert_array_equal(product(*given(n)).toarray(), np.ones((n, n)))

    for n in (20, 24, 21, 70, 69, 3, 24):
        right(n)
    calls = []
    for plan in product.engine._runner._plans._plans.values():
        kernel = plan.call._kernel
        plan.call._kernel = lambda *given, kernel=kernel: calls.append(given) or kernel(*given)
    right(23)
    assert len(calls) == 1


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
def test_new_tensors_give_what_scipy_gives(layout, passed):
    x = np.random.default_rng(0).random(24)
    for seed in range(6):
        A, B = (sd.asarray(matrix(seed + k), layout) for k in (0, 50))
        np.testing.assert_allclose(A @ x, A.to_numpy() @ x)
        np.testing.assert_allclose((A + B).to_numpy(), A.to_numpy() + B.to_numpy())
        np.testing.assert_allclose((A.T @ B).to_numpy(), A.to_numpy().T @ B.to_numpy())
    assert passed
    A.arrays["indptr" if layout != "coo" else "crd0"][1] = 77
    with pytest.raises(sd.InvalidTensorError):
        A @ x
