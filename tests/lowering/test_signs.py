"""Which loads of a kernel are known not to be negative."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.signs import natural_arrays
from sparsedsl.loops.nodes import Load
from sparsedsl.loops.walk import expressions, operands, statements


@pytest.mark.parametrize(
    ("layout", "arrays"),
    [("csr", {"indptr"}), ("coo", set()), ("dia", set()), ("ell", {"counts"}), ("hash", set())],
)
def test_arrays_that_a_layout_keeps_from_being_negative(layout, arrays):
    """Pointers rise from zero, counts lie in a range; offsets may be negative, free slots are."""
    assert natural_arrays(resolve(layout, 2)) == arrays


def times_vector(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@pytest.mark.parametrize(
    ("layout", "natural"),
    [
        ("csr", {"A_indptr": True, "A_indices": True}),
        # that a slot is taken is asked of what was loaded
        ("hash", {"A_crd0": False, "A_crd1": False}),
        ("dia", {"A_offsets": False}),
    ],
)
def test_loads_are_marked_by_what_is_proved(layout, natural):
    matrix = sd.convert(sp.random_array((9, 9), density=0.5, format="csr", rng=0), layout)
    kernel = sd.kernel(times_vector)
    (unit,) = kernel.lower(matrix, np.ones(9)).units
    every = (operand for s in statements(unit.kernel.body) for operand in operands(s))
    parts = [part for operand in every for part in expressions(operand)]
    marked = {p.array: p.natural for p in parts if isinstance(p, Load) and p.type == "int"}
    assert marked == natural
    np.testing.assert_allclose(kernel(matrix, np.ones(9)), matrix.to_numpy().sum(axis=1))
