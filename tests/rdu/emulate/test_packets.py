"""Packets of tiles and tokens: those of dense and sparse kernels, late ones that hold up units."""

import dataclasses
import itertools

import numpy as np
import pytest

import rdu
from rdu.emulate.engine import Engine
from rdu.emulate.network import Fabric
from rdu.emulate.packets import packets_of
from rdu.emulate.rates import ticks_a_cycle
from rdu.emulate.run import build, finished
from rdu.emulate.stages import slowed
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD
from rdu.graph.streams import in_memory
from rdu.mapping.sparse import SparseShape
from rdu.mapping.verify import verify
from rdu.models.experts import expert_layer
from rdu.models.monarch import monarch_fft

SMALL = rdu.sn40l_node(1).chip.with_changes(pcus=64, pmus=64, mesh_rows=8, mesh_columns=8, agcus=16)


@pytest.mark.parametrize("fusion", ["none", "spatial"])
def test_packets_of_tiles_arrive_in_order_when_the_emulation_has_them(fusion):
    program = rdu.compile(monarch_fft(64, 32), SMALL, fusion=fusion, moves=200)
    for number, kernel in enumerate(program.kernels):
        found = packets_of(program, number)
        ends = {
            (stream, flow.ends) for stream, flow in zip(found.streams, found.flows, strict=True)
        }
        for stream, where in ends:
            if stream is None or len(where) > 1:
                continue
            mine = [
                arrival.sequence
                for arrival in found.network.arrivals
                if arrival.end == where[0] and found.streams[arrival.flow] == stream
            ]
            # Several units write one buffer: together they fill every place once.
            assert sorted(mine) == list(range(len(mine)))
        carried = {s for s in found.streams if s is not None}
        assert set(found.late) == carried
        assert len(carried) <= len(kernel.streams)
        assert min(found.late.values()) >= 0


@pytest.mark.parametrize("fusion", ["none", "spatial"])
def test_with_wide_links_no_tile_is_late(fusion):
    """What makes tiles late is waiting for links and credits alone."""
    wide = SMALL.with_changes(vector_tracks=64, fifo_depth=64)
    program = rdu.compile(monarch_fft(64, 32), wide, fusion=fusion, moves=200)
    for number in range(len(program.kernels)):
        found = packets_of(program, number)
        assert set(found.late.values()) == {0}
        assert found.network.stalls == {}


@pytest.mark.parametrize("fusion", ["none", "spatial"])
def test_late_tiles_hold_up_what_waits_for_them(fusion):
    """Narrow links make tiles late, which ends a kernel later; wide links change nothing."""
    graph = monarch_fft(64, 32)
    waited = 0
    narrow, wide = (
        rdu.compile(graph, SMALL.with_changes(**changes), fusion=fusion, moves=200)
        for changes in (
            {"vector_tracks": 1, "fifo_depth": 2},
            {"vector_tracks": 64, "fifo_depth": 64},
        )
    )
    for number, timed in enumerate(rdu.estimate(narrow).kernels):
        alone, held = (packets_of(narrow, number, holds=holds) for holds in (False, True))
        assert alone.cycles == timed.cycles
        assert held.settled
        assert alone.settled == (max(*alone.late.values(), *alone.waits.values()) == 0)
        if alone.settled:
            assert held.cycles == alone.cycles
        assert all(held.late[stream] >= late for stream, late in alone.late.items())
        waited += held.cycles - alone.cycles
    assert waited > 0
    for number, timed in enumerate(rdu.estimate(wide).kernels):
        held = packets_of(wide, number, holds=True)
        assert (held.cycles, held.settled) == (timed.cycles, True)


def test_a_lone_tile_is_never_late():
    b = GraphBuilder("copy")
    x = b.input("x", (8, 64))
    program = rdu.compile(b.finish([b.map("y", "ij", ADD, (x, "ij"), (x, "ij"))]), SMALL, moves=50)
    found = packets_of(program)
    assert set(found.late.values()) == {0}
    assert found.network.stalls == {}


