"""Sums and extremes along rows in vectors: their bits, odd values, and what is left alone."""

from dataclasses import replace
from itertools import pairwise

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
from sparsedsl.loops.neighbours import rows_in_vectors
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
    Store,
    Var,
)
from sparsedsl.loops.verify import VerificationError, verify

i, p, n = (lb.ivar(name) for name in "ipn")

START = {"add": 0.0, "maximum": -np.inf, "minimum": np.inf}


def rows(operators=("add",), dtype="float64", value=None, more=()):
    """y0[i] = the sum, or an extreme, of the entries of a row, y1[i] another one, and so on."""
    element = Var("element", dtype)
    entry = Assign(element, Load("a", (p,), dtype) if value is None else value)
    every = [Var(f"found{k}", dtype) for k in range(len(operators))]
    begin = [Assign(v, Const(START[o], dtype)) for v, o in zip(every, operators, strict=True)]
    steps = [
        Assign(v, Apply(o, (v, element), dtype)) for v, o in zip(every, operators, strict=True)
    ]
    loop = For(p, lb.load("indptr", i), lb.load("indptr", lb.add(i, 1)), (entry, *steps, *more))
    stores = [Store(f"y{k}", (i,), v) for k, v in enumerate(every)]
    arrays = [("indptr", "int32"), ("a", dtype), *((s.array, dtype) for s in stores)]
    params = [*(ArrayParam(name, kind, 1) for name, kind in arrays), IntParam("n")]
    return Kernel("rows", tuple(params), (For(i, lb.i(0), n, (*begin, loop, *stores)),), ())


def given(operators, dtype="float64", seed=0, values=None):
    """Rows of every length from 0 to 40, in some order."""
    rng = np.random.default_rng(seed)
    indptr = np.r_[0, np.cumsum(rng.permutation(41))].astype(np.int32)
    a = rng.standard_normal(indptr[-1]) if values is None else rng.choice(values, indptr[-1])
    results = {f"y{k}": np.full(41, np.nan, dtype) for k in range(len(operators))}
    return {"indptr": indptr, "a": a.astype(dtype), **results, "n": 41}


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    with np.errstate(all="ignore"):
        match how:
            case "interpreter":
                interpret(kernel, own)
            case "python":
                load(source(kernel, cache=False)).py_func(*values)
            case "llvm":
                linked(direct_code(kernel, kinds(values), "rows_direct", fastmath=True))(*values)
            case _:
                dispatcher = load(source(kernel, fastmath=True, cache=False))
                linked(linkable_code(dispatcher, kinds(values), "rows_numba"))(*values)
    return [own[name] for name in own if name.startswith("y")]


