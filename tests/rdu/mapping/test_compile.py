import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, SIGMOID
from rdu.graph.graph import Precision
from rdu.graph.nodes import Monoid
from rdu.mapping.depth import sufficient_depths
from rdu.mapping.flows import Flow, Unit, fan
from rdu.mapping.memory import lifetimes
from rdu.mapping.place import Placement, place, wire_cost
from rdu.mapping.route import route
from rdu.mapping.verify import verify
from rdu.models.monarch import monarch_fft

NODE = rdu.sn40l_node()


def program(fusion="spatial", **options):
    return rdu.compile(monarch_fft(128, 32), NODE, fusion=fusion, **options)


def changed(compiled, **changes):
    kernel = dataclasses.replace(compiled.kernels[0], **changes)
    return dataclasses.replace(compiled, kernels=(kernel, *compiled.kernels[1:]))


def test_program_states_what_it_uses():
    compiled = program()
    (kernel,) = compiled.kernels
    groups = compiled.placement[kernel.name]
    assert len(groups["Gemm0"]) == kernel.stages[0].units.pcus
    assert sum(len(sites) for sites in groups.values()) == kernel.pcus + kernel.pmus
    assert compiled.config_bytes == (kernel.pcus + kernel.pmus) * 8 * 1024
    text = str(compiled)
    for word in ("Gemm0", "PCUs", "configuration bytes", "hbm 0x", "Scale"):
        assert word in text


def test_memory_map_does_not_overlap():
    compiled = program("none")
    symbols = compiled.memory
    lives = {life.name: life for life in lifetimes(compiled.graph, compiled.graph.groups("none"))}
    for one, other in itertools.combinations(symbols, 2):
        apart = (
            one.address + one.bytes <= other.address or other.address + other.bytes <= one.address
        )
        assert apart or one.stop <= other.start or other.stop <= one.start
    for symbol in symbols:
        life = lives[symbol.tensor]
        assert (symbol.start, symbol.stop) == (life.start, life.stop)
    top = max(s.address + s.bytes for s in symbols)
    assert top < sum(s.bytes for s in symbols)
    assert {s.tensor for s in symbols} == {"I0", "W0", "Scale", "W1", "P", "S", "T", "Out"}
    assert {s.tensor for s in program("spatial").memory} == {"I0", "W0", "Scale", "W1", "Out"}


def test_a_unit_used_twice_is_found():
    compiled = program()
    placement = compiled.kernels[0].placement
    sites = list(placement.sites)
    kinds = [unit.kind for unit in placement.units]
    first, second = [n for n, kind in enumerate(kinds) if kind == "pcu"][:2]
    sites[second] = sites[first]
    bad = changed(compiled, placement=dataclasses.replace(placement, sites=tuple(sites)))
    with pytest.raises(rdu.MappingError, match=r"twice|used by"):
        verify(bad)


def test_a_unit_outside_the_mesh_is_found():
    compiled = program()
    placement = compiled.kernels[0].placement
    sites = ((99, 0), *placement.sites[1:])
    bad = changed(compiled, placement=dataclasses.replace(placement, sites=sites))
    with pytest.raises(rdu.MappingError, match="outside the mesh"):
        verify(bad)


def test_an_overloaded_link_is_found():
    compiled = program()
    with pytest.raises(rdu.MappingError, match=r"link .* carries .*"):
        verify(changed(compiled, interval=1))


def test_a_flow_without_a_route_is_found():
    compiled = program()
    routes = compiled.kernels[0].routes
    far = next(n for n, links in enumerate(routes.links) if len(links) > 3)
    links = list(routes.links)
    links[far] = ()
    with pytest.raises(rdu.MappingError, match="no route"):
        verify(changed(compiled, routes=dataclasses.replace(routes, links=tuple(links))))


def test_an_overfull_buffer_is_found():
    compiled = program()
    stage = compiled.kernels[0].stages[0]
    read = dataclasses.replace(stage.shape.reads[0], tile_bytes=2**24)
    shape = dataclasses.replace(stage.shape, reads=(read, *stage.shape.reads[1:]))
    stages = (dataclasses.replace(stage, shape=shape), *compiled.kernels[0].stages[1:])
    with pytest.raises(rdu.MappingError, match="the buffer of W0 in Gemm0 needs"):
        verify(changed(compiled, stages=stages))


