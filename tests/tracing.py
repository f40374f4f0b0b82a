"""Tracing a kernel of arrays and running what it says, for tests of the frontend."""

from __future__ import annotations

import numpy as np
import pytest

from sparsedsl.contraction.interpret import interpret
from sparsedsl.errors import NotationError
from sparsedsl.frontend.arguments import ArgumentInfo
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.trace import trace


def info(array):
    array = np.asarray(array)
    return ArgumentInfo(array.shape, array.dtype.name)


def traced(kernel, *arrays):
    return trace(kernel, [info(a) for a in arrays])


def run(kernel, *arrays, patterns=None):
    found = traced(kernel, *arrays)
    names = [t.name for t in found.program.inputs]
    results = interpret(found.program, dict(zip(names, arrays, strict=False)), patterns)
    values = tuple(results[name] for name in found.program.results)
    return values if found.result_is_tuple else values[0]


def mistake(body, array):
    """Trace a kernel of one statement body(A, C) with an array for A; return the error."""

    def kernel(A):
        C = output()
        result = body(A, C)
        return C if result is None else result

    with pytest.raises(NotationError) as caught:
        traced(kernel, array)
    return caught.value
