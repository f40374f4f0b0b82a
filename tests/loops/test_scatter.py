"""Kernels whose innermost loops add to elements that index arrays tell."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.loops.scatter import only_scatters


def by_rows(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def by_columns(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = A[i, j] * x[i]
    return y


def scaled(A, x):
    i, j = sd.indices("i j")
    C = sd.output("dense")
    C[i, j] = A[i, j] * x[j]
    return C


@pytest.mark.parametrize(
    ("body", "layout", "found"),
    [
        (by_rows, "csc", True),
        (by_columns, "csr", True),
        (by_rows, "csr", False),
        (by_rows, "dense", False),
        (scaled, "csc", False),
    ],
)
def test_loops_that_add_where_indices_tell(body, layout, found):
    """Not sums in a register, those along rows of a dense matrix, or elements stored once."""
    matrix = sp.random_array((9, 9), density=0.5, format="csr", rng=0)
    given = sd.convert(matrix, layout), np.arange(9.0)
    (unit,) = sd.kernel(body).lower(*given).units
    assert only_scatters(unit.kernel) == found
    wanted = {by_rows: matrix @ given[1], by_columns: matrix.T @ given[1]}
    np.testing.assert_allclose(
        sd.kernel(body)(*given), wanted.get(body, matrix.toarray() * given[1])
    )
