"""First entries of short rows computed anyway: values, what is not kept, and what is left alone."""

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
from sparsedsl.loops import heads as module
from sparsedsl.loops.heads import MOST, ROWS, heads
from sparsedsl.loops.interpret import ExecutionError, interpret
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
    Store,
    Var,
)
from sparsedsl.loops.verify import VerificationError, verify
from sparsedsl.loops.walk import statements

i, j, k, p, n = (lb.ivar(name) for name in "ijkpn")
ARRAYS = frozenset({"indptr", "indices", "a"})
START, STOP = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))

ROWS_OF = {
    "any": [0, 3, 1, 0, 0, 9, 2, 1, 25, 0, 4, 0],
    "none at the ends": [0, 0, 2, 0, 5, 0, 0, 0],
    "one": [7],
    "one entry": [0, 1, 0],
    "no entries": [0, 0, 0, 0],
    "no rows": [],
}


def body(dtype="float64", gather=True, scatter=False):
    """The sum of a[p] * x[indices[p]], z[indices[p]] += a[p] * w[i], or both."""
    total = Var("total", dtype)
    value = Load("a", (p,), dtype)
    found = [Assign(j, lb.load("indices", p))]
    if gather:
        term = Apply("mul", (value, Load("x", (j,), dtype)), dtype)
        found.append(Assign(total, Apply("add", (total, term), dtype)))
    if scatter:
        found.append(Store("z", (j,), Apply("mul", (value, Load("w", (i,), dtype)), dtype), "add"))
    return tuple(found)


def rows(
    turns=None, dtype="float64", index="int32", start=START, stop=STOP, step=1, begin=(), after=()
):
    """y[i] = the sum over the entries of a row."""
    total = Var("total", dtype)
    row = (
        *begin,
        Assign(total, lb.const(0.0 if dtype[0] == "f" else 0, dtype)),
        For(p, start, stop, body(dtype) if turns is None else turns, step),
        *after,
        Store("y", (i,), total),
    )
    dtypes = {"indptr": index, "indices": index, **dict.fromkeys("axwyz", dtype)}
    params = [ArrayParam(name, kind, 1) for name, kind in dtypes.items()]
    return verify(Kernel("rows", (*params, IntParam("n")), (For(i, lb.i(0), n, row),), ()))


def headed(kernel, mean=1.0):
    return verify(heads(kernel, [(ARRAYS, mean)]))


def given(lengths, dtype="float64", index="int32"):
    """Small integers, whose sums are exact in any order."""
    rng = np.random.default_rng(0)
    indptr = np.r_[0, np.cumsum(lengths)].astype(index)
    entries = int(indptr[-1])
    values = {name: rng.integers(-9, 9, 7).astype(dtype) for name in "xz"}
    return {
        "indptr": indptr,
        "indices": rng.integers(0, 7, entries).astype(index),
        "a": rng.integers(-9, 9, entries).astype(dtype),
        "x": values["x"],
        "w": rng.integers(-9, 9, len(lengths)).astype(dtype),
        "y": np.zeros(len(lengths), dtype),
        "z": values["z"],
        "n": len(lengths),
    }


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "python":
            load(source(kernel, cache=False)).py_func(*values)
        case "llvm":
            linked(direct_code(kernel, kinds(values), "heads_direct", fastmath=True))(*values)
        case _:
            dispatcher = load(source(kernel, fastmath=True, cache=False))
            linked(linkable_code(dispatcher, kinds(values), "heads_numba"))(*values)
    return own["y"], own["z"]


@pytest.fixture
def always(monkeypatch):
    """First entries are computed anyway however few rows there are, and however even."""
    monkeypatch.setattr(module, "ROWS", -2)
    monkeypatch.setattr(module, "SAMPLES", 1)
    monkeypatch.setattr(module, "UNEVEN", 2)


