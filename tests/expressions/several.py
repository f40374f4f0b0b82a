"""Several operands or statements in one kernel, an operand in several places."""

import numpy as np

import sparsedsl as sd
from expressions.table import expression


@expression("triangles", "A[ij] B[jk] C[ik]")
def _(A, B, C):
    i, j, k = sd.indices("i j k")
    s = sd.output()
    s[()] = A[i, j] * B[j, k] * C[i, k]
    return s


@expression("chain", "A[ij] B[jk] C[kl]")
def _(A, B, C):
    i, j, k, m = sd.indices("i j k l")
    D = sd.output()
    D[i, m] = A[i, j] * B[j, k] * C[k, m]
    return D


@expression("chain_intermediate", "A[ij] B[jk] C[kl]")
def _(A, B, C):
    i, j, k, m = sd.indices("i j k l")
    T = sd.output("csr")
    D = sd.output()
    T[i, k] = A[i, j] * B[j, k]
    D[i, m] = T[i, k] * C[k, m]
    return D


@expression("two_results", "A[ij] x[j] y[i]")
def _(A, x, y):
    i, j = sd.indices("i j")
    p, q = sd.output(), sd.output()
    p[i] = A[i, j] * x[j]
    q[j] = A[i, j] * y[i]
    return p, q


@expression("accumulate", "A[ij] B[ij] x[j]")
def _(A, B, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    y[i] += B[i, j]
    return y


@expression("gram", "A[ki]")
def _(A):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[k, i] * A[k, j]
    return C


@expression("square", "A[ii]")
def _(A):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * A[k, j]
    return C


@expression("symmetrise", "A[ii]")
def _(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + A[j, i]
    return C


@expression("quadratic", "x[i] A[ij] y[j]")
def _(x, A, y):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = x[i] * A[i, j] * y[j]
    return s


@expression("min_plus", "A[ik] B[kj]")
def _(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output(fill_value=np.inf)
    C[i, j] = sd.min(A[i, k] + B[k, j], over=k)
    return C


@expression("strided", "A[+ii]")
def _(A):
    i = sd.index("i")
    y = sd.output()
    y[i] = A[2 * i]
    return y
