from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.contraction.bindings import distinct
from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.contraction.interpret import interpret
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Literal,
    Program,
    Reduce,
    Tensor,
)
from sparsedsl.contraction.terms import terms
from sparsedsl.contraction.text import statement_text
from sparsedsl.contraction.verify import verify


def at(tensor, *indices):
    return Access(tensor, tuple(Affine.of(n) for n in indices))


A, B, x, d = at("A", "i", "k"), at("B", "i", "k"), at("x", "i"), at("d", "i")
u, v = at("u", "i"), at("v", "i")
TENSORS = (
    Tensor("A", 2, "int64"),
    Tensor("B", 2, "int64"),
    Tensor("x", 1, "int64"),
    Tensor("d", 1, "int64", 0, total=True),
    Tensor("u", 1, "uint8"),
    Tensor("v", 1, "uint8"),
)


def program_of(expression, dtype="int64", fill=0, accumulate=None):
    out = Tensor("y", 1, dtype, fill)
    statements = (Assign("y", (Affine.of("i"),), expression),)
    if accumulate:
        statements += (replace(statements[0], accumulate=accumulate),)
    return verify(Program(TENSORS, (out,), statements, ("y",)))


def call(operator, *arguments):
    return Call(operator, arguments)


def summed(body):
    return Reduce("add", ("k",), body)


def split(expression, **options):
    program = program_of(expression, **options)
    return [statement_text(s) for s in terms(program.statements[-1], program)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (call("add", x, d), ["y[i] = x[i]", "y[i] += d[i]"]),
        (call("sub", summed(A), x), ["y[i] = sum(k, A[i, k])", "y[i] += -x[i]"]),
        (summed(call("sub", A, B)), ["y[i] = sum(k, A[i, k])", "y[i] += sum(k, -B[i, k])"]),
        (call("neg", call("add", x, d)), ["y[i] = -x[i]", "y[i] += -d[i]"]),
        (call("sub", x, call("sub", d, x)), ["y[i] = x[i]", "y[i] += -d[i]", "y[i] += x[i]"]),
        (call("mul", x, call("add", x, d)), ["y[i] = x[i] * (x[i] + d[i])"]),
        (call("sub", x, u), ["y[i] = x[i]", "y[i] += -1 * u[i]"]),
        (call("add", x, call("add", u, v)), ["y[i] = x[i]", "y[i] += u[i] + v[i]"]),
        (call("add", x, Literal(1, "int64")), ["y[i] = x[i] + 1"]),
        (
            call("add", summed(A), Literal(1, "int64")),
            ["y[i] = sum(k, A[i, k])", "y[i] += 1"],
        ),
    ],
)
def test_split_into_statements(expression, expected):
    assert split(expression) == expected


def test_a_statement_that_accumulates_goes_on_doing_so():
    assert split(call("add", x, d), accumulate="add") == ["y[i] += x[i]", "y[i] += d[i]"]
    assert split(call("add", x, d), accumulate="max") == ["y[i] max= x[i] + d[i]"]


def test_another_dtype_or_fill_is_not_split():
    assert len(split(call("add", x, d), dtype="float64")) == 1
    assert len(split(call("add", x, d), fill=3)) == 1


LEAVES = st.sampled_from([A, B, x, d, u, v, Literal(2, "int64")])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            lambda op, a, b: call(op, a, b), st.sampled_from(["add", "sub", "mul"]), inner, inner
        )
        | st.builds(lambda a: call("neg", a), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(EXPRESSIONS, st.booleans(), st.integers(0, 100))
def test_terms_together_mean_the_same(expression, inside, seed):
    expression = summed(expression) if inside else expression
    expression = distinct(expression if inside else replace_k(expression), frozenset("i"))
    program = program_of(expression)
    dtype = dtype_of(expression, program)
    program = replace(program, outputs=(replace(program.outputs[0], dtype=dtype),))
    pieces = replace(program, statements=terms(program.statements[0], program))
    rng = np.random.default_rng(seed)
    arrays = {
        t.name: rng.integers(0, 200, (3, 2)[: t.rank]).astype(t.dtype) for t in program.inputs
    }
    extents = {"i": 3, "k": 2}
    expected = interpret(program, arrays, extents=extents)["y"]
    np.testing.assert_array_equal(interpret(verify(pieces), arrays, extents=extents)["y"], expected)


def replace_k(expression):
    """Sum each access over k where it stands."""
    match expression:
        case Access(_, (_, _)):
            return summed(expression)
        case Call(operator, arguments):
            return Call(operator, tuple(replace_k(a) for a in arguments))
        case _:
            return expression


def test_real_infinities_in_a_complex_sum_have_no_imaginary_part():
    """``(1 + 0j) * inf`` would give it one that is NaN."""
    tensors = (Tensor("a", 1, "float64"), Tensor("z", 2, "complex128"))
    for operator in ("add", "sub"):
        body = Call(operator, (at("z", "i", "k"), at("a", "i")))
        assign = Assign("s", (Affine.of("i"),), Reduce("add", ("k",), body))
        program = Program(tensors, (Tensor("s", 1, "complex128"),), (assign,), ("s",))
        split = replace(program, statements=terms(assign, program))
        assert len(split.statements) == 2
        values = {"a": np.array([-np.inf, 1.0]), "z": np.array([[1 + 2j, 0], [0, 3j]])}
        found, wanted = interpret(split, values)["s"], interpret(program, values)["s"]
        np.testing.assert_array_equal(found, wanted)
        assert not np.isnan(found.imag).any()
