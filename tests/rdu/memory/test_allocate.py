import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.errors import CapacityError, RDUError, SpecError
from rdu.memory.allocate import Symbol, allocate, live_peak, pack
from rdu.memory.tiers import Tier

DDR = Tier("ddr", 10**9, 1e11)


@st.composite
def programs(draw):
    count = draw(st.integers(0, 14))
    found = []
    for n in range(count):
        start = draw(st.integers(0, 9))
        found.append(
            Symbol(
                f"s{n}",
                draw(st.integers(0, 300)),
                start,
                start + draw(st.integers(1, 6)),
                draw(st.integers(0, 5)),
            )
        )
    return found


@settings(deadline=None, max_examples=150)
@given(program=programs(), capacity=st.integers(1, 2000), alignment=st.sampled_from([1, 16, 64]))
def test_no_two_live_symbols_share_a_byte(program, capacity, alignment):
    placed = allocate(program, Tier("hbm", capacity, 1e12), DDR, alignment=alignment)
    assert sorted(p.symbol.name for p in placed.placements) == sorted(s.name for s in program)
    assert placed.used("hbm") <= capacity
    for n, one in enumerate(placed.placements):
        assert one.offset % alignment == 0
        for other in placed.placements[:n]:
            if one.tier == other.tier and one.symbol.overlaps(other.symbol):
                assert one.end <= other.offset or other.end <= one.offset
    assert placed.used("hbm") >= live_peak([p.symbol for p in placed.placements if p.tier == "hbm"])


@settings(deadline=None, max_examples=100)
@given(program=programs(), capacity=st.integers(1, 2000))
def test_the_smallest_transfers_are_spilled_first(program, capacity):
    placed = allocate(program, Tier("hbm", capacity, 1e12), DDR)
    out = set(placed.spilled)
    moved = {s.name: s.transfer_bytes for s in program}
    kept = [moved[name] for name in moved if name not in out]
    assert max((moved[name] for name in out), default=0) <= min(kept, default=float("inf"))
    # Nothing is spilled without need: with the last one back, it does not fit.
    if placed.spilled:
        again = [s for s in program if s.name not in out or s.name == placed.spilled[-1]]
        offsets = pack(again)
        assert max(offsets[s.name] + s.size for s in again) > capacity


@settings(deadline=None, max_examples=100)
@given(program=programs())
def test_peak_against_a_plain_count(program):
    steps = [sum(s.size for s in program if s.start <= t < s.stop) for t in range(16)]
    assert live_peak(program) == max(steps)


def test_weights_stay_and_activations_go():
    weights = Symbol("weights", 80, 0, 4, uses=4)
    act = Symbol("act", 60, 1, 2, uses=2)
    placed = allocate([act, weights], Tier("hbm", 100, 1e12), DDR, alignment=1)
    assert placed.spilled == ("act",)
    assert placed.spilled_transfer_bytes == 120


def test_pinned_symbols_stay_or_are_refused():
    router = Symbol("router", 90, 0, 4, uses=0, pinned=True)
    big = Symbol("big", 50, 0, 4, uses=9)
    assert allocate([router, big], Tier("hbm", 100, 1e12), DDR).spilled == ("big",)
    with pytest.raises(
        CapacityError, match=r"router must stay in hbm .* 80 bytes: 10 bytes too many"
    ):
        allocate([router, big], Tier("hbm", 80, 1e12), DDR)


def test_a_full_second_tier_is_named():
    with pytest.raises(CapacityError, match=r"'a'.*of ddr.*20 bytes too many"):
        allocate([Symbol("a", 70, 0, 1)], Tier("hbm", 10, 1e12), Tier("ddr", 50, 1e11))


def test_the_map_prints_and_draws(tmp_path):
    program = [Symbol("a", 64, 0, 2), Symbol("b", 64, 2, 3), Symbol("c", 640, 0, 3, uses=0)]
    placed = allocate(program, Tier("hbm", 64, 1e12), DDR)
    text = str(placed)
    assert "hbm: 64 of 64 bytes (100.0%)" in text
    assert "steps 2..2  b" in text
    placed.draw(tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert "hbm: 64 bytes of 64 bytes (100.0%)" in drawn
    assert "ddr: 640 bytes of 1 GB" in drawn
    with pytest.raises(RDUError, match="cannot draw"):
        placed.draw(tmp_path / "map.nonsense")


def test_refusals():
    with pytest.raises(SpecError, match="at least one step"):
        Symbol("a", 1, 2, 2)
    with pytest.raises(SpecError, match="size"):
        Symbol("a", -1, 0, 1)
    twice = [Symbol("a", 1, 0, 1), Symbol("a", 1, 0, 1)]
    with pytest.raises(SpecError, match="'a' more than once"):
        allocate(twice, DDR, DDR)
