from __future__ import annotations

from dataclasses import replace

import pytest

from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
    Tensor,
)
from sparsedsl.contraction.text import canonical, expression_text, program_text
from sparsedsl.errors import Span


def at(tensor, *indices):
    return Access(tensor, tuple(Affine.of(n) for n in indices))


def call(operator, *arguments):
    return Call(operator, arguments)


a, b, c = at("a", "i"), at("b", "i"), at("c", "i")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (call("mul", call("add", a, b), c), "(a[i] + b[i]) * c[i]"),
        (call("add", call("mul", a, b), c), "a[i] * b[i] + c[i]"),
        (call("sub", a, call("sub", b, c)), "a[i] - (b[i] - c[i])"),
        (call("sub", call("sub", a, b), c), "a[i] - b[i] - c[i]"),
        (call("div", a, call("mul", b, c)), "a[i] / (b[i] * c[i])"),
        (call("pow", call("neg", a), b), "(-a[i]) ** b[i]"),
        (call("neg", call("pow", a, b)), "-a[i] ** b[i]"),
        (call("pow", a, call("pow", b, c)), "a[i] ** b[i] ** c[i]"),
        (call("pow", call("pow", a, b), c), "(a[i] ** b[i]) ** c[i]"),
        (call("lt", call("lt", a, b), c), "(a[i] < b[i]) < c[i]"),
        (call("and", call("lt", a, b), call("not", c)), "(a[i] < b[i]) & ~c[i]"),
        (call("mul", a, IndexValue(Affine((("i", 2),), 1))), "a[i] * (2*i+1)"),
        (call("where", Stored("a", a.subscripts), b, Literal(-1.0, "float64")),
         "where(pattern(a)[i], b[i], -1.0)"),
        (Reduce("mul", ("i", "j"), call("exp", a)), "prod((i, j), exp(a[i]))"),
        (Access("s", ()), "s[()]"),
        (at("A", "i", "j"), "A[i, j]"),
        (Access("A", (Affine((("i", 1), ("j", -1)), 2), Affine((), 3))), "A[i-j+2, 3]"),
    ],
)  # fmt: skip
def test_expressions_read_back_as_they_bind(expression, text):
    assert expression_text(expression) == text


def test_parentheses_agree_with_python():
    text = expression_text(call("and", call("lt", a, b), c))
    assert eval(text, {"a": [1], "b": [2], "c": [1], "i": 0}) == ((1 < 2) & 1)


INPUT = Tensor("a", 1, "float64")
PROGRAM = Program(
    (INPUT,),
    (Tensor("y", 0, "float64"),),
    (
        Assign("y", (), Reduce("add", ("i",), a)),
        Assign("y", (), Reduce("add", ("i",), call("exp", a)), "add"),
        Assign("y", (), Reduce("add", ("i",), a), "max"),
    ),
    ("y",),
)


def test_statements_one_a_line():
    assert program_text(PROGRAM) == (
        "y[()] = sum(i, a[i])\ny[()] += sum(i, exp(a[i]))\ny[()] max= sum(i, a[i])"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float32"},
        {"fill": 1},
        {"fill": float("nan")},
        {"total": True},
        {"rank": 2},
    ],
)
def test_canonical_text_tells_programs_apart(change):
    other = replace(PROGRAM, inputs=(replace(INPUT, **change),))
    assert canonical(other) != canonical(PROGRAM)


def test_canonical_text_leaves_places_out():
    spanned = replace(PROGRAM.statements[0], span=Span("y = a", 0, 1))
    other = replace(PROGRAM, statements=(spanned, *PROGRAM.statements[1:]))
    assert canonical(other) == canonical(PROGRAM)


def test_canonical_text_tells_literals_apart():
    one, other = (
        replace(PROGRAM, statements=(Assign("y", (), Literal(v, d)),))
        for v, d in ((1, "int64"), (1.0, "float64"))
    )
    assert canonical(one) != canonical(other)
