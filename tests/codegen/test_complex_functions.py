"""Functions of complex numbers in kernels are NumPy's, which neither overflow nor lose digits."""

import numpy as np
import pytest

from sparsedsl.codegen.numba_jit import load as load_module
from sparsedsl.codegen.operators import SPELLINGS
from sparsedsl.codegen.python import source
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.loops.build import i, ivar, load, store
from sparsedsl.loops.nodes import Apply, ArrayParam, For, Kernel, Length

PARTS = (0, -0.0, 1, -1, 0.3, -0.8, 1e-8, -1e-8, 1e-30, 5, -5, 20, -23, 40, 50, -50, 88, 90, -125)
PARTS += (252, 700, -709.5, 710, -720, 1e5, 1e30, -1e30, np.inf, -np.inf, np.nan)
FUNCTIONS = ("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sign", "abs", "conj")
FUNCTIONS += ("sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh")


def function(name, dtype, result, *, fastmath):
    p = ivar("p")
    value = Apply(name, (load("x", p, type=dtype),), result)
    body = For(p, i(0), Length("x"), (store("y", [p], value),))
    params = ArrayParam("x", dtype, 1), ArrayParam("y", result, 1)
    made = Kernel("mapped", params, (body,), ())
    return load_module(source(made, fastmath=fastmath, cache=False))


def points(dtype):
    parts = np.array(PARTS, np.finfo(dtype).dtype)
    z = np.empty((parts.size, parts.size), dtype)
    z.real, z.imag = np.meshgrid(parts, parts)
    rng = np.random.default_rng(0)
    some = rng.standard_normal(500) * 10.0 ** rng.integers(-6, 4, 500)
    more = (some + 1j * rng.permutation(some)).astype(dtype)
    return np.concatenate([z.ravel(), more])


def closed(found, expected, other, tolerance):
    """Compare one part; the sign of an infinity beside NaN is not told."""
    beside = np.isnan(other) & np.isinf(expected)
    found, expected = (np.where(beside, np.abs(x), x) for x in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance / 100)


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_are_those_of_numpy(name, dtype):
    x = points(dtype)
    with np.errstate(all="ignore"):
        expected = OPERATORS[name].evaluate(x)
    for fastmath in (False, True):
        found = np.zeros_like(expected)
        with np.errstate(all="ignore"):
            function(name, dtype, expected.dtype.name, fastmath=fastmath)(x, found)
        # a unit of each part relative to the whole number, as sums of products have
        tolerance = 50 * np.finfo(dtype).eps
        closed(found.real, expected.real, expected.imag, tolerance)
        closed(found.imag, expected.imag, expected.real, tolerance)


def test_every_function_of_complex_numbers_is_looked_at():
    spelled = {name for name, ways in SPELLINGS.items() if any("c" in w.kinds for w in ways)}
    unary = {name for name in spelled if OPERATORS[name].arity == 1}
    assert unary - set(FUNCTIONS) == {
        *("neg", "pos", "sigmoid", "rint", "real", "imag", "isnan", "isinf", "isfinite")
    }