def test_too_many_stages_say_how_to_split():
    b = GraphBuilder("long")
    name = b.input("x", (8, 8))
    for n in range(6):
        name = b.map(f"t{n}", "ij", SIGMOID, (name, "ij"))
    graph = b.finish([name])
    chip = NODE.chip.with_changes(pcus=4, pmus=12, mesh_rows=3, mesh_columns=4)
    with pytest.raises(rdu.MappingError) as caught:
        rdu.compile(graph, chip)
    assert "its stages need 6 PCUs, the chip has 4" in str(caught.value)
    assert "split the graph into 2 kernels" in str(caught.value)
    assert caught.value.hint.startswith("use a chip with 6 PCUs, or")
    assert rdu.compile(graph, chip.with_changes(pcus=6)).kernels
    assert len(rdu.compile(graph, chip, fusion=[["t0", "t1"], ["t2", "t3"]]).kernels) == 4


@pytest.mark.parametrize("side", [2, 3, 4, 8, 26])
@pytest.mark.parametrize("fusion", ["none", "pattern", "spatial"])
def test_every_chip_size_maps_or_says_what_would(side, fusion):
    sites = side * (40 if side == 26 else side)
    chip = NODE.chip.with_changes(
        pcus=sites, pmus=sites, mesh_rows=side, mesh_columns=sites // side, agcus=2 * side
    )
    graph = monarch_fft(96, 32)
    if side == 2 and fusion != "none":
        with pytest.raises(rdu.MappingError, match=r"need \d+ PMUs(.|\n)*hint: use a chip with"):
            rdu.compile(graph, chip, fusion=fusion, moves=100)
        return
    compiled = rdu.compile(graph, chip, fusion=fusion, moves=100)
    verify(compiled)
    for kernel, timed in zip(compiled.kernels, rdu.estimate(compiled).kernels, strict=True):
        moved = timed.bytes["hbm"] / chip.hbm_bytes_per_cycle
        work = timed.flops / (2 * sites * chip.systolic_rows * chip.systolic_columns)
        assert timed.cycles >= max(moved, work)
        assert max(kernel.pcus, kernel.pmus) <= sites


def test_a_mesh_with_few_scratchpads_throttles():
    """A vector of FP32 takes two ports: with one an operand, every other cycle has a vector."""
    b = GraphBuilder("sum", Precision.FP32)
    x, y = b.input("x", (64, 32)), b.input("y", (64, 32))
    graph = b.finish([b.map("z", "ij", ADD, (x, "ij"), (y, "ij"))])
    busy: list[int] = []
    for rows, columns in ((2, 2), (2, 3)):
        sites = rows * columns
        chip = NODE.chip.with_changes(
            pcus=1, pmus=sites, mesh_rows=rows, mesh_columns=columns, agcus=2 * rows
        )
        compiled = rdu.compile(graph, chip)
        stage = compiled.kernels[0].stages[0]
        assert stage.units.reads == ((1, 1) if sites == 4 else (2, 2))
        data = [np.full((64, 32), value, "float32") for value in (1.5, 2.0)]
        found, report = rdu.run(compiled, *data)
        assert np.array_equal(found, data[0] + data[1])
        assert report.cycles == rdu.estimate(compiled).cycles
        busy.append(report.stages[0].busy)
    vectors = 64 * 32 // NODE.chip.simd_lanes
    assert busy == [2 * vectors, vectors]


def test_buffers_that_do_not_fit_say_what_would():
    b = GraphBuilder("norm")
    x = b.input("x", (4, 60_000))
    w = b.input("w", (60_000,))
    graph = b.finish([b.rms_norm("n", (x, "ij"), w, "j")])
    chip = NODE.chip.with_changes(pcus=4, pmus=4, mesh_rows=2, mesh_columns=2, pmu_kib=16)
    with pytest.raises(rdu.MappingError) as caught:
        rdu.compile(graph, chip)
    message = str(caught.value)
    assert "need" in message
    assert "PMUs of 16 KiB, the chip has 4" in message
    needed = int(message.split("use a chip with ")[1].split()[0])
    larger = chip.with_changes(pmus=needed, mesh_rows=2, mesh_columns=needed)
    assert rdu.compile(graph, larger).kernels
    with pytest.raises(rdu.MappingError):
        rdu.compile(graph, larger.with_changes(pmus=needed - 1))


