import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.coe import (
    POLICIES,
    Composition,
    Expert,
    Platform,
    Router,
    Trace,
    dgx_a100,
    serve,
    sn40l_node,
)
from rdu.errors import CapacityError, SpecError
from rdu.memory.tiers import Link, Tier


def small(slots=3, *, link=1.0, staged=True):
    """A platform with room for ``slots`` experts of one byte beside a router of one byte."""
    return Platform(
        name="small",
        hbm=Tier("hbm", slots + 1, 100.0),
        backing=Tier("ddr", 1000.0, 100.0),
        switch=Link("switch", link),
        staged=staged,
        reference_bytes=1.0,
        runs=((1, 2.0),),
    )


def equal(count, state=0.0, size=1.0):
    return Composition.uniform(
        count, size, Router(weight_bytes=1, run_seconds=0.5), state_bytes=state
    )


@st.composite
def cases(draw, state=False, steps=1):
    """A composition, a platform it fits and a trace."""
    count = draw(st.integers(1, 7))
    sizes = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    states = [draw(st.integers(0, 2)) if state else 0 for _ in sizes]
    experts = [
        Expert(f"e{n}", size, back)
        for n, (size, back) in enumerate(zip(sizes, states, strict=True))
    ]
    composition = Composition(experts, Router(weight_bytes=1, run_seconds=0.5))
    largest = max(expert.hbm_bytes for expert in experts)
    platform = small(int(largest) + draw(st.integers(0, 12)))
    length = draw(st.integers(0, 40))
    rows = [
        (row + [-1] * steps)[:steps]
        for row in draw(
            st.lists(
                st.lists(st.integers(0, count - 1), min_size=1, max_size=steps),
                min_size=length,
                max_size=length,
            )
        )
    ]
    trace = Trace(np.array(rows, int).reshape(length, steps), batch=draw(st.integers(1, 5)))
    if draw(st.booleans()):
        trace = trace.with_rate(
            draw(st.sampled_from([0.1, 0.3, 2.0])), seed=draw(st.integers(0, 9))
        )
    return composition, platform, replace(trace, output_tokens=1)


MODES = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(list(POLICIES)),
        "prefetch": st.booleans(),
        "overlap": st.booleans(),
        "group_by_expert": st.booleans(),
        "retain": st.booleans(),
        "window": st.sampled_from([None, 1, 4, 30]),
    }
)


@settings(deadline=None, max_examples=150)
@given(case=cases(state=True, steps=3), mode=MODES)
def test_books_balance(case, mode):
    composition, platform, trace = case
    report = serve(composition, platform, trace, **mode)
    used = trace.experts[trace.experts >= 0]
    assert report.hits + report.switches == used.size
    # HBM is never over its capacity.
    assert report.peak_hbm_bytes <= platform.hbm_bytes
    # Time is conserved.
    assert sum(report.time.values()) == pytest.approx(report.seconds)
    runs = sum(platform.run_seconds(composition.experts[e], 1) for e in used)
    assert report.time["run"] == pytest.approx(runs)
    assert report.time["stall"] <= report.copy_seconds + 1e-9
    # The link was busy for the bytes it moved.
    moved = sum(report.bytes_moved.values())
    assert report.copy_seconds == pytest.approx(moved / platform.switch.bytes_per_second)
    assert not len(trace) or report.latencies.min() > 0
    # Nothing on one lane overlaps anything else on it.
    for lane in ("compute", "link"):
        events = sorted((e.start, e.end) for e in report.events if e.lane == lane)
        assert all(a[1] <= b[0] + 1e-9 for a, b in itertools.pairwise(events))


@settings(deadline=None, max_examples=60)
@given(case=cases(), mode=MODES)
def test_read_only_bytes_are_never_copied_back(case, mode):
    report = serve(*case, **mode)
    assert report.bytes_moved["hbm->ddr"] == 0


@settings(deadline=None, max_examples=60)
@given(case=cases(), mode=MODES)
def test_only_misses_move_bytes(case, mode):
    composition, platform, trace = case
    report = serve(composition, platform, trace, **mode)
    copies = [event for event in report.events if event.kind == "copy"]
    assert len(copies) == report.switches
    sizes = {expert.name: expert.hbm_bytes for expert in composition.experts}
    assert report.bytes_moved["ddr->hbm"] == sum(sizes[event.name] for event in copies)


