"""Sums of operands that do not merge as they are stored are merges of copies, where that pays."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd

N, ROWS = 60_000, 4_000


def matrix(seed, rows=ROWS, entries=N):
    """A CSR matrix of whole numbers, some of them negative, so that sums are exact."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, rows, (2, entries)).astype(np.int32)
    values = rng.integers(-9, 10, entries).astype(float)
    return sp.coo_array((values, (*places,)), shape=(rows, rows)).tocsr()


def diagonals(rows=ROWS, count=15):
    rng = np.random.default_rng(3)
    values = rng.integers(-9, 10, (count, rows)).astype(float)
    return sp.dia_array((values, np.arange(count) - 7), shape=(rows, rows))


def blocks(rows=ROWS):
    spread = matrix(4, rows // 4, N // 16)
    return sp.kron(spread, np.arange(16.0).reshape(4, 4) - 8, format="bsr")


@sd.kernel
def added(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@sd.kernel
def larger(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.maximum(A[i, j], B[i, j])
    return C


@sd.kernel
def three(A, B, D):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = 2 * A[i, j] - B[i, j] + D[i, j]
    return C


def copies(lowered):
    found = [line.split() for line in lowered.explain().splitlines() if ": copy of " in line]
    return [words[words.index("of") + 1] for words in found]


def checked(kernel, expected, *operands):
    for threads in (1, 2):
        with sd.options(threads=threads):
            made = kernel(*operands)
            made.sort_indices()
            np.testing.assert_array_equal(made.toarray(), expected.toarray())
            assert made.has_canonical_format


@pytest.mark.parametrize("other", [diagonals, blocks], ids=["diagonals", "blocks"])
def test_an_operand_is_copied_in_rows_to_be_merged(other):
    A, B = other(), matrix(1)
    assert copies(added.lower(A, B)) == ["A"]
    assert copies(larger.lower(B, A)) == ["B"]
    checked(added, A.tocsr() + B, A, B)
    checked(larger, B.maximum(A.tocsr()), B, A)


def test_all_operands_that_do_not_merge_are_copied():
    A, B, D = diagonals(), matrix(1), blocks()
    assert copies(added.lower(A, D)) == ["A", "B"]
    assert sorted(copies(three.lower(A, B, D))) == ["A", "D"]
    checked(added, A.tocsr() + D.tocsr(), A, D)
    checked(three, 2 * A.tocsr() - B + D.tocsr(), A, B, D)


def test_a_copy_is_made_anew_when_values_change():
    A, B = diagonals(), matrix(1)
    checked(added, A.tocsr() + B, A, B)
    A.data[:] = 7.0
    checked(added, A.tocsr() + B, A, B)


def test_few_entries_are_gathered_as_they_are():
    A, B = diagonals(200, 3), matrix(1, 200, 900)
    assert copies(added.lower(A, B)) == []
    checked(added, A.tocsr() + B, A, B)


def test_operands_that_merge_are_not_copied():
    A, B = matrix(2), matrix(1)
    assert copies(added.lower(A, B)) == []
    checked(added, A + B, A, B)
