"""Graphs as pipelines over sockets: tiles stream peer to peer while all kernels run."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
import sparsedsl as sd
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, SIGMOID
from rdu.mapping.pipeline import parts_of
from rdu.models.monarch import monarch_fft


def chain(rows, columns, length, *, residual=False):
    b = GraphBuilder("chain")
    first = name = b.input("x", (rows, columns))
    for n in range(length):
        weight = b.input(f"w{n}", (columns, columns))
        name = b.contract(f"y{n}", "ij", (name, "ik"), (weight, "kj"))
        name = b.map(f"s{n}", "ij", SIGMOID, (name, "ij"))
    results = [name]
    if residual:
        results = [b.map("r", "ij", ADD, (name, "ij"), (first, "ij")), name]
    return b.finish(results)


def random_arrays(graph, seed=0):
    rng = np.random.default_rng(seed)
    return [0.3 * rng.standard_normal(graph.tensor(name).shape) for name in graph.inputs]


@settings(deadline=None, max_examples=10)
@given(
    st.integers(1, 70),
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(1, 8),
    st.booleans(),
    st.integers(0, 99),
)
def test_any_cut_gives_the_same_bits(rows, columns, length, sockets, residual, seed):
    graph = chain(rows, columns, length, residual=residual)
    arrays = random_arrays(graph, seed)
    one, _ = rdu.run(rdu.compile(graph, rdu.sn40l_node(1), moves=20), *arrays)
    program = rdu.compile(graph, rdu.sn40l_node(sockets), pipeline=True, moves=20)
    found, report = rdu.run(program, *arrays)
    for a, b in zip(one if residual else [one], found if residual else [found], strict=True):
        assert np.array_equal(a, b)
    assert report.cycles == rdu.estimate(program).cycles
    assert program.sockets == len(program.kernels) <= sockets
    crossed = sum(graph.tensor(c.tensor).bytes for c in program.crossings)
    assert report.bytes.get("p2p", 0) == crossed
    # Memory holds the inputs, once on every socket that reads them, and the results.
    assert report.bytes["hbm"] == sum(s.bytes for s in program.memory)


def test_orders_of_tiles_may_differ_between_sockets():
    graph = monarch_fft(96, 32)
    arrays = random_arrays(graph)
    one, _ = rdu.run(rdu.compile(graph, rdu.sn40l_node(1)), *arrays)
    program = rdu.compile(graph, rdu.sn40l_node(4), pipeline=True)
    found, _ = rdu.run(program, *arrays)
    assert np.array_equal(one, found)
    assert [c.tensor for c in program.crossings] == ["P", "S", "T"]
    for crossing in program.crossings:
        assert list(crossing.needs) == sorted(crossing.needs)
        assert crossing.window_bytes <= graph.tensor(crossing.tensor).bytes


def test_stages_overlap_and_a_slow_link_holds_them_up():
    graph = chain(2048, 512, 4)
    node = rdu.sn40l_node(4)
    program = rdu.compile(graph, node, pipeline=True)
    report = rdu.estimate(program)
    link = graph.tensor("s0").bytes / node.p2p_bytes_per_cycle
    executed = report.cycles - report.launch_cycles
    # Three hand-overs at the pace of one: they overlap.
    assert link < executed < 2 * link
    starts = [min(s.start for s in report.stages if s.socket == n) for n in range(4)]
    ends = [max(s.end for s in report.stages if s.socket == n) for n in range(4)]
    assert starts == sorted(starts)
    assert all(begin < end for begin, end in zip(starts[1:], ends[:-1], strict=True))


def test_parts_are_balanced():
    graph = chain(256, 256, 6)
    parts = parts_of(rdu.sn40l_node(1).chip, graph, 3)
    assert [op.name for part in parts for op in part] == [op.name for op in graph.operators]
    products = [sum(op.name.startswith("y") for op in part) for part in parts]
    assert products == [2, 2, 2]


@sd.kernel
def attention(Q, K, V):
    i, j, d, e = sd.indices("i j d e")
    S, m, P, Z, y = (sd.output() for _ in range(5))
    S[i, j] = sd.sum(Q[i, d] * K[j, d], over=d)
    m[i] = sd.max(S[i, j], over=j)
    P[i, j] = sd.exp(S[i, j] - m[i])
    Z[i] = sd.sum(P[i, j], over=j)
    y[i, e] = sd.sum(P[i, j] * V[j, e], over=j) / Z[i]
    return y


@pytest.mark.parametrize("sockets", [2, 3])
def test_a_kernel_leaves_room_for_what_comes_early(sockets):
    """On a small chip a kernel that took all units would leave none for the window."""
    side = 8
    chip = rdu.sn40l_node(1).chip.with_changes(
        pcus=side**2, pmus=side**2, mesh_rows=side, mesh_columns=side, agcus=2 * side
    )
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape) for shape in ((20, 16), (24, 16), (24, 8))]
    graph = rdu.trace(attention, *arrays, precision="fp32")
    node = dataclasses.replace(rdu.sn40l_node(sockets), chip=chip)
    program = rdu.compile(graph, node, pipeline=True, moves=50)
    for n, kernel in enumerate(program.kernels):
        window = sum(c.window_bytes for c in program.crossings if c.target == n)
        assert kernel.pmus + -(-window // (chip.pmu_kib * 1024)) <= chip.pmus
    found, _ = rdu.run(program, *arrays)
    one, _ = rdu.run(rdu.compile(graph, chip, moves=50), *arrays)
    assert np.array_equal(one, found)


def test_what_a_pipeline_refuses():
    graph = chain(8, 8, 2)
    with pytest.raises(rdu.RDUError, match="choose one"):
        rdu.compile(graph, rdu.sn40l_node(2), pipeline=True, split="i")
    matrix = sp.csr_array(np.eye(6))
    sparse = rdu.trace(twice, matrix, precision="fp32")
    with pytest.raises(rdu.MappingError, match=r"fibre tree .* cannot go from one socket"):
        rdu.compile(sparse, rdu.sn40l_node(2), pipeline=True)


@sd.kernel
def twice(A):
    i, j = sd.indices("i j")
    B, C = sd.output(), sd.output()
    B[i, j] = 2.0 * A[i, j]
    C[i, j] = B[i, j] * A[i, j]
    return C
