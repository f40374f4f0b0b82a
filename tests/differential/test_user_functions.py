"""Scalar functions of a user's own: at every level, their fill, on disk, in gradients."""

import math

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd

LIMIT = 1.5
THINGS = [1, 2]


@numba.njit
def clipped(x):
    return min(max(x, -LIMIT), LIMIT)


@sd.function
@numba.njit
def shrink(x):
    """Soft threshold."""
    return np.sign(x) * max(abs(x) - 1.0, 0.0)


@sd.function
@numba.njit
def squashed(x):
    y = clipped(x)
    for _ in range(2):
        y = y / (1.0 + abs(y)) + math.cos(x)
    return y


@sd.function(zeros=(0,))
@numba.njit
def gated(x: float, y: float) -> float:
    if x == 0:
        return 0.0
    return x / (1.0 + y * y)


@sd.function
@numba.njit
def odd(x):
    return x % 2 == 1


def elementwise(function):
    @sd.kernel
    def body(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = function(A[i, j], B[i, j])
        return C

    return body


def unary(function):
    @sd.kernel
    def body(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = function(A[i, j]) + 0
        return C

    return body


def run(kernel, arrays, layouts, dtype="float64"):
    rng = np.random.default_rng(0)
    tensors, truth = {}, {}
    for name, layout in zip(arrays, layouts, strict=True):
        mask = rng.random((5, 6)) < 0.5
        truth[name] = np.where(mask, rng.integers(-4, 5, (5, 6)), 0).astype(dtype)
        tensors[name] = store(truth[name], mask, layout)
    special = kernel.engine.specialise(list(tensors.values()))
    with remembering_proofs():
        for level in (interpreting, compiling):
            with level():
                check(special, tensors, truth, 1e-12)
    return special


@pytest.mark.parametrize("layout", ["csr", "coo", "dense"])
@pytest.mark.parametrize("function", [shrink, squashed, odd])
def test_each_level_agrees(function, layout):
    for dtype in ("float64", "int32", "float32"):
        run(unary(function), ["A"], [layout], dtype)


@pytest.mark.parametrize("layouts", [("csr", "csr"), ("csr", "dense"), ("dense", "csc")])
def test_two_arguments(layouts):
    run(elementwise(gated), ["A", "B"], layouts)


def test_the_fill_is_that_of_the_fills():
    A = sp.csr_array(np.array([[0.5, -3, 0], [0, 2, 0]]))
    found = unary(shrink)(A)
    assert found.nnz == 2
    np.testing.assert_array_equal(found.toarray(), [[0, -2, 0], [0, 1, 0]])
    # math.cos(0) is not 0: every coordinate is visited
    dense = unary(squashed)(sd.asarray(A))
    assert (dense[A.toarray() == 0] == dense[0, 2]).all()
    assert dense[0, 2] != 0
    both = elementwise(gated)(A, np.full((2, 3), np.nan))
    assert sp.issparse(both)
    assert both.nnz == 3


def test_it_is_found_on_disk_and_a_changed_one_is_not(tmp_path):
    def made(limit):
        @sd.function
        @numba.njit
        def capped(x):
            return min(x, limit)

        return unary(capped)

    A = sp.csr_array(np.array([[0.5, 3.0]]))
    with sd.options(cache_dir=str(tmp_path)):
        first = made(1.0).compile(A)
        assert made(1.0).compile(A).source == first.source
        assert "return min(x, 1.0)" in first.source
        np.testing.assert_array_equal(made(2.0)(A).toarray(), [[0.5, 2.0]])
        np.testing.assert_array_equal(made(1.0)(A).toarray(), [[0.5, 1.0]])


def test_gradients():
    @sd.function(derivatives=(numba.njit(_cube_slope),))
    @numba.njit
    def cube(x):
        return x * x * x

    def total(function):
        @sd.kernel
        def body(A, x):
            i, j = sd.indices("i j")
            y = sd.output()
            y[()] = function(A[i, j]) * x[j]
            return y

        return body

    A = sp.csr_array(np.array([[1.0, 0, 2], [0, 3, 0]]))
    x = np.array([1.0, 10, 100])
    by_A, by_x = sd.grad(total(cube), ("A", "x"))(A, x)
    np.testing.assert_allclose(by_A.toarray(), 3 * A.toarray() ** 2 * x)
    np.testing.assert_allclose(by_x, (A.toarray() ** 3).sum(0))
    with pytest.raises(sd.PlanError, match=r"'shrink_.* has no derivative"):
        sd.grad(total(shrink), "A")(A, x)


def _cube_slope(x):
    return 3 * x * x


def _refused(message, make, hint=None):
    with pytest.raises(sd.NotationError, match=message) as caught:
        make()
    if hint:
        assert hint in caught.value.hint


def test_what_is_no_such_function_is_refused():
    _refused("that Numba compiles, found builtin_function", lambda: sd.function(len))
    _refused("function that Numba compiles", lambda: sd.function(_cube_slope), "@numba.njit")
    _refused("source can be read", lambda: sd.function(numba.njit(lambda x: x)), "a def")
    _refused("without defaults", lambda: sd.function(numba.njit(_defaulted)))
    _refused("reads THINGS, a list", lambda: sd.function(numba.njit(_reads_a_list)))
    _refused("1 derivatives of _cube_slope, found 2", lambda: sd.function(
        numba.njit(_cube_slope), derivatives=(shrink, shrink)))  # fmt: skip
    _refused(
        r"expected 0 where argument 0 is 0, found _plus\(0.0, -2.0\) = -2.0",
        lambda: sd.function(numba.njit(_plus), zeros=(0,)),
    )
    _refused("positions below 2", lambda: sd.function(numba.njit(_plus), zeros=(2,)))
    A = sp.csr_array(np.eye(2))
    _refused("takes 1 argument, found 2", lambda: elementwise(shrink)(A, A))
    _refused("is not defined for complex128", lambda: unary(odd)(A.astype(complex)))


def _defaulted(x, y=1):
    return x + y


def _reads_a_list(x):
    return x + THINGS[0]


def _plus(x, y):
    return x + y


@sd.function
@numba.njit
def inverse(x):
    return 1.0 / x


@sd.function
@numba.njit
def ratio(x, y):
    return x / y if y != 0 else np.copysign(1.0, y)


def test_the_sign_of_a_zero_that_is_not_stored_is_not_shown():
    """``-1 * 0`` is a negative zero: what shows its sign is computed at every coordinate."""

    @sd.kernel
    def inverses(A, b):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = inverse(A[i, j] * b[j])
        return C

    @sd.kernel
    def ratios(A, b):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = ratio(b[j], A[i, j] * b[j])
        return C

    A = np.array([[0.0, 2.0, 0.0], [4.0, 0.0, 0.0]])
    b = np.array([-1.0, 1.0, -2.0])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(inverses(sp.csr_array(A), b), 1 / (A * b))
    below = A * b
    wanted = np.where(below != 0, b / np.where(below != 0, below, 1), np.copysign(1.0, below))
    np.testing.assert_array_equal(ratios(sp.csr_array(A), b), wanted)
