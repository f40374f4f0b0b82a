from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.errors import SpecError
from rdu.graph.builder import GraphBuilder
from rdu.graph.graph import Precision
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


def emulated(node, rows):
    """Seconds of a kernel that is little more than an all-reduce, on the emulator."""
    # Both directions of many tiles overlap; of one tile alone they would not.
    b = GraphBuilder("sum", Precision.FP32)
    x, w = b.input("x", (rows, node.sockets)), b.input("w", (node.sockets, 64))
    graph = b.finish([b.contract("y", "ij", (x, "ik"), (w, "kj"))])
    program = rdu.compile(graph, node, split="k", moves=20)
    report = rdu.estimate(program)
    (kernel,) = report.kernels
    return node.chip.seconds(kernel.cycles), 4 * rows * 64, report.bytes["p2p"]


@pytest.mark.parametrize("sockets", [4, 8])
def test_the_emulator_takes_as_long(sockets):
    chip = rdu.sn40l_node().chip.with_changes(hbm_tb_per_s=100.0)
    slow = replace(rdu.sn40l_node(sockets), chip=chip, p2p_gb_per_s=1.0)
    seconds, count, moved = emulated(slow, 65536)
    # Every socket sends its share of the parts, and its part of the sum, to all others.
    assert moved == 2 * (sockets - 1) * count
    assert seconds == pytest.approx(Peers.of(slow, sockets).all_reduce(count), rel=0.1)
    near = replace(slow, p2p_latency_ns=0.0)
    far = replace(slow, p2p_latency_ns=1e5)
    waits = [emulated(node, 16)[0] for node in (near, far)]
    expected = [Peers.of(node, sockets).all_reduce(4 * 16 * 64) for node in (near, far)]
    assert waits[1] - waits[0] == pytest.approx(expected[1] - expected[0], rel=0.02)