def in_lanes(row, width):
    """The sum in the order that is promised: the elements left over, registers, then halves."""
    whole = len(row) // width * width
    total = np.zeros(width, row.dtype)
    total[: len(row) - whole] = row[whole:]
    for start in range(0, whole, width):
        total = total + row[start : start + width]
    while len(total) > 1:
        total = total[: len(total) // 2] + total[len(total) // 2 :]
    return row.dtype.type(0) + total[0]


def first_of(operator, row):
    """The first of those that are NaN or, where none is, of those that are largest (smallest)."""
    found = START[operator]
    for value in row:
        beyond = value > found if operator == "maximum" else value < found
        if beyond or (np.isnan(value) and not np.isnan(found)):
            found = value
    return found


def expected(arguments, operator, width):
    dtype = arguments["a"].dtype
    every = [arguments["a"][s:e] for s, e in pairwise(arguments["indptr"])]
    if operator == "add":
        return np.array([in_lanes(row, width) for row in every], dtype)
    return np.array([first_of(operator, row) for row in every], dtype)


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm", "numba"])
@pytest.mark.parametrize(("dtype", "width"), [("float64", 8), ("float32", 16)])
@pytest.mark.parametrize(
    "operators", [("add",), ("maximum",), ("minimum",), ("add", "maximum", "minimum")], ids=str
)
def test_rows_of_every_length(operators, dtype, width, how):
    plain = verify(rows(operators, dtype))
    kernel = rows_in_vectors(plain)
    assert verify(kernel) != plain
    arguments = given(operators, dtype)
    found = run_by(kernel, arguments, how)
    for operator, result in zip(operators, found, strict=True):
        assert result.tobytes() == expected(arguments, operator, width).tobytes(), operator


ODD = [
    [-2.0, -1.0, 3.0],
    [-1.0, -0.0, 0.0],
    [0.0, -0.0, 1.0],
    [-np.inf, 1.0, -1.0],
    [np.inf, -np.inf, 2.0],
    [np.nan, -np.nan, -np.inf, 1.0, 2.0, 3.0, 4.0, 5.0],
]


@pytest.mark.parametrize("how", ["interpreter", "llvm", "numba"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zeros_of_both_signs_infinities_and_nans(dtype, how):
    operators = ("maximum", "minimum")
    kernel = verify(rows_in_vectors(rows(operators, dtype)))
    for seed, values in enumerate(ODD):
        arguments = given(operators, dtype, seed, values)
        found = run_by(kernel, arguments, how)
        for operator, result in zip(operators, found, strict=True):
            wanted = expected(arguments, operator, 0)
            np.testing.assert_array_equal(result, wanted)
            # NumPy, which the interpreter computes with, may give any of several zeros
            assert how == "interpreter" or result.tobytes() == wanted.tobytes(), (seed, operator)


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm", "numba"])
def test_lanes_that_are_not_used_add_nothing(how):
    """A factor of all entries meets no zero that is not there."""
    value = Apply("mul", (Const(np.inf, "float64"), Load("a", (p,), "float64")), "float64")
    arguments = given(("add",))
    arguments["a"] = np.abs(arguments["a"])
    (found,) = run_by(verify(rows_in_vectors(rows(value=value))), arguments, how)
    empty = np.diff(arguments["indptr"]) == 0
    np.testing.assert_array_equal(found, np.where(empty, 0.0, np.inf))


@pytest.mark.parametrize("how", ["interpreter", "llvm"])
def test_what_else_a_loop_does_stays_a_loop(how):
    """Integers are counted, and another sum has no neighbours."""
    count, other = Var("count", "float64"), Var("other", "float64")
    start = lb.load("indptr", i)
    steps = (
        Assign(count, Apply("add", (count, Const(1.0, "float64")), "float64")),
        Assign(
            other,
            Apply("add", (other, Load("a", (lb.sub(p, start),), "float64")), "float64"),
        ),
    )
    kernel = rows(("add", "maximum"), more=steps)
    (outer,) = kernel.body
    begin = [Assign(v, Const(0.0, "float64")) for v in (count, other)]
    both = Apply("add", (other, count), "float64")
    body = (*begin, *outer.body[:-1], Store("y1", (i,), both))
    plain = verify(replace(kernel, body=(replace(outer, body=body),)))
    arguments = given(("add", "maximum"))
    kernel = rows_in_vectors(plain)
    sums, others = run_by(verify(kernel), arguments, how)
    assert sums.tobytes() == expected(arguments, "add", 8).tobytes()
    wanted = [arguments["a"][: e - s].sum() + e - s for s, e in pairwise(arguments["indptr"])]
    np.testing.assert_allclose(others, wanted, rtol=1e-12, atol=1e-12)


def test_other_loops_are_left_alone():
    found = Var("found0", "float64")
    kernel = rows()
    (outer,) = kernel.body
    begin, loop, store = outer.body
    kept = If(lb.gt(p, 3), (loop.body[-1],))
    one_behind = Load("a", (lb.add(p, 1),), "float64")
    same = Load("a", (i,), "float64")
    read = Assign(Var("other", "float64"), found)

    def with_loop(loop):
        return replace(kernel, body=(replace(outer, body=(begin, loop, store)),))

    whole = For(p, lb.i(0), n, loop.body)
    for other in (
        with_loop(replace(loop, body=(loop.body[0], kept))),
        with_loop(replace(loop, body=(*loop.body, read))),
        with_loop(replace(loop, start=lb.i(0), stop=lb.i(5))),
        replace(kernel, body=(begin, whole, replace(store, subscripts=(lb.i(0),)))),
        rows(value=one_behind),
        rows(value=same),
    ):
        assert rows_in_vectors(verify(other)) == other


@pytest.mark.parametrize(
    ("value", "type", "message"),
    [
        (Apply("nans", (Const(1.0, "float64"),), "int"), "int", "nans of"),
        (Apply("nans", (Load("a", (p,), "float64*8"),), "float64"), "float64", "nans of"),
        (Apply("nans", (Load("indptr", (p,), "int32*16"),), "int"), "int", "nans of"),
    ],
)
def test_what_is_no_vector_of_floats_has_no_nans(value, type, message):
    (outer,) = rows().body
    loop = replace(outer.body[1], body=(Assign(Var("odd", type), value),))
    kernel = replace(rows(), body=(replace(outer, body=(outer.body[0], loop, outer.body[2])),))
    with pytest.raises(VerificationError, match=message):
        verify(kernel)


def test_kernels_that_may_have_vectors(monkeypatch):
    monkeypatch.setattr("sparsedsl.codegen.processor.has_masks", lambda: True)

    @sd.kernel
    def both(A):
        i, j = sd.indices("i j")
        y, z = sd.output(), sd.output()
        y[i] = A[i, j]
        z[i] = sd.max(A[i, j], over=j)
        return y, z

    A = sd.ShapeOf((10**5, 10**5), "float64", nnz=10**6)
    with sd.options(threads=1):
        (unit,) = both.lower(A).units
        # one loop over a row for both
        assert unit.source.count("A_indptr[u64(i)]), A_p_whole, 8)") == 1
        assert "larger(" in unit.source
    with sd.options(threads=1, safe=True):
        assert not any("total(" in unit.source for unit in both.lower(A).units)
