"""Python's own errors in a kernel: they are told with the place, and what to write."""

# ruff: noqa: F821, F841

import numpy as np
import pytest
from tracing import traced

from sparsedsl.errors import NotationError, NotationNameError, NotationTypeError
from sparsedsl.frontend.functions import sum as sum_
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.surface import index, indices

A, x = np.eye(2), np.ones(2)


def no_index(A, x):
    i, y = index("i"), output()
    y[i] = A[i, j] * x[i]
    return y


def no_operand(A, x):
    i, y = index("i"), output()
    y[i] = A[i, i] * weights[i]
    return y


def no_output(A, x):
    i = index("i")
    y[i] = x[i]
    return y


def no_prefix(A, x):
    i, y = index("i"), output()
    y[i] = exp(A[i, i])
    return y


def no_module(A, x):
    i, y = index("i"), output()
    y[i] = tf.exp(A[i, i])
    return y


def no_import(A, x):
    i, y = sd.index("i"), output()
    return y


def no_number(A, x):
    i, y = index("i"), output()
    y[i] = alpha * x[i]
    return y


def misspelt(A, x):
    i, result = index("i"), output()
    result[i] = x[i]
    return reslt


def not_yet(A, x):
    i, y = index("i"), output()
    s = s + x[i]
    return y


def helper(A, i):
    return A[i, q]


def in_a_function_it_calls(A, x):
    i, y = index("i"), output()
    y[i] = helper(A, i)
    return y


HINTS = {
    no_index: ("j", 'make it an index first: j = sd.index("j")'),
    no_operand: ("weights", "what a kernel reads is an argument"),
    no_output: ("y", "y = sd.output()"),
    no_prefix: ("exp", "write sd.exp(...)"),
    no_module: ("tf", "import or define 'tf'"),
    no_import: ("sd", "import sparsedsl as sd"),
    no_number: ("alpha", "define 'alpha' before the kernel is called"),
    misspelt: ("reslt", "did you mean 'result'?"),
    not_yet: ("s", "assign to 's' before it is read"),
    in_a_function_it_calls: ("q", 'q = sd.index("q")'),
}


@pytest.mark.parametrize("kernel", HINTS, ids=lambda kernel: kernel.__name__)
def test_the_place_and_what_to_write_are_told(kernel):
    name, hint = HINTS[kernel]
    with pytest.raises(NotationNameError) as caught:
        traced(kernel, A, x)
    error = caught.value
    assert isinstance(error, NotationError)
    assert isinstance(error, NameError)  # as in any other function
    assert error.message == f"the name '{name}' has no value"
    assert error.span.file == __file__
    assert error.span.text[error.span.column : error.span.end_column] == name
    assert hint in error.hint


def test_an_error_from_within_a_library_stays_what_it_is():
    unknown = NameError("name 'inner' is not defined")

    def kernel(A, x):
        exec("raise error", {"__name__": "numpy.linalg", "error": unknown})

    with pytest.raises(NameError) as caught:
        traced(kernel, A, x)
    assert caught.value is unknown


def by_axis(A, x):
    i, y = index("i"), output()
    y[i] = sum_(A[i, i], axis=1)
    return y


def apart(A, x):
    indices("i", "j")


def not_called(A, x):
    i, y = index("i"), output
    y[i] = x[i]
    return y


def no_result(A, x):
    i, y = index("i"), 0
    y[i] = x[i]
    return y


MISUSES = {
    by_axis: ("unexpected keyword argument 'axis'", "over=j"),
    apart: ("takes 1 positional argument but 2", 'sd.indices("i j k")'),
    not_called: ("'function' object does not support item", "C = sd.output()"),
    no_result: ("'int' object does not support item", "C = sd.output()"),
}


@pytest.mark.parametrize("kernel", MISUSES, ids=lambda kernel: kernel.__name__)
def test_what_cannot_be_used_so_is_told_with_its_place(kernel):
    message, hint = MISUSES[kernel]
    with pytest.raises(NotationTypeError) as caught:
        traced(kernel, A, x)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.span.file == __file__


@pytest.mark.parametrize("own", [TypeError("mine"), ValueError("mine"), KeyError("mine")], ids=repr)
def test_what_the_user_raises_stays_what_it_is(own):
    def kernel(A, x):
        raise own

    with pytest.raises(type(own)) as caught:
        traced(kernel, A, x)
    assert caught.value is own


def test_an_expression_is_rounded_by_rint():
    def kernel(A, x):
        i, y = index("i"), output()
        y[i] = round(x[i], 2)
        return y

    with pytest.raises(NotationTypeError) as caught:
        traced(kernel, A, x)
    assert "sd.rint" in caught.value.hint
