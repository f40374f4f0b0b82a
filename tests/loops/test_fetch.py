"""Rows fetched early: those read later, none that come again soon, never out of bounds."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.loops import build as lb
from sparsedsl.loops.fetch import AHEAD, SAMPLES, fetch
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    Break,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Prefetch,
    Store,
)
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements, with_bodies

i, j, k, p, q, n, m = (lb.ivar(name) for name in "ijkpqnm")

ARRAYS = [ArrayParam("indptr", "int32", 1), ArrayParam("indices", "int32", 1)]


def entries(*body, params=(), before=()):
    """Loops over the rows and entries of a CSR matrix, with ``k`` the column of an entry."""
    start, stop = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))
    loop = For(p, start, stop, (*before, Assign(k, lb.load("indices", p)), *body))
    rows = (For(i, lb.i(0), m, (loop,)),)
    return Kernel("walk", (*ARRAYS, *params, IntParam("m"), IntParam("n")), rows, ())


def dense_rows(dtype="float64", *guards):
    """y[i] += B[k, j], for all columns."""
    store = Store("y", (i,), Load("B", (k, j), dtype), "add")
    loop = For(j, lb.i(0), n, (store,))
    for guard in guards:
        loop = If(guard, (loop,))
    return entries(loop, params=(ArrayParam("B", dtype, 2), ArrayParam("y", dtype, 1)))


def sparse_rows(*guards):
    """y[i] += b[q], for the positions of row k."""
    start, stop = lb.load("ptr", k), lb.load("ptr", lb.add(k, 1))
    loop = For(q, start, stop, (Store("y", (i,), Load("b", (q,), "float64"), "add"),))
    for guard in guards:
        loop = If(guard, (loop,))
    arrays = ("ptr", "int32", 1), ("b", "float64", 1), ("y", "float64", 1)
    return entries(loop, params=tuple(ArrayParam(*a) for a in arrays))


def given(seed=0, rows=40, columns=5000, width=20, dtype="float64", **more):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, rows)
    indices = rng.choice(columns, counts.sum(), replace=False).astype(np.int32)
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    arrays = {"indptr": indptr, "indices": indices}
    return {**arrays, **more, "y": np.zeros(rows, dtype), "m": rows, "n": width}


def dense(seed=0, dtype="float64"):
    B = np.random.default_rng(seed + 1).random((200, 20)).astype(dtype)
    return given(seed, columns=200, width=20, dtype=dtype, B=B)


def sparse(seed=0):
    ptr = np.arange(0, 3 * 5001, 3).astype(np.int32)
    return given(seed, ptr=ptr, b=np.random.default_rng(seed).random(3 * 5000))


def ran(kernel, arguments):
    arguments = {n: np.copy(x) if isinstance(x, np.ndarray) else x for n, x in arguments.items()}
    interpret(verify(kernel), arguments)
    return arguments


def logged(kernel, array):
    """Count in ``log`` how often each place along the first axis of ``array`` is fetched."""

    def block(body):
        return tuple(
            lb.store("log", [s.subscripts[0]], 1, "add")
            if isinstance(s, Prefetch) and s.array == array
            else with_bodies(s, block)
            for s in body
        )

    return replace(
        kernel, body=block(kernel.body), params=(*kernel.params, ArrayParam("log", "int64", 1))
    )


@pytest.mark.parametrize(("dtype", "lines"), [("float64", 3), ("float32", 2)])
def test_rows_of_a_dense_operand_are_fetched_before_they_are_read(dtype, lines):
    plain = dense_rows(dtype)
    fetching = fetch(plain, {"B": 20.0})
    arguments = dense(dtype=dtype)
    assert ran(fetching, arguments)["y"].tobytes() == ran(plain, arguments)["y"].tobytes()
    log = np.zeros(200, np.int64)
    found = ran(logged(fetching, "B"), {**arguments, "log": log})["log"]
    indices = arguments["indices"]
    soon = indices[np.minimum(np.arange(indices.size) + AHEAD, indices.size - 1)]
    assert found.tolist() == (lines * np.bincount(soon, minlength=200)).tolist()


def test_a_row_in_pieces_is_fetched_as_one():
    parts = [
        Load("B", (k, lb.i(at)), f"float64*{width}") for at, width in ((0, 8), (8, 8), (16, 4))
    ]
    stores = (Store("y", (i,), Apply("total", (part,), "float64"), "add") for part in parts)
    arrays = ArrayParam("B", "float64", 2), ArrayParam("y", "float64", 1)
    fetching = fetch(entries(*stores, params=arrays), {"B": 20.0})
    assert sum(isinstance(s, Prefetch) for s in statements(fetching.body)) == 1
    found = ran(logged(fetching, "B"), {**dense(), "log": np.zeros(200, np.int64)})["log"]
    assert found.sum() == 3 * dense()["indices"].size


def test_rows_of_a_sparse_operand_are_fetched_where_they_start():
    plain = sparse_rows()
    fetching = fetch(plain, {"b": 10.0})
    arguments = sparse()
    assert ran(fetching, arguments)["y"].tobytes() == ran(plain, arguments)["y"].tobytes()
    found = ran(logged(fetching, "b"), {**arguments, "log": np.zeros(15008, np.int64)})["log"]
    indices = arguments["indices"]
    soon = indices[np.minimum(np.arange(indices.size) + AHEAD, indices.size - 1)]
    # ten elements that begin anywhere lie in two cache lines or three, mostly in two
    places = np.concatenate([3 * soon, 3 * soon + 8])
    assert found.tolist() == np.bincount(places, minlength=15008).tolist()


@pytest.mark.parametrize(("apart", "fetched"), [(400, True), (200, False)])
def test_rows_that_come_again_soon_are_not_fetched(apart, fetched):
    """``apart``: after how many entries a row is met again; what stays in cache is not fetched."""
    indices = np.tile(np.arange(apart, dtype=np.int32), SAMPLES)
    arguments = {
        "indptr": np.array([0, indices.size], np.int32),
        "indices": indices,
        "B": np.ones((apart, 4)),
        "y": np.zeros(1),
        "m": 1,
        "n": 4,
        "log": np.zeros(apart, np.int64),
    }
    kernel = logged(fetch(dense_rows(), {"B": 4.0}), "B")
    assert ran(kernel, arguments)["log"].any() == fetched


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_entries_are_looked_at_in_bounds(count):
    arguments = dense()
    arguments["indices"] = arguments["indices"][:count]
    arguments["indptr"] = np.array([0, count], np.int32)
    arguments["m"] = 1
    found = ran(fetch(dense_rows(), {"B": 20.0}), arguments)["y"]
    assert found.tobytes() == ran(dense_rows(), arguments)["y"].tobytes()


@pytest.mark.parametrize("column", [-1, 10**6])
def test_a_coordinate_that_is_none_leads_to_no_load_outside(column):
    """Padding that a loop skips is not followed; nor is it where the loop does not look at it."""
    arguments = sparse()
    arguments["indptr"] = np.minimum(arguments["indptr"], arguments["indices"].size - 20)
    arguments["indices"][-20:] = column
    kernel = fetch(sparse_rows(), {"b": 3.0})
    assert any(isinstance(s, Prefetch) for s in statements(kernel.body))
    assert ran(kernel, arguments)["y"].tobytes() == ran(sparse_rows(), arguments)["y"].tobytes()


def test_other_forms_are_left_alone():
    far = {"B": 20.0, "b": 3.0}
    written = entries(
        Store("indices", (p,), k),
        For(j, lb.i(0), n, (Store("y", (i,), Load("B", (k, j), "float64"), "add"),)),
        params=(ArrayParam("B", "float64", 2), ArrayParam("y", "float64", 1)),
    )
    moved = entries(
        For(j, lb.i(0), k, (Store("y", (i,), Load("B", (k, j), "float64"), "add"),)),
        params=(ArrayParam("B", "float64", 2), ArrayParam("y", "float64", 1)),
    )
    left = entries(
        For(j, lb.i(0), n, (Store("y", (i,), Load("B", (k, j), "float64"), "add"),)),
        params=(ArrayParam("B", "float64", 2), ArrayParam("y", "float64", 1)),
        before=(If(lb.gt(p, 3), (Break(),)),),
    )
    for kernel in (
        dense_rows("float64", lb.gt(k, 3)),
        sparse_rows(lb.ge(k, 0)),
        written,
        moved,
        left,
    ):
        assert fetch(verify(kernel), far) == kernel
    assert fetch(dense_rows(), {}) == dense_rows()


def source(statement, **tensors):
    from sparsedsl.api import statement_engine
    from sparsedsl.calls.choices import Choices

    engine = statement_engine(statement, tuple(tensors), Choices())
    (unit,) = engine.lower(tuple(tensors.values())).units
    return unit.source


def test_only_large_operands_of_products_that_take_every_entry_are_fetched():
    large = sp.random_array((40_000, 40_000), density=2e-4, format="csr", rng=0)
    large.indices, large.indptr = (x.astype(np.int32) for x in (large.indices, large.indptr))
    small = large[:2000, :2000]
    wide, narrow = np.ones((40_000, 64)), np.ones((2000, 64))
    assert "prefetch(B_data" in source("C[i,j] = A[i,k] * B[k,j]", A=large, B=wide)
    assert "prefetch" not in source("C[i,j] = A[i,k] * B[k,j]", A=small, B=narrow)
    assert "prefetch(B_indices" in source("C[i,j] = A[i,k] * B[k,j]", A=large, B=large)
    # rows that are near each other are met again soon
    band = sp.diags_array([1.0] * 8, offsets=range(8), shape=large.shape, format="csr")
    band.indices, band.indptr = (x.astype(np.int32) for x in (band.indices, band.indptr))
    assert "prefetch" not in source("C[i,j] = A[i,k] * B[k,j]", A=band, B=large)
    masked = source("C[i,j] = M[i,j] * A[i,k] * B[k,j]", M=large, A=large, B=large)
    assert "prefetch" not in masked
    with sd.options(safe=True):
        assert "prefetch" not in source("C[i,j] = A[i,k] * B[k,j]", A=large, B=wide)


def test_columns_that_are_picked_are_fetched_where_they_are_few():
    A = sp.random_array((3000, 3000), density=1e-2, format="csc", rng=0)
    A.indices, A.indptr = (x.astype(np.int32) for x in (A.indices, A.indptr))

    def picked(count):
        x = sp.coo_array((np.ones(count), (np.arange(count, dtype=np.int32),)), (3000,))
        return source("y[i] = A[i,j] * x[j]", A=A, x=x)

    assert "prefetch(A_indices" in picked(300)
    # what stays in the first cache, and columns that follow each other, are not waited for
    assert "prefetch" not in picked(10)
    assert "prefetch" not in picked(3000)


@pytest.mark.parametrize("count", [0, 1, 700])
def test_what_is_picked_is_what_scipy_picks(count):
    A = sp.random_array((3000, 3000), density=1e-2, format="csc", rng=0)
    A.indices, A.indptr = (x.astype(np.int32) for x in (A.indices, A.indptr))
    at = np.sort(np.random.default_rng(count).choice(3000, count, replace=False)).astype(np.int32)
    x = sp.coo_array((at + 1.0, (at,)), (3000,))
    found = sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x)
    np.testing.assert_allclose(found, A @ x.toarray(), rtol=1e-12)


def test_compiled_kernels_give_the_same_bits():
    from sparsedsl.codegen import numba_jit
    from sparsedsl.codegen.python import source as printed

    arguments = dense()
    expected = ran(dense_rows(), arguments)["y"]
    kernel = fetch(dense_rows(), {"B": 20.0})
    compiled = numba_jit.load(printed(kernel, cache=False, fastmath=False))
    for run in (compiled, compiled.py_func):
        y = np.zeros_like(expected)
        run(*({**arguments, "y": y}).values())
        assert y.tobytes() == expected.tobytes()
