import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.network import Disturbance
from rdu.emulate.traffic import Traffic, simulate_network
from rdu.mapping.flows import Fabric


def path(*sites):
    return tuple(itertools.pairwise(sites))


def straight(source, end):
    """Along the row, then along the column."""
    (r, c), (r2, c2) = source, end
    step = 1 if c2 > c else -1
    row = [(r, x) for x in range(c, c2, step)]
    step = 1 if r2 > r else -1
    column = [(y, c2) for y in range(r, r2, step)]
    return path(*row, *column, end)


def test_a_lone_stream_takes_hops_and_a_cycle_a_packet():
    run = simulate_network(
        [Traffic((0, 0), ((0, 3),), straight((0, 0), (0, 3)), 10)], tracks=1, depth=2
    )
    assert run.cycles == 3 + 10 - 1
    assert run.stalls == {}
    assert [a.sequence for a in run.arrivals] == list(range(10))


@pytest.mark.parametrize("throttle", [1, 2, 5])
def test_a_throttled_stream_has_its_own_pace(throttle):
    flow = Traffic((0, 0), ((0, 4),), straight((0, 0), (0, 4)), 8, throttle)
    run = simulate_network([flow], tracks=1, depth=1)
    # A queue of one place passes a packet every second cycle: its credit takes one to return.
    pace = max(throttle, 2)
    assert [a.cycle for a in run.arrivals] == [4 + pace * n for n in range(8)]


def test_two_streams_share_a_link_and_stalls_are_counted():
    shared = ((0, 1), (0, 2))
    flows = [
        Traffic((0, 0), ((0, 2),), path((0, 0), (0, 1), (0, 2)), 12),
        Traffic((1, 1), ((0, 2),), path((1, 1), (0, 1), (0, 2)), 12),
    ]
    run = simulate_network(flows, tracks=1, depth=4)
    assert run.carried[shared] == 24
    assert run.cycles == 1 + 24
    assert run.stalls[shared] > 0
    assert simulate_network(flows, tracks=2, depth=4).cycles == 2 + 12 - 1


def test_a_multicast_sends_one_copy_over_shared_links():
    trunk = ((0, 0), (0, 1))
    links = (trunk, ((0, 1), (0, 2)), ((0, 1), (1, 1)))
    run = simulate_network([Traffic((0, 0), ((0, 2), (1, 1)), links, 6)], tracks=1, depth=2)
    assert run.carried == dict.fromkeys(links, 6)
    assert run.in_order((0, 2)) == run.in_order((1, 1)) == list(range(6))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 9999), st.integers(1, 3), st.integers(1, 2))
def test_random_traffic_arrives_complete_and_not_before_the_links_allow(seed, depth, tracks):
    rng = random.Random(seed)
    sites = [(r, c) for r in range(4) for c in range(4)]
    flows = []
    for _ in range(rng.randint(1, 14)):
        a, b = rng.sample(sites, 2)
        links = straight(a, b)
        if rng.random() < 0.5:
            links = tuple((y, x) for x, y in reversed(straight(b, a)))  # the other order
        flows.append(Traffic(a, (b,), links, rng.randint(1, 12), rng.randint(1, 3)))
    run = simulate_network(flows, tracks=tracks, depth=depth)
    assert len(run.arrivals) == sum(flow.packets for flow in flows)
    busiest = max(run.carried.values())
    assert run.cycles >= -(-busiest // tracks)
    for n, flow in enumerate(flows):
        mine = [a for a in run.arrivals if a.flow == n]
        assert [a.sequence for a in mine] == list(range(flow.packets))
        assert mine[0].cycle >= len(flow.links)
    assert run.cycles == simulate_network(flows, tracks=tracks, depth=depth).cycles


def test_sequence_ids_restore_the_order_of_many_to_one():
    # Three units send every third vector of one tensor from different distances.
    end = (2, 2)
    flows = [
        Traffic(source, (end,), straight(source, end), 7, throttle, first=n, stride=3)
        for n, (source, throttle) in enumerate((((0, 0), 1), ((2, 0), 3), ((4, 4), 2)))
    ]
    run = simulate_network(flows, tracks=1, depth=2)
    arrived = [a.sequence for a in run.arrivals]
    assert arrived != sorted(arrived)
    assert run.in_order(end) == list(range(21))


def test_vectors_and_scalars_do_not_wait_for_each_other():
    links = straight((0, 0), (0, 3))
    vector = Traffic((0, 0), ((0, 3),), links, 20)
    scalar = Traffic((0, 0), ((0, 3),), links, 20, fabric=Fabric.SCALAR)
    both = simulate_network([vector, scalar], tracks=1, depth=2)
    assert both.cycles == 3 + 20 - 1
    assert both.stalls == {}
    assert both.carried == dict.fromkeys(links, 40)
    # Two of a kind share what one has.
    assert (
        simulate_network([scalar, scalar], tracks=4, depth=4, scalar_tracks=1).cycles > 3 + 39 - 2
    )


def test_links_that_rest_delay_packets_and_lose_none():
    flow = Traffic((0, 0), ((0, 3),), straight((0, 0), (0, 3)), 40)
    calm = simulate_network([flow], tracks=1, depth=2)
    run = simulate_network([flow], tracks=1, depth=2, disturbance=Disturbance(7, 500))
    assert [a.sequence for a in run.arrivals] == list(range(40))
    assert run.cycles > 1.5 * calm.cycles
    other = simulate_network([flow], tracks=1, depth=2, disturbance=Disturbance(8, 500))
    assert other.arrivals != run.arrivals


def test_routes_in_a_ring_are_a_deadlock_that_is_named():
    ring = [(0, 0), (0, 1), (1, 1), (1, 0)]
    flows = []
    for n in range(4):
        sites = [ring[(n + k) % 4] for k in range(4)]
        flows.append(Traffic(sites[0], (sites[-1],), path(*sites), 20))
    with pytest.raises(rdu.DeadlockError, match=r"4 links hold packets that cannot move: \[\(\(0"):
        simulate_network(flows, tracks=1, depth=1)
