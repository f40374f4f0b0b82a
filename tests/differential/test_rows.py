"""Intermediates of which a row at a time is held: the same results, and where they are not."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, interpreting, remembering_proofs, store

import sparsedsl as sd

N = 5


def sampled(S, A, B):
    i, j, k, m = sd.indices("i j k m")
    E, C = sd.output(), sd.output()
    E[i, j] = S[i, j] * A[i, k] * B[k, j]
    C[i, m] = E[i, j] * B[j, m]
    return C


def product_of_three(S, A, B):
    i, j, k, m = sd.indices("i j k m")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    C[i, m] = T[i, j] * B[j, m]
    return C


def other_names(S, A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    C[j, k] = T[j, i] * B[i, k] * S[j, k]
    return C


def several(S, A, B):
    i, j, k = sd.indices("i j k")
    T, y, s = sd.output(), sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    y[i] = T[i, j] * B[i, j]
    s[()] = T[i, j] * y[i]
    return s


def union(S, A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, j] + A[i, j]
    C[i, k] = T[i, j] * B[j, k]
    return C


def searched(S, A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    C[i, j] = T[i, j] * B[i, j]
    return C


def shortest(S, A, B):
    i, j, k, m = sd.indices("i j k m")
    T, C = sd.output(fill_value=np.inf), sd.output(fill_value=np.inf)
    T[i, j] = sd.min(sd.where(sd.pattern(S)[i, k], S[i, k], np.inf) + A[k, j], over=k)
    C[i, m] = sd.min(T[i, j] + B[j, m], over=j)
    return C


def residual(S, A, B):
    i, j = sd.indices("i j")
    y, s = sd.output(), sd.output()
    y[i] = S[i, j] * A[i, j]
    s[()] = (1 - y[i]) * (1 - y[i])
    return s


def turned(S, A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    C[i, k] = T[j, i] * B[j, k]
    return C


def both_rows(S, A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    C[i, k] = T[i, j] * T[j, k]
    return C


def returned(S, A, B):
    i, j, k = sd.indices("i j k")
    T, C = sd.output(), sd.output()
    T[i, j] = S[i, k] * A[k, j]
    C[i, k] = T[i, j] * B[j, k]
    return T, C


BY_ROWS = {
    sampled: ("E",),
    product_of_three: ("T",),
    other_names: ("T",),
    several: ("T", "y"),
    union: ("T",),
    searched: ("T",),
    residual: ("y",),
}
STORED = (turned, both_rows, returned)
LAYOUTS = (("csr", "csr", "csr"), ("csr", "csr", "dense"))
MORE = (("coo", "csc", "dense"),)


def operands(layouts, value=None):
    rng = np.random.default_rng(1)
    truth, tensors = {}, {}
    for name, layout in zip("SAB", layouts, strict=True):
        mask = rng.random((N, N)) < (1 if layout == "dense" else 0.5)
        truth[name] = np.where(mask, rng.integers(-3, 4, (N, N)), 0).astype(float)
        if value is not None and name != "S":
            at = tuple(np.argwhere(mask)[len(np.argwhere(mask)) // 2])
            truth[name][at] = value
        tensors[name] = store(truth[name], mask, layout)
    return tensors, truth


def held(special):
    return tuple(before.output.name for group in special.groups for before in group.before)


@pytest.mark.parametrize("layouts", [*LAYOUTS, *MORE], ids="-".join)
@pytest.mark.parametrize("body", [*BY_ROWS, *STORED, shortest])
def test_results_are_the_same(body, layouts):
    tensors, truth = operands(layouts)
    with sd.options(threads=1), interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)
        if body in STORED:
            assert not held(special)
        elif body in BY_ROWS and layouts in LAYOUTS:
            assert held(special) == BY_ROWS[body]


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@pytest.mark.parametrize("body", [sampled, product_of_three, several, union])
def test_values_that_are_not_finite(body, layouts, value):
    tensors, truth = operands(layouts, value)
    with (
        np.errstate(all="ignore"),
        sd.options(threads=1),
        interpreting(),
        remembering_proofs(),
    ):
        check(sd.kernel(body).engine.specialise(list(tensors.values())), tensors, truth)


def test_compiled_with_more_entries_than_there_was_room_for():
    """A sparse result is given more room when it asks; no search or mark stays between rows."""
    rng = np.random.default_rng(2)
    S, A, B = (sp.random_array((90, 90), density=0.2, format="csr", rng=rng) for _ in range(3))
    with sd.options(threads=1):
        for body, expected in (
            (sampled, S.multiply(A @ B) @ B),
            (product_of_three, S @ A @ B),
        ):
            kernel = sd.kernel(body)
            assert len(kernel.lower(S, A, B).units) == 1
            np.testing.assert_allclose(kernel(S, A, B).toarray(), expected.toarray(), rtol=1e-12)


def test_threads_share_the_rows():
    rng = np.random.default_rng(3)
    S = sp.random_array((3000, 3000), density=0.01, format="csr", rng=rng)
    A, B = rng.random((3000, 4)), rng.random((4, 3000))

    @sd.kernel(parallel=True)
    def fused(S, A, B, Z):
        i, j, k, m = sd.indices("i j k m")
        E, C = sd.output(), sd.output()
        E[i, j] = S[i, j] * A[i, k] * B[k, j]
        C[i, m] = E[i, j] * Z[j, m]
        return C

    with sd.options(threads=2):
        found = fused(S, A, B, A)
        assert len(fused.lower(S, A, B, A).units) == 1
    np.testing.assert_allclose(found, (S.multiply(A @ B)) @ A, rtol=1e-12)


def test_what_crowds_the_cache_is_stored():
    """Both parts read a large operand at random: each would push out what the other reads."""
    S = sd.ShapeOf((10**5, 10**5), "float64", nnz=10**6)
    X = sd.ShapeOf((10**5, 64), "float64")

    @sd.kernel
    def different(S, X, Y, Z):
        i, j, k, m = sd.indices("i j k m")
        E, C = sd.output(), sd.output()
        E[i, j] = S[i, j] * X[i, k] * Y[j, k]
        C[i, m] = E[i, j] * Z[j, m]
        return C

    @sd.kernel
    def same(S, X, Y):
        i, j, k, m = sd.indices("i j k m")
        E, C = sd.output(), sd.output()
        E[i, j] = S[i, j] * X[i, k] * Y[j, k]
        C[i, m] = E[i, j] * Y[j, m]
        return C

    with remembering_proofs():
        assert len(different.lower(S, X, X, X).units) == 2
        assert len(same.lower(S, X, X).units) == 1


def test_the_explanation_tells():
    tensors, _ = operands(("csr", "csr", "dense"))
    text = sd.kernel(sampled).explain(*tensors.values())
    assert "a row at a time, not stored: E" in text
    assert "in each turn of the outermost loop, a row of E:" in text
    assert text.count("\noutput ") == 1