def test_packets_of_kernels_that_are_not_there():
    program = rdu.compile(monarch_fft(64, 32), SMALL, moves=50)
    with pytest.raises(rdu.RDUError, match="1 kernels, found number 1"):
        packets_of(program, 1)
    node = rdu.sn40l_node(2)
    line = rdu.compile(monarch_fft(64, 32), node, pipeline=True, moves=50)
    with pytest.raises(rdu.RDUError, match="joined to other sockets"):
        packets_of(line)


# --- sparse kernels --------------------------------------------------------------------

ROOMY = rdu.sn40l_node(1).chip.with_changes(
    pcus=256, pmus=256, mesh_rows=16, mesh_columns=16, agcus=32
)
WIDE = {"vector_tracks": 64, "scalar_tracks": 64, "fifo_depth": 64}
NARROW = {"vector_tracks": 1, "scalar_tracks": 1, "fifo_depth": 1}


def sparse_graph(name):
    rng = np.random.default_rng(0)
    patterns = [np.argwhere(rng.random((60, 50)) < 0.1) for _ in range(2)]
    b = GraphBuilder(name)
    tree = b.input("p", (60, 50), pattern=patterns[0])
    match name:
        case "vector":
            return b.finish(
                [b.sparse_product("y", "i", [(tree, "ik"), (b.input("x", (50,)), "k")])]
            )
        case "rows":
            x = b.input("x", (50, 8))
            return b.finish([b.sparse_product("y", "ij", [(tree, "ik"), (x, "kj")])])
        case "union":
            other = b.input("q", (60, 50), pattern=patterns[1])
            return b.finish([b.sparse_union("y", "ij", ADD, (tree, "ij"), (other, "ij"))])
        case "trees":
            other = b.input("q", (50, 60), pattern=patterns[1][:, ::-1])
            return b.finish([b.sparse_product("y", "ij", [(tree, "ik"), (other, "kj")])])
        case _:
            return expert_layer(8, 4, 16, 32)


SPARSE = ["vector", "rows", "union", "trees", "experts"]


@pytest.mark.parametrize("name", SPARSE)
def test_packets_of_sparse_tiles_all_arrive_on_their_fabric(name):
    program = rdu.compile(sparse_graph(name), ROOMY, moves=300)
    (kernel,) = program.kernels
    found = packets_of(program)
    assert len(found.network.arrivals) == sum(f.packets * len(f.ends) for f in found.flows)
    for n, flow in enumerate(found.flows):
        for end in flow.ends:
            mine = [a.sequence for a in found.network.arrivals if (a.flow, a.end) == (n, end)]
            assert mine == [flow.first + k * flow.stride for k in range(flow.packets)]
    # Tokens between the units of a sparse stage are scalars, and nothing else is.
    for flow, stage in zip(found.flows, found.stages, strict=True):
        if flow.fabric is Fabric.SCALAR:
            assert isinstance(kernel.stages[stage].shape, SparseShape)
    assert any(flow.fabric is Fabric.SCALAR for flow in found.flows)
    # A control token went back for every tile of every stream that has a way to go.
    carried = {stream for stream in found.streams if stream is not None}
    tiles = 0
    for stream in carried:
        ends = {f.ends for f, s in zip(found.flows, found.streams, strict=True) if s == stream}
        assert all(len(where) == 1 for where in ends)
        s = kernel.streams[stream]
        shape = kernel.stages[s.source if s.target is None else s.target].shape
        tiles += shape.emitted if s.target is None else shape.reads[s.read].sent
    assert found.network.tokens == tiles


@pytest.mark.parametrize("name", SPARSE)
def test_wide_links_change_nothing_and_narrow_ones_hold_up_sparse_stages(name):
    graph = sparse_graph(name)
    wide = rdu.compile(graph, ROOMY.with_changes(**WIDE), moves=300)
    found = packets_of(wide, holds=True)
    assert found.network.stalls == {}
    assert {*found.late.values(), *found.waits.values()} == {0}
    assert found.cycles == rdu.estimate(wide).kernels[0].cycles
    # One track and queues of one place: slower, but nothing blocks.
    narrow = rdu.compile(graph, ROOMY.with_changes(**NARROW), moves=300)
    alone, held = (packets_of(narrow, holds=holds) for holds in (False, True))
    assert alone.cycles == rdu.estimate(narrow).kernels[0].cycles
    assert held.settled
    assert held.cycles > alone.cycles
    assert max(*alone.late.values(), *alone.waits.values()) > 0


