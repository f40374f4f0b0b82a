"""Reductions of rows and columns."""

import sparsedsl as sd
from expressions.table import expression


@expression("sum_rows", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum(A[i, j], over=j)
    return y


@expression("sum_columns", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = sd.sum(A[i, j], over=i)
    return y


@expression("min_rows", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.min(A[i, j], over=j)
    return y


@expression("max_columns", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = sd.max(A[i, j], over=i)
    return y


@expression("prod_rows", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.prod(A[i, j], over=j)
    return y


@expression("any_rows", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.any(A[i, j] > 1, over=j)
    return y


@expression("all_rows", "A[ij]")
def _(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.all(A[i, j] < 2, over=j)
    return y
