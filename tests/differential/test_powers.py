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


@pytest.mark.parametrize("odd", [0.0, -0.0, -2.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    ("statement", "function"),
    [
        ("C[i,j] = A[i,j] * x[j]**2", lambda A, x: A * x**2),
        ("C[i,j] = (A[i,j] * x[j])**3", lambda A, x: (A * x) ** 3),
        ("C[i,j] = (A[i,j] / (1 + x[j]**2))**2", lambda A, x: (A / (1 + x**2)) ** 2),
        ("C[i,j] = A[i,j]**2 * x[j]**3", lambda A, x: A**2 * x**3),
        ("y[i] = sum((A[i,j] * x[j])**2, over=j)", lambda A, x: ((A * x) ** 2).sum(axis=1)),
        ("C[i,j] = 1 / (A[i,j] * x[j])**2", lambda A, x: 1 / (A * x) ** 2),
        ("C[i,j] = 1 / (A[i,j] * x[j])**3", lambda A, x: 1 / (A * x) ** 3),
    ],
)
def test_powers_of_dense_factors_leave_results_sparse(statement, function, odd):
    A = np.array([[1.0, 0.0, -2.0, 0.0], [0.0, 0.0, 3.0, 0.5]])
    for x in (np.array([1.5, 2.0, -1.0, 3.0]), np.array([1.5, odd, -1.0, odd])):
        with np.errstate(all="ignore"):
            expected = function(A, x)
        found = sd.evaluate(statement, A=sp.csr_array(A), x=x)
        if np.isfinite(x).all():
            assert sp.issparse(found) == ("C[" in statement and "1 / (" not in statement)
        values = found.toarray() if sp.issparse(found) else found
        np.testing.assert_allclose(values, expected, rtol=1e-14)
