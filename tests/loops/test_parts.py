"""Sums added up loop by loop: what they come to, and what is left alone."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.loops import build as lb
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    Apply,
    ArrayParam,
    Assign,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Store,
    Var,
)
from sparsedsl.loops.parts import sums_by_loops
from sparsedsl.loops.verify import verify

TYPE = "float64"
i, p, count = lb.ivar("i"), lb.ivar("p"), lb.ivar("count")
S, VALUE, ZERO = Var("s", TYPE), Var("value", TYPE), Const(0.0, TYPE)
A = lb.load("a", p, type=TYPE)


def added(total, value):
    return Assign(total, Apply("add", (total, value), total.type))


def summing(*inner, before=()):
    """The sum of rows, that of a row in a loop of its own."""
    loop = For(p, lb.load("ptr", i), lb.load("ptr", lb.add(i, 1)), inner)
    body = (
        Assign(S, Const(2.0, TYPE)),
        For(i, lb.i(0), lb.ivar("n"), (*before, loop)),
        Store("out", (lb.i(0),), S),
    )
    params = ArrayParam("ptr", "int32", 1), ArrayParam("a", TYPE, 1), ArrayParam("out", TYPE, 1)
    return verify(Kernel("summing", (*params, IntParam("n")), body, ()))


def alone():
    """A sum of one loop."""
    kernel = summing(added(S, A))
    begin, rows, end = kernel.body
    return replace(kernel, body=(Assign(i, lb.i(0)), begin, *rows.body, end))


def result(kernel):
    out = np.zeros(1)
    ptr, a = np.array([0, 3, 3, 7], np.int32), np.random.default_rng(0).standard_normal(7)
    interpret(verify(kernel), {"ptr": ptr, "a": a, "out": out, "n": 3})
    return out[0], 2.0 + a.sum()


def test_each_loop_has_a_sum_of_its_own():
    kernel = summing(Assign(VALUE, A), added(S, VALUE))
    apart = sums_by_loops(kernel)
    part = Var("s_part", TYPE)
    begin, loop, end = apart.body[1].body
    assert (begin, end) == (Assign(part, ZERO), added(S, part))
    assert loop.body == (Assign(VALUE, A), added(part, VALUE))
    found, wanted = result(apart)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize(
    "kernel",
    [
        summing(added(S, A), before=(Assign(S, ZERO),)),
        alone(),
        summing(added(S, Apply("mul", (S, A), TYPE))),
        summing(Store("out", (lb.i(0),), S), added(S, A)),
        summing(Assign(S, A), added(S, A)),
        summing(If(lb.lt(p, 2), (added(S, A),))),
        summing(added(S, A), Store("out", (lb.i(0),), S)),
    ],
    ids=[
        "begun",
        "no loop around",
        "of itself",
        "stored",
        "assigned",
        "not always",
        "more after it",
    ],
)
def test_other_loops_are_left_alone(kernel):
    assert sums_by_loops(kernel) == kernel


B, T = Var("t", TYPE), Var("s_turn", TYPE)
TWICE, SQUARE = (Apply(name, (A, A), TYPE) for name in ("add", "mul"))


def turning(*inner):
    """A sum of one loop."""
    loop = For(p, lb.i(0), lb.ivar("n"), inner)
    body = (Assign(S, Const(2.0, TYPE)), Assign(B, ZERO), loop, Store("out", (lb.i(0),), S))
    params = ArrayParam("a", TYPE, 1), ArrayParam("out", TYPE, 1), IntParam("n")
    return verify(Kernel("turning", params, body, ()))


def test_several_terms_of_a_turn_are_added_up_first():
    kernel = turning(added(S, A), added(S, TWICE), Assign(VALUE, SQUARE), added(S, VALUE))
    apart = verify(sums_by_loops(kernel))
    loop = apart.body[2]
    assert loop.body == (
        Assign(T, A),
        added(T, TWICE),
        Assign(VALUE, SQUARE),
        added(T, VALUE),
        added(S, T),
    )
    out, a = np.zeros(1), np.random.default_rng(0).standard_normal(7)
    interpret(apart, {"a": a, "out": out, "n": 7})
    np.testing.assert_allclose(out[0], 2.0 + (3 * a + a * a).sum(), rtol=1e-14)


@pytest.mark.parametrize(
    "inner",
    [
        (added(S, A), added(S, TWICE)),
        (added(S, A), added(S, TWICE), added(S, S)),
        (added(S, A), added(S, TWICE), Assign(B, S), added(S, A)),
        (added(S, A), added(S, TWICE), Assign(S, A), added(S, A)),
        (added(S, A), added(S, TWICE), If(lb.lt(p, 2), (added(S, A),))),
        (added(S, A), added(B, TWICE), added(S, SQUARE), added(B, A)),
    ],
    ids=["few", "of itself", "read", "assigned", "not always", "two sums"],
)
def test_other_turns_are_left_alone(inner):
    assert sums_by_loops(turning(*inner)) == turning(*inner)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_blocks_are_added_up_by_themselves(size):
    rng = np.random.default_rng(size)
    A = sp.random_array((48, 60), density=0.2, format="csr", rng=rng).tobsr((size, size))
    B = rng.standard_normal((48, 60))
    kernel = sd.kernel(total)
    assert "s_sum_turn" in kernel.lower(A, B).source
    for threads in (1, 2):
        with sd.options(threads=threads):
            np.testing.assert_allclose(kernel(A, B), (A.toarray() * B).sum())


def total(A, B):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = A[i, j] * B[i, j]
    return s


@pytest.mark.parametrize("density", [0.5, 0.01])
def test_rows_of_any_length_have_sums_of_their_own(density):
    """100 entries a row, or 2."""
    rng = np.random.default_rng(0)
    A = sp.random_array((50, 200), density=density, format="csr", rng=rng)
    B = rng.standard_normal((50, 200))
    kernel = sd.kernel(total)
    assert "s_sum_part" in kernel.lower(A, B).source
    np.testing.assert_allclose(kernel(A, B), (A * B).sum())
