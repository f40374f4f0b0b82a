"""Entries appended at places that no value decides: their values, and what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.kept import kept
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Cast,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Load,
    Select,
    Store,
    Var,
)
from sparsedsl.loops.verify import verify

i, j, p, n, room, begin, end = (lb.ivar(x) for x in ("i", "j", "p", "n", "room", "begin", "end"))
A, VALUE = Load("a", (p,), "float64"), Var("value", "float64")
ZERO = Const(0.0, "float64")
known = lb.ivar("known")
LENGTH = lb.max_(lb.sub(lb.load("ptr", lb.add(i, 1)), lb.load("ptr", i)), 0)
TWICE = Apply("mul", (Const(2.0, "float64"), A), "float64")


def entry(value=TWICE):
    """One entry: its coordinate, its value, and whether it is kept."""
    keeps = Cast(Binary("!=", VALUE, ZERO, BOOL), INT)
    return (
        Assign(j, lb.load("idx", p)),
        Assign(VALUE, value),
        Store("crd", (n,), lb.cast(j, "int32")),
        Store("val", (n,), VALUE),
        Assign(n, lb.add(n, keeps)),
    )


def rows(value=TWICE, *, length=LENGTH, more=(), again=False):
    """Rows with their entries doubled, those that are zero dropped; places from 3 on.

    ``again``: the room may be known from a call before.
    """
    entries = For(p, lb.load("ptr", i), lb.load("ptr", lb.add(i, 1)), (*more, *entry(value)))
    row = (entries, Store("out", (lb.add(i, 1),), lb.cast(n, "int32")))
    count = For(i, begin, end, (Assign(room, lb.add(room, length)),))
    counted = (
        (Assign(room, known), If(lb.eq(room, 0), (count,)))
        if again
        else (Assign(room, lb.i(0)), count)
    )
    body = (Assign(n, lb.i(3)), *counted, If(lb.le(room, 100), (For(i, begin, end, row),)))
    indices = (ArrayParam(name, "int32", 1) for name in ("ptr", "idx", "crd", "out"))
    values = (ArrayParam(name, "float64", 1) for name in ("a", "val"))
    ints = [IntParam(name) for name in ("begin", "end", *["known"] * again)]
    return Kernel("rows", (*indices, *values, *ints), body, ("n",))


def flat(value=TWICE):
    """Entries that are no rows."""
    kernel = rows(value)
    return replace(kernel, body=(Assign(n, lb.i(3)), For(p, begin, end, entry(value))))


def given(ptr, zeros=(), ends=None):
    """Arguments for some rows."""
    a = np.random.default_rng(0).standard_normal(40)
    a[list(zeros)] = 0.0
    first, last = (0, len(ptr) - 1) if ends is None else ends
    return {
        "ptr": np.array(ptr, np.int32),
        "idx": np.arange(40, dtype=np.int32)[::-1].copy(),
        "crd": np.full(50, -7, np.int32),
        "out": np.full(len(ptr), -7, np.int32),
        "a": a,
        "val": np.full(50, np.nan),
        "begin": first,
        "end": last,
    }


def same(kernel, arguments):
    """Whether the pass changes nothing of what a kernel returns and stores up to its count."""
    fast = verify(kept(verify(kernel)))
    assert fast != kernel
    first, second = ({k: np.copy(v) for k, v in arguments.items()} for _ in "ab")
    (count,), (other,) = interpret(kernel, first), interpret(fast, second)
    assert count == other
    for name in ("crd", "val"):
        np.testing.assert_array_equal(first[name][:count], second[name][:count])
    np.testing.assert_array_equal(first["out"], second["out"])


@pytest.mark.parametrize("ends", [None, (1, 3), (2, 2)])
@pytest.mark.parametrize("zeros", [(), (7,), (0, 1, 2, 39), range(40)])
@pytest.mark.parametrize("ptr", [[0], [0, 0], [0, 4, 4, 9, 40], [0, 40, 40], [5, 6, 7, 20]])
def test_rows(ptr, zeros, ends):
    if ends is None or ends[1] < len(ptr):
        same(rows(), given(ptr, zeros, ends))


@pytest.mark.parametrize("ptr", [[0, 9, 4, 12], [4, 3], [9, 0, 9], [7, 5, 6]])
def test_rows_that_do_not_follow_each_other(ptr):
    # no layout allows it: what is promised is that the loops do what they did
    same(rows(), given(ptr))


@pytest.mark.parametrize("room", [0, 40, 7])
@pytest.mark.parametrize("zeros", [(), (7,), range(40)])
def test_rows_counted_by_an_earlier_call(zeros, room):
    same(rows(again=True), given([0, 4, 4, 9, 40], zeros) | {"known": room})


def test_kernels_have_it():
    """What lowering writes before the loops is what the pass knows."""

    @sd.kernel
    def twice(A):
        i, j = sd.indices("i j")
        C = sd.output("csr")
        C[i, j] = 2 * A[i, j]
        return C

    A = sp.random_array((50, 50), density=0.1, format="csr", rng=0)
    assert "every entry of C_data is kept" in twice.lower(A).source
    np.testing.assert_array_equal(twice(A).toarray(), 2 * A.toarray())


@pytest.mark.parametrize("zeros", [(), (3,), range(40)])
@pytest.mark.parametrize("ends", [(0, 40), (2, 9), (5, 5), (9, 2)])
def test_no_rows(ends, zeros):
    same(flat(), given([0], zeros, ends))


def test_too_little_room_stores_nothing():
    kernel = rows()
    *before, last = kernel.body
    tight = replace(kernel, body=(*before, replace(last, condition=lb.le(room, 5))))
    arguments = given([0, 4, 9])
    interpret(kept(tight), arguments)
    assert (arguments["crd"] == -7).all()


CHOICE = Select(Binary(">", A, ZERO, BOOL), A, ZERO, "float64")
LARGER = Apply("maximum", (A, ZERO), "float64")
BY_ROW = Apply("mul", (A, Cast(i, "float64")), "float64")
RUNNING = Apply("mul", (A, Load("val", (p,), "float64")), "float64")


@pytest.mark.parametrize(
    "kernel",
    [
        rows(CHOICE),
        rows(LARGER),
        rows(BY_ROW),
        rows(RUNNING),
        rows(length=lb.i(2)),
        rows(more=(Assign(Var("other", INT), n),)),
    ],
    ids=["choice", "maximum", "of its row", "of the result", "not counted", "its place is read"],
)
def test_left_alone(kernel):
    assert kept(kernel) == kernel


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("zeros", [0, 5])
def test_whole_library(zeros, threads):
    A = sp.random_array((300, 200), density=0.1, format="csr", rng=np.random.default_rng(1))
    A.data[:zeros] = 0.0
    with sd.options(threads=threads, parallel_threshold=0):
        C = sd.evaluate("C[i, j] = 2.0 * A[i, j]", A=A)
    expected = 2.0 * A
    expected.eliminate_zeros()
    assert (expected != C).nnz == 0
    np.testing.assert_array_equal(C.indptr, expected.indptr)
    np.testing.assert_array_equal(C.indices, expected.indices)
