"""First entries of short rows in vectors: values, what is not kept, and what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.firsts import FEWEST, MOST, begun_by_vectors, firsts
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Break,
    Cast,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.verify import verify

i, j, k, p, n = (lb.ivar(name) for name in "ijkpn")
ARRAYS = frozenset({"indptr", "indices", "a"})
START, STOP = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))
TOTAL, OTHER = (Var(name, "float64") for name in ("total", "other"))

ROWS_OF = {
    "any": [0, 3, 1, 0, 0, 9, 2, 1, 25, 0, 4, 0, 5],
    "short at the end": [5, 4, 1, 1, 1, 0, 0],
    "long at the end": [1, 0, 2, 11],
    "none at the ends": [0, 0, 2, 0, 5, 0, 0, 0],
    "one": [7],
    "four": [4],
    "less than four": [0, 1, 2],
    "no entries": [0, 0, 0, 0],
    "no rows": [],
}


def added(total, *factors):
    value = factors[0]
    for factor in factors[1:]:
        value = Apply("mul", (value, factor), value.type)
    return Assign(total, Apply("add", (total, value), total.type))


def body(kinds="g", dtype="float64"):
    """Sums of a[p] * x[indices[p]] and of w[i] * x[indices[p]], and additions to z[indices[p]]."""
    value, far = Load("a", (p,), dtype), Load("x", (j,), dtype)
    found = [Assign(j, lb.load("indices", p))]
    found += [added(Var("total", dtype), value, far)] * ("g" in kinds)
    found += [added(Var("other", dtype), Load("w", (i,), dtype), far)] * ("w" in kinds)
    scaled = Apply("mul", (value, Load("w", (i,), dtype)), dtype)
    found += [Store("z", (j,), scaled, "add")] * ("s" in kinds)
    return tuple(found)


def rows(
    turns=None, index="int32", start=START, stop=STOP, step=1, dtype="float64", begin=(), before=()
):
    """y[i] = the sums over the entries of a row."""
    total, other = Var("total", dtype), Var("other", dtype)
    zero = lb.const(0.0, dtype)
    row = (
        *begin,
        Assign(total, zero),
        Assign(other, zero),
        For(p, start, stop, body(dtype=dtype) if turns is None else turns, step),
        Store("y", (i,), Apply("sub", (total, other), dtype)),
    )
    dtypes = {"indptr": index, "indices": index, **dict.fromkeys("axwyz", dtype)}
    params = [ArrayParam(name, kind, 1) for name, kind in dtypes.items()]
    return verify(Kernel("rows", (*params, IntParam("n")), (*before, For(i, lb.i(0), n, row)), ()))


def begun(kernel, mean=4.0):
    return verify(firsts(kernel, [(ARRAYS, mean)]))


def given(lengths, index="int32"):
    """Small integers, whose sums are exact in any order."""
    rng = np.random.default_rng(0)
    indptr = np.r_[0, np.cumsum(lengths)].astype(index)
    entries = int(indptr[-1])
    arrays = {
        "indptr": indptr,
        "indices": rng.integers(0, 7, entries).astype(index),
        "a": rng.integers(-9, 9, entries).astype(float),
        "x": rng.integers(-9, 9, 7).astype(float),
        "w": rng.integers(-9, 9, len(lengths)).astype(float),
        "y": np.zeros(len(lengths)),
        "z": rng.integers(-9, 9, 7).astype(float),
    }
    return {**arrays, "n": len(lengths)}


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "llvm":
            linked(direct_code(kernel, kinds(values), "firsts_direct", fastmath=True))(*values)
        case _:
            dispatcher = load(source(kernel, fastmath=True, cache=False))
            linked(linkable_code(dispatcher, kinds(values), "firsts_numba"))(*values)
    return own["y"], own["z"]


@pytest.mark.parametrize("how", ["interpreter", "llvm", "numba"])
@pytest.mark.parametrize("lengths", ROWS_OF.values(), ids=ROWS_OF)
@pytest.mark.parametrize("turns", ["g", "gw", "gs", "gws"])
def test_rows_of_any_lengths(turns, lengths, how):
    arguments, plain = given(lengths), rows(body(turns))
    kernel = begun(plain)
    assert begun_by_vectors(kernel) == len(turns.replace("s", ""))
    found = run_by(kernel, arguments, how)
    for own, other in zip(found, run_by(plain, arguments, "interpreter"), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("how", ["interpreter", "llvm", "numba"])
def test_longer_indices(how):
    arguments, plain = given(ROWS_OF["any"], "int64"), rows(body("gs"), "int64")
    found = run_by(begun(plain), arguments, how)
    for own, other in zip(found, run_by(plain, arguments, "interpreter"), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("how", ["interpreter", "llvm", "numba"])
def test_what_a_row_does_not_have_leaves_nothing(how):
    arguments = given([1, 0, 2, 0, 0, 5])
    arguments["indices"][:] = 1
    arguments["a"][:] = [1.0, np.inf, np.nan, *[2.0] * 5]
    arguments["x"][:] = 1.0
    arguments["w"][:] = 0.0
    y, _ = run_by(begun(rows(body("gs"))), arguments, how)
    np.testing.assert_array_equal(y, [1.0, 0.0, np.nan, 0.0, 0.0, 10.0])


def test_values_that_were_spread_are_gathered():
    spread = (
        Allocate("far", "float64", (lb.i(7),), lb.const(0.0, "float64")),
        For(k, lb.i(0), lb.i(7), (Store("far", (k,), Load("x", (k,), "float64")),)),
    )
    term = added(
        TOTAL, Load("a", (p,), "float64"), Load("far", (lb.load("indices", p),), "float64")
    )
    plain = rows((term,), before=spread)
    kernel = begun(plain)
    assert begun_by_vectors(kernel) == 1
    arguments = given(ROWS_OF["any"])
    for how in ("interpreter", "llvm"):
        found = run_by(kernel, arguments, how)
        np.testing.assert_array_equal(found[0], run_by(plain, arguments, "interpreter")[0])


def test_other_loops_are_left_alone():
    value, far = Load("a", (p,), "float64"), Load("x", (j,), "float64")
    at = lb.add(lb.load("indices", p), i)
    kernels = [
        rows((added(TOTAL, value),)),
        rows((added(TOTAL, Load("x", (at,), "float64")),)),
        rows((*body(), If(lb.gt(p, 3), (Break(),)))),
        rows((*body(), added(TOTAL, value))),
        rows((*body(), Assign(OTHER, TOTAL))),
        rows((Assign(j, lb.load("indices", p)), added(TOTAL, replace(value, proved=False), far))),
        rows((Store("x", (lb.load("indices", p),), value, "add"), *body())),
        rows((*body(), Store("indices", (i,), lb.i(0)))),
        rows((*body(), Store("z", (j,), value))),
        rows(
            (Assign(j, lb.load("indices", p)), added(TOTAL, Apply("div", (value, far), "float64")))
        ),
        rows(dtype="float32"),
        rows(stop=lb.add(START, 3)),
        rows(start=lb.i(0)),
        rows(stop=lb.load("indptr", lb.add(i, 2))),
        rows(stop=lb.load("indices", lb.add(i, 1))),
        rows(step=2),
        rows(
            start=lb.load("indptr", k),
            stop=lb.load("indptr", lb.add(k, 1)),
            begin=(Assign(k, lb.load("indices", i)),),
        ),
    ]
    until = Var("until", "int")
    plain = rows(begin=(Assign(until, lb.sub(until, 1)),), before=(Assign(until, n),))
    *before, loop = plain.body
    kernels.append(verify(replace(plain, body=(*before, replace(loop, stop=until)))))
    for kernel in kernels:
        assert begun(kernel) == kernel
    for mean in (FEWEST - 0.1, MOST + 0.1):
        assert begun(rows(), mean) == rows()
    assert firsts(rows(), []) == rows()
    assert firsts(rows(), [(ARRAYS - {"a"}, 4.0)]) == rows()


def test_what_is_the_same_in_a_row_is_in_every_lane():
    scale = Cast(lb.load("indices", i), "float64")
    plain = rows(
        (Assign(j, lb.load("indices", p)), added(TOTAL, scale, Load("x", (j,), "float64")))
    )
    arguments = given(ROWS_OF["any"])
    for how in ("interpreter", "llvm"):
        found = run_by(begun(plain), arguments, how)
        np.testing.assert_array_equal(found[0], run_by(plain, arguments, "interpreter")[0])


def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def both(A, x, w):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[j] = A[i, j] * w[i]
    return y, z


@pytest.mark.parametrize("mean", [3.0, 5.0])
@pytest.mark.parametrize("even", [False, True])
def test_products_have_the_same_bits_for_any_number_of_threads_and_beside_others(mean, even):
    rng = np.random.default_rng(3)
    counts = np.full(2500, int(mean)) if even else rng.poisson(mean, 2500)
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    indices = rng.integers(0, 1500, indptr[-1]).astype(np.int32)
    A = sp.csr_array((rng.random(indptr[-1]), indices, indptr), (2500, 1500))
    A.sum_duplicates()
    x, w = rng.random(1500), rng.random(2500)
    found = []
    for threads in (1, 2, 3):
        with sd.options(threads=threads, parallel_threshold=0):
            every = [sd.kernel(product)(A, x) for _ in range(6)]
        found += [y.tobytes() for y in every]
        np.testing.assert_allclose(every[0], A @ x, rtol=1e-12)
    assert len({*found}) == 1
    y, z = sd.kernel(both)(A, x, w)
    assert y.tobytes() == found[0]
    np.testing.assert_allclose(z, A.T @ w, rtol=1e-12)
