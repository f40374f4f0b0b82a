"""The dense interpreter against a scalar one that loops in Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sparsedsl.contraction.interpret import interpret
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
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.errors import NotationError

SIZES = {"i": 3, "j": 4, "k": 2}
RNG = np.random.default_rng(1)
ARRAYS = {
    "A": RNG.normal(size=(3, 2)),
    "B": RNG.normal(size=(2, 4)),
    "S": np.where(RNG.random((3, 4)) < 0.5, RNG.normal(size=(3, 4)), 0),
    "n": RNG.integers(-3, 4, (3,)),
    "long": RNG.normal(size=(4 + 2 * 2,)),
    "alpha": np.array(1.5),
}
PATTERN = RNG.random((3, 4)) < 0.5


def at(tensor, *subscripts):
    return Access(tensor, tuple(Affine.of(s) if isinstance(s, str) else s for s in subscripts))


def call(operator, *arguments):
    return Call(operator, arguments)


def value(expression, point):
    match expression:
        case Literal(number, dtype):
            return np.dtype(dtype).type(number)
        case Access(tensor, subscripts):
            return ARRAYS[tensor][tuple(position(s, point) for s in subscripts)]
        case Stored(_, subscripts):
            return PATTERN[tuple(position(s, point) for s in subscripts)]
        case IndexValue(index):
            return np.int64(position(index, point))
        case Call(operator, arguments):
            return OPERATORS[operator].numpy(*(value(a, point) for a in arguments))
        case Reduce(monoid, indices, body):
            values = [
                value(body, point | dict(zip(indices, where, strict=True)))
                for where in itertools.product(*(range(SIZES[n]) for n in indices))
            ]
            return MONOIDS[monoid].ufunc.reduce(values)


def position(subscript, point):
    return subscript.constant + sum(c * point[n] for n, c in subscript.terms)


A, B, S = at("A", "i", "k"), at("B", "k", "j"), at("S", "i", "j")
PRODUCT = call("mul", A, B)
SHIFTED = at("long", Affine((("i", 1), ("k", 2)), 1))
CASES = {
    "matmul": (Reduce("add", ("k",), PRODUCT), "i j"),
    "sddmm": (Reduce("add", ("k",), call("mul", S, PRODUCT)), "i j"),
    "min-plus": (Reduce("min", ("k",), call("add", A, B)), "i j"),
    "maximum": (Reduce("max", ("j", "k"), PRODUCT), "i"),
    "product": (Reduce("mul", ("k",), call("exp", A)), "i"),
    "any": (Reduce("any", ("j",), call("gt", S, at("alpha"))), "i"),
    "all": (Reduce("all", ("j",), Stored("S", (Affine.of("i"), Affine.of("j")))), "i"),
    "mask": (call("where", Stored("S", S.subscripts), S, Literal(-1.0, "float64")), "i j"),
    "predicate": (
        call("mul", S, call("lt", IndexValue(Affine.of("i")), IndexValue(Affine.of("j")))),
        "i j",
    ),
    "affine": (Reduce("add", ("k",), call("mul", SHIFTED, A)), "i"),
    "constant": (at("B", Affine((), 1), "j"), "j"),
    "transposed": (S, "j i"),
    "nested": (call("tanh", Reduce("add", ("k",), call("mul", A, call("add", B, S)))), "i j"),
    "integer": (call("div", at("n", "i"), Literal(2, "int64")), "i"),
    "scalar": (Reduce("add", ("i", "j"), call("mul", S, at("alpha"))), ""),
}


def program_of(expression, indices, dtype="float64", accumulate=None, fill=0):
    inputs = tuple(Tensor(n, a.ndim, a.dtype.name) for n, a in ARRAYS.items())
    target = tuple(Affine.of(n) for n in indices.split())
    out = Tensor("out", len(target), dtype, fill)
    statements = (Assign("out", target, expression),)
    if accumulate:
        statements += (Assign("out", target, expression, accumulate),)
    return Program(inputs, (out,), statements, ("out",))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("accumulate", [None, "add", "max"])
def test_agrees_with_scalar_loops(name, accumulate):
    expression, indices = CASES[name]
    names = indices.split()
    dtype = "bool" if name in ("any", "all") else "float64"
    program = program_of(expression, indices, dtype, accumulate)
    found = interpret(program, ARRAYS, {"S": PATTERN})["out"]
    assert found.dtype == dtype
    assert found.shape == tuple(SIZES[n] for n in names)
    for where in itertools.product(*(range(SIZES[n]) for n in names)):
        expected = value(expression, dict(zip(names, where, strict=True)))
        if accumulate == "add":
            expected = expected + expected
        np.testing.assert_allclose(found[where], expected, rtol=1e-13)


def test_later_statements_read_earlier_outputs():
    inputs = (Tensor("A", 2, "float64"),)
    total = Assign("t", (), Reduce("add", ("i", "k"), A))
    scaled = Assign("out", (Affine.of("i"), Affine.of("k")), call("div", A, at("t")))
    outputs = (Tensor("t", 0, "float64"), Tensor("out", 2, "float64"))
    program = Program(inputs, outputs, (total, scaled), ("out", "t"))
    found = interpret(program, ARRAYS)
    np.testing.assert_allclose(found["out"], ARRAYS["A"] / ARRAYS["A"].sum())
    np.testing.assert_allclose(found["t"], ARRAYS["A"].sum())


def test_zero_times_nan_is_nan():
    program = program_of(call("mul", at("A", "i", "k"), Literal(0.0, "float64")), "i k")
    arrays = ARRAYS | {"A": np.full((3, 2), np.nan)}
    assert np.isnan(interpret(program, arrays)["out"]).all()


@pytest.mark.parametrize("monoid", ["add", "mul", "min", "max"])
def test_reducing_over_nothing_gives_the_identity(monoid):
    program = program_of(Reduce(monoid, ("k",), at("A", "i", "k")), "i")
    arrays = ARRAYS | {"A": np.zeros((3, 0)), "B": np.zeros((0, 4))}
    expected = {"add": 0, "mul": 1, "min": np.inf, "max": -np.inf}[monoid]
    np.testing.assert_array_equal(interpret(program, arrays)["out"], np.full(3, expected))


@pytest.mark.parametrize(("dtype", "result"), [("bool", "int64"), ("int32", "int32")])
def test_sums_of_bools_count(dtype, result):
    inputs = (Tensor("A", 1, dtype),)
    assign = Assign("out", (), Reduce("add", ("i",), at("A", "i")))
    program = Program(inputs, (Tensor("out", 0, result),), (assign,), ("out",))
    found = interpret(program, {"A": np.ones(5, dtype)})["out"]
    assert found.dtype == result
    assert found == 5


def test_index_only_on_the_left_takes_the_given_extent():
    program = program_of(at("n", "i"), "i j", "int64")
    found = interpret(program, ARRAYS, extents={"j": 2})["out"]
    np.testing.assert_array_equal(found, np.repeat(ARRAYS["n"][:, None], 2, 1))


def test_missing_input_is_named():
    with pytest.raises(NotationError, match="expected an array for the input 'A', found none"):
        interpret(program_of(at("n", "i"), "i", "int64"), {"n": ARRAYS["n"]})
