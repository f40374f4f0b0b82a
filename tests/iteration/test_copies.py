"""Copies of operands in other layouts: what each is made of."""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.contraction.nodes import Tensor
from sparsedsl.iteration.copies import of_operands
from sparsedsl.iteration.nodes import Conversion


def copy(name, source, order):
    layout = sd.layouts["csr" if order == (0, 1) else "csc"]
    return Conversion(Tensor(name, 2, "float64"), source, layout, order, thin=False, whole=False)


def test_a_copy_of_a_copy_is_made_of_the_operand():
    """Sizes, dtypes of indices and bytes are known of operands alone."""
    rows, turned = copy("B_01", "B", (0, 1)), copy("B_01_10", "B_01", (1, 0))
    other = copy("A_10", "A", (1, 0))
    found = of_operands((rows, other, turned))
    assert [(c.tensor.name, c.source) for c in found] == [
        ("B_01", "B"),
        ("A_10", "A"),
        ("B_01_10", "B"),
    ]
    assert [c.order for c in found] == [(0, 1), (1, 0), (1, 0)]


@sd.kernel
def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] * B[i, j]
    return C


def test_columns_are_copied_by_rows_rather_than_searched():
    """To convert a matrix takes less than to look each entry of another one up in it."""
    rng = np.random.default_rng(0)
    A, B = (
        sp.random_array((10000, 10000), density=0.004, format=f, rng=rng) for f in ("csc", "csr")
    )
    explained = product.lower(A, B).explain()
    assert "A_01: copy of A in mode order (0, 1), made once for the same values" in explained
    found, expected = product(A, B), A.multiply(B)
    assert abs(found - expected).max() == 0.0
    A.data[:] = 2.0
    assert abs(product(A, B) - A.multiply(B)).max() == 0.0
