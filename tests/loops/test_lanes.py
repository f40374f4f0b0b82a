"""Sums of what index arrays point to in vectors: their values, their bits, what is left alone."""

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.lanes import sums_in_lanes
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Part,
    Store,
    Var,
)
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.text import expression
from sparsedsl.loops.verify import VerificationError, verify

i, j, p, n = (lb.ivar(name) for name in "ijpn")


def rows(dtype="float64", index="int32", *, value=None, operator="add", scaled=False, wrap=None):
    """y[i] = sum of a[p] * x[indices[p]], times s[i] if ``scaled``, over the entries of a row."""
    total, scale = Var("total", dtype), Var("scale", dtype)
    a, x = Load("a", (p,), dtype), Load("x", (j,), dtype)
    term = Apply("mul", (a, x), dtype) if value is None else value
    if scaled:
        term = Apply("mul", (scale, term), dtype)
    add = Assign(total, Apply(operator, (total, term), dtype))
    entry = (Assign(j, lb.load("indices", p)), add if wrap is None else wrap(add))
    row = (
        Assign(scale, Load("s", (i,), dtype)),
        Assign(total, Const(0.0, dtype)),
        For(p, lb.load("indptr", i), lb.load("indptr", lb.add(i, 1)), entry),
        Store("y", (i,), total),
    )
    arrays = ("indptr", index), ("indices", index), ("a", dtype), ("x", dtype), ("s", dtype)
    params = [ArrayParam(name, kind, 1) for name, kind in (*arrays, ("y", dtype))]
    return Kernel("rows", (*params, IntParam("n")), (For(i, lb.i(0), n, row),), ())


def given(dtype="float64", index="int32", seed=0):
    """Rows of every length from 0 to 40, in some order."""
    rng = np.random.default_rng(seed)
    counts = rng.permutation(41)
    indptr = np.r_[0, np.cumsum(counts)].astype(index)
    indices = rng.integers(0, 30, indptr[-1]).astype(index)
    a, x, s = (rng.standard_normal(size).astype(dtype) for size in (indptr[-1], 30, 41))
    arrays = {"indptr": indptr, "indices": indices, "a": a, "x": x, "s": s}
    return {**arrays, "y": np.full(41, np.nan, dtype), "n": 41}


