"""Fills and supports against brute force: outside the support the value is the fill."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsedsl.contraction.algebra import EVERYWHERE, NOWHERE, fill_of, ieee_operands, support
from sparsedsl.contraction.bindings import distinct
from sparsedsl.contraction.demands import finite_if, least_positive
from sparsedsl.contraction.expressions import dtype_of, same_value
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
from sparsedsl.contraction.operators import OPERATORS
from sparsedsl.contraction.verify import verify
from sparsedsl.errors import NotationError

ROWS, K = 3, 2
SHAPES = {
    "a": (ROWS,),
    "b": (ROWS,),
    "u": (ROWS,),
    "n": (ROWS,),
    "p": (ROWS,),
    "M": (ROWS, K),
    "w": (K,),
    "d": (ROWS,),
}


def at(tensor: str, *indices: str) -> Access:
    return Access(tensor, tuple(Affine.of(n) for n in indices))


def call(operator: str, *arguments) -> Call:
    return Call(operator, arguments)


def program_of(expression, fills=None, target="float64") -> Program:
    fills = fills or {}
    tensors = (
        Tensor("a", 1, "float64", fills.get("a", 0)),
        Tensor("b", 1, "float64", fills.get("b", 0)),
        Tensor("u", 1, "float64", fills.get("u", 1)),
        Tensor("n", 1, "int64", 0),
        Tensor("p", 1, "bool", False),
        Tensor("M", 2, "float64", fills.get("M", 0)),
        Tensor("w", 1, "float64", 0, total=True),
        Tensor("d", 1, "float64", 0, total=True),
    )
    statement = Assign("out", (Affine.of("i"),), expression)
    return Program(tensors, (Tensor("out", 1, target),), (statement,), ("out",))


LEAVES = st.sampled_from(
    [
        at("a", "i"),
        at("b", "i"),
        at("u", "i"),
        at("n", "i"),
        at("p", "i"),
        at("d", "i"),
        Stored("a", (Affine.of("i"),)),
        IndexValue(Affine.of("i")),
        call("lt", IndexValue(Affine.of("i")), IndexValue(Affine((), 1))),
        Literal(0.0, "float64"),
        Literal(2.0, "float64"),
        Literal(True, "bool"),
        Reduce("add", ("k",), at("M", "i", "k")),
        Reduce("add", ("k",), call("mul", at("M", "i", "k"), at("w", "k"))),
        Reduce("max", ("k",), at("M", "i", "k")),
        Reduce("min", ("k",), call("add", at("M", "i", "k"), at("w", "k"))),
        Reduce("any", ("k",), call("gt", at("M", "i", "k"), at("a", "i"))),
        Reduce("all", ("k",), Stored("M", (Affine.of("i"), Affine.of("k")))),
        Reduce("mul", ("k",), call("exp", at("M", "i", "k"))),
    ]
)
NAMES = [n for n in OPERATORS if n not in ("real", "imag", "conj")]
FILLS = st.fixed_dictionaries(
    {name: st.sampled_from([0.0, 0.0, 0.0, 1.0, -2.0, np.inf, np.nan]) for name in "abuM"}
)

FINITE_FILLS = FILLS.filter(lambda fills: all(np.isfinite(v) for v in fills.values()))


@st.composite
def expressions(draw, names=tuple(NAMES), depth=3):
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(LEAVES)
    operator = OPERATORS[draw(st.sampled_from(names))]
    arguments = [draw(expressions(names, depth - 1)) for _ in range(operator.arity)]
    return Call(operator.name, tuple(arguments))


def well_typed(expression, fills):
    program = program_of(distinct(expression, frozenset("i")), fills)
    try:
        dtype = dtype_of(program.statements[0].expression, program)
    except NotationError:
        return None
    program = program_of(program.statements[0].expression, fills, dtype)
    return verify(program)


def values_of(pool, program, seed):
    rng = np.random.default_rng(seed)
    arrays, patterns = {}, {}
    for tensor in program.inputs:
        shape = SHAPES[tensor.name]
        stored = np.ones(shape, bool) if tensor.total else rng.random(shape) < 0.4
        drawn = rng.choice(pool, shape)
        if np.dtype(tensor.dtype).kind in "biu":
            drawn = np.nan_to_num(drawn, posinf=3, neginf=-3)
        value = drawn.astype(tensor.dtype)
        arrays[tensor.name] = np.where(stored, value, np.asarray(tensor.fill, tensor.dtype))
        patterns[tensor.name] = stored
    return arrays, patterns


def inside(formula, patterns, i):
    """Whether the formula holds at i, for some value of every other index."""
    for conjunction in formula:
        bound = sorted({n for a in conjunction for s in a.subscripts for n in s.indices} - {"i"})
        for values in itertools.product(range(K), repeat=len(bound)):
            point = dict(zip(bound, values, strict=True), i=i)
            if all(
                patterns[a.tensor][tuple(point[s.indices[0]] for s in a.subscripts)]
                for a in conjunction
            ):
                return True
    return False


def check(expression, fills, pool, annihilating, seed):
    program = well_typed(expression, fills)
    if program is None:
        return
    right = program.statements[0].expression
    fill = fill_of(right, program, annihilating)
    formula = support(right, program, annihilating)
    assert (fill is not None) or formula == EVERYWHERE
    for n in range(4):
        arrays, patterns = values_of(pool, program, seed + n)
        try:
            result = interpret(program, arrays, patterns)["out"]
        except ValueError:  # an integer to a negative power
            return
        for i in range(ROWS):
            if not inside(formula, patterns, i):
                assert same_value(result[i].item(), fill), (right, i)


SETTINGS = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(expressions(), FILLS, st.integers(0, 1000))
def test_support_is_exact_for_every_ieee_value(expression, fills, seed):
    check(expression, fills, [0.0, 1.0, -1.5, np.inf, -np.inf, np.nan], False, seed)


FINITE = ("add", "sub", "mul", "neg", "minimum", "maximum", "where", "abs", "relu", "tanh", "sin")


@SETTINGS
@given(expressions(FINITE), FINITE_FILLS, st.integers(0, 1000))
def test_annihilating_support_is_exact_for_finite_values(expression, fills, seed):
    check(expression, fills, [0.0, 1.0, -1.5, 2.0], True, seed)


VALUES = (0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan)
MET = {
    "finite": np.isfinite,
    "nonzero": lambda x: x != 0,
    "above": lambda x: x > -np.inf,
    "below": lambda x: x < np.inf,
    "positive": lambda x: x >= least_positive(str(x.dtype)),
}


@SETTINGS
@given(expressions(), FILLS, st.integers(0, 1000))
def test_operands_named_finite_make_the_annihilating_support_exact(expression, fills, seed):
    program = well_typed(expression, fills)
    if program is None:
        return
    right = program.statements[0].expression
    needed = ieee_operands(right, program)
    if needed is None:
        return
    fill, formula = fill_of(right, program), support(right, program)
    for n in range(3):
        arrays, patterns = values_of(list(map(float, VALUES)), program, seed + n)
        for demand, name in sorted(needed):
            broken = patterns[name] & ~MET[demand](arrays[name])
            arrays[name] = np.where(broken, 3.0, arrays[name])
        try:
            result = interpret(program, arrays, patterns)["out"]
        except ValueError:
            return
        for i in range(ROWS):
            if not inside(formula, patterns, i):
                assert same_value(result[i].item(), fill), (right, needed, i)


def conjunctions(*groups):
    return tuple(frozenset(group) for group in groups)


A, B, U, N, P, D = (at(name, "i") for name in "abunpd")


@pytest.mark.parametrize(
    ("expression", "fill", "annihilating", "ieee"),
    [
        (call("mul", A, B), 0, conjunctions([A, B]), conjunctions([A], [B])),
        (call("add", A, B), 0, conjunctions([A], [B]), conjunctions([A], [B])),
        (call("mul", A, D), 0, conjunctions([A]), EVERYWHERE),
        (call("mul", A, Literal(3.0, "float64")), 0, conjunctions([A]), conjunctions([A])),
        (call("mul", A, U), 0, conjunctions([A]), conjunctions([A], [U])),
        (call("exp", A), 1, conjunctions([A]), conjunctions([A])),
        (call("mul", A, call("add", A, B)), 0, conjunctions([A]), conjunctions([A], [B])),
        (call("mul", N, P), 0, conjunctions([N, P]), conjunctions([N, P])),
        (call("mul", A, IndexValue(Affine.of("i"))), 0, *2 * (conjunctions([A]),)),
        (Literal(2.0, "float64"), 2, NOWHERE, NOWHERE),
        (call("div", A, D), 0, conjunctions([A]), EVERYWHERE),
        (Reduce("add", ("k",), at("M", "i", "k")), 0, *2 * (conjunctions([at("M", "i", "k")]),)),
        (Reduce("max", ("k",), at("M", "i", "k")), 0, EVERYWHERE, EVERYWHERE),
    ],
)  # fmt: skip
def test_support_of_common_expressions(expression, fill, annihilating, ieee):
    program = program_of(expression)
    assert fill_of(expression, program) == fill
    assert support(expression, program) == annihilating
    assert support(expression, program, annihilating=False) == ieee


def test_a_sum_over_everything_has_no_known_fill():
    expression = Reduce("add", ("k",), call("exp", at("M", "i", "k")))
    program = program_of(expression)
    assert fill_of(expression, program) is None
    assert support(expression, program) == EVERYWHERE


@pytest.mark.parametrize(
    ("expression", "demands"),
    [
        (call("mul", A, D), ["finite d"]),
        (call("mul", A, B), ["finite a", "finite b"]),
        (call("mul", A, A), []),
        (call("mul", A, call("exp", D)), None),
        (call("div", A, D), ["finite d", "nonzero d"]),
        (call("mul", A, call("tanh", D)), ["finite d"]),
        (call("mul", A, at("n", "i")), ["finite a"]),
        (call("mul", A, call("pow", D, Literal(2.0, "float64"))), ["finite d"]),
        (call("mul", A, call("pow", D, Literal(3.0, "float64"))), ["finite d"]),
        (call("mul", A, call("pow", D, Literal(2.5, "float64"))), None),
        (call("mul", A, call("pow", D, Literal(-2.0, "float64"))), ["positive d"]),
        (call("pow", call("mul", A, D), Literal(2.0, "float64")), ["finite d"]),
        (call("pow", call("mul", A, D), Literal(0.5, "float64")), ["finite d"]),
        (call("pow", call("mul", A, D), Literal(-1.0, "float64")), None),
        (call("add", A, D), []),
        (call("div", A, call("mul", B, D)), None),
        (call("div", A, call("neg", D)), ["finite d", "nonzero d"]),
        (call("div", A, call("exp", D)), None),
        (call("mul", call("div", A, D), B), ["finite a", "finite b", "finite d", "nonzero d"]),
        (call("div", A, call("sqrt", D)), ["positive d"]),
        (call("div", A, call("sqrt", call("mul", D, D))), ["positive d"]),
        (call("div", A, call("sqrt", call("mul", call("mul", D, D), D))), None),
        (call("div", A, call("sqrt", call("sub", D, D))), None),
        (call("div", A, call("maximum", D, Literal(1e-9, "float64"))), ["finite d"]),
        (call("div", A, call("pow", D, Literal(0.5, "float64"))), ["positive d"]),
        (call("div", A, call("pow", D, Literal(-0.5, "float64"))), None),
        (call("mul", A, call("pow", D, Literal(-0.5, "float64"))), ["positive d"]),
        (call("mul", A, call("div", Literal(1.0, "float64"), D)), ["finite d", "nonzero d"]),
        (call("div", A, call("sqrt", B)), []),
        (call("div", Literal(1.0, "float64"), call("mul", A, D)), None),
        (call("div", Literal(1.0, "float64"), call("neg", A)), []),
    ],
)
def test_what_is_asked_of_operands(expression, demands):
    found = ieee_operands(expression, program_of(expression))
    assert (None if found is None else [f"{d} {n}" for d, n in sorted(found)]) == demands


@pytest.mark.parametrize(
    ("expression", "demands"),
    [
        (call("add", A, B), ["above a", "above b"]),
        (call("add", A, D), ["above d"]),
        (call("add", A, call("neg", D)), ["below d"]),
        (call("sub", A, D), ["below d"]),
        (call("sub", D, A), ["below d"]),
        (call("add", A, call("minimum", B, D)), ["above b", "above d"]),
        (call("add", A, call("exp", D)), None),
        (call("add", A, Literal(-np.inf, "float64")), []),
    ],
)
def test_what_is_asked_beside_an_infinite_fill(expression, demands):
    program = program_of(expression, {"a": np.inf, "b": np.inf})
    found = ieee_operands(expression, program)
    if demands is not None:
        assert support(expression, program)[0] >= {A}
    assert (None if found is None else [f"{d} {n}" for d, n in sorted(found)]) == demands


def test_infinite_fill_is_never_settled_by_stored_values():
    assert finite_if(A, program_of(A, {"a": np.inf})) is None


@given(hnp.arrays(np.int8, 3, elements=st.integers(-3, 3)))
@settings(max_examples=10)
def test_half_precision_does_not_appear_for_small_integers(values):
    root = OPERATORS["exp"].evaluate(values)
    assert root.dtype == np.float32
    np.testing.assert_allclose(root, np.exp(values.astype(float)), rtol=1e-6)
