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


@pytest.mark.parametrize("workspace", ["auto", "sort"])
def test_rows_beyond_the_result_are_not_closed(workspace):
    """The matrix ``C`` gives ``i`` fewer values than rows of ``A`` are stored from row 1 on."""

    @sd.kernel(out="csr", workspace=workspace)
    def shifted(A, C):
        i, j, k = sd.indices("i j k")
        R = sd.output()
        R[i, j] = sd.sum(A[i + 1, j, k] * C[j, i], over=k)
        return R

    rng = np.random.default_rng(5)
    for rows in (0, 1, 3):
        dense = rng.integers(1, 4, (6, 2, 2)).astype(float)
        other = rng.integers(1, 4, (2, rows)).astype(float)
        A = sd.convert(dense, "csf")
        wanted = dense[1 : rows + 1].sum(axis=2) * other.T
        with interpreting():
            special = shifted.engine.specialise([A, sd.asarray(other)])
            check(special, {"A": A, "C": sd.asarray(other)}, {"A": dense, "C": other})
        assert (shifted(A, other).to_numpy() == wanted).all()
