"""Elements that entries tell of, fetched ahead: which, when, and that no value changes."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.find.costs import NEAR
from sparsedsl.loops import build as lb
from sparsedsl.loops import heads as heads_module
from sparsedsl.loops.heads import heads
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
    Prefetch,
    Store,
    Var,
)
from sparsedsl.loops.scattered import AHEAD, SAMPLES, SHORTLY, scattered
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements, with_bodies

i, j, p, n = (lb.ivar(name) for name in "ijpn")
START, STOP = lb.load("indptr", i), lb.load("indptr", lb.add(i, 1))
TOTAL, VALUE = Var("total", "float64"), Load("a", (p,), "float64")
WIDE = {"x", "z"}


def times(value, other):
    return Apply("mul", (value, other), "float64")


def add(value):
    return Assign(TOTAL, Apply("add", (TOTAL, value), "float64"))


def entry(place=j):
    """The sum of a[p] * x[place], and z[place] += a[p] * w[i]."""
    return (
        Assign(j, lb.load("indices", p)),
        add(times(VALUE, Load("x", (place,), "float64"))),
        Store("z", (place,), times(VALUE, Load("w", (i,), "float64")), "add"),
    )


def rows(turns=None, start=START, stop=STOP, step=1):
    row = (
        Assign(TOTAL, lb.const(0.0, "float64")),
        For(p, start, stop, entry() if turns is None else turns, step),
        Store("y", (i,), TOTAL),
    )
    ints = ("indptr", "indices", "columns")
    params = [ArrayParam(name, "int32", 1) for name in ints]
    params += [ArrayParam(name, "float64", 1) for name in "axwyz"]
    return verify(Kernel("rows", (*params, IntParam("n")), (For(i, lb.i(0), n, row),), ()))


def given(lengths, extent=5000, indices=None):
    """Small integers, whose sums are exact in any order."""
    rng = np.random.default_rng(0)
    indptr = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    entries, count = int(indptr[-1]), len(lengths)
    if indices is None:
        indices = rng.integers(0, extent, entries)
    values = {name: rng.integers(-9, 9, extent).astype(float) for name in "xz"}
    return {
        "indptr": indptr,
        "indices": np.asarray(indices, np.int32),
        "columns": rng.permutation(count).astype(np.int32),
        "a": rng.integers(-9, 9, entries).astype(float),
        "x": values["x"],
        "w": rng.integers(-9, 9, count).astype(float),
        "y": np.zeros(count),
        "z": values["z"],
        "n": count,
    }


def run_by(kernel, arguments, how):
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            interpret(kernel, own)
        case "python":
            load(source(kernel, cache=False)).py_func(*values)
        case _:
            linked(direct_code(kernel, kinds(values), "scattered", fastmath=True))(*values)
    return own["y"].tobytes(), own["z"].tobytes()


def prefetches(kernel):
    return [(s.array, s.to_store) for s in statements(kernel.body) if isinstance(s, Prefetch)]


def fetched(kernel, arguments, array):
    """Places that are fetched of an array, in turn, from the interpreter."""

    def block(body):
        return tuple(
            lb.store("log", [s.subscripts[0]], 1, "add")
            if isinstance(s, Prefetch) and s.array == array
            else with_bodies(s, block)
            for s in body
        )

    params = (*kernel.params, ArrayParam("log", "int64", 1))
    own = {**arguments, "log": np.zeros(arguments["x"].size, np.int64)}
    interpret(verify(replace(kernel, body=block(kernel.body), params=params)), own)
    return own["log"]


LENGTHS = {
    "any": [0, 3, 1, 0, 0, 9, 2, 1, 250, 0, 4, 0, 70],
    "none at the ends": [0, 0, 2, 0, 5, 0, 0, 0],
    "one": [7],
    "no entries": [0, 0, 0],
    "no rows": [],
}


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_no_value_changes(lengths, how):
    plain, arguments = rows(), given(lengths)
    kernel = verify(scattered(plain, WIDE))
    assert prefetches(kernel) == [("x", False), ("z", True)]
    assert run_by(kernel, arguments, how) == run_by(plain, arguments, "interpreter")


@pytest.mark.parametrize("how", ["interpreter", "python", "llvm"])
def test_first_entries_of_short_rows_fetch_too(monkeypatch, how):
    monkeypatch.setattr(heads_module, "ROWS", -2)
    monkeypatch.setattr(heads_module, "SAMPLES", 1)
    plain, arguments = rows(), given(LENGTHS["any"])
    short = [(frozenset({"indptr", "indices", "a"}), 1.0)]
    kernel = verify(heads(scattered(plain, WIDE), short))
    # in rows whose first entries are computed anyway, in their others, and in rows as they were
    assert prefetches(kernel) == 3 * [("x", False), ("z", True)]
    assert run_by(kernel, arguments, how) == run_by(plain, arguments, "interpreter")


def test_an_element_is_fetched_some_entries_before():
    """Over the ends of rows, and at the end of the last one its last entry's."""
    arguments = given([30, 0, 200, 1, 70])
    expected = np.zeros(arguments["x"].size, np.int64)
    last = arguments["indices"].size - 1
    for place in range(last + 1):
        expected[arguments["indices"][min(place + AHEAD, last)]] += 1
    for array in WIDE:
        np.testing.assert_array_equal(fetched(scattered(rows(), WIDE), arguments, array), expected)


