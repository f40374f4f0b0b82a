"""Indices with names that later stages use for themselves."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd


@pytest.mark.parametrize(
    "text",
    [
        "y[A_i] = A[A_i, A_p] * x[A_p]",
        "y[n_i] = A[n_i, A_indptr] * x[A_indptr]",
        "y[i] = A[i, i_begin] * x[i_begin]",
        "y[y_v] = A[y_v, x_v] * x[x_v]",
    ],
)
def test_any_index_name_gives_the_same_result(text):
    A = sp.random_array((5, 5), density=0.4, format="csr", rng=np.random.default_rng(0))
    x = np.arange(5.0)
    np.testing.assert_allclose(sd.evaluate(text, A=A, x=x), A @ x)
