import numpy as np
import pytest
import scipy.sparse as sp

from sparsedsl.bench import measure as m
from sparsedsl.bench.cases import case, plain
from sparsedsl.bench.jobs import Job
from sparsedsl.bench.peers import Peers, find
from sparsedsl.bench.peers.scipy_kernels import SCIPY


def peers(**more):
    kernels = {"scipy": {k: [("", prepare)] for k, prepare in SCIPY.items()}}
    for name, job in more.items():
        kernels[name] = {"SpMV CSR": [("", lambda operands, job=job: job(operands))]}
    return Peers(kernels, dict.fromkeys(kernels, "1"), {})


def test_difference_is_relative_to_the_largest():
    assert m.difference(np.array([1.0, 100.0]), np.array([2.0, 100.0])) == pytest.approx(0.01)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("other", [np.asarray, sp.csr_array])
def test_difference_takes_any_kinds(kind, other):
    x = np.array([[0.0, 2.0], [0.0, 0.0]])
    y = np.array([[0.0, 2.0], [0.0, 1.0]])
    assert m.difference(kind(x), other(x)) == 0
    assert m.difference(kind(x), other(y)) == pytest.approx(0.5)


def test_difference_sees_nan_and_shapes():
    assert m.difference(np.array([np.nan]), np.array([1.0])) == np.inf
    assert m.difference(np.ones(3), np.ones(4)) == np.inf
    assert m.difference(np.float64(2), 2.0) == 0


def test_slow_calls_end_the_rounds(monkeypatch):
    monkeypatch.setattr(m, "PATIENCE", 0.0)
    assert [len(times) for times in m.in_turn([list, dict], m.Spent(1.0, 7, 31))] == [1, 1]


def test_calls_run_in_turn_and_each_follows_each_other_one():
    order = []
    calls = [lambda name=name: order.append(name) for name in "abc"]
    original, m.SHORTEST = m.SHORTEST, 0.0
    try:
        found = m.in_turn(calls, m.Spent(0.0, 20, 20))
    finally:
        m.SHORTEST = original
    text = "".join(order)
    assert text[:6] == "aabbcc"
    rounds = [text[at : at + 3] for at in range(6, len(text), 3)]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert {r[0] + r[1] for r in rounds} == {"ab", "ac", "ba", "bc", "ca", "cb"}
    assert [len(times) for times in found] == [20, 20, 20]


def test_slow_first_calls_do_not_say_how_often_a_short_one_is_repeated(monkeypatch):
    def sample(call, repeats):
        asked.append(repeats)
        return m.SHORTEST if len(asked) < 6 else m.SHORTEST / 50

    asked = []
    monkeypatch.setattr(m, "_sample", sample)
    m.in_turn([list], m.Spent(0.0, 2, 2))
    assert asked == [1] * m.WARM + [50, 50]


def test_a_wrong_peer_is_not_timed():
    wrong = peers(wrong=lambda o: Job(lambda: o["A"] @ o["x"] + 1))
    found = m.measure(case("SpMV CSR", "a", quick=True), wrong, m.QUICK)
    assert [t.name for t in found.peers] == ["scipy"]
    assert found.errors["wrong"].startswith("differs from scipy by")
    assert found.ours is not None


def test_a_failing_peer_is_named():
    def fail():
        raise RuntimeError("no room")

    found = m.measure(case("SpMV CSR", "a", True), peers(bad=lambda o: Job(fail)), m.QUICK)
    assert found.errors == {"bad": "RuntimeError: no room"}


def test_a_wrong_result_of_ours_is_an_error():
    made = case("SpMV CSR", "a", quick=True)
    made.arguments["x"] = made.arguments["x"] + 1
    found = m.measure(made, peers(), m.QUICK)
    assert found.ours is None
    assert "differs from scipy" in found.errors["sparsedsl"]


def test_the_fastest_variant_counts():
    import time

    def slow(o):
        def call():
            time.sleep(0.005)
            return o["A"] @ o["x"]

        return Job(call)

    both = peers()
    both.kernels["p"] = {
        "SpMV CSR": [("slow", slow), ("quick", lambda o: Job(lambda: o["A"] @ o["x"]))]
    }
    found = m.measure(case("SpMV CSR", "a", quick=True), both, m.QUICK)
    assert [(t.name, t.variant) for t in found.peers] == [("scipy", ""), ("p", "quick")]


