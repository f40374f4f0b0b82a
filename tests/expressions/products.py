"""Products of matrices, vectors and tensors."""

import sparsedsl as sd
from expressions.table import expression


@expression("spmv", "A[ij] x[j]")
def _(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@expression("spmspv", "A[ij] X[j]")
def _(A, X):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * X[j]
    return y


@expression("vecmat", "x[i] A[ij]")
def _(x, A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = x[i] * A[i, j]
    return y


@expression("product", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@expression("product3", "A[ij] B[ij] C[ij]")
def _(A, B, C):
    i, j = sd.indices("i j")
    D = sd.output()
    D[i, j] = A[i, j] * B[i, j] * C[i, j]
    return D


@expression("spgemm", "A[ik] B[kj]")
def _(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@expression("spmm", "A[ik] b[kj]")
def _(A, b):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * b[k, j]
    return C


@expression("densespmm", "b[ik] A[kj]")
def _(b, A):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = b[i, k] * A[k, j]
    return C


@expression("sddmm", "S[ij] a[ik] b[kj]")
def _(S, a, b):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * a[i, k] * b[k, j]
    return C


@expression("masked", "S[ij] A[ik] B[kj]")
def _(S, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * A[i, k] * B[k, j]
    return C


@expression("mttkrp", "A[ikl] b[kj] c[lj]")
def _(A, b, c):
    i, j, k, m = sd.indices("i j k l")
    D = sd.output()
    D[i, j] = A[i, k, m] * b[k, j] * c[m, j]
    return D


@expression("mttkrp_sparse", "A[ikl] B[kj] C[lj]")
def _(A, B, C):
    i, j, k, m = sd.indices("i j k l")
    D = sd.output()
    D[i, j] = A[i, k, m] * B[k, j] * C[m, j]
    return D


@expression("ttv", "A[ijk] x[k]")
def _(A, x):
    i, j, k = sd.indices("i j k")
    D = sd.output()
    D[i, j] = A[i, j, k] * x[k]
    return D


@expression("ttv_sparse", "A[ijk] X[k]")
def _(A, X):
    i, j, k = sd.indices("i j k")
    D = sd.output()
    D[i, j] = A[i, j, k] * X[k]
    return D


@expression("ttm", "A[ijk] B[kl]")
def _(A, B):
    i, j, k, m = sd.indices("i j k l")
    D = sd.output()
    D[i, j, m] = A[i, j, k] * B[k, m]
    return D


@expression("inner", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = A[i, j] * B[i, j]
    return s


@expression("inner3", "A[ijk] B[ijk]")
def _(A, B):
    i, j, k = sd.indices("i j k")
    s = sd.output()
    s[()] = A[i, j, k] * B[i, j, k]
    return s
