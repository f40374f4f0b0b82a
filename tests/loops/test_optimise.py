from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.loops import build, text
from sparsedsl.loops.build import i, ivar, load, store
from sparsedsl.loops.effects import straight_names
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    For,
    If,
    IntParam,
    Kernel,
    Store,
    Var,
)
from sparsedsl.loops.optimise import optimise
from sparsedsl.loops.promote import promote
from sparsedsl.loops.reuse import reuse
from sparsedsl.loops.simplify import simplify
from sparsedsl.loops.strip import strip
from sparsedsl.loops.unroll import unroll
from sparsedsl.loops.verify import verify

PASSES = [unroll, reuse, promote, strip, optimise]


@pytest.mark.parametrize("change", PASSES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_kernels_mean_the_same(change, random_kernels, data):
    kernel = simplify(verify(data.draw(random_kernels.kernels())))
    turns = data.draw(st.integers(0, 3))
    if turns:
        loop = For(ivar("turn"), i(0), i(turns), kernel.body)
        kept = tuple(p.name for p in kernel.params)
        kernel = replace(kernel, body=(loop,), results=kept)
    changed = verify(change(verify(kernel)))
    expected = interpret(kernel, random_kernels.arguments())
    random_kernels.same_results(interpret(changed, random_kernels.arguments()), expected)


def value(name):
    return Var(name, "float64")


def element(array, *subscripts):
    return load(array, *subscripts, type="float64")


def times(left, right):
    return Apply("mul", (left, right), "float64")


P, R, C, N = ivar("p"), ivar("r"), ivar("c"), ivar("n")
BLOCKS = Kernel(
    "blocks",
    (ArrayParam("y", "float64", 1), ArrayParam("a", "float64", 3), ArrayParam("x", "float64", 1)),
    (
        For(
            P,
            i(0),
            build.length("a"),
            (
                For(
                    R,
                    i(0),
                    i(2),
                    (
                        For(
                            C,
                            i(0),
                            i(2),
                            (
                                Assign(value("a_v"), element("a", P, R, C)),
                                Assign(value("x_v"), element("x", C)),
                                store("y", [R], times(value("a_v"), value("x_v")), "add"),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
    ("y",),
)


def test_blocks_are_written_out_and_held_in_scalars():
    assert text.kernel(optimise(BLOCKS)).splitlines()[1:] == [
        "    if 0 < len(a):",
        "        y_sum: float64 = y[0]",
        "        y_sum2: float64 = y[1]",
        "        for p in 0 .. len(a):",
        "            y_sum: float64 = add(y_sum, mul(a[p, 0, 0], x[0]))",
        "            y_sum: float64 = add(y_sum, mul(a[p, 0, 1], x[1]))",
        "            y_sum2: float64 = add(y_sum2, mul(a[p, 1, 0], x[0]))",
        "            y_sum2: float64 = add(y_sum2, mul(a[p, 1, 1], x[1]))",
        "        y[0] = y_sum",
        "        y[1] = y_sum2",
    ]
    rng = np.random.default_rng(0)
    given = {"y": rng.random(2), "a": rng.random((3, 2, 2)), "x": rng.random(2)}
    (found,) = interpret(optimise(BLOCKS), {n: a.copy() for n, a in given.items()})
    expected = given["y"] + np.einsum("prc,c->r", given["a"], given["x"])
    np.testing.assert_allclose(found, expected)


def test_elements_that_may_be_one_are_not_held():
    # a[0] and a[n] are the same where n is 0
    body = (store("y", [i(0)], i(1), "add"), store("y", [N], i(2), "mul"))
    params = (ArrayParam("y", "int64", 1), IntParam("n"), IntParam("m"))
    for second in (body[1], replace(body[1], combine="add")):
        loop = For(P, i(0), ivar("m"), (body[0], second))
        kernel = verify(Kernel("k", params, (loop,), ("y",)))
        assert promote(kernel) == kernel


def test_long_loops_stay_loops():
    def kernel(turns):
        body = (For(P, i(0), i(turns), (store("y", [P], i(1)),)),)
        return Kernel("k", (ArrayParam("y", "int64", 1),), body, ("y",))

    assert not any(isinstance(s, For) for s in unroll(kernel(8)).body)
    assert unroll(kernel(9)) == kernel(9)


def test_values_are_not_moved_past_what_changes_them():
    def kernel(*inner):
        params = (ArrayParam("y", "float64", 1),)
        return Kernel("k", params, (For(P, i(0), i(2), inner),), ("y",))

    first = Assign(value("v"), element("y", P))
    write = store("y", [i(1)], value("w"))
    read = Assign(value("w"), build.const(4.0, "float64"))
    last = store("y", [i(0)], value("v"))
    found = kernel(first, read, write, last)
    (y,) = interpret(unroll(verify(found)), {"y": np.array([2.0, 3.0])})
    np.testing.assert_array_equal(y, [4.0, 4.0])


def test_ranges_and_bodies_share_their_loads():
    shift = load("off", N)
    body = (store("y", [P], build.add(P, shift)),)
    params = (ArrayParam("y", "int64", 1), ArrayParam("off", "int64", 1), IntParam("n"))
    kernel = Kernel("k", params, (For(P, i(0), shift, body),), ("y",))
    assert text.kernel(reuse(kernel)).splitlines()[1:4] == [
        "    off_here: int = off[n]",
        "    for p in 0 .. off_here:",
        "        y[p] = p + off_here",
    ]
    changing = (*body, Store("off", (N,), P))
    unchanged = replace(kernel, body=(For(P, i(0), shift, changing),))
    assert reuse(unchanged) == unchanged


def test_straight_names():
    a, b, c = ivar("a"), ivar("b"), ivar("c")
    straight = (Assign(a, i(1)), Assign(b, a), If(build.lt(b, 2), (Assign(c, b),)))
    assert straight_names(straight) == {"a", "b", "c"}
    # c is read after the block that assigns it, a round a loop
    around = For(P, i(0), i(2), (Assign(b, a), Assign(a, i(3))))
    assert straight_names((Assign(a, i(1)), Assign(c, i(0)), *straight[2:], Assign(b, c))) == {"a"}
    assert "a" not in straight_names((Assign(a, i(1)), around))


def sweeps(*inner, result=()):
    """Return ``y[i] += a[d, i] * x[i + off[d]]`` over ranges that differ, and what is added."""
    d, k, j = ivar("d"), ivar("k"), ivar("j")
    body = (
        Assign(j, build.add(k, load("off", d))),
        *inner,
        store("y", [k], times(element("a", d, k), element("x", j)), "add"),
    )
    low = build.max_(0, build.sub(0, load("off", d)))
    high = build.min_(N, build.sub(build.length("x"), load("off", d)))
    params = (
        ArrayParam("y", "float64", 1),
        ArrayParam("a", "float64", 2),
        ArrayParam("x", "float64", 1),
        ArrayParam("off", "int64", 1),
        IntParam("n"),
    )
    loop = For(d, i(0), build.length("off"), (For(k, low, high, body),))
    before = tuple(Assign(ivar(name), i(0)) for name in result)
    return verify(Kernel("k", params, (*before, loop), ("y", *result)))


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_sweeps_are_taken_in_strips(monkeypatch, size):
    monkeypatch.setattr("sparsedsl.loops.strip.STRIP", size)
    rng = np.random.default_rng(0)
    for n, m in ((9, 9), (4, 9), (9, 3), (0, 4)):
        given = {"y": rng.random(n), "a": rng.random((3, n)), "x": rng.random(m)}
        given["off"] = np.array([-3, 0, 2])
        changed = verify(strip(reuse(sweeps())))
        assert text.kernel(changed).count("k_strip") > 1
        copies = ({name: a.copy() for name, a in given.items()} | {"n": n} for _ in range(2))
        (found,), (expected,) = (interpret(k, next(copies)) for k in (changed, sweeps()))
        np.testing.assert_array_equal(found, expected)


def test_sweeps_that_carry_something_are_left():
    total = ivar("total")
    counting = sweeps(Assign(total, build.add(total, 1)), result=("total",))
    assert strip(counting) == counting
    reading = sweeps(Assign(value("v"), element("y", i(0))))
    assert strip(reading) == reading
    (loop,) = sweeps().body
    assert isinstance(loop, For)
    (inner,) = loop.body
    assert isinstance(inner, For)
    plain = replace(inner, body=(inner.body[0], replace(inner.body[1], combine=None)))
    last_wins = replace(sweeps(), body=(replace(loop, body=(plain,)),))
    assert strip(last_wins) == last_wins
