"""Accumulation of columns in vectors: the same bits as one by one, and where it is left alone."""

from dataclasses import replace

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.codegen import numba_jit
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.columns import columns
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    Const,
    For,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.verify import VerificationError, verify

i, j, k, p, n, m = (lb.ivar(name) for name in "ijkpnm")


def rows(dtype, *, combine="add", column=j, value=None, extra=(), before=()):
    """C[i, column] =combine= a[p] * B[k, j], for all rows i, entries p and columns j.

    ``before`` comes before the entries of a row, ``extra`` before the columns of an entry.
    """
    factor = Var("factor", dtype)
    term = Apply("mul", (factor, Load("B", (k, j), dtype)), dtype) if value is None else value
    store = Store("C", (i, column), term, combine)
    start, stop = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))
    entry = (
        Assign(factor, Load("a", (p,), dtype)),
        Assign(k, lb.load("indices", p)),
        *extra,
        For(j, lb.i(0), n, (store,)),
    )
    body = (For(i, lb.i(0), m, (*before, For(p, start, stop, entry))),)
    arrays = [("indptr", "int32", 1), ("indices", "int32", 1), ("a", dtype, 1)]
    params = [ArrayParam(*a) for a in [*arrays, ("B", dtype, 2), ("C", dtype, 2)]]
    return Kernel("rows", (*params, IntParam("m"), IntParam("n")), body, ())


def given(dtype, width, seed=0):
    rng = np.random.default_rng(seed)
    counts = np.array([3, 0, 1, 5])
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    indices = rng.integers(0, 6, counts.sum()).astype(np.int32)
    a, B, C = (rng.standard_normal(s).astype(dtype) for s in ((9,), (6, width), (4, width)))
    return {"indptr": indptr, "indices": indices, "a": a, "B": B, "C": C, "m": 4, "n": width}


def ran(run, arguments):
    arguments = {
        name: np.copy(x) if isinstance(x, np.ndarray) else x for name, x in arguments.items()
    }
    run(arguments)
    return arguments["C"]


def opening(dtype, value=8.0, count=n):
    """C[i, q] = value, for all columns q."""
    q = lb.ivar("q")
    return For(q, lb.i(0), count, (Store("C", (i, q), Const(value, dtype)),))


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_width_gives_the_same_bits(dtype, opened):
    plain = verify(rows(dtype, before=(opening(dtype),) if opened else ()))
    vectorised = verify(columns(plain))
    assert vectorised != plain
    loaded = "C_columns = vector(C" in source(vectorised, cache=False)
    assert loaded != opened
    text = source(vectorised, cache=False)
    compiled = numba_jit.load(text)
    for width in (0, 1, 7, 8, 15, 16, 31, 32, 40, 63, 64, 100, 129):
        arguments = given(dtype, width)
        if opened:
            arguments["C"].fill(np.nan)
        expected = ran(lambda x: interpret(plain, x), arguments)
        found = ran(lambda x: interpret(vectorised, x), arguments)
        assert found.tobytes() == expected.tobytes(), width
        python = ran(lambda x: compiled.py_func(*x.values()), arguments)
        assert python.tobytes() == expected.tobytes(), width
        machine = ran(lambda x: compiled(*x.values()), arguments)
        # multiplications and additions are fused in machine code
        np.testing.assert_allclose(machine, expected, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_a_row_may_be_read_behind_the_loop():
    """So is the row of an intermediate that is not stored."""
    plain = rows("float64")
    copy = Store("B", (lb.i(0), j), Load("C", (lb.i(1), j), "float64"))
    read = replace(plain, body=(*plain.body, For(j, lb.i(0), n, (copy,))))
    found = columns(verify(read))
    assert found.body[:1] == columns(plain).body[:1] != plain.body[:1]
    arguments = given("float64", 40)
    expected = ran(lambda x: interpret(read, x), arguments)
    assert ran(lambda x: interpret(verify(found), x), arguments).tobytes() == expected.tobytes()


def test_other_forms_are_left_alone():
    total = Apply("exp", (Load("B", (k, j), "float64"),), "float64")
    own = Load("C", (k, j), "float64")
    for kernel in (
        rows("float64", combine="max"),
        rows("float64", combine=None),
        rows("float64", column=lb.sub(lb.sub(n, j), 1)),
        rows("float64", value=Load("B", (j, k), "float64")),
        rows("float64", value=total),
        rows("float64", value=own),
        rows("int64"),
        rows("complex128"),
        rows("float64", extra=(lb.store("indices", [p], k),)),
    ):
        assert columns(verify(kernel)) == kernel


def test_what_sets_other_elements_is_kept():
    later = lb.ivar("q")
    for before in (
        opening("float64", count=m),
        replace(opening("float64"), start=lb.i(1)),
        replace(opening("float64"), body=(Store("C", (later, i), Const(0.5, "float64")),)),
        replace(opening("float64"), body=(Store("C", (i, lb.i(0)), Const(0.5, "float64")),)),
        For(later, lb.i(0), n, (Store("C", (i, later), Const(0.5, "float64"), "add"),)),
    ):
        vectorised = columns(verify(rows("float64", before=(before,))))
        (loop,) = vectorised.body
        assert loop.body[0] == before


def test_vectors_are_verified():
    kernel = columns(rows("float64"))
    wrong = Load("B", (i, j), "float64*2"), Load("B", (i, j), "float32*16")
    for value in wrong:
        body = (Assign(i, lb.i(0)), Assign(j, lb.i(0)), Assign(Var("v", value.type), value))
        with pytest.raises(VerificationError):
            verify(replace(kernel, body=body))
    whole = Load("B", (i, j), "float64*8")
    body = (Assign(i, lb.i(0)), Assign(j, lb.i(0)), Store("C", (i, j), whole, "add"))
    with pytest.raises(VerificationError, match="combined"):
        verify(replace(kernel, body=body))


def test_a_vector_beyond_the_row_is_an_error():
    place = lb.i(0), lb.i(1)
    body = (Store("C", place, Load("B", place, "float64*8")),)
    with pytest.raises(AssertionError, match="outside array"):
        interpret(replace(rows("float64"), body=body), given("float64", 8))


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def test_safe_kernels_check_every_subscript():
    A, B = sd.convert(np.eye(3), "csr"), np.ones((3, 70))
    assert "vector(" in product.lower(A, B).source
    with sd.options(safe=True):
        assert "vector(" not in product.lower(A, B).source
        np.testing.assert_array_equal(product(A, B), B)