def in_lanes(arguments, width, scaled):
    """The sums in the order that is promised: by lanes, then the halves, in NumPy alone."""
    found = []
    for start, stop in zip(arguments["indptr"], arguments["indptr"][1:], strict=False):
        terms = arguments["a"][start:stop] * arguments["x"][arguments["indices"][start:stop]]
        if scaled:
            terms = arguments["s"][len(found)] * terms
        lanes = np.zeros(max(-(-len(terms) // width), 1) * width, terms.dtype)
        lanes[: len(terms)] = terms
        total, *more = lanes.reshape(-1, width)
        for vector in more:
            total = total + vector
        while len(total) > 1:
            total = total[: len(total) // 2] + total[len(total) // 2 :]
        found.append(total[0] + terms.dtype.type(0))
    return np.array(found)


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "python":
            with np.errstate(all="ignore"):
                load(source(kernel, cache=False)).py_func(*values)
        case "llvm":
            linked(direct_code(kernel, kinds(values), "lanes_direct", fastmath=True))(*values)
        case _:
            dispatcher = load(source(kernel, fastmath=True, cache=False))
            linked(linkable_code(dispatcher, kinds(values), "lanes_numba"))(*values)
    return own["y"]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    ("dtype", "index", "width"),
    [("float64", "int32", 8), ("float64", "int64", 8), ("float32", "int32", 16)],
)
def test_rows_of_every_length(dtype, index, width, scaled):
    plain = verify(rows(dtype, index, scaled=scaled))
    kernel = verify(sums_in_lanes(plain))
    assert kernel != plain
    arguments = given(dtype, index)
    expected = in_lanes(arguments, width, scaled)
    close = 1e-4 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(expected, run_by(plain, arguments, "interpreter"), close, close)
    for how in ("interpreter", "python"):
        assert run_by(kernel, arguments, how).tobytes() == expected.tobytes(), how
    # additions and multiplications are fused in machine code, by both alike
    machine = run_by(kernel, arguments, "llvm")
    np.testing.assert_allclose(machine, expected, close, close)
    assert run_by(kernel, arguments, "numba").tobytes() == machine.tobytes()


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm", "numba"])
@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 1e308, -0.0])
def test_lanes_that_are_not_used_add_nothing(odd, how):
    """A factor of all entries meets no zero that is not there."""
    arguments = given()
    arguments["s"][:] = odd
    arguments["x"] = np.abs(arguments["x"])
    arguments["a"] = np.abs(arguments["a"]) * 1e-9
    plain = rows(scaled=True)
    found = run_by(sums_in_lanes(plain), arguments, how)
    np.testing.assert_allclose(found, run_by(plain, arguments, "interpreter"), 1e-12)


def test_nothing_outside_is_touched():
    """Arrays that end with the last entry: the interpreter refuses any element beyond."""
    arguments = given()
    arguments["indptr"] = arguments["indptr"][:6]
    arguments["n"], end = 5, arguments["indptr"][-1]
    arguments["indices"], arguments["a"] = arguments["indices"][:end], arguments["a"][:end]
    arguments["y"] = np.zeros(5)
    run_by(sums_in_lanes(rows()), arguments, "interpreter")


def test_other_forms_are_left_alone():
    a, x = Load("a", (p,), "float64"), Load("x", (j,), "float64")
    for kernel in (
        rows(operator="maximum"),
        rows(value=a),  # neighbours alone: LLVM does that, with more sums at a time
        rows(value=Apply("div", (a, x), "float64")),
        rows(value=Load("x", (lb.add(j, 1),), "float64")),
        rows(value=Load("a", (lb.add(p, 1),), "float64")),
        rows(value=Apply("mul", (Var("total", "float64"), x), "float64")),
        rows(wrap=lambda add: If(lb.gt(j, 3), (add,))),
        rows("int64"),
    ):
        assert sums_in_lanes(kernel) == kernel


def test_sums_keep_their_order_where_they_must():
    kernel = verify(rows())
    assert "part" not in source(optimise(kernel), cache=False)
    assert "part" in source(optimise(kernel, masked=True), cache=False)
    assert "part" not in source(optimise(kernel, vectors=False, masked=True), cache=False)


def test_a_product_with_a_vector_of_every_format():
    import scipy.sparse as sp

    A = sp.random_array((70, 50), density=0.2, format="csr", rng=0)
    x = np.random.default_rng(1).standard_normal(50)
    for layout in ("csr", "csc", "coo", "ell", "sell", "dcsr", "bcsr"):
        found = sd.einsum("ij,j->i", sd.convert(A, layout), x)
        np.testing.assert_allclose(found, A @ x, 1e-12, 1e-12)


PART = Part("a", p, n, "float64*8", "indices")


def test_text():
    assert expression(PART) == "a[indices[p ..+8], at most n]"
    assert expression(Part("a", p, n, "float64*8")) == "a[p ..+8, at most n]"


@pytest.mark.parametrize(
    ("value", "type", "rule"),
    [
        (Part("a", p, n, "float32*16"), "float32*16", "a loaded as float32"),
        (Part("a", p, n, "float64"), "float64", "a loaded as float64"),
        (Part("a", p, n, "float64*8", "s"), "float64*8", "s holds no places"),
        (Part("a", Const(1.0, "float64"), n, "float64*8"), "float64*8", "expected an int"),
        (Apply("first", (PART, n), "float64*8"), "float64*8", "first of"),
        (Apply("total", (PART,), "float32"), "float32", "total of"),
        (Apply("total", (n,), "float64"), "float64", "total of"),
    ],
)
def test_rules(value, type, rule):
    params = (*rows().params, IntParam("p"))
    with pytest.raises(VerificationError, match=rule):
        verify(Kernel("broken", params, (Assign(Var("v", type), value),), ()))
