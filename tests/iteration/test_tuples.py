"""Lists of coordinates are searched along with loops where those go in their order."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd

ROWS, ENTRIES = 4_000, 60_000


@sd.kernel
def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


def matrix(seed, rows=ROWS, entries=ENTRIES):
    """A CSR matrix of whole numbers, so that products are exact."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, rows, (2, entries)).astype(np.int32)
    values = rng.integers(1, 10, entries).astype(float)
    return sp.coo_array((values, (*places,)), shape=(rows, rows)).tocsr()


def blocks():
    spread = matrix(4, ROWS // 4, ENTRIES // 16)
    return sp.kron(spread, np.arange(1.0, 17.0).reshape(4, 4), format="bsr")


def columns():
    made = matrix(5).tocsc()
    made.sort_indices()
    return made


@pytest.mark.parametrize("other", [blocks, columns], ids=["blocks", "columns"])
def test_products_with_coordinates_come_in_the_order_of_rows(other):
    A, B = matrix(1).tocoo(), other()
    expected = A.tocsr().multiply(B.tocsr())
    assert expected.nnz > 100
    for left, right in ((A, B), (B, A)):
        explanation = product.lower(left, right).explain()
        assert "append (order proved)" in explanation
        assert "by hash" not in explanation
        for threads in (1, 2):
            with sd.options(threads=threads):
                made = product(left, right)
            np.testing.assert_array_equal(made.toarray(), expected.toarray())


def test_diagonals_whose_offsets_come_in_no_order_are_searched_for_each_entry():
    rows = 20_000
    A = matrix(6, rows, 400_000).tocoo()
    values = np.random.default_rng(7).integers(1, 10, (5, rows)).astype(float)
    D = sp.dia_array((values, [1, -2, 0, 2, -1]), shape=(rows, rows))
    expected = A.tocsr().multiply(D.tocsr()).tocsr()
    assert expected.nnz > 50
    for left, right in ((A, D), (D, A)):
        assert "find in " + "AB"[left is A] + " by linear" in product.lower(left, right).explain()
        made = product(left, right)
        assert made.nnz == expected.nnz
        assert abs(made - expected).max() == 0
