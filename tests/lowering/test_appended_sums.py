"""Sums that are appended: behind a branch where all of an extent is summed, zeros left out."""

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.loops.nodes import If, Store
from sparsedsl.loops.walk import statements


@sd.kernel
def of_rows(S, P, Q):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = S[i, j] * P[i, k] * Q[j, k]
    return C


@sd.kernel
def of_stored(S, P, Q):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = S[i, j] * P[i, k] * Q[k, j]
    return C


def _operands(columns):
    rng = np.random.default_rng(columns)
    S = (rng.random((9, 11)) < 0.5) * rng.integers(1, 4, (9, 11)).astype(float)
    P, Q = (rng.integers(-1, 2, (rows, columns)).astype(float) for rows in (9, 11))
    P[4], Q[2] = 0, 0
    return S, P, Q


def _branches(kernel, *operands):
    """Whether entries are stored behind a comparison of their value."""
    (unit,) = kernel.lower(*operands).units
    return any(
        isinstance(s, Store) and s.array == "C_data"
        for branch in statements(unit.kernel.body)
        if isinstance(branch, If) and "C_value" in repr(branch.condition)
        for s in branch.then
    )


@pytest.mark.parametrize("columns", [1, 3, 16, 64])
def test_sums_over_an_extent_are_appended_unless_they_are_zero(columns):
    S, P, Q = _operands(columns)
    expected = S * (P @ Q.T)
    assert 0 < np.count_nonzero(expected) < np.count_nonzero(S)
    found = of_rows(sd.asarray(S, layout="csr"), P, Q)
    assert found.nnz == np.count_nonzero(expected)
    np.testing.assert_array_equal(found.to_numpy(), expected)


def test_only_those_are_behind_a_branch():
    S, P, Q = _operands(3)
    sparse, rows, columns = (sd.asarray(x, layout="csr") for x in (S, P, Q.T))
    assert _branches(of_rows, sparse, P, Q)
    assert not _branches(of_stored, sparse, rows, columns)