def test_a_path_that_waits_for_a_sum_says_what_would_hold_it():
    """``t - sum(t)`` over rows keeps all of ``t``; what that needs on top is part of the hint."""
    b = GraphBuilder("centred")
    x = b.input("x", (200, 200))
    t = b.map("t", "ij", ADD, (x, "ij"), (x, "ij"))
    total = b.reduce("s", "j", Monoid.SUM, (t, "ij"))
    graph = b.finish([b.map("y", "ij", ADD, (t, "ij"), (total, "j"))])
    chip = NODE.chip.with_changes(pcus=12, pmus=12, mesh_rows=3, mesh_columns=4, pmu_kib=8)
    with pytest.raises(rdu.MappingError) as caught:
        rdu.compile(graph, chip)
    needed = int(caught.value.hint.split("use a chip with ")[1].split()[0])
    # The mesh has as many rows more as they take: a longer way to memory needs longer buffers.
    larger = chip.with_changes(pmus=needed, mesh_rows=-(-needed // 4))
    assert rdu.compile(graph, larger, moves=50).kernels
    with pytest.raises(rdu.MappingError):
        rdu.compile(graph, larger.with_changes(pmus=needed - 1), moves=50)


def test_memory_that_is_too_small():
    chip = NODE.chip.with_changes(hbm_gib=3e-4, ddr_tib=1e-3)
    compiled = rdu.compile(monarch_fft(256, 32), chip, fusion="none")
    tiers = {symbol.tensor: symbol.tier.value for symbol in compiled.memory}
    assert "ddr" in tiers.values()
    top = max(s.address + s.bytes for s in compiled.memory if s.tier.value == "hbm")
    assert top <= chip.hbm_bytes
    fixed = dict.fromkeys(("Scale", "W0", "W1", "I0"), "hbm")
    with pytest.raises(rdu.CapacityError, match=r"HBM holds .* more"):
        rdu.compile(monarch_fft(256, 32), chip.with_changes(hbm_gib=1e-4), tiers=fixed)
    with pytest.raises(rdu.CapacityError, match=r"DDR holds .* more"):
        rdu.compile(monarch_fft(256, 32), chip.with_changes(ddr_tib=1e-8), fusion="none")


def test_every_link_keeps_to_its_bandwidth():
    for fusion in ("none", "spatial"):
        for kernel in program(fusion).kernels:
            cycles = kernel.interval * kernel.slowdown
            width = NODE.chip.hop_bytes_per_cycle
            assert all(load <= cycles * width for load in kernel.routes.load.values())
            for links in kernel.routes.links:
                for (r1, c1), (r2, c2) in links:
                    assert abs(r1 - r2) + abs(c1 - c2) == 1


def test_link_loads_are_the_sum_of_the_flows():
    (kernel,) = program().kernels
    total = {}
    for flow, links in zip(kernel.routes.flows, kernel.routes.links, strict=True):
        assert len(set(links)) == len(links)
        for link in links:
            total[link] = total.get(link, 0) + flow.bytes
    assert total == kernel.routes.load


def test_annealing_shortens_the_wires():
    (kernel,) = program().kernels
    units, flows = kernel.placement.units, kernel.routes.flows

    def wires(moves):
        sites = place(NODE.chip, units, flows, moves=moves).sites
        assert len(set(zip((u.kind for u in units), sites, strict=True))) == len(units)
        return wire_cost(NODE.chip, flows, sites)

    assert wires(3000) < wires(300) <= wires(0)
    assert wires(500) == wires(500)


def test_a_placement_is_near_that_of_a_run_of_ten_times_the_moves():
    side = 8
    chip = NODE.chip.with_changes(pcus=64, pmus=64, mesh_rows=side, mesh_columns=side, agcus=16)
    (kernel,) = rdu.compile(monarch_fft(64, 32), chip, moves=1).kernels
    units, flows = kernel.placement.units, kernel.routes.flows
    short, long = (place(chip, units, flows, moves=moves) for moves in (4000, 40_000))
    assert wire_cost(chip, flows, short.sites) < 1.3 * wire_cost(chip, flows, long.sites)
    short, long = (route(chip, placement, flows) for placement in (short, long))
    assert sum(short.hops) < 1.4 * sum(long.hops)
    assert max(short.load.values()) < 1.4 * max(long.load.values())
    # A wire is no longer than half the perimeter of the mesh and the way to memory.
    assert max(short.hops) <= 2 * side


def test_a_kernel_that_a_link_would_slow_is_placed_again():
    graph, chip = monarch_fft(128, 32), NODE.chip.with_changes(vector_tracks=1)
    slow = []
    for tries in (1, 3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rdu.mapping.compile._SEEDS", tries)
            found = [rdu.compile(graph, chip, moves=200, seed=seed) for seed in range(0, 12, 3)]
        slow.append([float(compiled.kernels[0].slowdown) for compiled in found])
    assert min(slow[0]) > 1
    assert all(again <= once for once, again in zip(*slow, strict=True))
    assert sum(slow[1]) < sum(slow[0])


def test_a_stage_starts_as_a_block():
    """Units in line over a mesh of long rows would lie in a strip."""
    chip = NODE.chip
    units = [Unit("pcu", "stage")] * 100
    flows = [Flow(n, tuple(range(100)), 64, 0) for n in range(4)]
    sites = place(chip, units, flows, moves=0).sites
    rows, columns = ({site[n] for site in sites} for n in (0, 1))
    assert max(len(rows), len(columns)) <= 16


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**20), st.integers(1, 30))
def test_choosing_again_never_loads_the_busiest_link_more(seed, count):
    rng = np.random.default_rng(seed)
    chip = NODE.chip.with_changes(pcus=36, pmus=36, mesh_rows=6, mesh_columns=6, agcus=12)
    sites = tuple((int(n) // 6, int(n) % 6) for n in rng.permutation(36))
    placement = Placement((Unit("pcu", "stage"),) * 36, sites)
    flows = []
    for _ in range(count):
        ends = [int(n) for n in rng.choice(36, rng.integers(2, 6), replace=False)]
        source, targets = rng.choice([ends[0], -1]), tuple(ends[1:])
        flows.append(Flow(None if source < 0 else int(source), targets, int(rng.integers(1, 99))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rdu.mapping.route._TURNS", 1)
        once = route(chip, placement, flows)
    again = route(chip, placement, flows)
    assert max(again.load.values()) <= max(once.load.values())
    for flow, links in zip(flows, again.links, strict=True):
        # Every target is the end of a path of links from the source or a port of memory.
        starts = {a for a, _ in links} - {b for _, b in links}
        assert len(starts) == 1 or not links
        ends = {sites[t] for t in flow.targets}
        assert ends <= {b for _, b in links} | ({sites[flow.source]} if flow.source else set())


def test_drawing(tmp_path):
    text = program("none").draw(tmp_path / "p.svg").read_text()
    for name in ("Gemm0", "Mul", "Transpose", "Gemm1"):
        assert name in text
    text = program("none").draw_memory(tmp_path / "m.svg").read_text()
    assert " of 68.72 GB (0.0%)" in text
    for name in ("I0", "Scale", "P", "Out"):
        assert f">{name}<" in text


def test_depths_of_a_path_that_rejoins():
    # One stream runs five tiles ahead of the other.
    fork = [(True, 0)] * 5 + [(True, 1)] * 5
    join = [(False, 1), (False, 0)] * 5
    assert sufficient_depths([fork, join], [1, 1], ["early", "late"]) == [5, 1]
    with pytest.raises(rdu.MappingError, match="late"):
        sufficient_depths([[], [(False, 0)]], [1], ["late"])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40))
def test_fan_serves_every_target(sources, targets):
    pairs = fan(list(range(sources)), list(range(100, 100 + targets)))
    assert [a for a, _ in pairs] == list(range(sources))
    assert {t for _, part in pairs for t in part} == set(range(100, 100 + targets))


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([64, 256, 512]))
def test_residual_needs_no_luck(rows, columns, kib):
    chip = NODE.chip.with_changes(pmu_kib=kib)
    b = GraphBuilder("residual")
    x, w, g = (
        b.input("x", (rows, columns)),
        b.input("w", (columns, columns)),
        b.input("g", (columns,)),
    )
    n = b.rms_norm("n", (x, "ij"), g, "j")
    y = b.contract("y", "ik", (n, "ij"), (w, "jk"))
    graph = b.finish([b.map("r", "ik", ADD, (y, "ik"), (x, "ik"))])
    report = rdu.estimate(rdu.compile(graph, chip, moves=50))
    assert report.bytes["hbm"] == graph.bytes("spatial")
