"""Conversations and the window: what depends on an answer comes after it, in every order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.coe import POLICIES, Composition, Platform, Router, Trace, serve
from rdu.coe.admission import Admission
from rdu.errors import SpecError
from rdu.memory.tiers import Link, Tier

EXPERTS = 5


def platform(slots):
    """Room for so many experts of a byte; a copy takes 1 s, a run 2 s."""
    hbm, ddr = Tier("hbm", slots + 1, 100.0), Tier("ddr", 1000.0, 100.0)
    return Platform("small", hbm, ddr, Link("switch", 1.0), True, 1.0, ((1, 2.0),))


COMPOSITION = Composition.uniform(EXPERTS, 1.0, Router(weight_bytes=1, run_seconds=0.5))


@st.composite
def traces(draw):
    count = draw(st.integers(0, 25))
    numbers = st.lists(st.integers(0, EXPERTS - 1), min_size=count, max_size=count)
    experts = np.array([draw(numbers), draw(numbers)], int).T.reshape(count, 2)
    experts[np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool), 1] = -1
    talks = draw(st.lists(st.integers(-1, 3), min_size=count, max_size=count))
    trace = Trace(
        experts,
        batch=draw(st.integers(1, 5)),
        output_tokens=1,
        conversations=np.array(talks, int),
    )
    rate = draw(st.sampled_from([None, 0.1, 0.4, 3.0]))
    return trace if rate is None else trace.with_rate(rate, seed=draw(st.integers(0, 5)))


WINDOWS = st.sampled_from([None, 1, 3, 8, 100])


@settings(deadline=None, max_examples=60)
@given(trace=traces(), window=WINDOWS, data=st.data())
def test_batches_hold_every_request_once_after_what_it_needs(trace, window, data):
    admission = Admission(trace, window)
    now, served, before = 0.0, [], trace.predecessors()
    while not admission.empty:
        now = admission.next_arrival(now)
        waiting = set(range(len(trace))) - set(served)
        batch = list(admission.take(now, data.draw(st.sets(st.integers(0, EXPERTS - 1)))))
        assert 1 <= len(batch) <= trace.batch
        span = max(window or 0, trace.batch)
        for request in batch:
            assert before[request] == -1 or before[request] in served
            assert trace.arrivals is None or trace.arrivals[request] <= now
            assert sum(other < request for other in waiting) < span
            # None waits for ever: so many later ones have overtaken it at most.
            assert sum(other > request for other in served) < span + trace.batch
        served += batch
        now += data.draw(st.floats(0, 3))
    assert sorted(served) == list(range(len(trace)))


@settings(deadline=None, max_examples=80)
@given(
    trace=traces(),
    window=WINDOWS,
    slots=st.integers(1, 4),
    policy=st.sampled_from(list(POLICIES)),
    modes=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_answers_come_before_what_builds_on_them(trace, window, slots, policy, modes):
    report = serve(COMPOSITION, platform(slots), trace, policy, *modes, window=window)
    # A follow-up is asked when its predecessor is answered, then at least routed and run.
    runs = 0.5 + 2.0 * (trace.experts >= 0).sum(axis=1)
    assert (report.latencies >= runs - 1e-9).all()
    assert report.hits + report.switches == (trace.experts >= 0).sum()
    assert sum(report.time.values()) == pytest.approx(report.seconds)
    assert report.peak_hbm_bytes <= slots + 1
    talks = report.time["router"] / 0.5
    longest = max((list(trace.conversations).count(n) for n in range(4)), default=0)
    assert talks >= longest


@settings(deadline=None, max_examples=30)
@given(trace=traces(), window=st.sampled_from([None, 1]), group=st.booleans())
def test_without_conversations_a_short_window_is_the_order_of_arrival(trace, window, group):
    plain = replace(trace, conversations=None)
    alone = replace(trace, conversations=np.full(len(trace), -1))
    reports = [
        serve(COMPOSITION, platform(2), each, group_by_expert=group, window=span)
        for each, span in ((plain, None), (alone, window))
    ]
    np.testing.assert_array_equal(*(report.latencies for report in reports))


def test_a_window_brings_requests_of_one_expert_together():
    trace = Trace(np.array([0, 1] * 6), batch=3, output_tokens=1)
    assert serve(COMPOSITION, platform(1), trace).switches == 12
    grouped = serve(COMPOSITION, platform(1), trace, group_by_expert=True)
    wide = serve(COMPOSITION, platform(1), trace, window=12)
    assert wide.switches == 2 < grouped.switches
    talk = replace(trace, conversations=np.arange(12) % 2)
    # Each conversation keeps to its expert, and each answer is waited for.
    report = serve(COMPOSITION, platform(1), talk, window=12)
    assert report.time["router"] == pytest.approx(6 * 0.5)


def test_a_follow_up_is_timed_from_the_answer_it_builds_on():
    trace = Trace(
        np.array([0, 0]), np.array([0.0, 0.0]), batch=2, output_tokens=1, conversations=[7, 7]
    )
    report = serve(COMPOSITION, platform(1), trace)
    np.testing.assert_allclose(report.latencies, [3.5, 2.5])
    assert len(report.batch_latencies) == 2


@pytest.mark.parametrize("given", [[0], [0.5, 1.0], [[0, 1]], [-2, 0], None])
def test_conversations_that_make_no_sense(given):
    if given is None:
        with pytest.raises(SpecError, match="window"):
            serve(COMPOSITION, platform(1), Trace.distinct(2, 2), window=0)
        return
    with pytest.raises(SpecError, match="conversations"):
        Trace(np.array([0, 1]), conversations=np.array(given))
