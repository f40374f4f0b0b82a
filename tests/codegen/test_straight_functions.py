"""Functions of kernels that are straight code: how far from the true ones, and what is exact."""

import itertools

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.aot import module_text
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import c_object, direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load as load_module
from sparsedsl.codegen.python import source
from sparsedsl.loops.build import i, ivar, load, store
from sparsedsl.loops.nodes import Apply, ArrayParam, For, Kernel, Length

numbers = itertools.count()
NAMES = ("log", "log1p", "expm1", "tanh")


def kernel(name, dtype):
    """y[p] = f(x[p]), for all p."""
    p = ivar("p")
    value = Apply(name, (load("x", p, type=dtype),), dtype)
    body = For(p, i(0), Length("x"), (store("y", [p], value),))
    params = ArrayParam("x", dtype, 1), ArrayParam("y", dtype, 1)
    return Kernel("mapped", params, (body,), ())


def functions(name, dtype):
    """The kernel as LLVM compiles it, and as Numba does, sums in any order both times."""
    made, types = kernel(name, dtype), kinds([np.zeros(1, dtype)] * 2)
    direct = direct_code(made, types, f"direct_{name}_{next(numbers)}", fastmath=True)
    dispatcher = load_module(source(made, fastmath=True, cache=False))
    by_numba = linkable_code(dispatcher, types, f"numba_{name}_{next(numbers)}")
    return linked(direct), linked(by_numba)


def called(function, x):
    y = np.full_like(x, 7)
    function(x, y)
    return y


def points(name, dtype):
    """Numbers of all sizes at both sides of 0, or of where the logarithm is 0 or ends."""
    rng, size = np.random.default_rng(5), 300_000
    small = 10.0 ** rng.uniform(-14, 0.3, size)
    all_sizes = 10.0 ** rng.uniform(*((-300, 300) if dtype == "float64" else (-37, 37)), size)
    plain = rng.uniform(-20, 20, size)
    match name:
        case "log":
            near = 1 + np.concatenate([rng.uniform(-0.5, 1, size), small / 10, -small / 10])
            turns = 0.5**0.5 + rng.uniform(-1, 1, size) / 99
            turns *= 2.0 ** rng.integers(-100, 100, size)
            few = all_sizes[:9] * np.finfo(dtype).smallest_subnormal
            x = np.concatenate([all_sizes, small, near, turns, few]).astype(dtype)
            return x[x > 0]
        case "log1p":
            beside = np.concatenate([rng.uniform(-1, 1, size), small - 1, small, -small, plain])
            x = np.concatenate([all_sizes, beside]).astype(dtype)
            return x[x > -1]
        case "expm1":
            high = 709 if dtype == "float64" else 88
            more = [rng.uniform(-60, high, size), rng.uniform(-2, 2, size)]
        case _:
            more = [rng.uniform(-2, 2, size)]
    return np.concatenate([small, -small, plain, *more]).astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_less_than_one_unit_in_the_last_place(name, dtype):
    wide = np.longdouble if dtype == "float64" else np.float64
    if np.finfo(wide).nmant < np.finfo(dtype).nmant + 10:
        pytest.skip("no float here has more digits than float64")
    x = points(name, dtype)
    exact = getattr(np, name)(x.astype(wide))
    nearest = exact.astype(dtype)
    assert x.size > 1_000_000
    assert np.isfinite(nearest).all()
    direct, by_numba = (called(f, x) for f in functions(name, dtype))
    assert direct.tobytes() == by_numba.tobytes()
    gap = np.abs(direct.astype(wide) - exact) / np.spacing(np.abs(nearest))
    assert gap.max() < 0.75
    assert gap.mean() < 0.26


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_are_special_give_what_numpy_gives(name, dtype):
    ends = np.finfo(dtype)
    parts = (0.0, 1.0, 2.0, 40.0, 90.0, 800.0, np.inf, ends.max, ends.tiny, ends.smallest_subnormal)
    x = np.array([sign * part for part in (*parts, ends.eps) for sign in (1, -1)], dtype)
    x = np.append(x, [np.nan, np.nextafter(np.array(-1, dtype), 0)]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    for function in functions(name, dtype):
        found = called(function, x)
        np.testing.assert_array_max_ulp(found, expected, 1)
        told = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[told], np.signbit(expected)[told])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_a_number_has_the_same_bits_in_a_vector_and_alone(name, dtype):
    x = np.append(points(name, dtype)[::9001], np.array([np.inf, 0, 30, 1e-9], dtype))
    direct, by_numba = functions(name, dtype)
    whole = called(direct, x)
    for function in (direct, by_numba):
        alone = np.concatenate([called(function, x[k : k + 1]) for k in range(x.size)])
        assert alone.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_code_for_this_processor_calls_no_library(name):
    code = direct_code(kernel(name, "float64"), kinds([np.zeros(1)] * 2), "alone", fastmath=False)
    assert name not in code.needs
    # others may lack the instruction that multiplies and adds
    assert f"\0{name}\0".encode() in c_object(kernel(name, "float64"), "portable", fastmath=False)


def test_modules_compiled_ahead_of_time_bring_them():
    @sd.kernel
    def entropy(A):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.sum(A[i, j] * sd.log1p(A[i, j]) + sd.tanh(A[i, j]), over=j)
        return y

    rng = np.random.default_rng(0)
    dense = np.where(rng.random((5, 8)) < 0.5, rng.random((5, 8)), 0)
    A = sd.asarray(dense, "csr")
    expected = (dense * np.log1p(dense) + np.tanh(dense)).sum(1)
    text = module_text(entropy.lower(A))
    assert "from sparsedsl" not in text
    made = {}
    exec(compile(text.replace("cache=True", "cache=False"), "made", "exec"), made)
    found = made["compute"]({"shape": dense.shape, **A.arrays})
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_allclose(entropy(A), expected, rtol=1e-14)
