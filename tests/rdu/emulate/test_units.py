"""One unit at work: whole kernels of one tile, to the cycle, in closed form.

A tile is read from memory, takes its way, is worked on, and goes back. Nothing else happens, so
its time is a sum written out here; what each kind of unit adds to it is stated beside its case.
"""

import math
from fractions import Fraction

import pytest

import rdu
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, EXP, SIGMOID
from rdu.graph.graph import Precision
from rdu.graph.nodes import Monoid

# 1000 bytes of memory a cycle, and links wide enough for any unit here.
CHIP = rdu.sn40l_node(1).chip.with_changes(hbm_tb_per_s=1.6, burst_bytes=1, vector_tracks=64)
LANES, STAGES, TAIL = CHIP.simd_lanes, CHIP.simd_stages, CHIP.tail_cycles
ROWS, COLUMNS = CHIP.systolic_rows, CHIP.systolic_columns


def vectors(elements, units):
    return math.ceil(math.ceil(elements / LANES) / units)


def gemm(b, size):
    x, w = b.input("x", (ROWS, size)), b.input("w", (size, COLUMNS))
    return b.contract("y", "ij", (x, "ik"), (w, "kj"))


def exponent(b, size):
    return b.map("y", "ij", EXP, (b.input("x", (size, LANES)), "ij"))


def total(b, size):
    return b.map("y", "ij", ADD, *((b.input(n, (size, LANES)), "ij") for n in ("x", "z")))


def lanes(b, size):
    return b.reduce("y", "i", Monoid.SUM, (b.input("x", (size, LANES)), "ij"))


def across(b, size):
    return b.reduce("y", "j", Monoid.MAXIMUM, (b.input("x", (size, LANES)), "ij"))


def softmax(b, size):
    return b.softmax("y", (b.input("x", (size, LANES)), "ij"), "j")


def turned(b, size):
    return b.transpose("y", "ji", (b.input("x", (size, LANES)), "ij"))


# What each kind of unit takes: cycles in which it is busy, and until the first result is out.
UNITS = {
    # The array holds 32 x 6 results; the last leaves its far corner, through the tail.
    "systolic": (gemm, lambda n, u: max(n, COLUMNS), lambda _: ROWS + COLUMNS - 2 + TAIL),
    # A vector a cycle through six stages; functions of one number are made in the tail.
    "tail": (exponent, lambda n, u: vectors(n * LANES, u), lambda _: STAGES + TAIL),
    "pipeline": (total, lambda n, u: vectors(n * LANES, u), lambda _: STAGES + TAIL),
    # A tree over 32 lanes is five deep.
    "reduction": (lanes, lambda n, u: vectors(n * LANES, u), lambda _: STAGES + TAIL + 5),
    "reduction of rows": (across, lambda n, u: vectors(n * LANES, u), lambda _: STAGES + TAIL + 5),
}


def made(make, size, chip, precision=Precision.BF16):
    b = GraphBuilder("one", precision)
    graph = b.finish([make(b, size)])
    program = rdu.compile(graph, chip, moves=20)
    (kernel,) = program.kernels
    (stage,) = kernel.stages
    assert stage.shape.firings == 1
    assert kernel.slowdown == 1
    return program, kernel, stage


def expected(chip, kernel, busy, fill):
    """The sum: loads one after the other, their ways, the work, the way back, the store."""
    rate = Fraction(chip.hbm_tb_per_s).limit_denominator() * 1000 / Fraction(chip.clock_ghz)
    rate = rate.limit_denominator(1000)
    latency = chip.cycles(1e-9 * chip.hbm_latency_ns)
    (tier,) = kernel.loads
    (store,) = kernel.stores[tier]
    # Loads leave memory the time for the stores.
    loaded = sum(transfer.access.moved for transfer in kernel.loads[tier])
    share = Fraction(loaded, loaded + store.access.moved)
    now, arrivals = Fraction(0), []
    for transfer in kernel.loads[tier]:
        first = now + latency
        now += transfer.access.moved / (rate * share)
        for n in transfer.streams:
            stream = kernel.streams[n]
            leaves = max(now + latency, first + stream.tile_cycles)
            arrivals.append(leaves + stream.hops * chip.hop_cycles)
    end = max(arrivals) + busy
    out = kernel.streams[store.streams[0]]
    there = max(end + fill, end + out.tile_cycles) + out.hops * chip.hop_cycles
    return math.ceil(there + store.access.moved / rate + latency)


