"""Integer powers whose exponents are data: NumPy's result, or an error that says what to do."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import interpreting

import sparsedsl as sd


def power(A, B, **choices):
    return sd.evaluate("C[i,j] = A[i,j] ** B[i,j]", A=A, B=B, **choices)


def test_exponents_that_are_data():
    base, exponent = np.array([[2, 3], [-1, 0]]), np.array([[3, 0], [5, 2]])
    for A, B in ((base, exponent), (sp.csr_array(base), sp.csr_array(exponent))):
        found = power(A, B, out="dense")
        np.testing.assert_array_equal(found, base**exponent)
        with interpreting():
            np.testing.assert_array_equal(power(A, B, out="dense"), base**exponent)


def test_negative_exponents_are_refused_as_numpy_does():
    base, exponent = np.array([[2, 3], [1, 4]]), np.array([[3, 0], [-1, 2]])
    with pytest.raises(ValueError, match="negative integer powers"):
        base**exponent
    for A, B in ((base, exponent), (sp.csr_array(base), sp.csr_array(exponent))):
        for out in ("dense", "csr"):
            for _ in range(3):  # the third call is prepared
                with pytest.raises(sd.InvalidTensorError, match="found a negative one") as caught:
                    power(A, B, out=out)
                assert "floating" in caught.value.hint
        found = power(1.0 * A, B, out="dense")
        np.testing.assert_array_equal(found, (1.0 * base) ** exponent)
