"""Sums along rows in vectors: the same numbers as one by one, and where loops are left alone."""

import functools
from dataclasses import replace

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.codegen import numba_jit
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.dots import dots
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    Break,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

i, j, k, p, n, m = (lb.ivar(name) for name in "ijkpnm")


def product(dtype, *factors):
    value = factors[0]
    for factor in factors[1:]:
        value = Apply("mul", (value, factor), dtype)
    return value


def sampled(dtype="float64", *, value=None, combine="add", step=1, extra=(), row=i, stop=n):
    """y[p] = the sum of s[p] * P[row, k] * Q[j, k] over all columns k, for all entries p.

    ``extra`` comes before the columns of an entry.
    """
    total, one = Var("total", dtype), Var("one", dtype)
    factors = Load("s", (p,), dtype), Load("P", (row, k), dtype), Load("Q", (j, k), dtype)
    more = Apply(combine, (total, one), dtype)
    term = product(dtype, *factors) if value is None else value
    entry = (
        Assign(j, lb.load("indices", p)),
        Assign(total, Const(0.0, dtype)),
        *extra,
        For(k, lb.i(0), stop, (Assign(one, term), Assign(total, more)), step),
        Store("y", (p,), total),
    )
    start, past = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))
    body = (For(i, lb.i(0), m, (For(p, start, past, entry),)),)
    arrays = [("indptr", "int32", 1), ("indices", "int32", 1), ("s", dtype, 1)]
    arrays += [("P", dtype, 2), ("Q", dtype, 2), ("y", dtype, 1)]
    params = (*(ArrayParam(*a) for a in arrays), IntParam("m"), IntParam("n"))
    return Kernel("sampled", params, body, ())


def given(dtype, width, seed=0, whole=True):
    """Operands; ``whole`` numbers so small that their sums are exact in any order."""
    rng = np.random.default_rng(seed)
    counts = np.array([3, 0, 1, 5])
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    indices = rng.integers(0, 6, counts.sum()).astype(np.int32)
    shapes = (9,), (4, width), (6, width)
    draw = (lambda s: rng.integers(-9, 9, s)) if whole else rng.standard_normal
    s, P, Q = (draw(shape).astype(dtype) for shape in shapes)
    y = np.zeros(9, dtype)
    arrays = {"indptr": indptr, "indices": indices, "s": s, "P": P, "Q": Q, "y": y}
    return {**arrays, "m": 4, "n": width}


def ran(run, arguments):
    arguments = {n: np.copy(x) if isinstance(x, np.ndarray) else x for n, x in arguments.items()}
    run(arguments)
    return arguments["y"]


def same(kernel, versions, arguments):
    """Compare a kernel with its versions, on numbers whose sums are exact in any order."""
    expected = ran(lambda x: interpret(kernel, x), arguments)
    np.testing.assert_array_equal(ran(lambda x: interpret(versions, x), arguments), expected)
    return expected


def held(kernel):
    """The names of rows that are read once before a loop."""
    found = (s for s in statements(kernel.body) if isinstance(s, Assign))
    return {s.variable.name for s in found if "_row" in s.variable.name}


@pytest.mark.parametrize(
    ("dtype", "near"),
    [("float64", 4), *((d, near) for d in ("float64", "float32") for near in (16, 64, 256))],
)
def test_each_width_gives_the_same_sums(dtype, near):
    plain = verify(sampled(dtype))
    versions = verify(dots(plain, {"n": near}))
    assert versions != plain
    compiled = numba_jit.load(source(versions, cache=False))
    widths = 0, 1, 4, 7, 8, 12, 16, 24, 31, 32, 40, 48, 64, 72, 100, 128, 160, 192, 256, 320, 512
    for width in widths:
        arguments = given(dtype, width)
        expected = ran(lambda x: interpret(plain, x), arguments)
        for run in (
            lambda x: interpret(versions, x),
            lambda x: compiled.py_func(*x.values()),
            lambda x: compiled(*x.values()),
        ):
            np.testing.assert_array_equal(ran(run, arguments), expected, err_msg=str(width))


def test_the_order_of_a_sum_is_that_of_halves():
    """Of what the vectors of a row, in turn, add up to."""
    versions = verify(dots(sampled(), {"n": 64}))
    arguments = given("float64", 48, whole=False)
    found = ran(lambda x: interpret(versions, x), arguments)
    s, P, Q = (arguments[name] for name in "sPQ")
    rows = np.repeat(np.arange(4), np.diff(arguments["indptr"]))
    terms = s[:, None] * P[rows] * Q[arguments["indices"]]

    def halved(part):
        while part.shape[1] > 1:
            middle = part.shape[1] // 2
            part = part[:, :middle] + part[:, middle:]
        return part[:, 0]

    expected = halved(functools.reduce(np.add, np.split(terms, 6, axis=1)))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_have_the_same_bits_by_llvm_and_by_numba(dtype):
    versions = dots(sampled(dtype), {"n": 16})
    dispatcher = numba_jit.load(source(versions, cache=False))
    for width in (8, 16, 24, 25):
        arguments = given(dtype, width, whole=False)
        types = kinds([*arguments.values()])
        codes = (
            direct_code(versions, types, f"direct_{dtype}_{width}", fastmath=True),
            linkable_code(dispatcher, types, f"numba_{dtype}_{width}"),
        )
        functions = [linked(code) for code in codes]
        direct, numba = (ran(lambda x, f=f: f(*x.values()), arguments) for f in functions)
        assert direct.tobytes() == numba.tobytes() != arguments["y"].tobytes()


