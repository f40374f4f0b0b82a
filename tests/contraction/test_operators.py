from __future__ import annotations

import itertools

import numpy as np
import pytest

from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.errors import NotationTypeError

DTYPES = ("bool", "int8", "uint8", "int32", "int64", "uint64", "float32", "float64", "complex64")
RNG = np.random.default_rng(0)


def sample(dtype):
    if dtype == "bool":
        return np.array([True, False, True])
    values = np.array([2, 1, 3]).astype(dtype)
    return values * (1 + 1j) if dtype == "complex64" else values


@pytest.mark.parametrize("name", OPERATORS)
def test_result_dtype_is_that_of_evaluation(name):
    operator = OPERATORS[name]
    defined = 0
    for dtypes in itertools.product(DTYPES, repeat=operator.arity):
        try:
            expected = operator.result(dtypes)
        except NotationTypeError:
            continue
        defined += 1
        with np.errstate(all="ignore"):
            assert operator.evaluate(*(sample(d) for d in dtypes)).dtype == expected
    assert defined


@pytest.mark.parametrize(
    ("name", "dtypes", "result"),
    [
        ("add", ("bool", "bool"), "bool"),
        ("mul", ("bool", "bool"), "bool"),
        ("div", ("int32", "int32"), "float64"),
        ("mul", ("float32", "float32"), "float32"),
        ("mul", ("float32", "int64"), "float64"),
        ("abs", ("complex64",), "float32"),
        ("lt", ("int8", "float64"), "bool"),
        ("where", ("bool", "int32", "float32"), "float64"),
        ("sqrt", ("bool",), "float32"),
        ("pow", ("int64", "int64"), "int64"),
    ],
)
def test_result_dtypes_follow_numpy(name, dtypes, result):
    assert OPERATORS[name].result(dtypes) == result


def test_undefined_operation_says_so():
    with pytest.raises(NotationTypeError) as caught:
        OPERATORS["and"].result(("float64", "bool"))
    assert str(caught.value) == (
        "'&' is not defined for float64 and bool\n"
        "hint: '&' needs bools or integers: compare first, as in '(x > 0) & (y > 0)'"
    )


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "minimum", "maximum"])
def test_complex_numbers_have_no_order(name):
    with pytest.raises(NotationTypeError, match="complex64"):
        OPERATORS[name].result(("complex64", "complex64"))


SPECIAL = {
    "b": np.array([False, True]),
    "i": np.array([0, 1, -1, 7, np.iinfo(np.int64).max]),
    "u": np.array([0, 1, 7], np.uint64),
    "f": np.array([0.0, 1.0, -1.0, 3.5, np.inf, -np.inf, np.nan]),
    "c": np.array([0, 1, 1 + 2j, complex(np.inf, 0), complex(np.nan, 1)]),
}
DTYPE_OF = {"b": "bool", "i": "int64", "u": "uint64", "f": "float64", "c": "complex128"}


def claimed(operator, fact, kind):
    try:
        result = operator.result((DTYPE_OF[kind],) * operator.arity)
    except NotationTypeError:
        return False
    return np.dtype(result).kind in fact.kinds


FACTS = [
    (operator.name, fact, kind)
    for operator in OPERATORS.values()
    for fact in operator.annihilators
    for kind in "biufc"
    if claimed(operator, fact, kind)
]


@pytest.mark.parametrize(("name", "fact", "kind"), FACTS)
def test_annihilators_hold_but_for_the_stated_exceptions(name, fact, kind):
    operator = OPERATORS[name]
    result = operator.result((DTYPE_OF[kind],) * operator.arity)
    others = SPECIAL[kind]
    if name == "pow" and kind in "iu":
        others = others[others >= 0]
    if fact.unless == "nonfinite":
        others = others[np.isfinite(others)]
    if fact.unless == "zero":
        others = others[(others != 0) & ~np.isnan(others)]
    if fact.unless.endswith("infinity"):
        others = others[(others != float(fact.unless)) & ~np.isnan(others)]
    zeros = np.full(others.shape, fact.value, DTYPE_OF[kind])
    arguments = (zeros, others) if fact.position == 0 else (others, zeros)
    with np.errstate(all="ignore"):
        found = operator.evaluate(*arguments)
    np.testing.assert_array_equal(found, np.full(others.shape, fact.result, result))


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if o.commutative])
def test_commutative_operators_commute(name):
    a, b = RNG.integers(0, 2, (2, 20)).astype(bool)
    np.testing.assert_array_equal(OPERATORS[name].numpy(a, b), OPERATORS[name].numpy(b, a))


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if o.finite])
def test_finite_arguments_give_finite_results(name):
    operator = OPERATORS[name]
    x = np.array([0.0, 1.0, -1.0, 700.0, -700.0, 0.5])
    grids = list(np.meshgrid(*[x] * operator.arity))
    if name == "where":
        grids[0] = grids[0] > 0
    assert np.isfinite(operator.evaluate(*grids)).all()


@pytest.mark.parametrize("name", MONOIDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_identity_changes_nothing(name, dtype):
    monoid = MONOIDS[name]
    try:
        result = monoid.result(dtype)
    except NotationTypeError:
        assert dtype == "complex64"
        return
    identity = np.array(monoid.identity(result), result)
    values = sample(dtype).astype(result)
    combine = OPERATORS[monoid.operator].numpy
    np.testing.assert_array_equal(combine(identity, values), values)
    np.testing.assert_array_equal(combine(values, identity), values)
    if monoid.repeated is None:
        np.testing.assert_array_equal(combine(values, values), values)


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        found = OPERATORS["sigmoid"].evaluate(np.array([-1e4, 0.0, 1e4]))
    np.testing.assert_array_equal(found, [0, 0.5, 1])


def test_relu_keeps_nan():
    found = OPERATORS["relu"].evaluate(np.array([-1.0, np.nan, 2.0], np.float32))
    np.testing.assert_array_equal(found, np.array([0, np.nan, 2], np.float32))
