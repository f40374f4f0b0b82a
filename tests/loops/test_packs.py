"""Entries packed several an instruction: what is stored, by every level; what is left alone."""

import numpy as np
import pytest

from sparsedsl.codegen import llvm_packs, processor
from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.llvm_object import direct_code
from sparsedsl.codegen.machine import kinds, linked
from sparsedsl.codegen.numba_jit import load
from sparsedsl.codegen.python import source
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Const,
    For,
    IntParam,
    Kernel,
    Load,
    Pack,
    Store,
    Var,
    While,
)
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.packs import packs
from sparsedsl.loops.text import statement
from sparsedsl.loops.verify import VerificationError, verify

q, n, at, low, high, word, left = (
    lb.ivar(name) for name in ("q", "n", "at", "low", "high", "word", "left")
)
MACHINES = ["interpreter", "python", *(["llvm", "numba"] if processor.has_masks() else [])]
"""What a kernel is run by: machine code where the processor has the instructions."""

IN_BYTES = [False, True] if processor.packs_bytes() else [False]


def appending(dtype="float64", index="int32", *, through=False, cleared=True, fill=0.0):
    """Append what is kept of sums[low .. high] from place 2 on; say how many there are then."""
    value = Var("value", dtype)
    place = lb.sub(q, low) if through else q
    key = lb.load("keys", q) if through else q
    clear = (lb.store("sums", (place,), Const(fill, dtype)),) if cleared else ()
    kept = lb.cast(Binary("!=", value, Const(fill, dtype), "bool"), INT)
    body = (
        Assign(value, Load("sums", (place,), dtype)),
        *clear,
        lb.store("crd", (n,), lb.cast(key, index)),
        lb.store("data", (n,), value),
        Assign(n, lb.add(n, kept)),
    )
    arrays = ("sums", dtype), ("keys", index), ("crd", index), ("data", dtype)
    params = [ArrayParam(name, kind, 1) for name, kind in arrays]
    params += [IntParam("low"), IntParam("high")]
    whole = (Assign(n, lb.i(2)), For(q, low, high, body))
    return Kernel("appending", tuple(params), whole, ("n",))


def listing(index="int32"):
    """List the set bits of the words of an array, one word behind the other."""
    take = (
        Assign(at, lb.add(lb.shift_left(q, 6), lb.cttz(left))),
        Assign(left, lb.bit_and(left, lb.sub(left, 1))),
        lb.store("crd", (n,), lb.cast(at, index)),
        Assign(n, lb.add(n, 1)),
    )
    body = (Assign(left, lb.load("words", q)), While(lb.ne(left, 0), take))
    params = ArrayParam("words", "int64", 1), ArrayParam("crd", index, 1)
    whole = (Assign(n, lb.i(0)), For(q, lb.i(0), lb.length("words"), body))
    return Kernel("listing", params, whole, ("n",))


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
            found = linked(direct_code(kernel, kinds(values), "packs_direct", fastmath=True))(
                *values
            )
        case _:
            code = linkable_code(load(source(kernel, cache=False)), kinds(values), "packs_numba")
            found = linked(code)(*values)
    return own, next(iter(found))


def given(length, dtype="float64", index="int32", seed=0, low=0):
    rng = np.random.default_rng(seed)
    size = length + low
    sums = rng.integers(-1, 2, size + 3).astype(dtype)
    keys = np.sort(rng.choice(10 * size + 10, size + 3, replace=False)).astype(index)
    crd, data = np.full(size + 4, -7, index), np.full(size + 4, 0.5, dtype)
    arrays = {"sums": sums, "keys": keys, "crd": crd, "data": data}
    return {**arrays, "low": low, "high": low + length}


def check(arguments, found, count, *, through, cleared, fill=0.0):
    """Compare with NumPy: entries in order, nothing else of the results touched."""
    low, high = arguments["low"], arguments["high"]
    held = arguments["sums"][: high - low] if through else arguments["sums"][low:high]
    kept = np.flatnonzero(held != fill) + low
    keys = arguments["keys"][kept] if through else kept
    assert count == 2 + len(kept)
    np.testing.assert_array_equal(found["crd"][2:count], keys)
    np.testing.assert_array_equal(found["data"][2:count], held[held != fill])
    assert (found["crd"][:2] == -7).all()
    assert (found["data"][:2] == 0.5).all()
    sums = arguments["sums"].copy()
    if cleared:
        (sums[: high - low] if through else sums[low:high])[:] = fill
    np.testing.assert_array_equal(found["sums"], sums)


@pytest.mark.parametrize("how", MACHINES)
@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize(
    ("dtype", "index"), [("float64", "int32"), ("float64", "int64"), ("float32", "int32")]
)
def test_entries(dtype, index, through, how):
    kernel = verify(packs(verify(appending(dtype, index, through=through))))
    assert any(isinstance(s, Pack) for s in kernel.body[-1].body)
    for length in (0, 1, 7, 8, 9, 31, 40):
        arguments = given(length, dtype, index, length, low=3)
        found, count = run_by(kernel, arguments, how)
        check(arguments, found, count, through=through, cleared=True)
        # a place that the last entry left is not touched, which the loop would have written
        assert (found["crd"][count:] == -7).all()