@pytest.mark.parametrize("size", [1, 7, 32])
@pytest.mark.parametrize("name", UNITS)
def test_a_tile_on_one_stage_takes_the_sum_of_its_parts(name, size):
    make, busy_of, fill_of = UNITS[name]
    program, kernel, stage = made(make, size, CHIP)
    report = rdu.estimate(program)
    busy, fill = busy_of(size, stage.units.width), fill_of(size)
    assert report.stages[0].busy == busy
    assert report.kernels[0].cycles == expected(CHIP, kernel, busy, fill)


@pytest.mark.parametrize("name", UNITS)
def test_numbers_of_32_bits_take_a_turn_more_and_a_deeper_tail_its_depth(name):
    make, busy_of, fill_of = UNITS[name]
    if name != "tail":
        whole = made(make, 16, CHIP, Precision.INT32)
        every = CHIP.int32_interval_cycles
        report = rdu.estimate(whole[0])
        assert report.stages[0].busy == every * busy_of(16, whole[2].units.width)
    deep = CHIP.with_changes(tail_cycles=TAIL + 9)
    program, kernel, stage = made(make, 16, deep)
    busy, fill = busy_of(16, stage.units.width), fill_of(16) + 9
    assert rdu.estimate(program).kernels[0].cycles == expected(deep, kernel, busy, fill)


@pytest.mark.parametrize("size", [16, 64])
def test_a_transpose_between_buffers_takes_a_vector_a_port(size):
    program, kernel, stage = made(turned, size, CHIP)
    assert stage.units.pcus == 0
    busy = math.ceil(size * LANES * 2 / (CHIP.pmu_port_bytes_per_cycle * stage.units.width))
    report = rdu.estimate(program)
    assert report.stages[0].busy == busy
    assert report.kernels[0].cycles == expected(CHIP, kernel, busy, 1)


def test_softmax_goes_over_its_rows_more_than_once():
    program, kernel, stage = made(softmax, 32, CHIP)
    report = rdu.estimate(program)
    sweeps, rest = divmod(report.stages[0].busy, vectors(32 * LANES, stage.units.width))
    assert (sweeps, rest) == (3, 0)
    fill = STAGES + TAIL + 10
    assert report.kernels[0].cycles == expected(CHIP, kernel, report.stages[0].busy, fill)


@pytest.mark.parametrize("ports", [1, 2])
def test_a_throttled_stage_has_its_own_pace(ports):
    """FP32 vectors take two ports; a mesh with one an operand gets one every other cycle."""
    b = GraphBuilder("sum", Precision.FP32)
    x, z = b.input("x", (64, LANES)), b.input("z", (64, LANES))
    graph = b.finish([b.map("y", "ij", ADD, (x, "ij"), (z, "ij"))])
    sites = 2 * (ports + 1)
    chip = CHIP.with_changes(
        pcus=1, pmus=sites, mesh_rows=2, mesh_columns=ports + 1, agcus=4, vector_tracks=8
    )
    (kernel,) = rdu.compile(graph, chip, moves=20).kernels
    assert kernel.stages[0].units.reads == (ports, ports)
    assert kernel.stages[0].busy == 64 * 2 // ports


def test_tiles_of_a_pipelined_map_follow_each_other_at_the_pace_of_memory():
    """Many tiles, each as long in memory as on the link: the unit waits for none but the first."""
    b = GraphBuilder("tall")
    graph = b.finish([b.map("y", "ij", SIGMOID, (b.input("x", (1 << 18, LANES)), "ij"))])
    program = rdu.compile(graph, CHIP, moves=20)
    (kernel,) = program.kernels
    (stage,) = kernel.stages
    report = rdu.estimate(program)
    assert stage.shape.firings > 8
    each = (1 << 18) * LANES // stage.shape.firings
    assert report.stages[0].busy == stage.shape.firings * vectors(each, stage.units.width)
    moved = 2 * 2 * (1 << 18) * LANES / 1000
    # All bytes one after the other; then the way of the first tile and of the last, and its work.
    assert moved <= report.kernels[0].cycles
    tile = 2 * each / 1000
    ways = sum(stream.hops + stream.tile_cycles for stream in kernel.streams)
    latency = 2 * CHIP.cycles(1e-9 * CHIP.hbm_latency_ns)
    rest = latency + ways + 2 * tile + vectors(each, stage.units.width) + STAGES + TAIL
    assert report.kernels[0].cycles <= moved + rest
