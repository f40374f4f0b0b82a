"""Graphs cut over several sockets: data parallel, tensor parallel, what is refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
import sparsedsl as sd
from rdu.emulate.functional import rounded
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, MULTIPLY, SILU
from rdu.graph.graph import Precision
from rdu.graph.nodes import Monoid


def gated_mlp(t, d, h, precision=Precision.BF16):
    b = GraphBuilder("mlp", precision)
    x, w1, w3, w2 = (
        b.input(n, s) for n, s in (("x", (t, d)), ("w1", (d, h)), ("w3", (d, h)), ("w2", (h, d)))
    )
    up = b.contract("u", "th", (x, "td"), (w1, "dh"))
    gate = b.contract("g", "th", (x, "td"), (w3, "dh"))
    both = b.map("p", "th", MULTIPLY, (b.map("s", "th", SILU, (up, "th")), "th"), (gate, "th"))
    down = b.contract("y", "tg", (both, "th"), (w2, "hg"))
    return b.finish([b.map("r", "tg", ADD, (down, "tg"), (x, "tg"))])


def random_arrays(graph, seed=0):
    rng = np.random.default_rng(seed)
    return [0.3 * rng.standard_normal(graph.tensor(name).shape) for name in graph.inputs]


@pytest.mark.parametrize("fusion", ["none", "pattern", "spatial"])
def test_data_parallel_is_bit_for_bit_the_same(fusion):
    graph, node = gated_mlp(24, 20, 36), rdu.sn40l_node(sockets=4)
    arrays = random_arrays(graph)
    one, _ = rdu.run(rdu.compile(graph, node, fusion=fusion), *arrays)
    program = rdu.compile(graph, node, fusion=fusion, split="t")
    four, report = rdu.run(program, *arrays)
    assert np.array_equal(one, four)
    assert program.sockets == 4
    assert report.bytes["p2p"] == 0
    assert report.cycles == rdu.estimate(program).cycles
    weights = sum(graph.tensor(n).bytes for n in ("w1", "w3", "w2"))
    if fusion == "spatial":
        rows = graph.tensor("x").bytes + graph.tensor("r").bytes
        assert report.bytes["hbm"] == rows + 4 * weights


@settings(deadline=None, max_examples=8)
@given(
    st.integers(1, 40),
    st.integers(1, 30),
    st.integers(1, 12),
    st.sampled_from([2, 3, 8]),
    st.integers(0, 99),
)
def test_tensor_parallel_adds_in_the_order_of_the_sockets(t, d, part, sockets, seed):
    graph = gated_mlp(t, d, part * sockets)
    node = rdu.sn40l_node(sockets=sockets)
    arrays = random_arrays(graph, seed)
    program = rdu.compile(graph, node, split="h", moves=50)
    found, report = rdu.run(program, *arrays)
    assert report.cycles == rdu.estimate(program).cycles
    # Every socket's part in float32, one k at a time; parts added in order; one rounding.
    x, w1, w3, w2 = (rounded(a, Precision.BF16) for a in arrays)
    both = rdu_hidden(x, w1, w3)
    total = None
    for socket in range(sockets):
        partial = np.zeros((t, d), np.float32)
        for k in range(socket * part, (socket + 1) * part):
            partial += both[:, k, None] * w2[k, None, :]
        total = partial if total is None else total + partial
    down = rounded(total, Precision.BF16)
    assert np.array_equal(found, rounded(down + x, Precision.BF16))
    # One tile's owner receives every other socket's part and sends the sum to each.
    assert report.bytes["p2p"] == (sockets - 1) * t * d * (4 + 2)


def rdu_hidden(x, w1, w3):
    def product(a, b):
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in range(a.shape[1]):
            total += a[:, k, None] * b[k, None, :]
        return rounded(total, Precision.BF16)

    up, gate = product(x, w1), product(x, w3)
    return rounded(rounded(SILU.apply(up), Precision.BF16) * gate, Precision.BF16)


def test_maxima_are_joined_across_sockets():
    b = GraphBuilder("top", Precision.FP32)
    x = b.input("x", (12, 16))
    graph = b.finish([b.reduce("m", "i", Monoid.MAXIMUM, (x, "ij"))])
    data = random_arrays(graph)[0]
    found, _ = rdu.run(rdu.compile(graph, rdu.sn40l_node(4), split="j"), data)
    assert np.array_equal(found, data.astype(np.float32).max(1))


@sd.kernel
def experts(R, x, W1, W2):
    t, e, d, h, g = sd.indices("t e d h g")
    up, y = sd.output(), sd.output()
    up[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W1[e, d, h]
    y[t, g] = R[t, e] * (up[t, e, h] * sd.sigmoid(up[t, e, h])) * W2[e, h, g]
    return y


def test_routed_experts_with_cut_hidden_layers():
    rng = np.random.default_rng(1)
    routing = np.zeros((20, 4))
    for row in routing:
        row[rng.choice(4, 2, replace=False)] = rng.random(2)
    arrays = [sp.csr_array(routing)]
    arrays += [rng.standard_normal(s) / 3 for s in ((20, 8), (4, 8, 24), (4, 24, 8))]
    graph = rdu.trace(experts, *arrays, precision="fp32")
    found, report = rdu.run(rdu.compile(graph, rdu.sn40l_node(2), split="h"), *arrays)
    up = np.einsum("td,edh->teh", arrays[1], arrays[2])
    exact = np.einsum("te,teh,ehg->tg", routing, up / (1 + np.exp(-up)), arrays[3])
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)
    assert report.bytes["p2p"] == 20 * 8 * (4 + 4)


def test_sockets_share_the_work_of_a_large_layer():
    graph = gated_mlp(512, 1024, 4096)
    node = rdu.sn40l_node(8)
    alone = rdu.estimate(rdu.compile(graph, node))
    spread = rdu.estimate(rdu.compile(graph, node, split="t"))
    joined = rdu.estimate(rdu.compile(graph, node, split="h"))
    assert spread.kernels[0].cycles < alone.kernels[0].cycles / 2
    pair = 512 * 1024 * 6 / 8 / node.p2p_bytes_per_cycle
    assert joined.kernels[0].cycles > pair


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("z", "axis 'z', which the graph does not have"),
        ("t", "axis 't' of extent 33 does not divide over 2 sockets"),
    ],
)
def test_axes_that_cannot_be_cut(axis, message):
    with pytest.raises(rdu.RDUError, match=message):
        rdu.compile(gated_mlp(33, 8, 12), rdu.sn40l_node(2), split=axis)


def test_operators_that_need_an_axis_whole():
    b = GraphBuilder("norm")
    x, w = b.input("x", (8, 16)), b.input("w", (16,))
    graph = b.finish([b.rms_norm("n", (x, "ij"), w, "j")])
    with pytest.raises(rdu.RDUError, match="n needs the axis 'j' whole"):
        rdu.compile(graph, rdu.sn40l_node(2), split="j")
    b = GraphBuilder("self")
    q = b.input("q", (8, 16))
    graph = b.finish([b.contract("s", "ij", (q, "ik"), (q, "jk"))])
    with pytest.raises(rdu.RDUError, match="so it needs it whole"):
        rdu.compile(graph, rdu.sn40l_node(2), split="i")
    with pytest.raises(rdu.RDUError, match="choose one"):
        rdu.compile(graph, rdu.sn40l_node(2), split=("i", "k"))
    matrix = sp.csr_array(np.eye(8))
    graph = rdu.trace(spmv, matrix, np.ones(8))
    with pytest.raises(rdu.RDUError, match="fibre tree A"):
        rdu.compile(graph, rdu.sn40l_node(2), split="i")


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y
