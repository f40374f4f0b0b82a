"""Tuning measures a few plans, keeps the fastest, and changes no result."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls import specialisation, tuning
from sparsedsl.pipeline import stages
from sparsedsl.pipeline.groups import Settings


def gram(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[j, k]
    return C


def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    return [sp.random_array((60, 60), density=0.1, format="csr", rng=rng) for _ in range(2)]


@pytest.fixture
def times(monkeypatch):
    """Say that each kernel measured takes longer than the one before, without running it."""
    taken = []

    def timed(self, call, tensors, extents):
        taken.append(call)
        return None, 1e-6 * len(taken)

    monkeypatch.setattr(specialisation.Specialisation, "_timed", timed)
    monkeypatch.setattr(specialisation, "SETTLING", 0.0)
    return taken


def test_the_fastest_is_kept_and_results_stay(matrices):
    A, B = matrices
    with sd.options(tune=True, tune_budget_ms=3000):
        kernel = sd.kernel(product)
        for _ in range(3):
            np.testing.assert_array_equal(kernel(A, B).toarray(), A.multiply(B).toarray())
        text = kernel.explain(A, B)
    told = text.partition("measured to choose the plan")[2].splitlines()[1:]
    trials = [line for line in told if line.endswith(" ms")]
    assert any("as estimated" in line for line in trials)
    seconds = [float(line.split()[-2]) for line in trials]
    assert seconds == sorted(seconds)
    assert "measured to choose" not in sd.kernel(product).explain(A, B)


def test_nothing_is_measured_again(matrices, times):
    A, B = matrices
    with sd.options(tune=True):
        first = sd.kernel(gram)(A, B).toarray()
        measured = len(times)
        assert measured >= tuning.CALLS
        sd.kernel(gram)(A, B)  # another kernel of the same kind: from the cache
        assert len(times) == measured
    np.testing.assert_allclose(first, (A @ B.T).toarray(), rtol=1e-12)


def test_short_plans_run_until_their_branches_are_learned(matrices, times, monkeypatch):
    """A call takes a microsecond at first, one more each time: 45 of 10 calls."""
    A, B = matrices
    monkeypatch.setattr(specialisation, "SETTLING", 45e-6)
    with sd.options(tune=True, tune_budget_ms=0):
        sd.kernel(gram)(A.astype("float32"), B.astype("float32"))
    loading, *measured = range(1, len(times) + 1)
    assert loading == 1
    assert sum(measured[:-1]) < 45 <= sum(measured)


def test_without_a_budget_the_estimate_stands(matrices, times):
    A, B = matrices
    A = A.astype("float32")
    with sd.options(tune=True, tune_budget_ms=0):
        found = sd.kernel(gram)(A, B)
    assert len(times) == tuning.CALLS
    np.testing.assert_allclose(found.toarray(), (A @ B.T).toarray(), rtol=1e-5)


def test_every_candidate_plans_and_computes_the_same(matrices):
    A, B = matrices
    special = sd.kernel(gram).engine.specialise([sd.asarray(A), sd.asarray(B)])
    (group,) = special.groups
    found = list(tuning.candidates(group, Settings()))
    assert "sort" in {s.workspace for s, _ in found}
    assert any(s.order for s, _ in found)
    for settings, ratio in found:
        assert ratio > 0
        assert stages.compile_group(group, settings).source


def test_merges_are_measured_whatever_they_are_estimated_to_take():
    rejected = "; ".join(
        f"{name}: estimated {ratio}x the cost of table"
        for name, ratio in (("gallop", 2.0), ("binary", 3.0), ("linear", 4.0), ("merge", 11.5))
    )
    found = tuning._searches(f"hash: not proved: invariant; {rejected}")
    assert found == [("gallop", 2.0), ("binary", 3.0), ("merge", 11.5)]


def test_a_record_tells_the_settings():
    settings = Settings(order=("k", "i"), find=(("B", "gallop"),), workspace="sort")
    trial = tuning.Trial(settings.order, settings.find, settings.workspace, 2e-3)
    kept = tuning.record(settings, [trial])
    assert tuning.chosen(Settings(), kept) == settings
    assert kept["trials"] == ["loops k i, find B by gallop, workspace sort: 2 ms"]
