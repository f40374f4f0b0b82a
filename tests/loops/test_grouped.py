"""Rows of equal pattern multiplied at once: the same bits as one by one, by every level."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.codegen import processor
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_loops import in_order
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import abreast as several_rows
from sparsedsl.loops import build as lb
from sparsedsl.loops.abreast import abreast
from sparsedsl.loops.grouped import grouped
from sparsedsl.loops.interpret import ExecutionError, interpret
from sparsedsl.loops.nodes import (
    INT,
    Allocate,
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
    While,
)
from sparsedsl.loops.packs import packs
from sparsedsl.loops.verify import verify
from sparsedsl.loops.walk import statements

i, p, k, q, j, n, block, at, until = (
    lb.ivar(name) for name in ("i", "p", "k", "q", "j", "n", "block", "at", "until")
)
ALIKE = [frozenset(f"{m}_{part}" for part in ("indptr", "indices", "data")) for m in "AB"]
MACHINES = ["interpreter", "python", *(["llvm", "numba"] if processor.has_masks() else [])]


def multiplying(dtype="float64", index="int32", *, term=None, entry=(), shift=5):
    """Multiply two matrices in rows, the second one of ``until`` columns at most ``width``."""
    a, b, value = (Var(name, dtype) for name in ("a", "b", "value"))
    put = lb.store("blocks", (lb.shift_right(j, shift),), Const(1, "uint8"))
    term = Apply("mul", (a, b), dtype) if term is None else term(a, b)
    body = (
        Assign(b, Load("B_data", (q,), dtype)),
        Assign(j, lb.load("B_indices", q)),
        Store("sums", (j,), term, "add"),
        put,
    )
    of_row = For(q, lb.load("B_indptr", k), lb.load("B_indptr", lb.add(k, 1)), body)
    entries = For(
        p,
        lb.load("A_indptr", i),
        lb.load("A_indptr", lb.add(i, 1)),
        (
            Assign(a, Load("A_data", (p,), dtype)),
            Assign(k, lb.load("A_indices", p)),
            *entry,
            of_row,
        ),
    )
    stores = (
        lb.store("C_indices", (n,), lb.cast(at, index)),
        lb.store("C_data", (n,), value),
    )
    differs = Binary("!=", value, Const(0.0, dtype), "bool")
    read = (
        Assign(value, Load("sums", (at,), dtype)),
        lb.store("sums", (at,), Const(0.0, dtype)),
    )
    counted = (*read, *stores, Assign(n, lb.add(n, lb.cast(differs, INT))))
    tested = (*read, If(differs, (If(lb.lt(n, until), stores), Assign(n, lb.add(n, 1)))))

    def taken(body):
        begin = lb.shift_left(block, shift)
        every = For(at, begin, lb.add(begin, 1 << shift), body)
        touched = lb.load("blocks", block)
        clear = lb.store("blocks", (block,), Const(0, "uint8"))
        return For(block, lb.i(0), lb.length("blocks"), (If(lb.ne(touched, 0), (clear, every)),))

    most = lb.add(n, lb.length("sums"))
    rest = (
        If(lb.le(most, until), (taken(counted),), (taken(tested),)),
        lb.store("C_indptr", (lb.add(i, 1),), lb.cast(n, index)),
    )
    arrays = {
        **{f"{m}_{part}": index for m in "AB" for part in ("indptr", "indices")},
        **{"A_data": dtype, "B_data": dtype},
        **{"C_indptr": index, "C_indices": index, "C_data": dtype},
    }
    params = [ArrayParam(name, kind, 1) for name, kind in arrays.items()]
    params += [IntParam(name) for name in ("width", "begin", "end", "until")]
    width = lb.ivar("width")
    whole = (
        Assign(n, lb.i(0)),
        Allocate("sums", dtype, (lb.add(width, 64),), Const(0.0, dtype)),
        Allocate("blocks", "uint8", (lb.add(lb.shift_right(width, shift), 1),), Const(0, "uint8")),
        For(i, lb.ivar("begin"), lb.ivar("end"), (entries, *rest)),
    )
    return verify(Kernel("multiplying", tuple(params), whole, ("n",)))


def at_once(kernel):
    """Return a kernel as rows of both operands are taken several at once."""
    return verify(abreast(packs(grouped(kernel, ALIKE)), ALIKE))


def is_grouped(kernel):
    return any(isinstance(s, While) for s in statements(grouped(kernel, ALIKE).body))


@cache
def machine_code(kernel, arguments, how):
    if how == "llvm":
        return linked(direct_code(kernel, arguments, "grouped_direct", fastmath=True))
    return linked(linkable_code(load(source(kernel, cache=False)), arguments, "grouped_numba"))


def run_by(kernel, arguments, how):
    """Return the arguments after a run, and how many entries there are."""
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            found = interpret(kernel, own)
        case "python":
            found = load(source(kernel, cache=False)).py_func(*values)
        case _:
            found = machine_code(kernel, kinds(values), how)(*values)
    return own, int(next(iter(found)))


def runs_of_rows(rng, lengths, columns, dtype, index, *, full=0.4, ordered=True):
    """Return a matrix in rows of which so many, one run after another, have one pattern.

    Of its values some are zero, infinite or NaN; sums of others cancel.
    """
    patterns = []
    for length in lengths:
        pattern = np.flatnonzero(rng.random(columns) < full * (rng.random() < 0.9))
        pattern = pattern if ordered else rng.permutation(pattern)
        patterns += [pattern] * length
    counts = [len(pattern) for pattern in patterns]
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(index)
    indices = np.concatenate([np.zeros(0), *patterns]).astype(index)
    chosen = [-1.0, 0.0, 1.0, 0.1, 1 / 3, -1 / 3, 1e30]
    data = rng.choice(chosen, len(indices)).astype(dtype)
    odd = rng.random(len(indices)) < 0.01
    data[odd] = rng.choice([np.inf, -np.inf, np.nan], odd.sum())
    return indptr, indices, data


def operands(seed, lengths, *, dtype="float64", index="int32", inner=12, width=1087, ordered=True):
    rng = np.random.default_rng(seed)
    a = runs_of_rows(rng, lengths, inner, dtype, index, ordered=ordered)
    others = rng.multinomial(inner, [0.25] * 4)
    b = runs_of_rows(rng, others, width, dtype, index, full=0.05, ordered=ordered)
    arrays = {"A": a, "B": b}
    arrays = {
        f"{matrix}_{part}": array
        for matrix, parts in arrays.items()
        for part, array in zip(("indptr", "indices", "data"), parts, strict=True)
    }
    order = ["A_indptr", "A_indices", "B_indptr", "B_indices", "A_data", "B_data"]
    rows = len(a[0]) - 1
    made = {
        "C_indptr": np.full(rows + 1, -7, index),
        "C_indices": np.full(rows * width, -7, index),
        "C_data": np.full(rows * width, 0.5, dtype),
    }
    numbers = {"width": width, "begin": 0, "end": rows, "until": rows * width}
    return {**{name: arrays[name] for name in order}, **made, **numbers}


def same(first, second, count):
    """Compare what two kernels stored, to the last bit but for which NaN it is."""
    for name, size in (("C_indices", count), ("C_data", count)):
        np.testing.assert_array_equal(first[name][:size], second[name][:size])
    np.testing.assert_array_equal(first["C_indptr"], second["C_indptr"])
    zeros = [np.signbit(x["C_data"][:count][x["C_data"][:count] == 0]) for x in (first, second)]
    np.testing.assert_array_equal(*zeros)


def product_of(arguments):
    """Multiply as the kernel does, one term after another, without keeping zeros."""
    rows, width = arguments["end"], arguments["width"]
    found = []
    for row in range(rows):
        sums = np.zeros(width, arguments["A_data"].dtype)
        for e in range(arguments["A_indptr"][row], arguments["A_indptr"][row + 1]):
            named = arguments["A_indices"][e]
            part = slice(arguments["B_indptr"][named], arguments["B_indptr"][named + 1])
            sums[arguments["B_indices"][part]] += arguments["A_data"][e] * arguments["B_data"][part]
        found.append(sums)
    return np.array(found).reshape(rows, width)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("how", MACHINES)
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("dtype", "index"), [("float64", "int32"), ("float64", "int64"), ("float32", "int32")]
)
def test_runs_of_every_length(dtype, index, ordered, how):
    """With all the room that may be needed, and again with what was."""
    lengths = [3, 1, 9, 2, 4]
    arguments = operands(1, lengths, dtype=dtype, index=index, width=387, ordered=ordered)
    plain = multiplying(dtype, index)
    scalar = grouped(plain, ALIKE)
    packed = packs(scalar)
    several = verify(abreast(packed, ALIKE))
    assert several != packed
    for kernel in (several, *([scalar, packed] if how in ("interpreter", "llvm") else [])):
        found, count = run_by(kernel, arguments, how)
        with np.errstate(all="ignore"):
            expected = product_of(arguments)
        kept = expected != 0
        if how in ("interpreter", "python"):  # machine code contracts products and sums
            assert count == kept.sum()
            np.testing.assert_array_equal(found["C_data"][:count], expected[kept])
            np.testing.assert_array_equal(found["C_indices"][:count], np.nonzero(kept)[1])
        one_by_one, same_count = run_by(packs(plain), arguments, how)
        assert count == same_count
        same(found, one_by_one, count)
        exact = dict(arguments, until=count)
        exact |= {name: np.full(count, 0, found[name].dtype) for name in ("C_indices", "C_data")}
        again, _ = run_by(kernel, exact, how)
        same(again, one_by_one, count)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 9), max_size=5),
    dtype=st.sampled_from(["float64", "float32"]),
    width=st.integers(1, 70),
    inner=st.integers(1, 7),
    cut=st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
def test_random_runs(seed, lengths, dtype, width, inner, cut):
    """Any part of the rows gives what it gives one by one, in exactly the room it needs."""
    arguments = operands(seed, lengths, dtype=dtype, inner=inner, width=width)
    begin, end = sorted(min(place, arguments["end"]) for place in cut)
    arguments |= {"begin": begin, "end": end}
    plain = multiplying(dtype)
    with np.errstate(all="ignore"):
        one_by_one, count = run_by(plain, arguments, "interpreter")
        exact = dict(arguments, until=count)
        exact |= {x: np.zeros(count, arguments[x].dtype) for x in ("C_indices", "C_data")}
        found, again = run_by(at_once(plain), exact, "interpreter")
    assert count == again
    same(found, one_by_one, count)


def test_rows_are_not_compared_beyond_the_last():
    arguments = operands(2, [4, 4])
    arguments["end"] = 6
    arguments["A_indptr"] = arguments["A_indptr"][:7]
    arguments["A_indices"] = arguments["A_indices"][: arguments["A_indptr"][-1]]
    with np.errstate(all="ignore"):
        found, count = run_by(at_once(multiplying()), arguments, "interpreter")
        one_by_one, _ = run_by(multiplying(), arguments, "interpreter")
    same(found, one_by_one, count)


def test_terms_of_sums_of_values_are_grouped():
    half = Const(0.5, "float64")

    def term(a, b):
        return Apply("sub", (Apply("mul", (a, b), "float64"), Apply("add", (a, half), "float64")),
                     "float64")  # fmt: skip

    plain = multiplying(term=term)
    assert is_grouped(plain)
    arguments = operands(5, [3, 2, 1])
    with np.errstate(all="ignore"):
        found, count = run_by(at_once(plain), arguments, "interpreter")
        one_by_one, _ = run_by(plain, arguments, "interpreter")
    same(found, one_by_one, count)


def of_row(a, b):
    return Apply("mul", (b, Load("A_data", (i,), "float64")), "float64")


def divided(a, b):
    return Apply("div", (b, a), "float64")


def of_entry(a, b):
    return Apply("mul", (a, Load("B_data", (p,), "float64")), "float64")


@pytest.mark.parametrize("term", [of_row, divided, of_entry])
def test_terms_that_differ_otherwise_from_row_to_row_are_not_grouped(term):
    assert not is_grouped(multiplying(term=term))


a_value = Var("a", "float64")
ENTRIES = {
    "a value decides": If(
        Binary("<", a_value, Const(0.0, "float64"), "bool"), (Assign(k, lb.i(0)),)
    ),
    "the row decides": Assign(k, lb.min_(k, i)),
    "the place decides": Assign(k, lb.min_(k, p)),
    "a sum is read": If(
        Binary("<", Load("sums", (k,), "float64"), a_value, "bool"), (Assign(k, lb.i(0)),)
    ),
    "a value changes": Assign(a_value, Const(1.0, "float64")),
    "an entry before decides": Assign(n, lb.add(n, lb.i(0))),
}


@pytest.mark.parametrize("why", ENTRIES)
def test_entries_that_do_something_else_are_not_grouped(why):
    assert is_grouped(multiplying())
    assert not is_grouped(multiplying(entry=(ENTRIES[why],)))


@pytest.mark.parametrize("dtype", ["int64", "complex128", "float16"])
def test_other_types_are_not_grouped(dtype):
    try:
        kernel = multiplying(dtype)
    except AssertionError:
        return
    assert not is_grouped(kernel)


def test_rows_of_the_second_operand_are_taken_together_where_sums_are_vectors():
    plain = multiplying()
    assert abreast(plain, ALIKE) == plain
    packed = packs(grouped(plain, ALIKE))
    assert abreast(packed, ALIKE[:1]) == packed
    several = [s for s in statements(at_once(plain).body) if isinstance(s, Store) and terms(s) > 0]
    assert sorted(map(terms, several)) == [1, 2, 3]


def terms(store):
    """Return how many terms a store adds to a vector of sums."""
    count, value = 0, store.value
    while isinstance(value, Apply) and value.function == "add":
        count, value = count + 1, value.arguments[0]
    return count


def test_terms_of_several_rows_are_added_in_order():
    """LLVM may not add up the terms first: sums would have other bits than one by one."""
    loops = [s for s in statements(at_once(multiplying()).body) if isinstance(s, For)]
    several = [x for x in loops if any(isinstance(s, Store) and terms(s) > 1 for s in x.body)]
    assert len(several) == 2
    assert all(map(in_order, several))


def test_rows_that_are_taken_for_alike_are_caught(monkeypatch):
    """Rows of the second operand that differ, and follow one another in the first one."""
    monkeypatch.setattr(several_rows, "OTHER", several_rows.SAME)
    arguments = operands(3, [1, 2, 1, 1, 2])
    with np.errstate(all="ignore"):
        one_by_one, count = run_by(multiplying(), arguments, "interpreter")
        with pytest.raises((AssertionError, ExecutionError)):
            same(run_by(at_once(multiplying()), arguments, "interpreter")[0], one_by_one, count)
