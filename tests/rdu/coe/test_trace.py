import numpy as np
import pytest

from rdu.coe import Trace
from rdu.errors import SpecError


def test_zipf_follows_its_law():
    trace = Trace.zipf(200_000, 10, exponent=1.0, seed=1)
    weights = 1 / np.arange(1, 11)
    np.testing.assert_allclose(trace.frequencies(10), weights / weights.sum(), atol=5e-3)


def test_bursts_have_the_mean_length_asked_for():
    trace = Trace.bursts(100_000, 1000, length=8, seed=2)
    changes = int((np.diff(trace.experts[:, 0]) != 0).sum())
    assert 100_000 / changes == pytest.approx(8, rel=0.05)


def test_poisson_arrivals_have_the_rate_asked_for():
    trace = Trace.distinct(50_000, 3).with_rate(20.0, seed=3)
    assert trace.arrivals is not None
    assert len(trace) / trace.arrivals[-1] == pytest.approx(20, rel=0.05)


def test_equal_seeds_give_equal_traces():
    np.testing.assert_array_equal(Trace.zipf(50, 9).experts, Trace.zipf(50, 9).experts)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Trace(np.array([-1])),
        lambda: Trace(np.array([0.5])),
        lambda: Trace(np.zeros((1, 1, 1), int)),
        lambda: Trace(np.array([[0, -1, 1]])),
        lambda: Trace(np.array([0, 1]), np.array([1.0, 0.0])),
        lambda: Trace(np.array([0, 1]), np.array([1.0])),
        lambda: Trace(np.array([0]), batch=0),
        lambda: Trace(np.array([0]), batch="8"),
        lambda: Trace(np.array([0]), output_tokens=None),
        lambda: Trace.distinct(-1, 2),
        lambda: Trace.distinct(1, 0),
        lambda: Trace.bursts(1, 1, length=0.5),
        lambda: Trace.distinct(1, 1).with_rate(0),
    ],
)
def test_senseless_traces_are_refused(make):
    with pytest.raises(SpecError):
        make()


def test_an_empty_trace_is_a_trace():
    assert len(Trace(np.array([], int))) == 0
    assert len(Trace.bursts(0, 3)) == 0
