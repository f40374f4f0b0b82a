"""Tensor expressions to test with, each with how to draw arguments for it.

An operand is written ``A[ik]``: a capital is a tensor whose layout varies, a small letter a
plain array.  A mode is an index's letter, or a digit ``d`` for an extent of at least ``d + 1``
or ``+`` and two letters for the extent of their sum: ``A[+ij]`` has ``n_i + n_j - 1``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from levels import store

import sparsedsl as sd


@dataclass(frozen=True)
class Expression:
    """``body(*operands)`` is traced; ``rtol`` is 0 where small integers make results exact."""

    body: Callable
    operands: tuple[tuple[str, str], ...]
    rtol: float = 0.0

    def sparse(self):
        """Names and ranks of the operands whose layout varies."""
        return [(n, len(modes(m))) for n, m in self.operands if n[0].isupper()]


def modes(text):
    return re.findall(r"\+..|.", text)


EXPRESSIONS: dict[str, Expression] = {}


def expression(name, operands, rtol=0.0):
    def put(body):
        named = re.findall(r"(\w+)\[([^\]]*)\]", operands)
        EXPRESSIONS[name] = Expression(body, tuple(named), rtol)
        return body

    return put


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


def extents_for(text, rng, least, most):
    """An extent for each index letter of an expression's operands."""
    return {c: int(rng.integers(least, most + 1)) for c in "ijkl"}


def shape_of(text, extents):
    found = []
    for mode in modes(text):
        if mode[0] == "+":
            found.append(max(extents[mode[1]] + extents[mode[2]] - 1, 0))
        elif mode.isdigit():
            found.append(int(mode) + 1 + extents["l"])
        else:
            found.append(extents[mode])
    return tuple(found)


def small_integers(rng, shape, dtype):
    """Values that add and multiply exactly, stored zeros among them."""
    values = rng.integers(0 if np.dtype(dtype).kind in "bu" else -3, 4, shape)
    if np.dtype(dtype).kind == "c":
        return (values + 1j * rng.integers(-3, 4, shape)).astype(dtype)
    return values.astype(dtype)


def draw(expr, layouts, rng, *, least=3, most=7, dtype="float64", fills=(), index_dtype=None):
    """Arguments and plain arrays for an expression: ``(tensors, truth)`` by name.

    ``layouts`` names a layout for each sparse operand; ``fills`` gives fill values by name.
    """
    extents = extents_for(expr, rng, least, most)
    tensors, truth = {}, {}
    for name, text in expr.operands:
        shape = shape_of(text, extents)
        dense = small_integers(rng, shape, dtype)
        if not name[0].isupper():
            tensors[name], truth[name] = sd.asarray(dense), dense
            continue
        layout = layouts[name]
        fill = dict(fills).get(name, 0)
        mask = structured(layout, shape, rng)
        dense = np.where(mask, dense, np.asarray(fill, dtype)).astype(dtype)
        name_of = getattr(layout, "name", layout)
        if name_of == "symmetric":
            square = min(shape)
            lower = np.tril(dense[:square, :square], -1)
            dense[:square, :square] = np.tril(dense[:square, :square]) + lower.T
        if name_of == "pattern":
            dense = np.where(mask, np.asarray(1, dtype), dense).astype(dtype)
        tensors[name] = store(dense, mask, layout, fill, index_dtype)
        truth[name] = dense
    return tensors, truth


def structured(layout, shape, rng):
    """Where to store entries: anywhere, or where a structured layout has a place for them."""
    mask = rng.random(shape) < rng.choice([0.15, 0.35, 0.6])
    name = getattr(layout, "name", layout)
    if name in ("triangular", "skyline", "symmetric"):
        mask = np.tril(mask)
    if name == "symmetric":
        square = min(shape)
        mask[square:] = False
        mask[:square, :square] |= mask[:square, :square].T
    if name == "banded":
        below, above = layout.block_sizes
        mask &= np.tril(np.ones(shape, bool), above) & ~np.tril(np.ones(shape, bool), -below - 1)
    if name == "nm":
        most, group = layout.block_sizes
        for start in range(0, shape[1], group):
            part = mask[:, start : start + group]
            part &= np.cumsum(part, axis=1) <= most
    return mask
