"""Where rows begin is loaded before the loops along them: the same values, none read too early."""

import numpy as np
import pytest

from sparsedsl.codegen import numba_jit
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Store,
    Var,
)
from sparsedsl.loops.starts import starts
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

i, j, n = (lb.ivar(name) for name in "ijn")
START = lb.load("ptr", i)
DATA = Load("data", (lb.add(START, j),), "float64")
ADDED = Store("y", (j,), Apply("mul", (Var("v", "float64"), DATA), "float64"), "add")


def triangle(*body, last=i):
    """y[j] =add= data[ptr[i] + j] ** 2, for all rows i of a triangle without its diagonal."""
    body = body or (Assign(Var("v", "float64"), DATA), ADDED)
    loops = (For(i, lb.i(0), n, (For(j, lb.i(0), last, body),)),)
    arrays = (("ptr", "int64"), ("data", "float64"), ("y", "float64"))
    return Kernel("t", (*(ArrayParam(*a, 1) for a in arrays), IntParam("n")), loops, ())


def given(count):
    """Pointers of rows that have entries, and none of the first one, which has not."""
    ptr = np.r_[-99, np.cumsum(np.arange(count))][:count].astype(np.int64)
    data = np.arange(1.0, count * count + 1)
    return {"ptr": ptr, "data": data, "y": np.zeros(count), "n": count}


@pytest.mark.parametrize("count", [0, 1, 2, 9, 40])
def test_results_are_the_same(count):
    plain = verify(triangle())
    changed = verify(starts(plain))
    loads = [s for s in statements(changed.body) if isinstance(s, Assign) and s.value == START]
    assert len(loads) == 1
    assert "ptr_start + j" in source(changed, cache=False)
    expected = given(count)
    interpret(plain, expected)
    for run in (
        lambda x: interpret(changed, x),
        lambda x: numba_jit.load(source(changed, cache=False))(*x.values()),
    ):
        arguments = given(count)
        run(arguments)
        np.testing.assert_array_equal(arguments["y"], expected["y"])


def test_a_row_without_entries_reads_no_pointer():
    """One that would begin beyond the pointers, say."""
    arguments = given(3) | {"ptr": np.array([0, 0, 1]), "n": 3}
    empty = triangle(last=lb.i(0))
    arguments["ptr"] = arguments["ptr"][:0]
    interpret(verify(starts(empty)), arguments)
    assert not arguments["y"].any()


def test_other_loads_stay():
    v = Var("v", "float64")
    moving = Load("data", (lb.load("ptr", j),), "float64")
    changed = Store("ptr", (lb.i(0),), lb.i(0))
    seldom = If(lb.lt(j, n), (Assign(v, DATA), ADDED))
    for kernel in (
        triangle(Assign(v, moving), Store("y", (j,), v, "add")),
        triangle(Assign(v, DATA), changed),
        triangle(seldom),
        triangle(Assign(v, Load("data", (j,), "float64")), Store("y", (j,), v, "add")),
    ):
        assert starts(verify(kernel)) == kernel
    summed = For(j, lb.i(0), i, (Assign(v, DATA), Assign(Var("s", "float64"), v)))
    plain = Kernel("t", triangle().params, (For(i, lb.i(0), n, (summed,)),), ())
    assert starts(plain) == plain  # nothing is stored: the compiler sees it
