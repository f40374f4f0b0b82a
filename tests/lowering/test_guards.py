"""A coordinate that follows from another one is guarded before anything is stored at it."""

import numpy as np
import pytest
from levels import check, interpreting, store

import sparsedsl as sd

OFFSETS = np.array([[2.0, 0.0, 0.0], [-1.0, -1.0, 2.0]])


@pytest.mark.parametrize("out", ["dense", "csf"])
def test_sum_beyond_a_guard(out):
    # the row k - offset of a diagonal lies above the matrix at its left end
    dense = {"A": OFFSETS, "B": np.zeros(3), "C": np.zeros((2, 2))}
    layouts = {"A": "dia", "B": "csf", "C": "csr"}
    tensors = {n: store(x, x != 0, layouts[n]) for n, x in dense.items()}

    @sd.kernel(out=out)
    def sums(A, B, C):
        i, j, k = sd.indices("i j k")
        R = sd.output()
        R[i] = sd.sum(1 * (A[i, k] + B[k] + C[i, j]), over=(j, k))
        return R

    with interpreting():
        check(sums.engine.specialise(list(tensors.values())), tensors, dense)