def test_what_is_not_finite_stays_so():
    versions = verify(dots(sampled(), {"n": 16}))
    arguments = given("float64", 24)
    arguments["s"].fill(1)
    arguments["P"][3, 20], arguments["Q"][:, 3] = np.nan, np.inf
    arguments["P"][:3, 3] = 0, 1, 2
    expected = same(sampled(), versions, arguments)
    assert np.isnan(expected).any()
    assert np.isinf(expected).any()


def test_a_row_that_stays_is_read_once_before_the_entries():
    versions = dots(sampled(), {"n": 64})
    # of 32 columns, of 48, of 64 and of 96, eight in a vector
    assert held(versions) == {"P_row", *(f"P_row{k}" for k in range(2, 4 + 6 + 8 + 12 + 1))}
    # in a loop that does not turn, the row need not be there
    arguments = given("float64", 64)
    arguments["indptr"][:] = 0
    arguments["P"] = arguments["P"][:0]
    assert not ran(lambda x: interpret(versions, x), arguments).any()


def test_rows_that_all_change_are_left_alone():
    wild = Store("P", (i, lb.i(0)), Load("s", (p,), "float64"))
    leaving = If(lb.lt(p, 0), (Break(),))
    for kernel in (sampled(row=j), sampled(extra=(wild,)), sampled(extra=(leaving,))):
        assert dots(verify(kernel), {"n": 16}) == kernel


def test_rows_one_behind_the_other_are_left_alone():
    """They come by themselves."""
    factors = Load("P", (i, k), "float64"), Load("Q", (p, k), "float64")
    kernel = verify(sampled(value=product("float64", *factors)))
    assert dots(kernel, {"n": 16}) == kernel


def test_other_loops_are_left_alone():
    along = Load("P", (k, i), "float64")
    exponential = Apply("exp", (Load("P", (i, k), "float64"),), "float64")
    running = Apply("mul", (Var("total", "float64"), Load("P", (i, k), "float64")), "float64")
    many = tuple(lb.store("indices", [p], 0) for _ in range(30))
    for kernel in (
        sampled(value=along),
        sampled(value=exponential),
        sampled(value=running),
        sampled(value=Load("s", (p,), "float64")),
        sampled(combine="maximum"),
        sampled(step=2),
        sampled(stop=lb.sub(n, 1)),
        sampled(extra=many),
        sampled("int64", value=Load("P", (i, k), "int64"), extra=(Assign(j, lb.i(0)),)),
    ):
        if kernel.params[2].dtype == "float64":
            verify(kernel)
        assert dots(kernel, {"n": 64}) == kernel
    for likely in ({}, {"m": 64}, {"n": 1024}, {"n": 1}):
        assert dots(sampled(), likely) == sampled()


def test_versions_are_for_extents_that_fit_in_registers():
    kernel = sampled()
    assert optimise(kernel, likely={"n": 64}) != optimise(kernel)
    assert optimise(kernel, likely={"n": 1024}) == optimise(kernel)
    assert optimise(kernel, likely={"n": 64}, vectors=False) == optimise(kernel, vectors=False)


def test_a_loop_behind_an_if_has_versions():
    kernel = sampled()
    (rows,) = kernel.body
    behind = replace(kernel, body=(replace(rows, body=(If(lb.lt(i, 3), rows.body),)),))
    versions = verify(dots(verify(behind), {"n": 16}))
    assert versions != behind
    arguments = given("float64", 24)
    same(behind, versions, arguments)


@pytest.mark.parametrize("width", [8, 24, 48, 64, 100, 128])
def test_kernels_of_users_have_versions(width):
    rng = np.random.default_rng(width)
    S = (rng.random((30, 40)) < 0.2) * rng.integers(1, 9, (30, 40))
    P, Q = (rng.integers(-9, 9, (rows, width)).astype(float) for rows in (30, 40))

    @sd.kernel
    def kernel(S, P, Q):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = S[i, j] * P[i, k] * Q[j, k]
        return C

    sparse = sd.asarray(S.astype(float), layout="csr")
    assert "total(" in kernel.lower(sparse, P, Q).source
    np.testing.assert_array_equal(kernel(sparse, P, Q).to_numpy(), S * (P @ Q.T))