@pytest.mark.parametrize("name", SPARSE)
def test_every_token_goes_from_the_unit_of_its_node_to_those_of_its_readers(name):
    (kernel,) = rdu.compile(sparse_graph(name), ROOMY, moves=50).kernels
    units = kernel.placement.units
    for index, stage in enumerate(kernel.stages):
        shape = stage.shape
        tokens = [f for f in kernel.routes.flows if f.fabric is Fabric.SCALAR and f.stage == index]
        if not isinstance(shape, SparseShape) or shape.streams is None:
            assert not tokens
            continue
        assert len(tokens) % shape.copies == 0
        assert {units[f.source].group for f in tokens} <= {stage.name, f"{stage.name}.sums"}
        inside = sum(map(in_memory, shape.streams.nodes)) * shape.copies
        used = {n for f in tokens for n in (f.source, *f.targets)}
        assert sum(units[n].kind == "pmu" for n in used) <= inside
        # Copies share no unit.
        each = len(tokens) // shape.copies
        parts = [tokens[n * each : (n + 1) * each] for n in range(shape.copies)]
        sets = [{n for f in part for n in (f.source, *f.targets)} for part in parts]
        assert all(not one & other for one, other in itertools.combinations(sets, 2))


def test_an_overloaded_link_of_scalars_is_found():
    program = rdu.compile(sparse_graph("vector"), ROOMY, moves=50)
    (kernel,) = program.kernels
    link = next(iter(kernel.routes.scalar_load))
    routes = dataclasses.replace(kernel.routes, scalar_load={link: 10**9})
    bad = dataclasses.replace(program, kernels=(dataclasses.replace(kernel, routes=routes),))
    with pytest.raises(rdu.MappingError, match="carries 1,000,000,000 bytes of scalars"):
        verify(bad)


def test_too_few_control_wires_are_refused():
    """Many streams that end in one place need wires side by side."""
    side = 2
    chip = ROOMY.with_changes(
        pcus=4, pmus=40, mesh_rows=side, mesh_columns=20, agcus=4, control_wires=1
    )
    b = GraphBuilder("many")
    arguments = [(b.input(f"x{n}", (64, 64)), "ij") for n in range(4)]
    name = arguments[0]
    for n, other in enumerate(arguments[1:]):
        name = (b.map(f"t{n}", "ij", ADD, name, other), "ij")
    program = rdu.compile(b.finish([name[0]]), chip, moves=0)
    with pytest.raises(rdu.MappingError, match="which has 1 control wires"):
        packets_of(program)
    assert packets_of(rdu.compile(program.graph, chip.with_changes(control_wires=16))).cycles


@pytest.mark.parametrize("name", ["rows", "dense"])
def test_tiles_from_memory_leave_no_faster_than_their_link_carries_them(name):
    """Memory may be faster than the links of one stream, however long its latency."""
    if name == "dense":
        b = GraphBuilder("tall")
        x, y = b.input("x", (4000, 64)), b.input("y", (4000, 64))
        graph = b.finish([b.map("z", "ij", ADD, (x, "ij"), (y, "ij"))])
    else:
        graph = sparse_graph(name)
    chip = ROOMY.with_changes(hbm_tb_per_s=50.0, hbm_latency_ns=2000.0)
    program = rdu.compile(graph, chip, moves=50)
    (kernel,) = program.kernels
    engine = Engine(ticks_a_cycle(program, kernel))
    built = build(engine, program, kernel, 0, {}, None)
    for port in built.ports:
        port.sent = []
    finished(engine)
    seen = 0
    for stream, port in zip(kernel.streams, built.ports, strict=True):
        least = slowed(stream.tile_cycles, kernel.slowdown) * engine.tick
        gaps = [b - a for a, b in itertools.pairwise(port.sent)]
        assert min(gaps, default=least) >= least
        seen += len(gaps)
    assert seen
