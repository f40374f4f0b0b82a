"""Kernels and matrices that several tests of calls use."""

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def spgemm(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def matrix(seed=0, shape=(6, 5)):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 5, shape) * (rng.random(shape) < 0.6)
    return sp.csr_array(dense.astype(float))


def dense_product(A, x):
    """What NumPy gives: implicit zeros meet every value of ``x``."""
    with np.errstate(invalid="ignore"):
        return A.toarray() @ x


def unsorted(A):
    """The same matrix, the entries of each row backwards."""
    parts = [np.arange(a, b)[::-1] for a, b in zip(A.indptr, A.indptr[1:], strict=False)]
    order = np.concatenate(parts)
    return type(A)((A.data[order], A.indices[order], A.indptr.copy()), shape=A.shape)
