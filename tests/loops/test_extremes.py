"""Maxima and minima in vectors: the same bits as one by one, for NaNs and zeros of both signs."""

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.extremes import extremes
from sparsedsl.loops.interpret import interpret
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
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.verify import VerificationError, verify

p, a, b = (lb.ivar(name) for name in ("p", "a", "b"))


def extreme(operator="maximum", dtype="float64", value=None, start=None):
    """s[0] = the largest or smallest of x[a .. b]."""
    found, element = Var("found", dtype), Var("element", dtype)
    start = Const(-np.inf if operator == "maximum" else np.inf, dtype) if start is None else start
    body = (
        Assign(element, Load("x", (p,), dtype) if value is None else value),
        Assign(found, Apply(operator, (found, element), dtype)),
    )
    whole = (Assign(found, start), For(p, a, b, body), Store("s", (lb.i(0),), found))
    params = ArrayParam("x", dtype, 1), ArrayParam("s", dtype, 1), IntParam("a"), IntParam("b")
    return Kernel("extreme", params, whole, ())


def one_by_one(operator, values, start):
    """The first of those that are NaN or, where none is, of those that are largest (smallest)."""
    found = start
    for value in values:
        beyond = value > found if operator == "maximum" else value < found
        if beyond or (np.isnan(value) and not np.isnan(found)):
            found = value
    return found


def runner(kernel, dtype, how):
    """A function of an array and ends that runs the kernel, which is compiled once."""
    sample = [np.zeros(1, dtype), np.zeros(1, dtype), 0, 0]
    match how:
        case "interpreter":

            def call(*values):
                interpret(kernel, dict(zip("xsab", values, strict=True)))

        case "python":
            call = load(source(kernel, cache=False)).py_func
        case "llvm":
            call = linked(direct_code(kernel, kinds(sample), "extreme_direct", fastmath=True))
        case _:
            dispatcher = load(source(kernel, fastmath=True, cache=False))
            call = linked(linkable_code(dispatcher, kinds(sample), "extreme_numba"))

    def run(x, ends):
        s = np.zeros(1, dtype)
        with np.errstate(all="ignore"):
            call(x, s, *ends)
        return s[0]

    return run


def odd_values(dtype, seed):
    """Some 100 values: few different ones, zeros of both signs or NaNs among them in turn."""
    rng = np.random.default_rng(seed)
    some = [[-2.0, -1.0, 3.0], [-1.0, -0.0, 0.0], [0.0, -0.0, 1.0], [np.nan, -np.inf, np.inf, -0.0]]
    values = rng.choice(some[seed % 4], 100).astype(dtype)
    if seed % 8 == 3:
        values[rng.integers(0, 100, 2)] = np.array([-np.nan, np.nan], dtype)
    return values


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm", "numba"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("operator", ["maximum", "minimum"])
def test_the_same_bits_as_one_by_one(operator, dtype, how):
    plain = verify(extreme(operator, dtype))
    kernel = verify(extremes(plain))
    assert kernel != plain
    start = np.dtype(dtype).type(-np.inf if operator == "maximum" else np.inf)
    run = runner(kernel, dtype, how)
    for seed in range(16):
        x = odd_values(dtype, seed)
        for ends in ((0, 100), (3, 98), (0, 64), (7, 7), (9, 2), (0, 5)):
            expected = one_by_one(operator, x[slice(*ends)], start)
            found = run(x, ends)
            np.testing.assert_array_equal(found, expected, str((seed, ends)))
            # NumPy, which the others compute with, may give any of several zeros
            assert how not in ("llvm", "numba") or found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("how", ["interpreter", "llvm"])
def test_of_what_is_computed(how):
    x = np.random.default_rng(0).standard_normal(300)
    value = Apply("mul", (Const(-2.0, "float64"), Load("x", (p,), "float64")), "float64")
    kernel = verify(extremes(verify(extreme(value=value))))
    assert "vector(x" in source(kernel, cache=False)
    assert runner(kernel, "float64", how)(x, (0, 300)) == (-2.0 * x).max()


def test_other_loops_are_left_alone():
    plain = extreme()
    first, loop, last = plain.body
    rows = For(lb.ivar("i"), lb.i(0), b, (loop,))
    kept = If(lb.gt(p, 3), loop.body)
    one_behind = Load("x", (lb.add(p, 1),), "float64")
    for kernel in (
        Kernel("rows", plain.params, (first, rows, last), ()),
        Kernel("kept", plain.params, (first, For(p, a, b, (kept,)), last), ()),
        extreme("add"),
        extreme(dtype="int64", start=Const(0, "int64")),
        extreme(value=one_behind),
        extreme(value=Var("found", "float64")),
        extreme(value=Const(1.0, "float64")),
    ):
        assert extremes(kernel) == kernel


def test_vectors_are_for_kernels_that_are_not_checked():
    kernel = verify(extreme())
    assert "largest" in source(optimise(kernel), cache=False)
    assert "largest" not in source(optimise(kernel, vectors=False), cache=False)


@pytest.mark.parametrize("odd", [2.0, 0.0, -0.0, np.nan, np.inf])
def test_of_a_matrix(odd):
    import scipy.sparse as sp

    A = sp.random_array((70, 50), density=0.3, format="csr", rng=0)
    A.data[::7] = -A.data[::7]
    A.data[40] = odd
    for layout in ("csr", "coo"):
        for reduce in (sd.max, sd.min):

            @sd.kernel
            def whole(A, reduce=reduce):
                i, j = sd.indices("i j")
                s = sd.output()
                s[()] = reduce(A[i, j], over=(i, j))
                return s

            expected = A.toarray().max() if reduce is sd.max else A.toarray().min()
            np.testing.assert_array_equal(whole(sd.convert(A, layout)), expected)


@pytest.mark.parametrize(
    ("value", "type", "rule"),
    [
        (Apply("largest", (Var("found", "float64"),), "float64"), "float64", "largest of"),
        (Apply("smallest", (Load("x", (p,), "float64*8"),), "float32"), "float32", "smallest of"),
    ],
)
def test_rules(value, type, rule):
    params = (*extreme().params, IntParam("p"))
    start = Assign(Var("found", "float64"), Const(0.0, "float64"))
    with pytest.raises(VerificationError, match=rule):
        verify(Kernel("broken", params, (start, Assign(Var("v", type), value)), ()))
