"""Kernels of several shapes, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tracing import run, traced

from sparsedsl.contraction.interpret import interpret
from sparsedsl.contraction.text import program_text
from sparsedsl.frontend import functions as sd
from sparsedsl.frontend.arguments import ArgumentInfo, pattern
from sparsedsl.frontend.outputs import output
from sparsedsl.frontend.surface import indices
from sparsedsl.frontend.trace import trace

RNG = np.random.default_rng(0)
S = np.where(RNG.random((4, 5)) < 0.5, RNG.normal(size=(4, 5)), 0)
A, B, W = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 5)), RNG.normal(size=(5, 5))
x, y = RNG.normal(size=5), RNG.normal(size=4)
i, j, k, l = indices("i j k l")  # noqa: E741


def test_sampled_product():
    def sddmm(S, A, B):
        C = output("csr")
        C[i, j] = S[i, j] * A[i, k] * B[k, j]
        return C

    found = traced(sddmm, S, A, B)
    assert program_text(found.program) == "C[i, j] = sum(k, S[i, j] * A[i, k] * B[k, j])"
    assert found.layouts == {"C": "csr"}
    assert not found.result_is_tuple
    assert not found.shape_dependent
    np.testing.assert_allclose(run(sddmm, S, A, B), S * (A @ B))


def test_each_term_sums_its_own_indices():
    def kernel(S, A, B):
        C = output()
        C[i, j] = S[i, j] + A[i, k] * B[k, j]
        return C

    np.testing.assert_allclose(run(kernel, S, A, B), S + A @ B)


def test_several_results_accumulation_and_scalars():
    def kernel(S, alpha, x):
        rows, total, kept = output(), output(), output(fill_value=1)
        rows[i] = alpha * S[i, j] * x[j]
        rows[i] += 2 * S[i, 0]
        rows[i] -= S[i, 1]
        total[()] = rows[i] * rows[i]
        kept[i] += rows[i]
        return rows, total, kept

    rows, total, kept = run(kernel, S, np.array(0.5), x)
    expected = 0.5 * S @ x + 2 * S[:, 0] - S[:, 1]
    np.testing.assert_allclose(rows, expected)
    np.testing.assert_allclose(total, expected @ expected)
    np.testing.assert_allclose(kept, 1 + expected)


def test_names_of_outputs_are_those_of_variables():
    def kernel(S):
        many = [output(), output()]
        for made in many:
            made[i] = S[i, j]
        S2 = output()
        S2[j] = S[i, j]
        return (*many, S2)

    assert traced(kernel, S).program.results == ("made", "made_2", "S2")


def test_explicit_reductions():
    def kernel(S, W):
        least, most, some, every, times = (output() for _ in range(5))
        least[i] = sd.min(S[i, j] + W[j, k], over=(j, k))
        most[i] = sd.max(S[i, j], over=j)
        some[i] = sd.any(S[i, j] > 1, over="j")
        every[i] = sd.all(S[i, j] > -9, over=j)
        times[i] = sd.prod(S[i, j] + 2, over=j)
        return least, most, some, every, times

    least, most, some, every, times = run(kernel, S, W)
    np.testing.assert_allclose(least, (S[:, :, None] + W).min((1, 2)))
    np.testing.assert_allclose(most, S.max(1))
    np.testing.assert_array_equal(some, (S > 1).any(1))
    np.testing.assert_array_equal(every, (S > -9).all(1))
    np.testing.assert_allclose(times, (S + 2).prod(1))
    assert some.dtype == bool


def test_predicates_masks_and_patterns():
    stored = RNG.random(S.shape) < 0.5

    def kernel(S):
        C = output()
        C[i, j] = sd.where((i < j) & pattern(S)[i, j], S[i, j], -1) * (2 * i != j)
        return C

    rows, columns = np.indices(S.shape)
    expected = np.where((rows < columns) & stored, S, -1) * (2 * rows != columns)
    np.testing.assert_allclose(run(kernel, S, patterns={"S": stored}), expected)


def test_affine_diagonal_and_constant_subscripts():
    def kernel(x, w, W):
        conv, diagonal, column = output(), output(), output()
        conv[i] = x[i + k] * w[k]
        diagonal[j] = W[j, j] + W[j, 3] + x[4 - j]
        column[()] = W[2, 3]
        return conv, diagonal, column

    w = x[:2]
    conv, diagonal, column = run(kernel, x, w, W)
    np.testing.assert_allclose(conv, np.convolve(x, w[::-1], "valid"))
    np.testing.assert_allclose(diagonal, np.diag(W) + W[:, 3] + x[::-1])
    assert column == W[2, 3]


def test_numpy_functions_and_scalars():
    def kernel(x):
        C = output()
        C[j] = np.exp(x[j]) + np.float64(2) * np.abs(x[j]) - np.minimum(x[j], 0.5) + math.pi
        return C

    expected = np.exp(x) + 2 * abs(x) - np.minimum(x, 0.5) + math.pi
    np.testing.assert_allclose(run(kernel, x), expected)


@pytest.mark.parametrize(
    ("dtype", "number", "result"),
    [
        ("float32", 2, "float32"),
        ("float32", 2.5, "float32"),
        ("float32", 2j, "complex64"),
        ("int32", 2, "int32"),
        ("int32", 2.5, "float64"),
        ("bool", 2, "int64"),
        ("float32", np.float64(2), "float64"),
        ("uint8", np.int64(300), "int64"),
    ],
)
def test_numbers_take_the_dtype_of_their_company(dtype, number, result):
    def kernel(a):
        C = output()
        C[i] = a[i] * number
        return C

    found = trace(kernel, [ArgumentInfo((3,), dtype)]).program.outputs[0]
    assert found.dtype == result == (np.ones(3, dtype) * number).dtype


def test_accumulation_widens_an_inferred_dtype():
    def kernel(n, x):
        C = output()
        C[j] = n[j]
        C[j] += x[j]
        return C

    found = run(kernel, np.arange(5), x)
    np.testing.assert_allclose(found, np.arange(5) + x)
    assert found.dtype == np.float64


def test_requested_dtype_and_fill():
    def kernel(x):
        C = output(dtype=np.float32, fill_value=np.inf)
        C[j] = x[j]
        return C

    assert traced(kernel, x).program.outputs[0].dtype == "float32"
    assert traced(kernel, x).program.outputs[0].fill == math.inf


def test_reading_a_shape_is_noticed():
    def kernel(x):
        C = output()
        C[()] = x[j] / x.shape[0]
        return C

    assert traced(kernel, x).shape_dependent
    np.testing.assert_allclose(run(kernel, x), x.mean())


def test_what_an_argument_shows():
    seen = []

    def kernel(a):
        seen.append((a.ndim, a.dtype, a.fill_value))
        C = output()
        C[i] = a[i]
        return C

    assert not trace(kernel, [ArgumentInfo((3,), "float32", 2.0)]).shape_dependent
    assert seen == [(1, np.dtype("float32"), 2.0)]


def test_defaults_are_constants():
    def kernel(x, scale=3.0):
        C = output()
        C[j] = scale * x[j]
        return C

    np.testing.assert_allclose(run(kernel, x), 3 * x)


def test_numpy_where_chooses():
    def kernel(x):
        C = output()
        C[i] = np.where(x[i] > 0, x[i], 2 * x[i])
        return C

    np.testing.assert_allclose(run(kernel, x), np.where(x > 0, x, 2 * x))


def test_a_shape_gives_extents_to_indices_on_the_left():
    def kernel(x):
        C = output(shape=(None, 3))
        C[i, j] = x[i] * (j < 2)
        return C

    np.testing.assert_allclose(run(kernel, x), np.outer(x, [1, 1, 0]))


def test_comparing_with_a_number_that_does_not_fit():
    def kernel(a):
        C = output()
        C[i] = a[i] > -1
        return C

    found = interpret(trace(kernel, [ArgumentInfo((3,), "uint8")]).program, {"a": [0, 1, 2]})
    assert found["C"].all()
