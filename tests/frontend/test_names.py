"""A name without a value in a kernel: the error says where, and what to write."""

# ruff: noqa: F821, F841

import numpy as np
import pytest
from tracing import traced

from sparsedsl.errors import NotationError, NotationNameError
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.surface import index

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
