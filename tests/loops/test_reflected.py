"""Columns of two rows accumulated at once: the same bits as one by one, and where not."""

from dataclasses import replace

import numpy as np
import pytest

from sparsedsl.codegen import numba_jit
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.columns import columns
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.reflected import halves, is_later
from sparsedsl.loops.verify import verify

i, j, k, p, n, m = (lb.ivar(name) for name in "ijkpnm")
LATER = Binary(">=", i, lb.add(lb.load("indices", p), 1), "bool")


def added(dtype, row, other, combine="add"):
    """C[row, j] =combine= a[p] * X[other, j], for all columns j."""
    term = Apply("mul", (Var("a_v", dtype), Load("X", (other, j), dtype)), dtype)
    return For(j, lb.i(0), n, (Store("C", (row, j), term, combine),))


def entries(dtype, guard=LATER, combine="add", first=None, turned=False):
    """Both rows of the entries of row i; ``turned``: row i where the guard holds alone."""
    rows = [added(dtype, i, k, combine), added(dtype, k, i, combine)]
    one, two = reversed(rows) if turned else rows
    body = (
        Assign(Var("a_v", dtype), Load("a", (p,), dtype)),
        Assign(k, lb.load("indices", p)),
        first or one,
        If(guard, (two,)),
    )
    return For(p, lb.load("indptr", i), lb.load("indptr", lb.add(i, 1)), body)


def rows(dtype, *, before=(), **how):
    body = (For(i, lb.i(0), m, (*before, entries(dtype, **how))),)
    arrays = [("indptr", "int32", 1), ("indices", "int32", 1), ("a", dtype, 1)]
    params = [ArrayParam(*a) for a in [*arrays, ("X", dtype, 2), ("C", dtype, 2)]]
    return Kernel("rows", (*params, IntParam("m"), IntParam("n")), body, ())


def given(dtype, width):
    """Rows with and without a diagonal, a diagonal alone, none, and one of a later column."""
    rng = np.random.default_rng(0)
    indptr = np.array([0, 1, 1, 4, 5, 8, 10], np.int32)
    indices = np.array([0, 0, 1, 2, 3, 0, 2, 3, 1, 5], np.int32)
    indices[4] = 4
    a, X, C = (rng.standard_normal(s).astype(dtype) for s in ((10,), (6, width), (6, width)))
    return {"indptr": indptr, "indices": indices, "a": a, "X": X, "C": C, "m": 6, "n": width}


def ran(run, arguments):
    arguments = {
        name: np.copy(x) if isinstance(x, np.ndarray) else x for name, x in arguments.items()
    }
    run(arguments)
    return arguments["C"]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_width_gives_the_same_bits(dtype, opened, turned):
    start = For(j, lb.i(0), n, (Store("C", (i, j), Const(8.0, dtype)),))
    plain = verify(rows(dtype, before=(start,) if opened else (), turned=turned))
    vectorised = verify(columns(plain))
    text = source(vectorised, cache=False)
    assert "columns of both rows" in text
    assert ("C_columns = vector(C" in text) == (turned or not opened)
    compiled = numba_jit.load(text)
    for width in (0, 1, 7, 8, 15, 16, 31, 40, 63, 64, 100, 129):
        arguments = given(dtype, width)
        expected = ran(lambda x: interpret(plain, x), arguments)
        found = ran(lambda x: interpret(vectorised, x), arguments)
        assert found.tobytes() == expected.tobytes(), width
        machine = ran(lambda x: compiled(*x.values()), arguments)
        # multiplications and additions are fused in machine code
        np.testing.assert_allclose(machine, expected, rtol=1e-4 if dtype == "float32" else 1e-12)


def test_rows_that_may_be_the_same_are_not_held():
    other = Binary(">=", lb.load("indices", p), lb.add(i, 1), "bool")
    found = halves(entries("float64"))
    assert found is not None
    assert is_later(found)
    earlier = halves(entries("float64", guard=other))
    assert earlier is not None
    assert not is_later(earlier)
    turned = halves(entries("float64", turned=True))
    assert turned is not None
    assert turned.turned
    assert not is_later(turned)
    for guard in (
        Binary(">=", i, lb.load("indices", p), "bool"),
        Binary(">=", m, lb.add(lb.load("indices", p), 1), "bool"),
        Binary("==", i, lb.load("indices", p), "bool"),
    ):
        assert halves(entries("float64", guard=guard)) is None


@pytest.mark.parametrize("dtype", ["int64", "complex128"])
def test_other_types_have_no_vectors(dtype):
    kernel = verify(rows(dtype))
    assert columns(kernel) == kernel


def test_other_forms_are_left_alone():
    own = Apply("add", (Load("C", (k, j), "float64"), Load("X", (k, j), "float64")), "float64")
    reads = For(j, lb.i(0), n, (Store("C", (i, j), own, "add"),))
    shorter = replace(added("float64", i, k), stop=lb.sub(n, 1))
    for kernel in (
        rows("float64", combine="max"),
        rows("float64", first=reads),
        rows("float64", first=shorter),
        rows("float64", first=added("float64", k, i)),
    ):
        assert "both rows" not in source(columns(verify(kernel)), cache=False)
