"""Entries fetched a page ahead: which lines, of which loops, and that no value changes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.loops import build as lb
from sparsedsl.loops.ahead import PAGE, ahead
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.neighbours import rows_in_vectors
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Prefetch,
    Store,
    Var,
)
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements, with_bodies

i, j, k, p = (lb.ivar(name) for name in "ijkp")
m = lb.ivar("m")
total = Var("total", "float64")


def add(value):
    return Assign(total, Apply("add", (total, value), "float64"))


VALUE = Load("a", (p,), "float64")
TERM = Apply("mul", (VALUE, Load("x", (j,), "float64")), "float64")
PRODUCT = (Assign(j, lb.load("indices", p)), add(TERM))
START, STOP = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))


def rows(body=PRODUCT, start=START, stop=STOP):
    """y[i] = the sum of a[p] * x[indices[p]] over the entries of a row."""
    row = (
        Assign(total, lb.const(0.0, "float64")),
        For(p, start, stop, body),
        Store("y", (i,), total),
    )
    arrays = ("indptr", "int32"), ("indices", "int32"), ("a", "float64"), ("x", "float64")
    params = [ArrayParam(name, dtype, 1) for name, dtype in (*arrays, ("y", "float64"))]
    return Kernel("rows", (*params, IntParam("m")), (For(i, lb.i(0), m, row),), ())


def given():
    rng = np.random.default_rng(0)
    counts = rng.permutation(41)
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    indices = rng.integers(0, 30, indptr[-1]).astype(np.int32)
    arrays = {"indptr": indptr, "indices": indices, "a": rng.random(indptr[-1])}
    return {**arrays, "x": rng.random(30), "y": np.zeros(41), "m": 41}


def fetched(kernel, array):
    """Places that are fetched of an array, from the interpreter."""

    def block(body):
        return tuple(
            lb.store("log", [s.subscripts[0]], 1, "add")
            if isinstance(s, Prefetch) and s.array == array
            else with_bodies(s, block)
            for s in body
        )

    params = (*kernel.params, ArrayParam("log", "int64", 1))
    arguments = {**given(), "log": np.zeros(5000, np.int64)}
    interpret(verify(replace(kernel, body=block(kernel.body), params=params)), arguments)
    return arguments["log"].nonzero()[0], arguments["log"].sum()


def prefetches(kernel):
    return [s.array for s in statements(kernel.body) if isinstance(s, Prefetch)]


@pytest.mark.parametrize(("array", "size"), [("a", 8), ("indices", 4)])
def test_every_line_of_a_long_row_is_fetched_a_page_before(array, size):
    indptr = given()["indptr"]
    places, _ = fetched(ahead(rows(), {"a": 20.0, "indices": 20.0}), array)
    lines = {int(place - PAGE // size) * size // 64 for place in places}
    # lines as counted from the row's first entry may lie across two of memory
    read = [np.arange(start, stop, 8) for start, stop in pairwise(indptr)]
    assert lines >= {int(place) * size // 64 for row in read for place in row}
    assert all(0 <= place - PAGE // size < indptr[-1] + 1 for place in places)


def test_short_rows_are_fetched_where_they_start():
    starts = given()["indptr"][:-1]
    places, count = fetched(ahead(rows(), {"a": 5.0}), "a")
    assert places.tolist() == sorted({int(s) + PAGE // 8 for s in starts})
    assert count == starts.size
    # nothing lies anywhere: the processor follows rows of any length by itself
    assert fetched(ahead(rows((add(VALUE),)), {"a": 50.0}), "a")[1] == starts.size


def test_vectors_are_fetched_in_their_turns():
    indptr = given()["indptr"]
    places, count = fetched(ahead(rows_in_vectors(rows((add(VALUE),))), {"a": 20.0}), "a")
    turns = [range(start, stop - 7, 8) for start, stop in pairwise(indptr)]
    read = [*indptr[:-1], *(place for row in turns for place in row)]
    assert places.tolist() == sorted({int(place) + PAGE // 8 for place in read})
    assert count == len(read)


def test_lines_of_blocks_are_fetched_in_their_turns():
    block = [Load("b", (p, lb.i(r), lb.i(c)), "float64") for r in range(3) for c in range(3)]
    body = tuple(add(element) for element in block)
    plain = rows(body)
    plain = replace(plain, params=(*plain.params, ArrayParam("b", "float64", 3)))
    kernel = verify(ahead(plain, {"b": 20.0}))
    (outer,) = kernel.body
    loop = outer.body[1]
    ahead_of_it = lb.add(p, 114)  # two pages have 113.8 blocks
    lines = [(ahead_of_it, lb.i(0), lb.i(0)), (ahead_of_it, lb.i(2), lb.i(2))]
    assert [s.subscripts for s in loop.body if isinstance(s, Prefetch)] == lines
    assert ahead(plain, {"a": 20.0}) == plain
    arguments = {**given(), "b": np.random.default_rng(1).random((820, 3, 3))}
    expected = {**arguments, "y": np.zeros(41)}
    interpret(kernel, arguments)
    interpret(plain, expected)
    assert arguments["y"].tobytes() == expected["y"].tobytes()


def test_no_value_changes():
    kernel, arguments, expected = verify(ahead(rows(), {"a": 20.0})), given(), given()
    interpret(kernel, arguments)
    interpret(rows(), expected)
    assert arguments["y"].tobytes() == expected["y"].tobytes()
    arguments["y"][:] = np.nan
    values = list(arguments.values())
    linked(direct_code(kernel, kinds(values), "ahead", fastmath=True))(*values)
    np.testing.assert_allclose(arguments["y"], expected["y"], rtol=1e-13)


def test_two_loops_over_a_row_fetch_it_once():
    kernel = rows()
    (loop,) = kernel.body
    begin, row, store = loop.body
    twice = replace(kernel, body=(replace(loop, body=(begin, row, row, store)),))
    assert prefetches(ahead(twice, {"a": 5.0, "indices": 5.0})) == ["indices", "a"]


def test_other_loops_are_left_alone():
    inner = For(k, lb.i(0), lb.load("indices", p), (add(VALUE),))
    guarded = If(lb.gt(lb.load("indices", p), 3), (add(VALUE),))
    anywhere = rows(start=lb.load("indptr", lb.load("indices", i)))
    streams = {"a": 20.0}
    for kernel in (rows((inner,)), rows((guarded,)), anywhere, rows(start=lb.i(0))):
        assert ahead(verify(kernel), streams) == kernel
    assert ahead(rows(), {}) == rows()
    assert ahead(rows(), {"x": 20.0}) == rows()


def test_only_large_operands_of_dense_results_are_fetched():
    x = sd.ShapeOf((10**6,), "float64")

    @sd.kernel
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    @sd.kernel
    def scaled(A, x):
        i, j = sd.indices("i j")
        B = sd.output("csr")
        B[i, j] = A[i, j] * x[j]
        return B

    def fetches(kernel, entries):
        A = sd.ShapeOf((10**6, 10**6), "float64", nnz=entries)
        return "prefetch(A_data" in "".join(u.source for u in kernel.lower(A, x).units)

    assert fetches(product, 10**7)
    assert not fetches(product, 10**6)
    assert not fetches(scaled, 10**7)
    with sd.options(safe=True):
        assert not fetches(product, 10**7)


def test_large_products_are_right():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, 600_000)
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    indices = rng.integers(0, 600_000, indptr[-1]).astype(np.int32)
    A = sp.csr_array((rng.integers(-4, 5, indptr[-1]) * 1.0, indices, indptr), (600_000, 600_000))
    A.sum_duplicates()
    assert A.nnz > 2**21
    x, w = rng.integers(-4, 5, (2, 600_000)) * 1.0

    @sd.kernel
    def both(A, x, w):
        i, j = sd.indices("i j")
        y, z = sd.output(), sd.output()
        y[i] = A[i, j] * x[j]
        z[j] = A[i, j] * w[i]
        return y, z

    y, z = both(A, x, w)
    assert np.array_equal(y, A @ x)
    assert np.array_equal(z, A.T @ w)
