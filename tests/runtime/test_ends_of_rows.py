"""Where rows end is stored by the kernel alone where it visits every row, however they are made."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.runtime import execute

KERNELS = {
    "sum": "C[i,j] = A[i,j] + B[i,j]",
    "product": "C[i,j] = A[i,j] * B[i,j]",
    "matrix product": "C[i,j] = A[i,k] * B[k,j]",
    "masked": "C[i,j] = A[i,j] * B[i,k] * A[k,j]",
}


@pytest.mark.parametrize("statement", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("threads", [1, 2])
def test_no_end_of_a_row_is_left_as_memory_was(monkeypatch, statement, form, threads):
    made = []

    def garbage(length, dtype):
        array = np.full(length, 77, dtype)
        array[0] = 0
        made.append(array)
        return array

    monkeypatch.setattr(execute, "LONG", 0)
    monkeypatch.setattr(execute, "_from_zero", garbage)
    rng = np.random.default_rng(1)
    A, B = (sp.random_array((24, 24), density=0.08, rng=rng).asformat(form) for _ in range(2))
    a, b = A.toarray(), B.toarray()
    a[5:9] = 0.0
    A = sp.csr_array(a).asformat(form)
    expected = {
        KERNELS["sum"]: a + b,
        KERNELS["product"]: a * b,
        KERNELS["matrix product"]: a @ b,
        KERNELS["masked"]: a * (b @ a),
    }[statement]
    with sd.options(threads=threads, parallel_threshold=0):
        found = sd.evaluate(statement, A=A, B=B)
    np.testing.assert_allclose(found.toarray(), expected)
    assert made or form != "csr"
