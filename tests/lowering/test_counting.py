"""Entries of products counted over all rows at once: as many as over one row after another."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd


def matrix(rows, columns, per, seed=0):
    made = sp.random_array((rows, columns), density=per / columns, format="csr", rng=seed)
    made.indices, made.indptr = (x.astype(np.int32) for x in (made.indices, made.indptr))
    return made


def lowered(statement, **tensors):
    from sparsedsl.api import statement_engine
    from sparsedsl.calls.choices import Choices

    engine = statement_engine(statement, tuple(tensors), Choices())
    (unit,) = engine.lower(tuple(tensors.values())).units
    return unit


def counting(source):
    """Return the lines of a kernel before the room is compared."""
    return [line.strip() for line in source.partition("if C_room <= ")[0].splitlines()]


def test_rows_that_follow_each_other_are_counted_in_one_loop():
    A = matrix(20_000, 20_000, 2)
    source = lowered("C[i,j] = A[i,k] * B[k,j]", A=A, B=matrix(20_000, 20_000, 2, 1)).source
    loops = [line for line in counting(source) if line.startswith("for ")]
    assert loops == ["for A_p in range(i64(A_indptr[u64(i_begin)]), i64(A_indptr[u64(i_end)])):"]


def test_rows_that_are_asked_for_are_counted_one_by_one():
    A = matrix(20_000, 20_000, 2)
    B = matrix(20_000, 20_000, 2, 1)
    source = lowered("C[i,j] = M[i,j] * A[i,k] * B[k,j]", M=A, A=A, B=B).source
    loops = [line for line in counting(source) if line.startswith("for ")]
    assert loops[0] == "for i in range(i_begin, i_end):"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("rows", "inner", "per"), [(0, 3, 1), (1, 1, 1), (5000, 900, 0.5), (9, 0, 0)]
)
def test_products_are_those_of_scipy(rows, inner, per, threads):
    A = matrix(rows, inner, min(per, inner)) if inner else sp.csr_array((rows, 0))
    B = matrix(inner, 700, 3, 1) if inner else sp.csr_array((0, 700))
    with sd.options(threads=threads):
        found = sd.evaluate("C[i,j] = A[i,k] * B[k,j]", A=A, B=B)
    expected = A @ B
    assert found.nnz == expected.nnz
    if expected.nnz:
        assert abs(sp.csr_array(found) - expected).max() <= 1e-13
