import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.errors import SpecError
from rdu.llm import Peers


@settings(deadline=None, max_examples=100)
@given(
    sockets=st.integers(2, 16),
    count=st.floats(1, 1e10),
    latency=st.floats(0, 1e-5),
)
def test_never_faster_than_the_bytes_allow(sockets, count, latency):
    peers = Peers(sockets, 1e11, latency)
    share = (sockets - 1) / sockets
    # Each socket must send and receive its share twice for a sum, once for a gather.
    assert peers.all_gather(count) >= share * count / 1e11
    assert peers.all_reduce(count) >= min(2 * share, 1.0) * count / 1e11
    assert peers.all_reduce(count) <= peers.reduce_scatter(count) + peers.all_gather(count) + 1e-15


def test_closed_forms():
    assert Peers(8, 1e9, 1e-6).all_gather(8e9) == pytest.approx(7 + 1e-6)
    assert Peers(8, 1e9, 1e-6).all_reduce(8e9) == pytest.approx(14 + 2e-6)
    # Sixteen sockets have more peers than ports: four exchanges of the little vector.
    assert Peers(16, 1e9, 1.0).all_reduce(1e-6) == pytest.approx(4)
    assert Peers(16, 1e9, 0.0).all_gather(16e9) == pytest.approx(15)
    assert Peers(2, 1e9, 0.5).send(1e9) == pytest.approx(1.5)


def test_one_socket_sends_nothing():
    alone = Peers(1, 1e9, 1.0)
    assert alone.all_reduce(1e9) == alone.all_gather(1e9) == alone.send(1e9) == 0


def test_refusals():
    with pytest.raises(SpecError):
        Peers(0, 1e9, 0)
    with pytest.raises(SpecError):
        Peers(8, 0, 0)
