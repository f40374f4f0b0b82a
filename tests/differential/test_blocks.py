"""Operands in blocks, slices and tables of different sizes meet in one expression."""

import itertools

import numpy as np
import pytest

import sparsedsl as sd

BLOCKS = {
    "bcsr(2, 3)": sd.layouts["bcsr"](2, 3),
    "bcsr(5, 4)": sd.layouts["bcsr"](5, 4),
    "bcsc(3, 2)": sd.layouts["bcsc"](3, 2),
    "csb(4)": sd.layouts["csb"](4),
    "hicoo(2)": sd.layouts["hicoo"](2),
    "sell(3)": sd.layouts["sell"](3),
    "hyb(1)": sd.layouts["hyb"](1),
}


def operand(seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((13, 11)) < 0.3, rng.integers(1, 9, (13, 11)), 0).astype(float)


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in itertools.combinations(BLOCKS, 2) if "bcsr" in pair[0] + pair[1]],
)
def test_sums_and_products(first, second):
    """No size divides the extents; results are in blocks of a third size, or in rows."""
    a, b = operand(1), operand(2)
    A, B = sd.convert(a, BLOCKS[first]), sd.convert(b, BLOCKS[second])
    assert (A.ndim, B.ndim) == (2, 2)
    out = sd.layouts["bcsr"](4, 3)
    total = sd.evaluate("C[i,j] = A[i,j] + B[i,j]", out=out, A=A, B=B)
    assert total.layout == out
    np.testing.assert_array_equal(total.to_numpy(), a + b)
    both = sd.evaluate("C[i,j] = A[i,j] * B[i,j]", out="csr", A=A, B=B)
    np.testing.assert_array_equal(both.to_numpy(), a * b)
    product = sd.evaluate("C[i,j] = A[i,k] * B[j,k]", out="csr", A=A, B=B)
    np.testing.assert_array_equal(product.to_numpy(), a @ b.T)
