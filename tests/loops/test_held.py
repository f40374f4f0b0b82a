"""Sums of short rows held in registers: the same bits by every level; what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.codegen import processor
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.held import held
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
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
    Store,
    Var,
)
from sparsedsl.loops.packs import packs
from sparsedsl.loops.verify import VerificationError, verify
from sparsedsl.loops.walk import statements

i, e, r, j, slot, n, low, high, count, at, m = (
    lb.ivar(name) for name in ["i", "e", "r", "j", "slot", "n", "low", "high", "count", "at", "m"]
)
MACHINES = ["interpreter", "python", *(["llvm", "numba"] if processor.has_masks() else [])]
"""What a kernel is run by: machine code where the processor has the instructions."""


def summing(dtype="float64", index="int32"):
    """Of each row of keys, sum values times factors of those sought, and list what is not 0."""
    value, factor, total = (Var(name, dtype) for name in ("value", "factor", "total"))
    place = lb.sub(slot, low)
    term = Apply("mul", (value, factor), dtype)
    found = (
        Assign(value, Load("data", (slot,), dtype)),
        Assign(factor, Load("factors", (r,), dtype)),
        Store("sums", (place,), term, "add"),
    )
    inside = Binary("below", place, count, "bool")
    look = (
        Assign(j, lb.load("sought", r)),
        Assign(slot, lb.load("table", j)),
        If(inside, found),
    )
    fill = lb.store("table", (lb.load("keys", e),), lb.cast(e, "uint32"))
    zero = Const(0.0, dtype)
    kept = (
        Assign(total, Load("sums", (lb.sub(at, low),), dtype)),
        lb.store("sums", (lb.sub(at, low),), zero),
        lb.store("crd", (n,), lb.cast(lb.load("keys", at), index)),
        lb.store("out", (n,), total),
        Assign(n, lb.add(n, lb.cast(Binary("!=", total, zero, "bool"), INT))),
    )
    row = (
        Assign(low, lb.load("pointer", i)),
        Assign(high, lb.load("pointer", lb.add(i, 1))),
        Assign(count, lb.sub(high, low)),
        For(e, low, high, (fill,)),
        For(r, lb.i(0), lb.length("sought"), look),
        For(at, low, high, kept),
        lb.store("ends", (i,), n),
    )
    arrays = {
        **dict.fromkeys(("pointer", "keys", "sought", "crd"), index),
        **dict.fromkeys(("data", "factors", "sums", "out"), dtype),
        "table": "uint32",
        "ends": "int64",
    }
    params = *(ArrayParam(name, kind, 1) for name, kind in arrays.items()), IntParam("m")
    return packs(
        verify(Kernel("summing", params, (Assign(n, lb.i(0)), For(i, lb.i(0), m, row)), ("n",)))
    )


def given(lengths, dtype="float64", index="int32", seed=0):
    rng = np.random.default_rng(seed)
    extent = 2 * max(lengths, default=0) + 3
    keys = [np.sort(rng.choice(extent, length, replace=False)) for length in lengths]
    every = np.concatenate([*keys, []]).astype(index)
    sought = rng.integers(0, extent, 3 * extent).astype(index)
    size = len(every)
    return {
        "pointer": np.r_[0, np.cumsum(lengths)].astype(index),
        "keys": every,
        "sought": sought,
        "crd": np.full(size + 1, -7, index),
        "data": rng.standard_normal(size).astype(dtype),
        "factors": (rng.standard_normal(len(sought)) * (rng.random(len(sought)) < 0.8)).astype(
            dtype
        ),
        "sums": np.zeros(extent + 64, dtype),
        "out": np.full(size + 1, 0.5, dtype),
        "table": np.full(extent, 2**32 - 1, np.uint32),
        "ends": np.zeros(len(lengths), np.int64),
        "m": len(lengths),
    }


def run_by(kernel, arguments, how):
    """Return the arguments after a run, and what it returns."""
    own = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    values = list(own.values())
    match how:
        case "interpreter":
            found = interpret(kernel, own)
        case "python":
            found = load(source(kernel, cache=False)).py_func(*values)
        case "llvm":
            run = linked(direct_code(kernel, kinds(values), "held_direct", fastmath=True))
            found = run(*values)
        case _:
            code = linkable_code(load(source(kernel, cache=False)), kinds(values), "held_numba")
            found = linked(code)(*values)
    return own, next(iter(found))


LENGTHS = (0, 1, 5, 8, 9, 17, 16, 2, 0, 8)


@pytest.mark.parametrize("how", MACHINES)
@pytest.mark.parametrize(
    ("dtype", "index"), [("float64", "int32"), ("float64", "int64"), ("float32", "int32")]
)
def test_sums_have_the_same_bits(dtype, index, how):
    """Of rows of no entry, of as many as a register has lanes, and of more; each adds in order."""
    kernel = summing(dtype, index)
    changed = verify(held(kernel))
    assert any(isinstance(s, Assign) and _adds(s) for s in statements(changed.body))
    for seed in range(4):
        arguments = given(LENGTHS, dtype, index, seed)
        expected, total = run_by(kernel, arguments, how)
        found, count = run_by(changed, arguments, how)
        assert count == total > 0
        for name in ("crd", "out"):
            assert found[name][:total].tobytes() == expected[name][:total].tobytes()
            assert np.array_equal(found[name][total:], arguments[name][total:])
        assert np.array_equal(found["ends"], expected["ends"])
        assert not found["sums"].any()


def _adds(statement):
    return isinstance(statement.value, Apply) and statement.value.function == "added"


def test_values_that_are_no_numbers_are_added_where_they_belong():
    arguments = given((3, 8, 4))
    arguments["factors"][:6] = [np.nan, np.inf, -0.0, -np.inf, np.nan, 0.0]
    kernel = summing()
    expected, total = run_by(kernel, arguments, "interpreter")
    found, count = run_by(held(kernel), arguments, "interpreter")
    assert count == total
    np.testing.assert_array_equal(found["out"][:total], expected["out"][:total])


def test_other_rows_are_left_alone():
    kernel = summing()
    loop = kernel.body[-1]
    *_, fill, adding, past, flush, end = loop.body
    seek, lookup, inside = adding.body
    value, factor, store = inside.then

    def with_inside(*then):
        body = (seek, lookup, replace(inside, then=then))
        return (fill, replace(adding, body=body), past, flush)

    def others():
        yield (fill, adding, lb.store("sums", (lb.i(0),), Const(1.0, "float64")), past, flush)
        yield (fill, adding, Assign(low, lb.i(0)), past, flush)
        yield (fill, replace(adding, start=lb.load("table", 0)), past, flush)
        yield with_inside(value, factor, replace(store, combine="maximum"))
        yield with_inside(value, factor, replace(store, subscripts=(slot,)))
        yield with_inside(value, factor, store, lb.store("out", (n,), factor.variable))
        yield with_inside(value, factor, Assign(n, lb.add(n, 1)), store)
        yield with_inside(
            value, Assign(factor.variable, Load("data", (lb.add(slot, 1),), "float64")), store
        )
        yield with_inside(value, factor, replace(store, value=Cast(slot, "float64")))
        body = (
            seek,
            lookup,
            replace(inside, condition=Binary("below", lb.sub(slot, low), n, "bool")),
        )
        yield (fill, replace(adding, body=body), past, flush)
        yield (fill, replace(adding, body=(*adding.body, Assign(n, slot))), past, flush)
        yield (fill, adding, past, replace(flush, step=4))
        yield (
            fill,
            adding,
            past,
            replace(flush, body=(*flush.body, lb.store("sums", (lb.i(0),), Const(1.0, "float64")))),
        )

    before = loop.body[:3]
    for rest in others():
        other = replace(kernel, body=(kernel.body[0], replace(loop, body=(*before, *rest, end))))
        assert held(other) == other


SUMS, KEYS = Var("sums", "float64*8"), Var("keys", "int32*8")


@pytest.mark.parametrize(
    ("arguments", "type"),
    [
        ((SUMS, KEYS, n), SUMS.type),
        ((SUMS, SUMS, n, SUMS), SUMS.type),
        ((KEYS, KEYS, n, KEYS), KEYS.type),
        ((SUMS, KEYS, n, SUMS), "float64*16"),
        ((SUMS, Var("more", "int32*16"), n, SUMS), SUMS.type),
        ((SUMS, KEYS, KEYS, SUMS), SUMS.type),
    ],
)
def test_verifier(arguments, type):
    vectors = {a.name: a for a in arguments if a != n}
    zero = {"f": Const(0.0, "float64"), "i": Const(0, "int32")}
    set_up = [Assign(v, Cast(zero[v.type[0]], v.type)) for v in vectors.values()]
    wrong = Assign(Var("found", type), Apply("added", arguments, type))
    with pytest.raises(VerificationError, match="added of"):
        verify(Kernel("broken", (IntParam("n"),), (*set_up, wrong), ()))


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("most", [1, 8, 20])
def test_masked_products(most, dtype, index):
    """Rows of the mask that are short, long, and both; one thread and two give the same bits."""

    @sd.kernel(find={"M": "table"})
    def masked(A, B, M):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = M[i, j] * A[i, k] * B[k, j]
        return C

    rng = np.random.default_rng(most)

    def sparse(rows, columns, most):
        held = np.zeros((rows, columns), dtype)
        for row in held:
            some = rng.choice(columns, min(int(rng.integers(0, most + 1)), columns), replace=False)
            row[some] = rng.integers(1, 4, len(some))
        found = sp.csr_array(held)
        parts = found.data, found.indices.astype(index), found.indptr.astype(index)
        return sp.csr_array(parts, shape=found.shape)

    A, B, M = sparse(60, 50, 6), sparse(50, 40, 9), sparse(60, 40, most)
    expected = M.toarray() * (A.toarray() @ B.toarray())
    with sd.options(threads=1):
        alone = masked(A, B, M)
    with sd.options(threads=2, parallel_threshold=0):
        shared = masked(A, B, M)
    np.testing.assert_array_equal(alone.toarray(), expected)
    for name in ("data", "indices", "indptr"):
        assert getattr(alone, name).tobytes() == getattr(shared, name).tobytes()
