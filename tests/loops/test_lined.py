"""Rows of dense matrices copied to cache lines of their own: values, places, and what is left."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.lined import lined
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Cast,
    For,
    IntParam,
    Kernel,
    Load,
    Prefetch,
    Store,
    Var,
)
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

k, p, n = (lb.ivar(name) for name in "kpn")


def rows(dtype="float64", width=8, vectors=True):
    """y[0 .. width] += the rows of B that indices tell, as vectors or one element."""
    kind = f"{dtype}*{width}" if vectors else dtype
    total, first = Var("total", kind), lb.i(0)
    zero = lb.const(0.0, dtype)
    body = (
        Assign(total, Cast(zero, kind) if vectors else zero),
        For(
            p,
            first,
            n,
            (
                Assign(k, lb.load("indices", p)),
                Prefetch("B", (k, first), to_store=False),
                Assign(total, Apply("add", (total, Load("B", (k, first), kind)), kind)),
            ),
        ),
        Store("y", (first,), total),
    )
    arrays = ("indices", "int32", 1), ("B", dtype, 2), ("y", dtype, 1)
    params = [ArrayParam(*array) for array in arrays]
    return verify(Kernel("rows", (*params, IntParam("n")), body, ()))


def given(dtype="float64", columns=20, count=50):
    rng = np.random.default_rng(0)
    return {
        "indices": rng.integers(0, 7, count).astype(np.int32),
        "B": rng.integers(-9, 9, (7, columns)).astype(dtype),
        "y": np.zeros(columns, dtype),
        "n": count,
    }


def run_by(kernel, arguments, how):
    own = {name: x.copy() if isinstance(x, np.ndarray) else x for name, x in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "python":
            load(source(kernel, cache=False)).py_func(*values)
        case _:
            linked(direct_code(kernel, kinds(values), "lined", fastmath=True))(*values)
    return own["y"]


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm"])
@pytest.mark.parametrize("columns", [8, 9, 16, 20])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values(dtype, columns, how):
    plain, arguments = rows(dtype), given(dtype, columns)
    kernel = verify(lined(plain, {"B"}))
    assert kernel != plain
    expected = run_by(plain, arguments, "interpreter")
    np.testing.assert_array_equal(run_by(kernel, arguments, how), expected)
    assert expected.any()


@pytest.mark.parametrize("columns", [1, 8, 9, 20])
@pytest.mark.parametrize(("dtype", "line"), [("float64", 8), ("float32", 16)])
def test_rows_begin_lines(dtype, line, columns):
    kernel = lined(rows(dtype), {"B"})
    (made,) = (s for s in statements(kernel.body) if isinstance(s, Allocate))
    copy = kernel.body[: len(kernel.body) - len(rows(dtype).body)]
    whole = Kernel("copy", kernel.params, copy, (made.array,))
    (found,) = interpret(verify(whole), given(dtype, columns))
    assert found.shape[1] % line == 0
    assert 0 <= found.shape[1] - columns < line
    np.testing.assert_array_equal(found[:, :columns], given(dtype, columns)["B"])


def test_everything_that_names_the_matrix_names_the_copy():
    kernel = lined(rows(), {"B"})
    (place,) = (s.array for s in statements(kernel.body) if isinstance(s, Prefetch))
    assert place == "B_lined"


def test_what_is_left_alone():
    assert lined(rows(), set()) == rows()
    assert lined(rows(), {"y", "indices"}) == rows()
    assert lined(rows(vectors=False), {"B"}) == rows(vectors=False)
    # what is written to is no copy
    plain = rows()
    store = lb.store("B", (lb.i(0), lb.i(0)), lb.const(0.0, "float64"))
    changing = replace(plain, body=(*plain.body, store))
    assert lined(changing, {"B"}) == changing


@sd.kernel
def product(A, B):
    row, middle, column = sd.indices("row middle column")
    Y = sd.output()
    Y[row, column] = A[row, middle] * B[middle, column]
    return Y


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("columns", [32, 45])
def test_a_matrix_whose_rows_are_read_often(columns, threads):
    rng = np.random.default_rng(1)
    many = rng.integers(-4, 5, (1500, 200)) * 1.0
    B = rng.integers(-4, 5, (200, columns)) * 1.0
    A = sp.csr_array(many)
    with sd.options(threads=threads):
        np.testing.assert_array_equal(product(A, B), many @ B)
        assert "B_data_lined" in product.lower(A, B).source
        few = A[:20]
        np.testing.assert_array_equal(product(few, B), many[:20] @ B)
        assert "lined" not in product.lower(few, B).source
    told = product.explain(A, B)
    shape = "len(B_data), (len(B_data, 1) + 7) // 8 * 8"
    size = 200 * -(-columns // 8) * 64
    assert f"workspace B_data_lined: float64[{shape}] ({size / 1e3:.3g} kB)" in told
