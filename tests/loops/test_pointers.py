"""Pointers to rows fetched before the rows: those read later, never out of bounds."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.loops import build as lb
from sparsedsl.loops.fetch import fetch
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
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
    While,
)
from sparsedsl.loops.pointers import EARLIER, pointers
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements, with_bodies

i, k, p, q, m = (lb.ivar(name) for name in "ikpqm")
START, STOP = lb.load("ptr", k), lb.load("ptr", lb.add(k, 1))
ADD = Store("y", (i,), Load("b", (q,), "float64"), "add")
SEARCH = While(
    lb.lt(q, STOP), (If(lb.eq(lb.load("crd", q), i), (Break(),)), Assign(q, lb.add(q, 1)))
)
FAR = {"ptr": 3.0, "crd": 3.0, "b": 3.0}
ROWS, COLUMNS = 40, 5000


def entries(*body):
    """Loops over the rows and entries of a CSR matrix, with ``k`` the column of an entry."""
    begin, end = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))
    loop = For(p, begin, end, (Assign(k, lb.load("indices", p)), *body))
    integers = (ArrayParam(name, "int32", 1) for name in ("indptr", "indices", "ptr", "crd"))
    floats = (ArrayParam(name, "float64", 1) for name in ("b", "y"))
    return Kernel("rows", (*integers, *floats, IntParam("m")), (For(i, lb.i(0), m, (loop,)),), ())


def walked():
    """y[i] += b[q], for the positions q of row k."""
    return entries(For(q, START, STOP, (ADD,)))


def searched():
    """y[i] += b[q], for the first position q of row k whose coordinate is i."""
    return entries(Assign(q, START), SEARCH, If(lb.lt(q, STOP), (ADD,)))


def given(seed=0, most=4):
    rng = np.random.default_rng(seed)
    indptr = np.r_[0, np.cumsum(rng.integers(0, most, ROWS))].astype(np.int32)
    ptr = np.r_[0, np.cumsum(rng.integers(0, 5, COLUMNS))].astype(np.int32)
    return {
        "indptr": indptr,
        "indices": rng.choice(COLUMNS, indptr[-1], replace=False).astype(np.int32),
        "ptr": ptr,
        "crd": rng.integers(0, ROWS, ptr[-1]).astype(np.int32),
        "b": rng.random(ptr[-1]),
        "y": np.zeros(ROWS),
        "m": ROWS,
    }


def ran(kernel, arguments):
    arguments = {n: np.copy(x) if isinstance(x, np.ndarray) else x for n, x in arguments.items()}
    interpret(verify(kernel), arguments)
    return arguments


def fetched(kernel, array, arguments):
    """Return how often each place of ``array`` is fetched; the last one stands for all beyond."""

    def block(body):
        return tuple(
            lb.store("log", [s.subscripts[0]], 1, "add")
            if isinstance(s, Prefetch) and s.array == array
            else with_bodies(s, block)
            for s in body
        )

    log = ArrayParam("log", "int64", 1)
    kernel = replace(kernel, body=block(kernel.body), params=(*kernel.params, log))
    places = np.zeros(arguments[array].size + 1, np.int64)
    return ran(kernel, {**arguments, "log": places})["log"]


def soon(indices, turns):
    return indices[np.minimum(np.arange(indices.size) + turns, indices.size - 1)]


@pytest.mark.parametrize("kernel", [walked(), searched()], ids=["walked", "searched"])
@pytest.mark.parametrize("seed", range(3))
def test_pointers_are_fetched_before_the_rows_they_point_to(kernel, seed):
    arguments = given(seed)
    indices, ptr = arguments["indices"], arguments["ptr"]
    first = fetch(kernel, FAR)
    both = pointers(first, FAR)
    assert ran(both, arguments)["y"].tobytes() == ran(kernel, arguments)["y"].tobytes()
    early = soon(indices, EARLIER)
    counted = np.bincount(early, minlength=ptr.size + 1)
    assert fetched(both, "ptr", arguments).tolist() == counted.tolist()
    # the rows themselves are fetched where they begin, of which the pointers were before
    array = "b" if kernel == walked() else "crd"
    assert fetched(both, array, arguments).tolist() == fetched(first, array, arguments).tolist()
    assert fetched(both, array, arguments).sum() == indices.size


def test_what_a_search_finds_or_not_is_no_matter():
    """A row is fetched where its search begins, and what a match reads beside is not."""
    kernel = fetch(searched(), FAR)
    assert {s.array for s in statements(kernel.body) if isinstance(s, Prefetch)} == {"crd"}


def test_pointers_of_rows_that_are_counted_alone_are_not_fetched():
    """A processor goes on with turns as short as these by itself."""
    counting = entries(lb.store("crd", [lb.i(0)], lb.sub(STOP, START), "add"))
    assert pointers(verify(counting), FAR) == counting


@pytest.mark.parametrize("count", [0, 1, EARLIER, EARLIER + 1])
def test_the_last_entries_tell_of_none_outside(count):
    arguments = given()
    arguments["indices"] = arguments["indices"][:count]
    arguments["indptr"] = np.minimum(arguments["indptr"], count)
    for kernel in (walked(), searched()):
        found = ran(pointers(fetch(kernel, FAR), FAR), arguments)["y"]
        assert found.tobytes() == ran(kernel, arguments)["y"].tobytes()


@pytest.mark.parametrize("column", [-1, 10**6])
def test_a_coordinate_that_is_none_leads_to_no_load_outside(column):
    """What lies behind the last entry is not followed, whatever it is."""
    arguments = given()
    arguments["indptr"] = np.minimum(arguments["indptr"], arguments["indices"].size - 30)
    arguments["indices"][-30:] = column
    for kernel in (walked(), searched()):
        found = ran(pointers(fetch(kernel, FAR), FAR), arguments)["y"]
        assert found.tobytes() == ran(kernel, arguments)["y"].tobytes()


def test_other_forms_are_left_alone():
    left = entries(If(lb.gt(p, 3), (Break(),)), For(q, START, STOP, (ADD,)))
    written = entries(lb.store("indices", [p], k), For(q, START, STOP, (ADD,)))
    moved = entries(Assign(k, lb.add(k, q)), For(q, START, STOP, (ADD,)))
    guarded = entries(If(lb.gt(k, 3), (For(q, START, STOP, (ADD,)),)))
    for kernel in (left, written, moved, guarded):
        assert pointers(kernel, FAR) == kernel
    assert pointers(walked(), {"b": 3.0}) == walked()


def matrix(rows, per, rng=0):
    made = sp.random_array((rows, rows), density=per / rows, format="csr", rng=rng)
    made.indices, made.indptr = (x.astype(np.int32) for x in (made.indices, made.indptr))
    return made


def source(statement, **tensors):
    from sparsedsl.api import statement_engine
    from sparsedsl.calls.choices import Choices

    engine = statement_engine(statement, tuple(tensors), Choices())
    (unit,) = engine.lower(tuple(tensors.values())).units
    return unit.source


PRODUCTS = [
    "C[i,j] = A[i,k] * B[k,j]",
    "C[i,j] = M[i,j] * A[i,k] * B[k,j]",
    "C[i,j] = M[i,j] * A[i,k] * B[j,k]",
]


@pytest.mark.parametrize("statement", PRODUCTS)
def test_rows_that_are_short_and_many_are_fetched_in_two_steps(statement):
    large = matrix(400_000, 1)
    tensors = {"M": large, "A": large, "B": large.copy()} if "M" in statement else {}
    tensors = tensors or {"A": large, "B": large.copy()}
    found = source(statement, **tensors)
    assert "prefetch(B_indptr" in found
    assert "prefetch(B_indices" in found
    with sd.options(safe=True):
        assert "prefetch" not in source(statement, **tensors)


def test_pointers_that_stay_in_cache_are_not_fetched():
    A = matrix(40_000, 8)
    found = source(PRODUCTS[0], A=A, B=A.copy())
    assert "prefetch(B_indices" in found
    assert "prefetch(B_indptr" not in found


@pytest.mark.parametrize("statement", PRODUCTS)
def test_products_of_many_short_rows_are_those_of_scipy(statement):
    A, B = matrix(300_000, 1, rng=1), matrix(300_000, 1, rng=2)
    M = A + B
    M.indices, M.indptr = (x.astype(np.int32) for x in (M.indices, M.indptr))
    tensors = {"M": M, "A": A, "B": B} if "M" in statement else {"A": A, "B": B}
    found = sd.evaluate(statement, **tensors)
    expected = A @ (B.T if "B[j,k]" in statement else B)
    expected = M * expected if "M" in statement else expected
    difference = sp.csr_array(found) - expected
    assert abs(difference).max() <= 1e-12


def test_compiled_kernels_give_the_same_bits():
    from sparsedsl.codegen import numba_jit
    from sparsedsl.codegen.python import source as printed

    arguments = given()
    for plain in (walked(), searched()):
        expected = ran(plain, arguments)["y"]
        kernel = pointers(fetch(plain, FAR), FAR)
        compiled = numba_jit.load(printed(kernel, cache=False, fastmath=False))
        for run in (compiled, compiled.py_func):
            y = np.zeros_like(expected)
            run(*({**arguments, "y": y}).values())
            assert y.tobytes() == expected.tobytes()
