"""Fast-forward within a kernel: the whole report is that of the simulation of every tile."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.engine import Context, Engine
from rdu.emulate.rounds import Rounds
from rdu.emulate.run import Manner, execute, execute_line, simulate
from rdu.emulate.steady import run_steady
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, SIGMOID, SUBTRACT
from rdu.graph.graph import Precision
from rdu.graph.nodes import Monoid

NODE = rdu.sn40l_node(1)
SMALL = NODE.chip.with_changes(
    pcus=24,
    pmus=30,
    mesh_rows=5,
    mesh_columns=6,
    pmu_kib=64,
    agcus=10,
    systolic_rows=8,
    systolic_columns=4,
    simd_lanes=8,
)


@st.composite
def chains(draw):
    """A chain of operators on a tall matrix, with paths that fork and rejoin."""
    b = GraphBuilder("tall", draw(st.sampled_from([Precision.BF16, Precision.FP32])))
    rows, columns = draw(st.integers(1, 3000)), draw(st.integers(1, 40))
    name = b.input("x", (rows, columns))
    saved = [(name, columns)]
    for n in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["gemm", "map", "join", "reduce", "sum"]))
        if kind == "gemm":
            new = draw(st.integers(1, 60))
            weight = b.input(f"w{n}", (columns, new))
            name, columns = b.contract(f"t{n}", "ij", (name, "ik"), (weight, "kj")), new
        elif kind == "join":
            other = draw(st.sampled_from(saved))
            if other[1] == columns:
                name = b.map(f"t{n}", "ij", ADD, (name, "ij"), (other[0], "ij"))
        elif kind == "map" or name == "x":
            name = b.map(f"t{n}", "ij", SIGMOID, (name, "ij"))
        else:
            # A sum over rows holds back whatever needs it until the last tile.
            kept = "i" if kind == "reduce" else "j"
            total = b.reduce(f"r{n}", kept, Monoid.MAXIMUM, (name, "ij"))
            name = b.map(f"t{n}", "ij", SUBTRACT, (name, "ij"), (total, kept))
        saved.append((name, columns))
    if name == "x":
        name = b.map("y", "ij", SIGMOID, (name, "ij"))
    return b.finish([name])


@settings(deadline=None, max_examples=40)
@given(
    chains(),
    st.sampled_from(["none", "pattern", "spatial"]),
    st.sampled_from([0.003, 0.0417, 0.4, 1.8]),
    st.sampled_from([1, 3, 20]),
)
def test_no_cycle_changes(graph, fusion, hbm, hops):
    chip = SMALL.with_changes(hbm_tb_per_s=hbm, hop_cycles=hops)
    program = rdu.compile(graph, chip, fusion=fusion, moves=20)
    assert simulate(program, None) == simulate(program, None, Manner(fast_forward=False))


def gated(rows, inner):
    b = GraphBuilder("gated")
    x, w1, w2 = (
        b.input(n, s) for n, s in (("x", (rows, 32)), ("w1", (32, inner)), ("w2", (inner, 32)))
    )
    up = b.map("s", "th", SIGMOID, (b.contract("u", "th", (x, "td"), (w1, "dh")), "th"))
    down = b.contract("y", "tg", (up, "th"), (w2, "hg"))
    return b.finish([b.map("r", "tg", ADD, (down, "tg"), (x, "tg"))])


@settings(deadline=None, max_examples=6)
@given(
    st.integers(1000, 12000),
    st.sampled_from([2, 3]),
    st.sampled_from([2.0, 100.0]),
    st.sampled_from([0.05, 1.8]),
)
def test_nor_between_sockets(rows, sockets, link, hbm):
    chip = SMALL.with_changes(hbm_tb_per_s=hbm)
    node = dataclasses.replace(rdu.sn40l_node(sockets), chip=chip, p2p_gb_per_s=link)
    program = rdu.compile(gated(rows, 8 * sockets), node, split="h", moves=20)
    assert simulate(program, None) == simulate(program, None, Manner(fast_forward=False))


def test_most_tiles_of_a_long_kernel_are_skipped():
    for fusion in ("none", "spatial"):
        program = rdu.compile(gated(400_000, 64), NODE, fusion=fusion, moves=20)
        for kernel in program.kernels:
            rounds = max(map(kernel.schedule.count, kernel.schedule.order))
            assert rounds > 100
            assert execute(program, kernel, None).skipped > 0.8 * rounds


class Relay(Context):
    """Takes a tile, works on it and hands it on, where there are channels for it."""

    def __init__(self, takes, gives, count, cycles):
        super().__init__("relay")
        self.takes, self.gives, self.length, self.cycles = takes, gives, count, cycles

    def program(self):
        while self.position < self.length:
            yield from self.rest()
            if self.takes:
                yield from self.pop(self.takes)
            self.work(self.cycles)
            if self.gives:
                yield from self.push(self.gives)
            self.position += 1


@pytest.mark.parametrize("capacity", [1, 50, 300])
@pytest.mark.parametrize("cycles", [(3, 4, 1), (4, 3, 5), (2, 2, 2), (7, 11, 12)])
def test_a_buffer_that_fills_slowly_is_skipped_through(capacity, cycles):
    """Units go at paces of their own until a buffer is full, which no jump may overlook."""
    count, found = 3000, []
    for skipping in (False, True):
        engine = Engine()
        one, two = engine.channel("one", capacity, 2), engine.channel("two", 3)
        units = [Relay(None, one, count, cycles[0]), Relay(one, two, count, cycles[1])]
        units.append(Relay(two, None, count, cycles[2]))
        rounds = Rounds(count, 1, (np.arange(count),))
        for unit in units:
            engine.add(unit)
            rounds.add_stage(unit, 0)
        if skipping:
            assert run_steady(engine, rounds) > count / 2
        end = engine.run()
        found.append([end, *((u.starved, u.blocked, u.busy, u.spans) for u in units)])
    assert found[0] == found[1]


def test_two_sockets_skip_as_well():
    program = rdu.compile(gated(40_000, 16), rdu.sn40l_node(2), split="h", moves=20)
    assert execute(program, program.kernels[0], None).skipped > 0


@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 4000),
    st.integers(1, 30),
    st.integers(2, 4),
    st.booleans(),
    st.sampled_from([0.003, 0.4, 1.8]),
    st.sampled_from([1.0, 20.0, 100.0]),
)
def test_no_cycle_of_a_pipeline_changes(rows, columns, sockets, residual, hbm, p2p):
    b = GraphBuilder("line")
    first = name = b.input("x", (rows, columns))
    for n in range(4):
        weight = b.input(f"w{n}", (columns, columns))
        name = b.contract(f"y{n}", "ij", (name, "ik"), (weight, "kj"))
        name = b.map(f"s{n}", "ij", SIGMOID, (name, "ij"))
    if residual:
        name = b.map("r", "ij", ADD, (name, "ij"), (first, "ij"))
    chip = SMALL.with_changes(hbm_tb_per_s=hbm)
    node = dataclasses.replace(NODE, chip=chip, sockets=sockets, p2p_gb_per_s=p2p)
    try:
        program = rdu.compile(b.finish([name]), node, pipeline=True, moves=20)
    except rdu.MappingError:
        return
    assert simulate(program, None) == simulate(program, None, Manner(fast_forward=False))


def test_most_of_a_long_pipeline_is_skipped():
    b = GraphBuilder("line")
    name = b.input("x", (1 << 16, 32))
    for n in range(3):
        name = b.contract(f"y{n}", "ij", (name, "ik"), (b.input(f"w{n}", (32, 32)), "kj"))
    node = dataclasses.replace(NODE, chip=SMALL, sockets=3)
    program = rdu.compile(b.finish([name]), node, pipeline=True, moves=20)
    found, whole = (execute_line(program, None, Manner(fast_forward=f)) for f in (True, False))
    count = program.kernels[0].schedule.count(program.kernels[0].schedule.order[0])
    assert found.skipped > count / 2
    assert (found.cycles, whole.skipped) == (whole.cycles, 0)
