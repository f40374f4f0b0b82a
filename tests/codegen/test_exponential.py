"""The exponential function of kernels: how far it is from the true one, and what is exact."""

import itertools

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import c_object, direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load as load_module
from sparsedsl.codegen.python import source
from sparsedsl.loops.build import i, ivar, load, store
from sparsedsl.loops.nodes import Apply, ArrayParam, For, Kernel, Length

numbers = itertools.count()
LOG2 = 0.6931471805599453


def kernel(dtype, function="exp"):
    """y[p] = exp(x[p]), for all p."""
    p = ivar("p")
    value = Apply(function, (load("x", p, type=dtype),), dtype)
    body = For(p, i(0), Length("x"), (store("y", [p], value),))
    params = ArrayParam("x", dtype, 1), ArrayParam("y", dtype, 1)
    return Kernel("exponentials", params, (body,), ())


def functions(dtype):
    """The kernel as LLVM compiles it, and as Numba does, sums in any order both times."""
    types = kinds([np.zeros(1, dtype)] * 2)
    direct = direct_code(kernel(dtype), types, f"direct_exp_{next(numbers)}", fastmath=True)
    dispatcher = load_module(source(kernel(dtype), fastmath=True, cache=False))
    return [
        linked(direct),
        linked(linkable_code(dispatcher, types, f"numba_exp_{next(numbers)}")),
    ]


def called(function, x):
    y = np.full_like(x, 7)
    function(x, y)
    return y


def points(dtype):
    """Numbers all over the range, around 0, halfway between multiples of log 2, and results
    that have fewer digits."""
    rng = np.random.default_rng(11)
    low, high = (-745.2, 709.8) if dtype == "float64" else (-104.0, 88.8)
    turns = rng.integers(int(low / LOG2), int(high / LOG2), 300_000)
    return np.concatenate(
        [
            rng.uniform(low, high, 600_000),
            rng.uniform(-1, 1, 600_000),
            (turns + 0.5) * LOG2 * (1 + rng.uniform(-1e-4, 1e-4, turns.size)),
            turns * LOG2 * (1 + rng.uniform(-1e-4, 1e-4, turns.size)),
            rng.uniform(low, low * 0.95, 100_000),
            rng.standard_normal(100_000) * 10.0 ** rng.integers(-20, 0, 100_000),
        ]
    ).astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_error_is_less_than_one_unit_in_the_last_place(dtype):
    wide = np.longdouble if dtype == "float64" else np.float64
    if np.finfo(wide).nmant < np.finfo(dtype).nmant + 10:
        pytest.skip("no float here has more digits than float64")
    x = points(dtype)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.exp(x.astype(wide))
        nearest = exact.astype(dtype)
    finite = np.isfinite(nearest)
    direct, by_numba = (called(f, x) for f in functions(dtype))
    assert direct.tobytes() == by_numba.tobytes()
    assert finite.sum() > 0.99 * x.size
    gap = np.abs(direct[finite].astype(wide) - exact[finite]) / np.spacing(nearest[finite])
    assert gap.max() < 0.92
    assert gap.mean() < 0.28


EDGES = {
    "float64": (709.782712893384, 709.7827128933841, -745.1332191019411, -745.1332191019412),
    "float32": (88.72283, 88.72284, -103.97207, -103.97209),
}
"""The last number whose exponential is finite, the first without, and likewise above zero."""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_that_are_special_give_what_numpy_gives(dtype):
    largest, least = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    others = [0.0, -0.0, np.inf, -np.inf, largest, -largest, least, -least, 1e-30, -1e-30]
    x = np.array([*others, *EDGES[dtype]], dtype)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.exp(x)
    over, under = expected[len(others) : len(others) + 2], expected[len(others) + 2 :]
    assert np.isfinite(over).tolist() == [True, False]
    assert (under > 0).tolist() == [True, False]
    for function in functions(dtype):
        found = called(function, x)
        close = np.isfinite(expected) & (expected > 1) & (x > 1)
        np.testing.assert_array_equal(found[~close], expected[~close])
        np.testing.assert_allclose(found[close], expected[close], rtol=np.finfo(dtype).eps)
        assert np.isnan(called(function, np.array([np.nan, 1, -np.nan], dtype))[::2]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_number_has_the_same_bits_in_a_vector_and_alone(dtype):
    x = np.append(points(dtype)[::4001], np.array([np.inf, -np.inf, 0, -800, 800], dtype))
    direct, by_numba = functions(dtype)
    whole = called(direct, x)
    for function in (direct, by_numba):
        alone = np.concatenate([called(function, x[k : k + 1]) for k in range(x.size)])
        assert alone.tobytes() == whole.tobytes()


def test_code_for_this_processor_calls_no_library():
    types = kinds([np.zeros(1)] * 2)
    for function in ("exp", "sigmoid"):
        made = kernel("float64", function)
        code = direct_code(made, types, f"exp_{next(numbers)}", fastmath=False)
        assert "exp" not in code.needs
        # others may lack the instruction that multiplies and adds
        assert b"\0exp\0" in c_object(made, "portable", fastmath=False)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_kernels_of_users_take_exponentials(dtype):
    @sd.kernel
    def softmax(S, m):
        i, j = sd.indices("i j")
        Y = sd.output()
        Y[i] = sd.sum(sd.where(sd.pattern(S)[i, j], sd.exp(S[i, j] - m[i]), 0), over=j)
        return Y

    rng = np.random.default_rng(2)
    S = np.where(rng.random((9, 30)) < 0.4, rng.standard_normal((9, 30)), 0).astype(dtype)
    m = rng.standard_normal(9).astype(dtype)
    found = softmax(sd.asarray(S, layout="csr"), m)
    expected = (np.exp(S - m[:, None]) * (S != 0)).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-14)