def test_mutable_bytes_are_copied_back_once_an_eviction():
    # Two bytes each and room for three: each use evicts the one before.
    report = serve(equal(3, state=1.0), small(3), sequence([0, 1, 0, 2]))
    assert report.bytes_moved == {"ddr->hbm": 8, "hbm->ddr": 3}


def test_fractions_of_a_byte_are_rounded_up():
    tight = Composition([Expert("a", 1.5, 0.5)], Router(weight_bytes=0.5, run_seconds=0.5))
    with pytest.raises(CapacityError, match="1 bytes too many"):
        serve(tight, replace(small(), hbm=Tier("hbm", 3.5, 1.0)), sequence([0]))
    assert serve(tight, small(3), sequence([0])).peak_hbm_bytes == 4


def sequence(experts, **more):
    return Trace(np.array(experts), output_tokens=1, **more)


def misses(policy, slots, uses, count):
    return serve(equal(count), small(slots), sequence(uses), policy).switches


@settings(deadline=None, max_examples=150)
@given(
    uses=st.lists(st.integers(0, 5), max_size=60),
    slots=st.integers(1, 6),
    policy=st.sampled_from([name for name in POLICIES if name != "belady"]),
    batch=st.integers(1, 7),
    ahead=st.fixed_dictionaries({"prefetch": st.booleans(), "overlap": st.booleans()}),
)
def test_belady_never_misses_more(uses, slots, policy, batch, ahead):
    """In every mode that keeps the order of the trace."""
    trace = sequence(np.array(uses, int), batch=batch)
    best, other = (
        serve(equal(6), small(slots), trace, name, **ahead).switches for name in ("belady", policy)
    )
    assert best <= other


@settings(deadline=None, max_examples=100)
@given(uses=st.lists(st.integers(0, 5), max_size=60), slots=st.integers(1, 6))
def test_lru_and_fifo_against_a_plain_list(uses, slots):
    for policy in ("lru", "fifo"):
        held, missed = [], 0
        for expert in uses:
            if expert not in held:
                missed += 1
                held = held[len(held) - slots + 1 :] if len(held) == slots else held
                held = [*held, expert]
            elif policy == "lru":
                held = [*(e for e in held if e != expert), expert]
        assert misses(policy, slots, np.array(uses, int), 6) == missed


def optimal_misses(uses, slots):
    """Fewest misses by trying every choice of victim."""
    states = {frozenset(): 0}
    for expert in uses:
        following = {}
        for held, cost in states.items():
            if expert in held:
                options = [(held, cost)]
            elif len(held) < slots:
                options = [(held | {expert}, cost + 1)]
            else:
                options = [(held - {out} | {expert}, cost + 1) for out in held]
            for state, total in options:
                following[state] = min(total, following.get(state, total))
        states = following
    return min(states.values())


@settings(deadline=None, max_examples=60)
@given(uses=st.lists(st.integers(0, 4), max_size=25), slots=st.integers(1, 4))
def test_belady_is_optimal(uses, slots):
    assert misses("belady", slots, np.array(uses, int), 5) == optimal_misses(uses, slots)


def test_lfu_and_probability_keep_the_popular_expert():
    uses = [0, 0, 0, 1, 2, 1, 2, 0]
    assert misses("lru", 2, uses, 3) == 4
    assert misses("lfu", 2, uses, 3) == 5
    often = [0, 1, 0, 2, 0, 3] * 4
    assert misses("lfu", 2, often, 4) == misses("probability", 2, often, 4) == 13
    assert misses("fifo", 2, often, 4) > 13
    unlikely = Composition(
        [Expert("a", 1, probability=0.0), Expert("b", 1, probability=0.9), Expert("c", 1)],
        Router(weight_bytes=1, run_seconds=0.5),
    )
    report = serve(unlikely, small(2), sequence([0, 1, 2, 1]), "probability")
    assert report.switches == 3


def test_a_spilled_cycle_never_hits_under_lru():
    assert serve(equal(4), small(3), Trace.distinct(40, 4, output_tokens=1)).hits == 0
    assert serve(equal(3), small(3), Trace.distinct(40, 3, output_tokens=1)).hits == 37


