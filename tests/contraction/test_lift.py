"""Factors are moved into sums only where that changes no value: infinity times 0 is NaN."""

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.contraction.lift import lifted
from sparsedsl.contraction.nodes import Reduce


def scaled(x, B):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, j] = x[i] * sd.sum(B[k, j], over=k)
    return y


DENSE = np.array([[0.0, 2.0, -1.0], [3.0, 4.0, 1.0]])


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_sums_are_taken_before_an_infinite_factor(layout):
    kernel, B = sd.kernel(scaled), sd.convert(DENSE, layout)
    for x in (np.array([2.0, 1.0]), np.array([np.inf, 1.0]), np.array([-1.0, np.nan])):
        with np.errstate(invalid="ignore"):
            wanted = x[:, None] * DENSE.sum(axis=0)
        np.testing.assert_array_equal(kernel(x, B), wanted)


def test_what_is_moved_is_asked_to_be_finite():
    x = np.ones(2)
    lowered = sd.kernel(scaled).lower(x, sd.convert(DENSE, "csr"))
    once, moved = lifted(lowered.program)
    assert moved == {"x"}
    assert len(once.statements) == 1
    assert isinstance(once.statements[0].expression, Reduce)
    kept, moved = lifted(lowered.program, frozenset({"x"}))
    assert not moved
    assert len(kept.statements) == 2
    assert lowered.units[0].group.finite == ("x",)


def test_integers_are_always_moved():
    x = np.ones(2, "int64")
    lowered = sd.kernel(scaled).lower(x, sd.convert(DENSE.astype("int64"), "csr"))
    assert lifted(lowered.program, frozenset({"x"}))[1] == frozenset()
    assert len(lowered.units) == 1
    assert lowered.units[0].group.finite == ()
