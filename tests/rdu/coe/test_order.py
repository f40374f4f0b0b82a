from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.coe.order import grouped


@settings(deadline=None, max_examples=150)
@given(
    chains=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=8),
    active=st.sets(st.integers(0, 4)),
)
def test_every_use_once_and_steps_in_order(chains, active):
    experts = [expert for chain in chains for expert in chain]
    requests = [n for n, chain in enumerate(chains) for _ in chain]
    order = grouped(range(len(experts)), experts, requests, active)
    assert sorted(order) == list(range(len(experts)))
    for request in range(len(chains)):
        mine = [use for use in order if requests[use] == request]
        assert mine == sorted(mine)


def test_active_experts_first_then_the_fullest_group():
    experts = [0, 1, 2, 1, 2, 2]
    order = grouped(range(6), experts, range(6), {0})
    assert [experts[use] for use in order] == [0, 2, 2, 2, 1, 1]


def test_single_steps_form_one_run_an_expert():
    experts = [3, 1, 3, 1, 3]
    order = grouped(range(5), experts, range(5), set())
    assert [experts[use] for use in order] == [3, 3, 3, 1, 1]