def test_latency_closed_form():
    report = serve(equal(5), small(3), Trace.distinct(8, 5, batch=4, output_tokens=1))
    # Router 0.5, then four times a copy of 1 s and a run of 2 s.
    np.testing.assert_allclose(report.batch_latencies, [12.5, 12.5])
    np.testing.assert_allclose(report.latencies, [3.5, 6.5, 9.5, 12.5] * 2)


def test_overlap_hides_all_copies_but_the_first():
    trace = Trace.distinct(4, 5, batch=4, output_tokens=1)
    ahead = serve(equal(5), small(3), trace, overlap=True)
    assert ahead.seconds == pytest.approx(0.5 + 1 + 4 * 2)
    # A slow link stays the bottleneck: a run starts when its copy is done.
    slow = serve(equal(5), small(3, link=0.25), trace, overlap=True, prefetch=True)
    assert slow.seconds == pytest.approx(0.5 + 4 * 4 + 2)


def test_overlap_needs_room_for_two():
    trace = Trace.distinct(4, 5, batch=4, output_tokens=1)
    report = serve(equal(5), small(1), trace, overlap=True, prefetch=True)
    assert report.seconds == pytest.approx(0.5 + 4 * (1 + 2))


def test_prefetch_does_not_evict_what_the_batch_still_needs():
    trace = sequence([0, 1, 2, 0, 1], batch=5)
    demand = serve(equal(3), small(2), trace)
    ahead = serve(equal(3), small(2), trace, prefetch=True)
    copied = [event.name for event in ahead.events if event.kind == "copy"]
    # Both slots are filled at once; expert2 has to wait until expert0 has run.
    assert copied[:2] == ["expert0", "expert1"]
    starts = {(event.kind, event.name): event.start for event in ahead.events[:4]}
    assert starts["run", "expert0"] == pytest.approx(2.5)
    assert ahead.switches <= demand.switches


@settings(deadline=None, max_examples=60)
@given(case=cases(), mode=MODES)
def test_where_all_experts_fit_each_is_copied_once(case, mode):
    composition, platform, trace = case
    room = sum(expert.hbm_bytes for expert in composition.experts) + 1
    roomy = replace(platform, hbm=Tier("hbm", room, 100.0))
    report = serve(composition, roomy, trace, **(mode | {"retain": True}))
    assert report.switches == len(set(trace.experts[:, 0].tolist()))
    assert report.time["stall"] <= report.copy_seconds + 1e-9


def test_grouping_saves_switches():
    trace = sequence([0, 1, 0, 1, 0, 1], batch=6)
    assert serve(equal(2), small(1), trace).switches == 6
    assert serve(equal(2), small(1), trace, group_by_expert=True).switches == 2


def test_open_loop_waits_for_requests():
    trace = sequence([0, 0], arrivals=np.array([10.0, 100.0]))
    report = serve(equal(1), small(1), trace)
    np.testing.assert_allclose(report.latencies, [3.5, 2.5])
    assert report.time["idle"] == pytest.approx(10 + 100 - 13.5)


def test_batches_take_what_has_arrived():
    trace = sequence([0, 0, 0], arrivals=np.array([0.0, 1.0, 1.5]), batch=4)
    report = serve(equal(1), small(1), trace)
    assert len(report.batch_latencies) == 2
    np.testing.assert_allclose(report.latencies, [3.5, 5.0, 6.5])


def test_a_million_requests_are_counted():
    trace = Trace.zipf(100_000, 150, seed=4)
    report = serve(Composition.uniform(150), sn40l_node(), trace)
    assert report.requests == 100_000
    assert report.truncated
    assert report.p50 <= report.p90 <= report.p99 <= report.latencies.max()
    assert report.throughput == pytest.approx(100_000 / report.seconds)


def test_an_empty_trace_takes_no_time():
    report = serve(equal(1), small(1), sequence(np.array([], int)))
    assert report.seconds == 0
    assert np.isnan(report.p99)
    assert '"hit_rate": null' in report.to_json()


def test_refusals():
    with pytest.raises(SpecError, match="unknown cache policy 'mru'"):
        serve(equal(1), small(1), sequence([0]), "mru")
    with pytest.raises(SpecError, match="asks for expert 3"):
        serve(equal(1), small(1), sequence([3]))
    with pytest.raises(CapacityError, match="bytes too many"):
        serve(Composition.uniform(200), dgx_a100(), sequence([0]))
    with pytest.raises(CapacityError, match="'expert0'"):
        serve(equal(1, size=9), small(3), sequence([0]))
