"""Functions, choices, predicates of indices, patterns."""

import sparsedsl as sd
from expressions.table import expression


@expression("exp", "A[ij]", rtol=1e-12)
def _(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.exp(A[i, j])
    return C


@expression("expm1_product", "A[ij] B[ij]", rtol=1e-12)
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.expm1(A[i, j]) * sd.tanh(B[i, j])
    return C


@expression("relu_sum", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.relu(A[i, j] - B[i, j])
    return C


@expression("where", "A[ij] B[ij] C[ij]")
def _(A, B, C):
    i, j = sd.indices("i j")
    D = sd.output()
    D[i, j] = sd.where(A[i, j] > 0, B[i, j], C[i, j])
    return D


@expression("upper", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.where(i < j, A[i, j], 0.0)
    return C


@expression("strict_lower_sum", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum(A[i, j] * (j < i), over=j)
    return y


@expression("mask", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.where(sd.pattern(B)[i, j], A[i, j], 0.0)
    return C


@expression("complement", "A[ij] B[ij]")
def _(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.where(sd.pattern(B)[i, j], 0.0, A[i, j])
    return C


@expression("count", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum(sd.pattern(A)[i, j], over=j)
    return y
