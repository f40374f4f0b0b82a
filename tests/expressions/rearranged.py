"""Transposes, diagonals, sums of indices, scaled and outer products."""

import sparsedsl as sd
from expressions.table import expression


@expression("transpose", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[j, i] = A[i, j]
    return C


@expression("transpose3", "A[ijk]")
def _(A):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[k, i, j] = A[i, j, k]
    return C


@expression("scale3", "A[ijk]")
def _(A):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j, k] = 2 * A[i, j, k]
    return C


@expression("copy", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j]
    return C


@expression("diagonal", "A[ii]")
def _(A):
    i = sd.index("i")
    d = sd.output()
    d[i] = A[i, i]
    return d


@expression("trace", "A[ii]")
def _(A):
    i = sd.index("i")
    s = sd.output()
    s[()] = A[i, i]
    return s


@expression("column", "A[i3]")
def _(A):
    i = sd.index("i")
    d = sd.output()
    d[i] = A[i, 3]
    return d


@expression("row", "A[2j]")
def _(A):
    j = sd.index("j")
    d = sd.output()
    d[j] = A[2, j]
    return d


@expression("convolution", "A[+ij] x[j]")
def _(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i + j] * x[j]
    return y


@expression("convolution_sparse", "A[+ij] X[j]")
def _(A, X):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i + j] * X[j]
    return y


@expression("scale_rows", "d[i] A[ij] e[j]")
def _(d, A, e):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = d[i] * A[i, j] * e[j]
    return C


@expression("scale_rows_sparse", "D[i] A[ij]")
def _(D, A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = D[i] * A[i, j]
    return C


@expression("outer", "X[i] Y[j]")
def _(X, Y):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = X[i] * Y[j]
    return C


@expression("outer_sum", "X[i] Y[j]")
def _(X, Y):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = X[i] + Y[j]
    return C
