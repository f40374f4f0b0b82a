"""Sums, differences, extremes and comparisons, element by element."""

import sparsedsl as sd
from expressions.table import expression


@expression("add", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@expression("subtract", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] - 2 * B[i, j]
    return C


@expression("add3", "A[ij] B[ij] C[ij]")
def _(A, B, C):
    i, j = sd.indices("i j")
    D = sd.output()
    D[i, j] = A[i, j] + B[i, j] + C[i, j]
    return D


@expression("add_vectors", "X[i] Y[i]")
def _(X, Y):
    i = sd.index("i")
    z = sd.output()
    z[i] = X[i] + Y[i]
    return z


@expression("add_transposed", "A[ij] B[ji]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[j, i]
    return C


@expression("add_dense", "A[ij] b[ij]")
def _(A, b):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + b[i, j]
    return C


@expression("times_sum", "A[ij] B[ij] C[ij]")
def _(A, B, C):
    i, j = sd.indices("i j")
    D = sd.output()
    D[i, j] = A[i, j] * (B[i, j] + C[i, j])
    return D


@expression("add_product", "A[ij] B[ik] C[kj]")
def _(A, B, C):
    i, j, k = sd.indices("i j k")
    D = sd.output()
    D[i, j] = A[i, j] + sd.sum(B[i, k] * C[k, j], over=k)
    return D


@expression("residual", "b[i] A[ij] x[j]")
def _(b, A, x):
    i, j = sd.indices("i j")
    r = sd.output()
    r[i] = b[i] - sd.sum(A[i, j] * x[j], over=j)
    return r


@expression("maximum", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.maximum(A[i, j], B[i, j])
    return C


@expression("minimum", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.minimum(A[i, j], B[i, j])
    return C


@expression("unequal", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] != B[i, j]
    return C


@expression("greater", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] > B[i, j]
    return C


@expression("equal", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] == B[i, j]
    return C
