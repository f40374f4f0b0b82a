"""Mistakes in outputs, shapes, names of indices and numbers: each has a message of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tracing import mistake, run, traced

from sparsedsl.contraction.nodes import VALUE_DTYPES
from sparsedsl.errors import NotationError, NotationTypeError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.surface import index, indices
from sparsedsl.frontend.trace import trace

RNG = np.random.default_rng(0)
A, x = RNG.normal(size=(4, 3)), RNG.normal(size=5)
i, j, k = indices("i j k")


def bad(body):
    return mistake(body, A)


def test_an_output_without_subscripts_has_its_name():
    def body(A, C):
        C += A[i, j]

    assert bad(body).message == "C is used without subscripts"


def test_number_of_arguments():
    def kernel(A, B):
        return None

    with pytest.raises(NotationError, match=r"expected 2 arguments \(A, B\), found 1"):
        traced(kernel, A)


def test_output_needs_a_kernel():
    with pytest.raises(NotationError, match="used outside a kernel"):
        output()


def test_output_of_another_kernel():
    kept = []

    def first(A):
        C = output()
        C[i, j] = A[i, j]
        kept.append(C)
        return C

    traced(first, A)
    with pytest.raises(NotationError, match="found an output of another kernel"):
        traced(lambda A: kept[0], A)


@pytest.mark.parametrize(
    ("dtype", "fill", "message"),
    [
        ("int32", 1.5, "expected a fill value of dtype int32, found 1.5"),
        ("int32", math.nan, "expected a fill value of dtype int32, found nan"),
        ("float64", 1j, "expected a fill value of dtype float64, found 1j"),
        ("uint8", -1, "expected a fill value of dtype uint8, found -1"),
        ("float64", "0", "expected a number as fill_value, found str"),
        ("U3", 0, f"expected one of the dtypes {', '.join(VALUE_DTYPES)}, found 'U3'"),
        ("nothing", 0, f"expected one of the dtypes {', '.join(VALUE_DTYPES)}, found 'nothing'"),
    ],
)
def test_fill_and_dtype_of_an_output(dtype, fill, message):
    def kernel(A):
        C = output(dtype=dtype, fill_value=fill)
        C[i, j] = A[i, j] > 0
        return C

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("i i", "index i is named twice"),
        ("i 2", "expected an index name such as i, found '2'"),
        ("", "expected an index name such as i, found ''"),
        ("i in", "expected an index name such as i, found 'in'"),
        (3, 'expected index names in one string such as "i j k", found 3'),
    ],
)
def test_index_names(names, message):
    with pytest.raises(NotationError) as caught:
        indices(names)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, -1), r"expected a shape of extents, each at least 0 or None, found (5, -1)"),
        ((5,), "expected 1 subscripts, as many as the shape (5,) that 'C' was given, found 2"),
    ],
)
def test_shapes_that_do_not_fit(shape, message):
    def kernel(x):
        C = output(shape=shape)
        C[i, j] = x[i]
        return C

    with pytest.raises(NotationError) as caught:
        traced(kernel, x)
    assert caught.value.message == message
    assert caught.value.span is not None


def test_a_shape_disagrees_with_an_operand():
    def kernel(x):
        C = output(shape=(4, 2))
        C[i, j] = x[i]
        return C

    with pytest.raises(NotationError, match=r"expected 4 \(the given shape\), found 5"):
        run(kernel, x)


@pytest.mark.parametrize(("names", "found"), [("ijk", "fewer"), ("i j k l", "more")])
def test_index_names_that_do_not_go_round(names, found):
    def kernel(A):
        i, j, k = indices(names)
        return A[i, j, k]

    with pytest.raises(NotationError) as caught:
        traced(kernel, A)
    assert caught.value.message == f"expected 3 index names, found {found}"
    assert caught.value.hint == (
        'give a name for each, separated by spaces: i, j, k = sd.indices("i j k")'
    )
    assert caught.value.span.file == __file__
    assert "indices(names)" in caught.value.span.text


def test_unpacking_of_other_things_is_the_users_own():
    def kernel(A):
        first, _second = [A]
        return first

    with pytest.raises(ValueError, match="not enough values") as caught:
        traced(kernel, A)
    assert not isinstance(caught.value, NotationError)


def test_expressions_are_printed_as_they_are_written():
    def kernel(A):
        C = output()
        assert f"{A[i, j]} {i}" == "A[i, j] i"
        C[i, j] = A[i, j]
        return C

    traced(kernel, A)


def test_index_takes_one_name():
    assert repr(2 * index("i") - 1) == "2*i-1"
    with pytest.raises(NotationError, match="expected one index name, found 2"):
        index("i j")


def test_errors_of_the_users_own_pass_through():
    def kernel(A):
        return A.nothing

    with pytest.raises(AttributeError, match="nothing"):
        traced(kernel, A)


def test_expressions_nested_too_deeply():
    def body(A, C):
        total = A[i, j]
        for _ in range(5000):
            total = total + A[i, j]
        C[i, j] = total

    assert bad(body).message == "the expression is nested too deeply"


@pytest.mark.parametrize(
    ("dtype", "number", "message"),
    [
        ("int8", 200, "200 does not fit int8"),
        ("uint8", -1, "-1 does not fit uint8"),
        ("float64", 10**400, "the number does not fit float64"),
    ],
)
def test_numbers_that_do_not_fit(dtype, number, message):
    def kernel(a):
        C = output()
        C[i] = a[i] + number
        return C

    with pytest.raises(NotationTypeError) as caught:
        trace(kernel, [ArgumentInfo((3,), dtype)])
    assert caught.value.message == message


def test_integers_to_negative_powers():
    def kernel(a):
        C = output()
        C[i] = a[i] ** -1
        return C

    with pytest.raises(NotationTypeError) as caught:
        trace(kernel, [ArgumentInfo((3,), "int64")])
    assert caught.value.hint == "use a floating exponent: x ** -1.0"