def test_a_steady_variant_that_was_far_slower_when_checked_is_not_tried():
    import time

    def prepared(name, seconds, steady):
        def prepare(o):
            def call():
                calls[name] += 1
                time.sleep(seconds)
                return o["A"] @ o["x"]

            return Job(call, steady=steady)

        return prepare

    calls = {"quick": 0, "steady": 0, "warming": 0}
    every = peers()
    every.kernels["p"] = {
        "SpMV CSR": [
            ("quick", prepared("quick", 0.0, True)),
            ("steady", prepared("steady", 0.05, True)),
            ("warming", prepared("warming", 0.05, False)),
        ]
    }
    found = m.measure(case("SpMV CSR", "a", quick=True), every, m.QUICK)
    assert found.peers[1].variant == "quick"
    assert calls["steady"] == 1
    assert calls["warming"] > 1


def test_a_peer_far_slower_has_rounds_of_its_own(monkeypatch):
    def counting(name):
        def prepare(o):
            def call():
                calls.append(name)
                return o["A"] @ o["x"]

            return Job(call)

        return prepare

    calls = []
    spans = {"near": 1e-4, "far": 1e9}
    monkeypatch.setattr(m, "FAR", 0.0)
    monkeypatch.setattr(m, "LONG", 1e6)
    monkeypatch.setattr(m, "ONCE", 1e12)
    every = peers(near=counting("near"), far=counting("far"))
    found = m.measure(case("SpMV CSR", "a", True), every, m.Spent(0.0, 5, 5))
    assert [len(t.seconds) for t in found.peers] == [5, 5, 5]
    original = m._sample

    def sample(call, repeats):
        before = len(calls)
        seconds = original(call, repeats)
        return spans.get(calls[-1], seconds) if len(calls) > before else seconds

    monkeypatch.setattr(m, "_sample", sample)
    found = m.measure(case("SpMV CSR", "a", True), every, m.Spent(0.0, 5, 5))
    assert [(t.name, len(t.seconds)) for t in found.peers] == [
        ("scipy", 5),
        ("near", 5),
        ("far", 3),
    ]
    assert all(len(t.ratios) == len(t.seconds) for t in found.peers)


def test_a_peer_that_takes_seconds_is_called_once_or_twice(monkeypatch):
    def prepared(name, steady):
        def prepare(o):
            def call():
                calls[name] += 1
                return o["A"] @ o["x"]

            return Job(call, steady=steady)

        return prepare

    calls = {"steady": 0, "warming": 0, "steady and slower": 0}
    every = peers(steady=prepared("steady", True), warming=prepared("warming", False))
    every.kernels["steady"]["SpMV CSR"].append(("slower", prepared("steady and slower", True)))
    monkeypatch.setattr(m, "FAR", 0.0)
    monkeypatch.setattr(m, "LONG", 0.0)
    monkeypatch.setattr(m, "ONCE", 0.0)
    found = m.measure(case("SpMV CSR", "a", True), every, m.Spent(0.0, 5, 5))
    assert calls == {"steady": 1, "warming": 2, "steady and slower": 1}
    assert {t.name: len(t.seconds) for t in found.peers} == {"scipy": 1, "steady": 1, "warming": 1}
    for timed in found.peers:
        assert timed.ratio == timed.seconds[0] / found.ours.median
        assert timed.least_ratio == timed.seconds[0] / found.ours.least


def test_ratios_pair_rounds():
    t = m.Timed("p", "", (2.0, 6.0, 4.0), (2.0, 3.0, 1.0))
    assert (t.median, t.least, t.ratio) == (4.0, 2.0, 2.0)
    assert t.spread == (1.5, 2.5)


@pytest.mark.parametrize("name", ["a", "b'", "d'"])
@pytest.mark.parametrize("kernel", ["SpGEMM", "A .* B"])
def test_hand_written_kernels_agree(kernel, name):
    """All variants, those that ``measure`` sets aside too; other kernels: ``pytest bench``."""
    made = case(kernel, name, quick=True)
    (_, _, scipys), *others = find().jobs(made)
    expected = plain(scipys.finish(scipys.call()))
    assert [peer for peer, _, _ in others].count("hand") > 1
    for _, variant, job in others:
        assert m.difference(plain(job.finish(job.call())), expected) <= m.TOLERANCE, variant


def test_bandwidth_is_positive():
    assert min(m.bandwidth(quick=True).values()) > 0
    several = m.bandwidth(quick=True, threads=2)
    assert list(several) == ["read", "copy", "read, 2 threads", "copy, 2 threads"]
    assert min(several.values()) > 0
