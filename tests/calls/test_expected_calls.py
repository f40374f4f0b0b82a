"""Plans for operands that come again: copies that are kept are charged once for all calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls.choices import Choices
from sparsedsl.iteration.plan import copying
from sparsedsl.options import Options

N = 4000


@sd.kernel
def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def sampled(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[j, k]
    return C


@sd.kernel
def total(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


def matrix(seed, n=N, density=0.005):
    return sp.random_array((n, n), density=density, format="csr", rng=np.random.default_rng(seed))


def vector(seed):
    return sp.random_array((N,), density=0.01, format="coo", rng=np.random.default_rng(seed))


def copies(lowered):
    return [c.source for unit in lowered.units for c in unit.nest.conversions]


def test_a_copy_is_read_where_it_pays_for_the_calls_expected():
    A, x = matrix(0, density=0.02), vector(1)
    plain = product.lower(A, x)
    assert copies(plain) == []
    with sd.options(expected_calls=2):
        assert copies(product.lower(A, x)) == []
    with sd.options(expected_calls=10_000):
        kept = product.lower(A, x)
        assert copies(kept) == ["A"]
        assert kept.cost < 0.7 * plain.cost
        for _ in range(3):
            np.testing.assert_allclose(product(A, x), A @ x.toarray())
        A.data[:] *= 2.0
        np.testing.assert_allclose(product(A, x), A @ x.toarray())
    assert copies(product.lower(A, x)) == []


def test_results_stay_with_more_operands():
    n = 300
    M, A, B = (matrix(seed, n, 0.03) for seed in range(3))
    with sd.options(expected_calls=100_000):
        found = sampled(M, A, B).toarray()
        np.testing.assert_allclose(total(A, B).toarray(), (A + B).toarray())
    np.testing.assert_allclose(found, M.multiply(A @ B.T).toarray())


def test_explanations_say_after_how_many_calls_a_copy_pays():
    text = product.explain(matrix(0, density=0.02), vector(1))
    assert "alternative loops j i, with a copy of A made once in about " in text
    assert "which pays after " in text


@pytest.mark.parametrize("calls", [1, 10, 1000])
def test_what_is_kept_is_charged_once(calls):
    """A copy of a sparse operand costs as many times less; plans of one call are as before."""
    with sd.options(expected_calls=10_000):
        unit = product.lower(matrix(0), vector(1)).units[0]
    request = replace(unit.planned[-1][0], calls=1)
    once = copying(request, unit.nest.conversions)
    assert copying(replace(request, calls=calls), unit.nest.conversions) == once / calls


def test_calls_are_counted_from_one():
    with pytest.raises(sd.PlanError, match="at least 1"):
        Options(expected_calls=0)
    assert Choices().settings(Options()).calls == 1