TURNS = {"gathers": (True, False), "scatters": (False, True), "both": (True, True)}


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm", "numba"])
@pytest.mark.parametrize("lengths", ROWS_OF.values(), ids=ROWS_OF)
@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
def test_rows_of_any_lengths(always, turns, lengths, how):
    if len(lengths) < 2:
        # no two rows to look at
        module.ROWS = ROWS
    arguments = given(lengths)
    plain = rows(body("float64", *turns))
    for mean in (0.1, 1.0, 2.5, 20.0):
        kernel = headed(plain, mean)
        assert kernel != plain
        found = run_by(kernel, arguments, how)
        for own, other in zip(found, run_by(plain, arguments, "interpreter"), strict=True):
            np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("how", ["interpreter", "llvm"])
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "int64", "int32"])
def test_other_dtypes(always, dtype, index, how):
    arguments = given(ROWS_OF["any"], dtype, index)
    plain = rows(body(dtype, scatter=True), dtype, index)
    found = run_by(headed(plain), arguments, how)
    for own, other in zip(found, run_by(plain, arguments, "interpreter"), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("how", ["interpreter", "llvm"])
def test_what_a_row_does_not_have_leaves_nothing(always, how):
    arguments = given([1, 0, 2, 0, 0, 1])
    arguments["indices"][:] = [0, 1, 2, 3]
    arguments["a"][:] = [1.0, np.inf, np.nan, 2.0]
    arguments["x"][:] = 1.0
    # of the first, the third and the fifth row what comes after would be NaN
    arguments["z"][:] = -0.0
    arguments["w"][:] = [0.0, np.nan, 0.0, np.nan, np.nan, -0.0]
    y, z = run_by(headed(rows(body(scatter=True)), 2.0), arguments, how)
    np.testing.assert_array_equal(y, [1.0, 0.0, np.nan, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(z, [0.0, np.nan, np.nan, -0.0, -0.0, -0.0, -0.0])
    assert np.signbit(z[[0, 3, 4, 5, 6]]).tolist() == [False, True, True, True, True]


def several(lengths, mean):
    """How many entries of each row a kernel computes anyway, from the interpreter."""
    kernel = headed(rows(), mean)
    told = Kernel("told", kernel.params, kernel.body[:-1], ("p_heads",))
    return interpret(verify(told), given(lengths))[0]


def test_rows_are_looked_at_first():
    rng = np.random.default_rng(1)
    uneven = rng.poisson(2.0, 2 * ROWS)
    assert several(uneven, 2.0) == 3
    assert several(uneven, 0.1) == 1
    assert several(uneven, 20.0) == MOST
    assert several(uneven[: ROWS - 1], 2.0) == 0
    # all as long, or all longer than what would be computed
    assert several(np.full(2 * ROWS, 2), 2.0) == 0
    assert several(uneven + MOST + 1, 2.0) == 0
    assert several(np.zeros(2 * ROWS, int), 2.0) == 0


def test_even_rows_have_the_loop_as_it_was():
    """Nothing is asked row by row; a loop inside of another one is not there twice by itself."""
    plain = rows(body(scatter=True))
    *_, choice = headed(plain).body
    assert isinstance(choice, If)
    assert choice.otherwise == plain.body
    assert sum(isinstance(s, If) and s.even for s in statements(choice.then)) == 1
    (loop,) = plain.body
    nested = replace(plain, body=(For(k, lb.i(0), lb.i(2), (loop,)),))
    *_, choice = headed(nested).body
    assert choice.otherwise == nested.body
    assert [type(s) for s in choice.then[0].body] == [For]


def test_other_loops_are_left_alone():
    value, total = Load("a", (p,), "float64"), Var("total", "float64")

    def add(term):
        return (Assign(total, Apply("add", (total, term), "float64")),)

    at = lb.add(lb.load("indices", p), i)
    inner = Load("indices", (lb.load("indices", p),), "int")
    kernels = [
        rows((If(lb.gt(lb.load("indices", p), 3), add(value)),)),
        rows((*add(value), If(lb.gt(p, 3), (Break(),)))),
        rows((For(k, lb.i(0), lb.load("indices", p), add(value)),)),
        rows((Assign(total, Apply("mul", (total, value), "float64")),)),
        rows(add(Apply("div", (value, value), "float64"))),
        # what is there for the entries of a row need not be for others
        rows(add(Load("x", (at,), "float64"))),
        rows(add(Load("x", (inner,), "float64"))),
        rows(add(Load("a", (lb.add(p, 1),), "float64"))),
        rows(add(Load("x", (p,), "float64"))),
        rows(add(replace(value, proved=False))),
        rows((Store("x", (lb.load("indices", p),), value, "add"), *body())),
        rows((Store("z", (lb.load("indices", p),), value),)),
        rows(stop=lb.add(START, 3)),
        rows(start=lb.i(0)),
        rows(stop=lb.load("indptr", lb.add(i, 2))),
        rows(stop=lb.load("indices", lb.add(i, 1))),
        rows(step=2),
        rows((*body(), Store("indices", (i,), lb.i(0)))),
        rows(begin=(Assign(j, lb.i(0)),), after=(Assign(k, j),)),
    ]
    for kernel in kernels:
        assert headed(kernel) == kernel
    assert heads(rows(), []) == rows()
    assert heads(rows(), [(ARRAYS - {"a"}, 1.0)]) == rows()


def test_rows_that_are_sought_are_left_alone_where_elements_far_apart_are_added_to():
    sought = Assign(k, lb.load("indices", i))
    ends = {"start": lb.load("indptr", k), "stop": lb.load("indptr", lb.add(k, 1))}
    scattered = rows(body(gather=False, scatter=True), begin=(sought,), **ends)
    assert headed(scattered) == scattered
    gathered = rows(begin=(sought,), **ends)
    assert headed(gathered) != gathered


def test_only_what_may_stay_as_it_is_goes_without_a_branch():
    total = Var("total", "float64")
    fresh, store = Assign(Var("other", "float64"), total), Store("y", (i,), total)
    for then, otherwise in (
        ((fresh,), ()),
        ((For(k, lb.i(0), i, (store,)),), ()),
        ((store,), (store,)),
    ):
        with pytest.raises(VerificationError, match="without a branch"):
            rows((If(lb.gt(p, 0), then, otherwise, even=True),))
    # what is computed anyway has to be there anyway
    kernel = rows((If(lb.lt(p, 0), (Store("y", (lb.add(n, p),), total),), even=True),))
    with pytest.raises(ExecutionError, match="outside array y"):
        interpret(kernel, given([2]))


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


def contracted(X, v):
    i, j, k = sd.indices("i j k")
    M = sd.output("csr")
    M[i, j] = X[i, j, k] * v[k]
    return M


def test_which_operands_have_short_rows():
    def computes(kernel, shape, entries):
        A = sd.ShapeOf(shape, "float64", nnz=entries)
        (unit,) = sd.kernel(kernel).lower(A, sd.ShapeOf(shape[1:], "float64")).units
        return any(isinstance(s, If) and s.even for s in statements(unit.kernel.body))

    assert computes(product, (10**6, 10**6), 10**6)
    assert not computes(product, (10**6, 10**6), 10**8)
    assert not computes(product, (100, 100), 200)
    with sd.options(safe=True):
        assert not computes(product, (10**6, 10**6), 10**6)


def uneven(rows, columns, mean):
    rng = np.random.default_rng(2)
    counts = rng.poisson(mean, rows)
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int32)
    indices = rng.integers(0, columns, indptr[-1]).astype(np.int32)
    A = sp.csr_array((rng.random(indptr[-1]), indices, indptr), (rows, columns))
    A.sum_duplicates()
    return A


@pytest.mark.parametrize("mean", [0.5, 2.0, 6.0])
def test_products_have_the_same_bits_for_any_number_of_threads(mean):
    A = uneven(20_000, 15_000, mean)
    rng = np.random.default_rng(3)
    x, w = rng.random(15_000), rng.random(20_000)
    for given, wanted in ((A, A @ x), (A.T.tocsr().T, A @ x)):
        found = []
        for threads in (1, 2, 3):
            with sd.options(threads=threads, parallel_threshold=0):
                # ranges are split for operands that are met again
                every = [sd.kernel(product)(given, x) for _ in range(6)]
            found += [y.tobytes() for y in every]
            np.testing.assert_allclose(every[0], wanted, rtol=1e-12)
        assert len({*found}) == 1
    y, z = sd.kernel(both)(A, x, w)
    assert y.tobytes() == sd.kernel(product)(A, x).tobytes()
    np.testing.assert_allclose(z, A.T @ w, rtol=1e-12)


def test_fibers_of_tensors():
    A = uneven(9000, 700, 2.0).tocoo()
    coordinates = np.stack([A.row // 90, A.row % 90, A.col])
    X = sd.convert(sp.coo_array((A.data, coordinates), (100, 90, 700)), "csf")
    v = np.random.default_rng(4).random(700)
    dense = np.zeros((100, 90))
    np.add.at(dense, tuple(coordinates[:2]), A.data * v[coordinates[2]])
    np.testing.assert_allclose(sd.kernel(contracted)(X, v).to_numpy(), dense, rtol=1e-12)


def largest(A, x, w):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[j] = sd.max(A[i, j] * w[i], over=i)
    return y, z


def test_sums_begin_as_they_do_alone():
    """Beside an extreme, which is not added up, no entries are computed anyway in its loop."""
    A = uneven(20_000, 15_000, 6.0)
    x, w = np.random.default_rng(3).random(15_000), np.random.default_rng(4).random(20_000)
    y, z = sd.kernel(largest)(A, x, w)
    assert y.tobytes() == sd.kernel(product)(A, x).tobytes()
    np.testing.assert_array_equal(z, A.multiply(w[:, None]).max(axis=0).toarray().ravel())