def near(indices):
    """How many of the samples lie near one before, from the interpreter."""
    kernel = scattered(rows(), WIDE)
    told = Kernel("told", kernel.params, kernel.body[:-1], ("indices_near",))
    lengths = np.full(len(indices) // 4, 4)
    return interpret(verify(told), given(lengths, 1 << 20, indices))[0]


def test_entries_are_looked_at_first():
    rng = np.random.default_rng(1)
    anywhere = rng.integers(0, 1 << 20, 8192)
    assert near(anywhere) == 0
    # a band, and diagonals that lie far apart; the first entry of all has none before it
    row = np.repeat(np.arange(2048), 4)
    assert near(row + np.tile([0, 1, 2, 3], 2048)) == SAMPLES - 1
    assert near(row + np.tile([0, 10_000, 200_000, 500_000], 2048)) == SAMPLES - 1
    # one that comes again, but not shortly
    assert near(np.tile(100 * np.arange(2 * SHORTLY), 64)) == 0
    assert near([]) == 0


def test_near_entries_have_the_loop_as_it_was():
    plain = rows()
    kernel = scattered(plain, WIDE)
    *_, choice = kernel.body
    assert isinstance(choice, If)
    assert choice.otherwise == plain.body
    arguments = given(np.full(500, 4), 4096, np.sort(np.arange(2000) % 4096))
    assert not fetched(kernel, arguments, "x").any()


def test_places_may_be_computed_from_an_index():
    shifted = scattered(rows(entry(lb.add(j, 3))), WIDE)
    (place, _) = [s.subscripts for s in statements(shifted.body) if isinstance(s, Prefetch)]
    assert place == (lb.add(lb.ivar("indices_soon"), 3),)


def test_what_is_left_alone():
    def same(kernel, wide=WIDE):
        assert scattered(kernel, wide) == kernel

    same(rows(), set())
    same(rows(), {"a", "y", "w"})  # read in their order
    # rows that are sought do not follow each other
    column = lb.load("columns", i)
    same(rows(start=lb.load("indptr", column), stop=lb.load("indptr", lb.add(column, 1))))
    same(rows(step=2))
    # another thing of the turn tells, too
    same(rows(entry(lb.add(j, p))))
    # what tells may be written to
    same(rows((*entry(), Store("indices", (p,), lb.i(0)))))
    # a turn that has loops of its own takes longer than a fetch
    inner = (*entry(), For(lb.ivar("k"), lb.i(0), lb.i(4), (add(VALUE),)))
    same(rows(inner))


def test_entries_one_after_another_without_rows():
    plain = rows()
    entries = For(p, lb.i(0), lb.length("indices"), (Assign(i, lb.load("columns", p)), *entry()))
    flat = replace(plain, body=(Assign(TOTAL, lb.const(0.0, "float64")), entries))
    kernel, arguments = verify(scattered(flat, WIDE)), given(np.full(100, 1))
    assert prefetches(kernel) == [("x", False), ("z", True)]
    assert run_by(kernel, arguments, "llvm") == run_by(flat, arguments, "interpreter")


@sd.kernel
def product(A, x):
    row, column = sd.indices("row column")
    y = sd.output()
    y[row] = A[row, column] * x[column]
    return y


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_vector_that_caches_do_not_hold(format, threads):
    extent = NEAR // 4
    rng = np.random.default_rng(2)
    places = rng.integers(0, extent, (2, 20_000))
    matrix = sp.coo_array((rng.integers(1, 9, 20_000), places), (extent, extent)).astype(float)
    matrix.sum_duplicates()
    given, x = matrix.asformat(format), rng.integers(1, 9, extent).astype(float)
    with sd.options(threads=threads):
        found = product(given, x)
        assert "prefetch" in product.lower(given, x).source
    np.testing.assert_array_equal(found, given @ x)
    small = matrix.tocsr()[:100, :100].asformat(format)
    assert "prefetch" not in product.lower(small, x[:100]).source
