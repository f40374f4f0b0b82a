"""Products of matrices whose rows come in runs of one pattern, as several unknowns a point give."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import interpreting

import sparsedsl as sd
from sparsedsl.codegen import processor


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@sd.kernel
def scaled(A, B, x):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = A[i, k] * x[k] * B[k, j]
    return C


def runs(rng, rows, columns, full, dtype, index, unknowns):
    """Rows in runs of as many as there are unknowns at a point, the last run perhaps cut short."""
    patterns: list[np.ndarray] = []
    while len(patterns) < rows:
        pattern = np.flatnonzero(rng.random(columns) < full)
        patterns += [pattern] * int(rng.choice(unknowns))
    patterns = patterns[:rows]
    indptr = np.concatenate(([0], np.cumsum([len(p) for p in patterns]))).astype(index)
    indices = np.concatenate(patterns).astype(index)
    # eighths, of which sums are exact: every order and every contraction has the same bits
    values = (rng.integers(-4, 5, len(indices)) / 8).astype(dtype)
    found = sp.csr_array((values, indices, indptr), shape=(rows, columns))
    assert found.indices.dtype == index
    return found


def operands(rng, *, dtype="float64", index="int32", unknowns=(3,), full=0.05):
    """Two factors; the second one's rows have about so ``full`` a part of all columns."""
    kinds = dtype, index, unknowns
    return runs(rng, 121, 200, 0.15, *kinds), runs(rng, 200, 1099, full, *kinds)


def arrays_of(result):
    return result.indptr, result.indices, result.data


def check(result, A, B):
    expected = (A @ B).toarray()
    rows = np.repeat(np.arange(result.shape[0]), np.diff(result.indptr))
    np.testing.assert_array_equal(result.indices, np.nonzero(expected)[1])
    np.testing.assert_array_equal(rows, np.nonzero(expected)[0])
    np.testing.assert_array_equal(result.data, expected[expected != 0])


@pytest.mark.skipif(not processor.has_masks(), reason="needs instructions with masks")
def test_a_kernel_for_rows_that_are_alike_and_one_for_others():
    rng = np.random.default_rng(0)
    alike, B = operands(rng)
    other = sp.random_array(alike.shape, density=0.15, rng=0).tocsr()
    sources = [product.lower(A, B).source for A in (alike, other)]
    assert ["part_apart" in source for source in sources] == [True, False]
    for A in (alike, other):
        np.testing.assert_allclose(product(A, B).toarray(), (A @ B).toarray())


@pytest.mark.parametrize("unknowns", [(3,), (2, 4), (1, 2, 3, 7, 9)])
@pytest.mark.parametrize(
    ("dtype", "index"),
    [("float64", "int32"), ("float64", "int64"), ("float32", "int32"), ("int64", "int32")],
)
def test_sums_that_cancel_are_left_out_row_by_row(dtype, index, unknowns):
    rng = np.random.default_rng(len(unknowns))
    A, B = operands(rng, dtype=dtype, index=index, unknowns=unknowns)
    if dtype == "int64":
        A.data[:], B.data[:] = (rng.integers(-4, 5, x.nnz) for x in (A, B))
    assert (A.data == 0).any()
    for _ in range(2):  # the second time it is known how many there are
        check(product(A, B), A, B)


@pytest.mark.parametrize("unknowns", [(3,), (1, 2, 5)])
def test_factors_of_rows_that_are_taken_together_are_their_own(unknowns):
    rng = np.random.default_rng(3)
    A, B = operands(rng, unknowns=unknowns)
    x = rng.integers(1, 9, A.shape[1]).astype(float)
    source = scaled.lower(A, B, x).source
    assert "part_apart" in source or not processor.has_masks()
    expected = A.toarray() * x @ B.toarray()
    for threads in (1, 2):
        with sd.options(threads=threads, parallel_threshold=0):
            np.testing.assert_array_equal(scaled(A, B, x).toarray(), expected)


def test_the_last_entries_have_no_room_behind_them():
    """Seen by the interpreter, which refuses what leaves an array."""
    rng = np.random.default_rng(5)
    A, B = operands(rng, unknowns=(2, 3), full=0.01)
    A.data[:], B.data[:] = 1, 1
    assert "part_apart" in product.lower(A, B).source or not processor.has_masks()
    with interpreting():
        for _ in range(2):
            check(product(A, B), A, B)


@pytest.mark.parametrize("unknowns", [(3,), (1, 5)])
def test_threads_cut_runs_anywhere_and_give_the_same_bits(unknowns):
    rng = np.random.default_rng(7)
    A, B = operands(rng, unknowns=unknowns)
    A.data[:], B.data[:] = rng.standard_normal(A.nnz), rng.standard_normal(B.nnz)
    found = []
    for threads in (1, 2, 3):
        with sd.options(threads=threads, parallel_threshold=0):
            found += [arrays_of(product(A, B)) for _ in range(2)]
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            assert one.tobytes() == same.tobytes()
    np.testing.assert_allclose(
        sp.csr_array(found[0][::-1], (A.shape[0], B.shape[1])).toarray(), (A @ B).toarray()
    )


def test_explanations_tell_of_a_lane_for_each_row():
    rng = np.random.default_rng(1)
    A, B = operands(rng)
    text = str(product.explain(A, B))
    assert "ranges often have the coordinates of the one before" in text
    assert ("float64[(n_j + 64) * 4] (37.2 kB)" in text) == processor.has_masks()
