import pytest

from sparsedsl.loops import text
from sparsedsl.loops.build import add, conj, i, ivar, length, load, lt, mul, sub
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
    Prefetch,
    Resize,
    ScalarParam,
    Select,
    Store,
    Var,
    While,
)

A, B = ivar("a"), ivar("b")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (mul(add(A, 1), B), "(a + 1) * b"),
        (sub(A, sub(B, ivar("c"))), "a - (b - c)"),
        (Binary("-", Binary("-", A, B, INT), i(1), INT), "a - b - 1"),
        (conj(lt(A, B), Not(lt(B, A))), "a < b and not b < a"),
        (Not(conj(lt(A, B), lt(B, A))), "not (a < b and b < a)"),
        (Binary("==", lt(A, B), lt(B, A), BOOL), "(a < b) == (b < a)"),
        (add(Select(lt(A, B), A, B, INT), 1), "(a if a < b else b) + 1"),
        (load("x", add(A, 1), B, proved=False), "x[a + 1, b]?"),
        (Apply("mul", (Var("u", "float64"), Cast(A, "float64")), "float64"), "mul(u, float64(a))"),
        (Binary("min", length("x"), length("y", 1), INT), "min(len(x), len(y, 1))"),
        (Const(-0.0, "float64"), "-0.0"),
    ],
)
def test_expressions(node, expected):
    assert text.expression(node) == expected


def test_a_whole_kernel():
    body = (
        Comment("rows"),
        Allocate("w", "float64", (A, i(2)), None),
        Allocate("z", "int32", (A,), Const(0, "int32")),
        For(
            B,
            i(0),
            A,
            (
                Store("x", (B,), Var("u", "float32"), "add", proved=False),
                If(lt(B, A), (Break(),), (Assign(ivar("c"), B),)),
            ),
            2,
        ),
        While(lt(A, B), ()),
        Resize("z", A),
        Prefetch("w", (B, A)),
    )
    params = (ArrayParam("x", "float32", 1), IntParam("a"), ScalarParam("u", "float32"))
    assert text.kernel(Kernel("k", params, body, ("x", "w"), ("one", "two"))) == "\n".join(
        [
            "kernel k(x: float32[:], a: int, u: float32) -> (x, w)",
            "    # one",
            "    # two",
            "    # rows",
            "    w = float64[a, 2] of uninitialised",
            "    z = int32[a] of 0",
            "    for b in 0 .. a, 2:",
            "        x[b]? =add= u",
            "        if b < a:",
            "            break",
            "        else:",
            "            c: int = b",
            "    while a < b:",
            "        pass",
            "    resize z to a",
            "    prefetch w[b, a] to store",
        ]
    )


def test_the_head_of_a_loop_alone():
    assert text.statement(For(A, i(0), B, (Break(),)), deep=False) == "for a in 0 .. b:\n    ..."
