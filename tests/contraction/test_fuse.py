"""Elementwise intermediates are computed where they are read, with the same results."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, interpreting, remembering_proofs, store

import sparsedsl as sd


def norm(A, B):
    i, j = sd.indices("i j")
    T, s = sd.output(), sd.output()
    T[i, j] = A[i, j] * B[i, j]
    s[()] = T[i, j] * T[i, j]
    return s


def rows(A, B):
    i, j = sd.indices("i j")
    T, y = sd.output(), sd.output()
    T[i, j] = sd.tanh(A[i, j]) * 2
    y[j] = T[i, j] * B[i, j]
    return y


def chain(A, B):
    i, j = sd.indices("i j")
    T, U, C = sd.output(), sd.output(), sd.output()
    T[i, j] = A[i, j] * 3
    U[i, j] = T[i, j] * B[i, j]
    C[j, i] = sd.abs(U[i, j])
    return C


def renamed(A, B):
    i, j, p, q = sd.indices("i j p q")
    T, C = sd.output(), sd.output()
    T[i, j] = A[i, j] - 2 * A[i, j]
    C[p, q] = T[p, q] * B[p, q]
    return C


def twice_read(A, B):
    i, j = sd.indices("i j")
    T, y, C = sd.output(), sd.output(), sd.output()
    T[i, j] = A[i, j] * B[i, j]
    y[i] = T[i, j]
    C[i, j] = T[i, j] * y[i]
    return C


def returned(A, B):
    i, j = sd.indices("i j")
    T, C = sd.output(), sd.output()
    T[i, j] = A[i, j] * B[i, j]
    C[i, j] = T[i, j] * 2
    return T, C


def more_loops(A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, k] = sd.exp(A[i, k]) * A[i, k]
    C[i, j] = T[i, k] * B[j, k]
    return C


def diagonal(A, B):
    i, j, p = sd.indices("i j p")
    T, y = sd.output(), sd.output()
    T[i, j] = A[i, j] * B[i, j]
    y[p] = T[p, p]
    return y


def pattern(A, B):
    i, j = sd.indices("i j")
    T, C = sd.output(), sd.output()
    T[i, j] = A[i, j] * B[i, j]
    C[i, j] = sd.where(sd.pattern(T)[i, j], 1.0, 0.0)
    return C


def union(A, B):
    i, j = sd.indices("i j")
    T, C = sd.output(), sd.output()
    T[i, j] = A[i, j] + B[i, j]
    C[i, j] = T[i, j] * A[i, j]
    return C


def cast(A, B):
    i, j = sd.indices("i j")
    T, C = sd.output(dtype="float32"), sd.output()
    T[i, j] = A[i, j] / 3
    C[i, j] = T[i, j] * B[i, j]
    return C


FUSED = {norm: ("T",), rows: ("T",), chain: ("T", "U"), renamed: ("T",)}
APART = (twice_read, returned, more_loops, diagonal, pattern, union, cast)


@pytest.mark.parametrize("layouts", [("csr", "csr"), ("coo", "csc"), ("csr", "dense")])
@pytest.mark.parametrize("body", [*FUSED, *APART])
def test_results_are_the_same(body, layouts):
    rng = np.random.default_rng(0)
    truth, tensors = {}, {}
    for name, layout in zip("AB", layouts, strict=True):
        mask = rng.random((5, 5)) < 0.6
        truth[name] = np.where(mask, rng.integers(-3, 4, (5, 5)), 0).astype(float)
        tensors[name] = store(truth[name], mask, layout)
    special = sd.kernel(body).engine.specialise(list(tensors.values()))
    with interpreting(), remembering_proofs():
        check(special, tensors, truth, 1e-12)
        # the pattern of an intermediate is that of its layout, which values may change
        for bad in (np.inf, np.nan) if body is not pattern else ():
            tensors["B"].values.ravel()[:1] = bad
            truth["B"] = tensors["B"].to_numpy()
            with np.errstate(all="ignore"):
                check(special, {n: sd.asarray(t, copy=True) for n, t in tensors.items()}, truth)
    names = tuple(name for group in special.groups for name in group.fused)
    # with a plain array, a sum has one case: everywhere
    expected = ("T",) if body is union and "dense" in layouts else FUSED.get(body, ())
    assert names == expected


def test_the_explanation_tells():
    A = sp.eye_array(4, format="csr")
    text = sd.kernel(norm).explain(A, A)
    assert "fused: T computed here, not stored" in text
    assert text.count("output ") == 1
