"""Outputs read before they are complete, and assigned in several places."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, interpreting, remembering_proofs

import sparsedsl as sd
from sparsedsl.contraction.text import program_text
from sparsedsl.contraction.versions import settled, together


def interleaved(A, x):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[i] = 2 * x[i]
    y[i] += 3 * x[i]
    return y, z


def lifted_between(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    y[i] += x[i] - sd.max(A[i, j], over=j)
    return y


def read_between(A, x):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[i] = y[i] * x[i]
    y[i] += x[i]
    y[i] += y[i] * 2
    return y, z


def mixed_monoids(A, x):
    i, j = sd.indices("i j")
    y = sd.output("csf")
    y[i] = sd.max(A[i, j], over=j)
    y[i] += A[i, j] * x[j]
    return y


def any_then_sum(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.any(A[i, j] > 1, over=j)
    y[i] += A[i, j] * x[j]
    return y


def cast_before_adding(A, x):
    i, j = sd.indices("i j")
    y, z = sd.output(dtype="int32"), sd.output()
    y[i] = A[i, j] * x[j]
    z[i] = y[i] + 1
    y[i] += A[i, j] * 0.5
    return y, z


BODIES = (
    interleaved,
    lifted_between,
    read_between,
    mixed_monoids,
    any_then_sum,
    cast_before_adding,
)


@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_results_are_those_of_the_order_written(body):
    a = np.array([[0, 2, -1], [0, 0, 0], [3, 0, -2]], "float64")
    x = np.array([1.0, -2.0, 4.0])
    tensors = {"A": sd.asarray(sp.csr_array(a)), "x": sd.asarray(x)}
    with interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, {"A": a, "x": x})


def test_a_narrow_sum_wraps_before_it_is_widened():
    def body(A):
        i, j = sd.indices("i j")
        y = sd.output(dtype="int64")
        y[i] = sd.sum(A[i, j], over=j)
        return y

    a = np.full((2, 3), 100, "int8")
    tensors = {"A": sd.asarray(sp.csc_array(a))}
    with interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, {"A": a})
        assert special.run(dict(tensors))["y"].to_numpy().tolist() == [44, 44]


def test_statements_of_an_output_stand_together():
    arguments = [sd.ShapeOf((3, 3), nnz=4), sd.ShapeOf((3,))]
    program = sd.kernel(interleaved).engine.trace(arguments).program
    assert settled(program) == program
    assert program_text(together(program)).splitlines() == [
        "z[i] = 2.0 * x[i]",
        "y[i] = sum(j, A[i, j] * x[j])",
        "y[i] += 3.0 * x[i]",
    ]


def test_a_partial_value_that_is_read_has_a_tensor_of_its_own():
    arguments = [sd.ShapeOf((3, 3), nnz=4), sd.ShapeOf((3,))]
    program = sd.kernel(read_between).engine.trace(arguments).program
    assert program_text(settled(program)).splitlines() == [
        "y_1[i] = sum(j, A[i, j] * x[j])",
        "z[i] = y_1[i] * x[i]",
        "y_2[i] = y_1[i] + x[i]",
        "y[i] = y_2[i] + y_2[i] * 2.0",
    ]
