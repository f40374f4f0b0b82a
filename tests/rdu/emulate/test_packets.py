"""Packets inside the engine: closed forms, pressure on units, values and cycles of kernels."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.engine import Context, Engine
from rdu.emulate.network import Disturbance, Network, Way
from rdu.emulate.packets import Operands, PacketPort
from rdu.emulate.run import Manner, simulate
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, SIGMOID
from rdu.graph.streams import in_memory
from rdu.mapping.flows import Fabric
from rdu.mapping.sparse import SparseShape
from rdu.mapping.verify import verify
from rdu.models.experts import expert_layer
from rdu.models.monarch import monarch_fft

SMALL = rdu.sn40l_node(1).chip.with_changes(pcus=64, pmus=64, mesh_rows=8, mesh_columns=8, agcus=16)
VECTOR = 64


def straight(source, end):
    """Along the row, then along the column."""
    (r, c), (r2, c2) = source, end
    row = [(r, x) for x in range(c, c2, 1 if c2 > c else -1)]
    column = [(y, c2) for y in range(r, r2, 1 if r2 > r else -1)]
    return tuple(itertools.pairwise((*row, *column, end)))


class Maker(Context):
    """Is busy with each tile for some cycles, then sends it."""

    def __init__(self, port, tiles, busy, size, fill=0):
        super().__init__("maker")
        self.port, self.length, self.busy_cycles, self.size = port, tiles, busy, size
        self.fill = fill
        self.ends = []

    def program(self):
        while self.position < self.length:
            yield from self.fire(self.busy_cycles)
            self.ends.append(self.time)
            done = self.time + self.fill * self.tick
            yield from self.port.send(self, self.position, done, self.size)
            self.position += 1


class Taker(Context):
    """Takes tiles and notes when."""

    def __init__(self, channel, tiles, busy, size):
        super().__init__("taker")
        self.channel, self.length, self.busy_cycles, self.size = channel, tiles, busy, size
        self.taken = []

    def program(self):
        for _ in range(self.length):
            self.taken.append(((yield from self.pop(self.channel, self.size)), self.time))
            self.work(self.busy_cycles)


def joined(ways, *, depth=4, tracks=1, places=2, hop=1, tiles=6, busy=10, vectors=4, slow=1):
    """Run one stream from the first end of each way to its last."""
    engine = Engine()
    engine.network = network = Network(tracks=tracks, depth=depth, hop_cycles=hop)
    latency = hop * max(len(way) for way in ways)
    channel = engine.channel("stream", places, latency)
    flows = [network.add(Way(way[0][0], (way[-1][1],), way)) for way in ways]
    port = PacketPort(network, channel, flows, VECTOR)
    maker = Maker(port, tiles, busy, vectors * VECTOR)
    taker = Taker(channel, tiles, slow, vectors * VECTOR)
    engine.add(maker)
    engine.add(taker)
    engine.run()
    assert channel.pushed_bytes == channel.popped_bytes == tiles * vectors * VECTOR
    assert [n for n, _ in taker.taken] == list(range(tiles))
    return maker, [time for _, time in taker.taken]


@pytest.mark.parametrize("hops", [1, 4, 9])
@pytest.mark.parametrize("hop", [1, 3])
def test_a_tile_takes_a_cycle_a_vector_and_its_hops(hops, hop):
    _, taken = joined([straight((0, 0), (0, hops))], hop=hop, places=8)
    # Every tile leaves after its firing of 10 cycles, a vector a cycle.
    assert taken == [10 * n + 10 + 4 + hops * hop for n in range(6)]


@pytest.mark.parametrize("vectors", [20, 35])
def test_a_link_that_is_too_slow_sets_the_pace_of_its_unit(vectors):
    maker, taken = joined([straight((0, 0), (0, 3))], places=8, vectors=vectors, tiles=8)
    assert np.diff(taken).tolist() == [vectors] * 7
    # Two tiles may wait to enter the network, the third holds the unit up.
    assert np.diff(maker.ends)[3:].tolist() == [vectors] * 4
    assert maker.blocked > 0


@pytest.mark.parametrize("places", [1, 2])
def test_a_full_buffer_holds_up_until_its_token_is_back(places):
    hops, slow = 5, 100
    maker, taken = joined([straight((0, 0), (0, hops))], places=places, slow=slow, vectors=4)
    # With one place a tile leaves when the token is back: there and back again, and its vectors.
    pace = max(slow, 2 * hops + 4) if places == 1 else slow
    late = slow if places == 2 else 2 * hops + 4
    assert np.diff(taken).tolist()[1:] == [max(pace, late)] * 4
    assert maker.blocked > 0


def test_many_to_one_streams_keep_the_order_of_tiles():
    """Vectors go to three units in turn; tile by tile, whatever way the vectors take."""
    ways = [straight(source, (2, 2)) for source in ((2, 1), (0, 2), (4, 9))]
    for vectors in (1, 2, 3, 7):
        _, taken = joined(ways, places=8, vectors=vectors, busy=1, tiles=9)
        assert taken == sorted(taken)


@pytest.mark.parametrize("units", [1, 3, 4])
def test_operands_that_share_a_link_hold_up_the_firing(units):
    """Each of some buffers sends a vector a cycle over one track: they take turns."""
    engine = Engine()
    engine.network = network = Network(tracks=1, depth=4)
    trunk = ((0, 0), (0, 1))
    sources = [(0, 0), (1, 0), (0, -1), (-1, 0)][:units]
    ways = [(trunk,) if s == (0, 0) else ((s, (0, 0)), trunk) for s in sources]
    flows = [network.add(Way(way[0][0], ((0, 1),), way)) for way in ways]
    channel = engine.channel("results", 50)
    maker = Maker(PacketPort(network, channel, [-1], VECTOR), 20, 16, VECTOR)
    maker.feed = Operands(network, flows, [16 * 20 * VECTOR] * units, [VECTOR] * units, 16 * 20, 2)
    taker = Taker(channel, 20, 0, VECTOR)
    engine.add(maker)
    engine.add(taker)
    end = engine.run()
    # The last vector has a link to go; queues in front of it hold a few at the end of a firing.
    assert 1 <= end - 20 * 16 * units <= 5
    assert (maker.blocked > 0) == (units > 1)
    assert maker.busy == 20 * 16


# --- whole kernels ---------------------------------------------------------------------


def gated(rows, inner):
    b = GraphBuilder("gated")
    x, w1, w2 = (
        b.input(n, s) for n, s in (("x", (rows, 32)), ("w1", (32, inner)), ("w2", (inner, 32)))
    )
    up = b.map("s", "th", SIGMOID, (b.contract("u", "th", (x, "td"), (w1, "dh")), "th"))
    down = b.contract("y", "tg", (up, "th"), (w2, "hg"))
    return b.finish([b.map("r", "tg", ADD, (down, "tg"), (x, "tg"))])


def arrays_of(graph):
    rng = np.random.default_rng(3)
    return [rng.standard_normal(graph.tensor(name).shape) for name in graph.inputs]


WIDE = {"vector_tracks": 64, "scalar_tracks": 64, "fifo_depth": 4}
NARROW = {"vector_tracks": 1, "scalar_tracks": 1, "fifo_depth": 1}


@pytest.mark.parametrize("fusion", ["none", "spatial"])
def test_wide_links_add_the_ways_of_operands_and_narrow_ones_hold_units_up(fusion):
    graph = monarch_fft(64, 32)
    cycles = {}
    for name, changes in (("wide", WIDE), ("usual", {}), ("narrow", NARROW)):
        program = rdu.compile(graph, SMALL.with_changes(**changes), fusion=fusion, moves=200)
        streams, packets = (rdu.estimate(program, network=n) for n in ("streams", "packets"))
        cycles[name] = packets.cycles
        for mapped, one, two in zip(program.kernels, streams.kernels, packets.kernels, strict=True):
            assert two.network["hops"] > 0
            if name == "wide":
                assert two.network["stalls"] == 0
                # What waits for nothing is late by the way of the operands at most.
                routes = mapped.routes
                inside = [
                    hops
                    for flow, hops in zip(routes.flows, routes.hops, strict=True)
                    if flow.stage is not None
                ]
                most = len(mapped.stages) * max(inside, default=0) + 2 * len(mapped.streams)
                assert one.cycles <= two.cycles <= one.cycles + most
    assert cycles["wide"] <= cycles["usual"] < cycles["narrow"]


@pytest.mark.parametrize(
    ("sockets", "options"),
    [
        (1, {"fusion": "none"}),
        (1, {"fusion": "spatial"}),
        (2, {"split": "h"}),
        (2, {"pipeline": True}),
    ],
)
def test_values_and_cycles_come_from_one_run(sockets, options):
    graph = gated(100, 48)
    node = dataclasses.replace(rdu.sn40l_node(sockets), chip=SMALL)
    program = rdu.compile(graph, node, moves=100, **options)
    arrays = arrays_of(graph)
    plain, _ = rdu.run(program, *arrays)
    moved, report = rdu.run(program, *arrays, network="packets")
    assert np.array_equal(plain, moved)
    assert report == rdu.estimate(program, network="packets")
    assert all(kernel.network["hops"] > 0 for kernel in report.kernels)
    roof = max(report.bytes["hbm"] / SMALL.hbm_bytes_per_cycle, report.flops / peak(SMALL))
    assert report.cycles - report.launch_cycles >= roof / sockets


def peak(chip):
    return 2 * chip.pcus * chip.systolic_rows * chip.systolic_columns


@settings(deadline=None, max_examples=12)
@given(
    st.integers(0, 9999),
    st.sampled_from([10, 300, 700]),
    st.integers(1, 2),
    st.sampled_from(["none", "spatial"]),
    st.sampled_from([(1, {}), (2, {"split": "h"})]),
)
def test_no_deadlock_with_one_credit_and_links_that_rest(seed, share, depth, fusion, where):
    sockets, options = where
    chip = SMALL.with_changes(fifo_depth=depth, vector_tracks=1, scalar_tracks=1)
    node = dataclasses.replace(rdu.sn40l_node(sockets), chip=chip)
    program = rdu.compile(gated(64, 32), node, fusion=fusion, moves=50, **options)
    manner = Manner(packets=True, disturbance=Disturbance(seed, share))
    found = simulate(program, None, manner)
    assert found == simulate(program, None, manner)
    for kernel in found.kernels:
        assert kernel.cycles >= kernel.bytes["hbm"] / sockets / chip.hbm_bytes_per_cycle


def test_an_unknown_network_and_too_few_control_wires_are_refused():
    b = GraphBuilder("many")
    arguments = [(b.input(f"x{n}", (64, 64)), "ij") for n in range(4)]
    name = arguments[0]
    for n, other in enumerate(arguments[1:]):
        name = (b.map(f"t{n}", "ij", ADD, name, other), "ij")
    chip = SMALL.with_changes(
        pcus=4, pmus=40, mesh_rows=2, mesh_columns=20, agcus=4, control_wires=1
    )
    program = rdu.compile(b.finish([name[0]]), chip, moves=0)
    with pytest.raises(rdu.MappingError, match="which has 1 control wires"):
        rdu.estimate(program, network="packets")
    wider = rdu.compile(program.graph, chip.with_changes(control_wires=16), moves=0)
    assert rdu.estimate(wider, network="packets").cycles > 0
    with pytest.raises(rdu.RDUError, match="'streams' or 'packets', found 'flits'"):
        rdu.estimate(wider, network="flits")


# --- sparse kernels --------------------------------------------------------------------

ROOMY = rdu.sn40l_node(1).chip.with_changes(
    pcus=256, pmus=256, mesh_rows=16, mesh_columns=16, agcus=32
)


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
def test_narrow_links_hold_up_sparse_stages(name):
    graph = sparse_graph(name)
    cycles = {}
    for kind, changes in (("wide", WIDE), ("narrow", NARROW)):
        program = rdu.compile(graph, ROOMY.with_changes(**changes), moves=300)
        (timed,) = rdu.estimate(program, network="packets").kernels
        assert timed.network["hops"] > 0
        assert (timed.network["stalls"] > 0) == (kind == "narrow")
        cycles[kind] = timed.cycles
        assert timed.cycles >= timed.bytes["hbm"] / ROOMY.hbm_bytes_per_cycle
    assert cycles["narrow"] > cycles["wide"]


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


class Reader(Context):
    """Sends each tile to two streams, as memory does for two readers of one tensor."""

    def __init__(self, ports, tiles, size):
        super().__init__("reader")
        self.ports, self.length, self.size = ports, tiles, size

    def program(self):
        while self.position < self.length:
            first = self.time
            self.work(50)
            for port in self.ports:
                yield from port.send(self, self.position, self.time, self.size, first)
            self.position += 1


def test_a_stream_that_is_held_up_holds_up_the_next():
    """The second stream of a reader cannot have begun while the first one waited."""
    engine = Engine()
    engine.network = network = Network(tracks=1, depth=2)
    ports, takers = [], []
    for n, slow in enumerate((400, 1)):
        channel = engine.channel(f"stream {n}", 1, 3)
        way = straight((n, 0), (n, 3))
        ports.append(
            PacketPort(network, channel, [network.add(Way(way[0][0], ((n, 3),), way))], 64)
        )
        takers.append(Taker(channel, 6, slow, 640))
    for context in (Reader(ports, 6, 640), *takers):
        engine.add(context)
    engine.run()
    slow, quick = ([time for _, time in taker.taken] for taker in takers)
    assert np.diff(slow).tolist() == [400] * 5
    # The place in the first buffer is free when its tile is taken; a token later both tiles leave.
    assert all(b > a for a, b in zip(slow[:-1], quick[1:], strict=True))
