import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.loops import text
from sparsedsl.loops.build import FALSE, TRUE, compare, i, ivar, load, lt
from sparsedsl.loops.interpret import interpret
from sparsedsl.loops.nodes import (
    BOOL,
    INT,
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    For,
    If,
    IntParam,
    Kernel,
    Not,
    Select,
    Store,
    Var,
    While,
)
from sparsedsl.loops.promote import promote
from sparsedsl.loops.simplify import expression, simplify
from sparsedsl.loops.verify import verify

A, B = ivar("a"), ivar("b")
X, Y = Var("x", "float64"), Var("y", "float64")


def binary(operator, left, right, type=INT):
    return Binary(operator, left, right, type)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (binary("+", i(2), i(3)), i(5)),
        (binary("//", i(-7), i(2)), i(-4)),
        (binary("%", i(-7), i(2)), i(1)),
        (binary("//", i(1), i(0)), binary("//", i(1), i(0))),
        (binary("*", i(2**62), i(2)), binary("*", i(2**62), i(2))),
        (binary("+", i(1), A), binary("+", A, i(1))),
        (binary("+", binary("+", A, i(1)), i(2)), binary("+", A, i(3))),
        (binary("-", binary("+", A, i(1)), i(3)), binary("-", A, i(2))),
        (binary("+", A, i(0)), A),
        (binary("-", A, A), i(0)),
        (binary("-", binary("+", A, i(5)), binary("-", A, i(2))), i(7)),
        (binary("*", i(1), A), A),
        (binary("*", A, i(0)), i(0)),
        (binary("//", A, i(1)), A),
        (binary("%", A, i(1)), i(0)),
        (binary("min", A, A), A),
        (binary("&", A, i(0)), i(0)),
        (binary("^", A, A), i(0)),
        (binary("<<", A, i(0)), A),
        (binary("<", A, A, BOOL), FALSE),
        (binary("<=", A, A, BOOL), TRUE),
        (Not(Not(lt(A, B))), lt(A, B)),
        (Not(binary("<", A, B, BOOL)), binary(">=", A, B, BOOL)),
        (binary("and", TRUE, lt(A, B), BOOL), lt(A, B)),
        (binary("and", lt(A, B), FALSE, BOOL), binary("and", lt(A, B), FALSE, BOOL)),
        (binary("or", FALSE, lt(A, B), BOOL), lt(A, B)),
        (Select(TRUE, A, B, INT), A),
        (Apply("where", (TRUE, X, Y), "float64"), X),
        (Apply("where", (FALSE, X, Y), "float64"), Y),
        (Apply("where", (TRUE, X, Y), "float32"), Apply("where", (TRUE, X, Y), "float32")),
        (Apply("pow", (X, Const(2.0, "float64")), "float64"), Apply("mul", (X, X), "float64")),
        (Apply("pow", (X, Y), "float64"), Apply("pow", (X, Y), "float64")),
        (Select(lt(A, B), A, A, INT), A),
        (Cast(i(3), "float32"), Const(3.0, "float32")),
        (Cast(i(300), "int8"), Cast(i(300), "int8")),
        # values keep IEEE rules: -0.0 + 0.0 is 0.0
        (
            binary("+", Var("x", "float64"), Const(0.0, "float64"), "float64"),
            binary("+", Var("x", "float64"), Const(0.0, "float64"), "float64"),
        ),
    ],
)
def test_expression_rules(before, after):
    assert expression(before) == after


SET = Assign(A, load("x", i(0)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((SET, If(TRUE, (SET,), (Comment("no"),))), (SET, SET)),
        ((SET, If(FALSE, (Store("x", (i(0),), i(1)),))), (SET,)),
        ((SET, If(lt(A, i(1)), (), (Store("x", (i(0),), i(1)),))),
         (SET, If(compare(">=", A, i(1)), (Store("x", (i(0),), i(1)),)))),
        ((SET, If(lt(A, i(1)), (), ())), (SET,)),
        ((SET, For(B, i(3), i(2), (SET,))), (SET,)),
        ((SET, For(B, i(2), i(3), (SET,), -1)), (SET,)),
        ((SET, For(B, i(2), A, ())), (SET,)),
        ((SET, While(FALSE, (SET,))), (SET,)),
        ((SET, While(lt(A, i(3)), (Break(), SET))), (SET, While(lt(A, i(3)), (Break(),)))),
        ((SET, Assign(A, A)), (SET,)),
        ((Assign(B, i(4)), Assign(A, binary("+", B, i(1)))), (Assign(A, i(5)),)),
        ((SET, Assign(B, load("x", i(1))), Assign(B, binary("+", B, i(1)))), (SET,)),
        ((SET, Allocate("w", "int64", (i(1),)), Store("w", (i(0),), A)), (SET,)),
    ],
)  # fmt: skip
def test_statement_rules(before, after):
    kernel = Kernel("k", (ArrayParam("x", "int64", 1),), before, ("a", "x"))
    assert text.kernel(simplify(verify(kernel))) == text.kernel(
        Kernel("k", kernel.params, after, kernel.results)
    )


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_simplified_kernels_mean_the_same(random_kernels, data):
    kernel = verify(data.draw(random_kernels.kernels()))
    smaller = verify(simplify(kernel))
    assert simplify(smaller) == smaller
    expected = interpret(kernel, random_kernels.arguments())
    random_kernels.same_results(interpret(smaller, random_kernels.arguments()), expected)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_promoted_kernels_mean_the_same(random_kernels, data):
    kernel = verify(data.draw(random_kernels.kernels()))
    promoted = verify(promote(kernel))
    expected = interpret(kernel, random_kernels.arguments())
    random_kernels.same_results(interpret(promoted, random_kernels.arguments()), expected)


def test_results_survive_although_nothing_reads_them():
    body = (Assign(A, i(1)), Allocate("w", "float64", (A,), Const(2.0, "float64")))
    kernel = Kernel("k", (IntParam("n"),), body, ("a", "w"))
    a, w = interpret(simplify(kernel), {"n": 0})
    assert a == 1
    np.testing.assert_array_equal(w, [2.0])