@pytest.mark.parametrize("how", MACHINES)
def test_values_that_are_not_numbers_are_kept(how):
    kernel = packs(appending(cleared=False))
    arguments = given(12)
    arguments["sums"][:5] = [np.nan, -0.0, np.inf, 0.0, -np.inf]
    found, count = run_by(kernel, arguments, how)
    check(arguments, found, count, through=False, cleared=False)


@pytest.mark.parametrize("how", MACHINES)
def test_another_fill(how):
    kernel = packs(appending(fill=np.inf))
    arguments = given(20)
    arguments["sums"][::3] = np.inf
    found, count = run_by(kernel, arguments, how)
    check(arguments, found, count, through=False, cleared=True, fill=np.inf)


WORDS = np.array(
    [0, 1, -1, -(2**63), 2**63 - 1, 0x5555555555555555, (1 << 16) - 1, 1 << 17, (1 << 33) - 1, 6, 0]
)


@pytest.mark.parametrize("in_bytes", IN_BYTES)
@pytest.mark.parametrize("how", MACHINES)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_bits(index, how, in_bytes, monkeypatch):
    """Of words with no bit, with every one, and with few or many: by each set of instructions."""
    monkeypatch.setattr(llvm_packs, "packs_bytes", lambda: in_bytes)
    kernel = verify(packs(verify(listing(index))))
    assert kernel != listing(index)
    bits = [64 * k + b for k, w in enumerate(WORDS) for b in range(64) if int(w) >> b & 1]
    arguments = {"words": WORDS, "crd": np.full(len(bits) + 20, -7, index)}
    found, count = run_by(kernel, arguments, how)
    assert count == len(bits)
    np.testing.assert_array_equal(found["crd"][:count], bits)
    assert (found["crd"][count:] == -7).all()


def changed(kernel, old, new):
    """Return the kernel with a statement of its loop replaced."""
    loop = kernel.body[-1]
    assert old in loop.body
    body = tuple(new if s == old else s for s in loop.body)
    return Kernel(kernel.name, kernel.params, (*kernel.body[:-1], For(q, low, high, body)), ("n",))


def test_other_forms_are_left_alone():
    kernel = appending()
    load, clear, key, data, move = kernel.body[-1].body
    value = load.variable
    for old, new in (
        (load, Assign(value, Load("sums", (lb.mul(q, 2),), "float64"))),
        (load, Assign(value, Load("sums", (n,), "float64"))),
        (load, Assign(value, Load("data", (q,), "float64"))),
        (clear, lb.store("sums", (lb.add(q, 1),), Const(0.0, "float64"))),
        (clear, lb.store("sums", (q,), value)),
        (key, lb.store("crd", (n,), lb.add(q, 1))),
        (key, lb.store("crd", (q,), q)),
        (data, Store("data", (n,), value, "add")),
        (move, Assign(n, lb.add(n, 1))),
        (move, Assign(n, lb.add(lb.i(1), lb.cast(Binary("!=", value, value, "bool"), INT)))),
    ):
        other = changed(kernel, old, new)
        assert packs(other) == other


def test_packed_only_where_asked():
    kernel = appending()
    assert "pack" not in source(optimise(kernel), cache=False)
    assert "pack" in source(optimise(kernel, packed=True), cache=False)
    assert "pack" not in source(optimise(kernel, vectors=False, packed=True), cache=False)


LANES = Load("a", (q,), "float64*8")


def test_text():
    assert statement(Pack("a", n, LANES, at)) == "pack a[n ..] = a[q ..+8] where at"
    assert statement(Pack("c", n, q, at)) == "pack c[n ..] = q ..+64 where at"
    assert statement(Pack("c", n, q, at, "k", 8)) == "pack c[n ..] = k[q ..+8] where at"


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (Pack("crd", n, LANES, n, lanes=8), "packed into int32"),
        (Pack("a", n, LANES, n, lanes=16), "packed into float64"),
        (Pack("a", n, q, n, lanes=8), "numbers packed into float64"),
        (Pack("crd", n, q, n, lanes=5), "5 elements packed"),
        (Pack("crd", n, q, n, "a", 8), "a holds no coordinates"),
        (Pack("crd", n, q, Const(1.0, "float64")), "expected an int"),
        (Assign(at, Apply("differing", (LANES, Const(0.0, "float32"), n), INT)), "differing of"),
        (Assign(at, Apply("differing", (LANES, Const(0.0, "float64")), INT)), "differing of"),
    ],
)
def test_rules(wrong, rule):
    arrays = ArrayParam("a", "float64", 1), ArrayParam("crd", "int32", 1)
    params = (*arrays, IntParam("n"), IntParam("q"))
    with pytest.raises(VerificationError, match=rule):
        verify(Kernel("broken", params, (wrong,), ()))
