"""Python numbers among the arguments: beside arrays they take the dtypes that NumPy gives them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls.seen import MISS
from sparsedsl.errors import NotationTypeError

DTYPES = ("bool", "int8", "uint8", "int32", "uint64", "float32", "float64", "complex64")
NUMBERS = (True, 3, -1, 2.5, 1j, np.float64(2.5), np.float32(0.5), np.int16(3))


def matrix(dtype="float64"):
    return sp.random_array((6, 5), density=0.5, format="csr", rng=1).astype(dtype)


def scaled(A, x, d):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = d * A[i, j] * x[j]
    return y


def product(d, x):
    i = sd.index("i")
    y = sd.output()
    y[i] = d * x[i]
    return y


def test_dtypes_are_those_of_numpy_in_any_order_of_calls():
    kernel = sd.kernel(product)
    cases = [(d, np.arange(1, 4).astype(t)) for d in NUMBERS for t in DTYPES]
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(cases), 600):
        d, x = cases[place]
        try:
            expected = d * x
        except OverflowError:
            with pytest.raises(NotationTypeError, match="does not fit uint"):
                kernel(d, x)
            continue
        found = kernel(d, x)
        assert found.dtype == expected.dtype, (d, x.dtype)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_not_taken_for_numpy_scalars(dtype):
    A, x, kernel = matrix(dtype), np.arange(5).astype(dtype), sd.kernel(scaled)
    third = 1 / 3
    for d in (np.float32(third), third, np.float64(third), third, np.float32(third)) * 3:
        for _ in range(3):
            found = kernel(A, x, d)
        expected = d * A @ x
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6 if expected.itemsize == 4 else 1e-14)


def test_numbers_beside_float32_are_known_again():
    A, x, kernel = matrix("float32"), np.arange(5, dtype="float32"), sd.kernel(scaled)
    wide = matrix()
    for _ in range(3):
        kernel(A, x, 2.0)
        kernel(wide, x, 2.0)
    assert kernel.engine.again((A, x, 0.5)).dtype == "float32"
    assert kernel.engine.again((wide, x, 0.5)).dtype == "float64"
    assert kernel.engine.again((A, x, np.float64(0.5))) is MISS


def test_compiled_kernels_take_numbers_of_their_dtype():
    A, x = matrix("float32"), np.arange(5, dtype="float32")
    compiled = sd.kernel(scaled).compile(A, x, 2.0)
    for d in (2.0, 3, np.float32(0.5)):
        found = compiled(A, x, d)
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, d * A @ x, rtol=1e-6)
    out = np.empty(6, "float32")
    assert compiled.compute(A, x, 2.0, out=out) is out
    with pytest.raises(sd.InvalidTensorError, match="expected d as float32"):
        compiled(A, x, 2j)


def test_a_number_that_meets_several_dtypes_takes_the_widest():
    @sd.kernel
    def both(d, x, z):
        i = sd.index("i")
        y, w = sd.output(), sd.output()
        y[i] = d * x[i]
        w[i] = d * z[i]
        return y, w

    ones = np.ones(3)
    y, w = both(0.1, ones.astype("float32"), ones)
    assert y.dtype == w.dtype == "float64"
    np.testing.assert_array_equal(w, 0.1 * ones)


def test_numbers_among_themselves_are_computed_in_full():
    x = np.ones(2, "float32")
    found = sd.evaluate("y[i] = a * b * x[i]", a=1e200, b=1e-200, x=x)
    np.testing.assert_allclose(found, 1.0)
    found = sd.evaluate("y[i] = 2 * a * x[i]", a=100, x=x.astype("int8"))
    np.testing.assert_array_equal(found, 200)
    assert sd.evaluate("y[i] = 2 * a * x[i]", a=0.5, x=x).dtype == "float32"
    assert sd.evaluate("y[i] = -a * x[i]", a=0.5, x=x).dtype == "float32"


def test_integers_are_compared_whole():
    x = np.array([1, 2], "int8")
    np.testing.assert_array_equal(sd.evaluate("y[i] = x[i] < n", x=x, n=300), [True, True])
    x = np.arange(3, dtype="float32")
    found = sd.evaluate("y[i] = where(i < n, n * x[i], 0)", x=x, n=2)
    np.testing.assert_array_equal(found, [0, 2, 0])
