"""Fast-forward where tiles are sparse: the report is that of every tile run token by token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.run import Manner, execute, simulate
from rdu.emulate.tile_times import tile_times
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, SIGMOID
from rdu.graph.graph import Precision

NODE = rdu.sn40l_node(1)
SMALL = NODE.chip.with_changes(
    pcus=80, pmus=100, mesh_rows=10, mesh_columns=10, pmu_kib=16, agcus=20, simd_lanes=8
)


def band(rows, columns, width):
    """Every row holds ``width`` entries from its own place on, as far as there are columns."""
    row = np.repeat(np.arange(rows), width)
    column = row + np.tile(np.arange(width), rows)
    return np.stack([row, column], axis=1)[column < columns]


def again(rows, columns, period, seed):
    """A random pattern of ``period`` rows that comes again and again."""
    block = np.random.default_rng(seed).random((period, columns)) < 0.2
    return np.argwhere(np.tile(block, (-(-rows // period), 1))[:rows])


def scattered(rows, columns, each, seed):
    """As many entries in every row, anywhere."""
    keys = np.random.default_rng(seed).random((rows, columns))
    column = np.sort(np.argsort(keys, axis=1)[:, :each], axis=1)
    return np.stack([np.repeat(np.arange(rows), column.shape[1]), column.reshape(-1)], axis=1)


@st.composite
def patterns(draw, rows, columns):
    kind = draw(st.sampled_from(["band", "again", "scattered", "dense run"]))
    seed = draw(st.integers(0, 99))
    match kind:
        case "band":
            return band(rows, columns, draw(st.integers(1, 5)))
        case "again":
            return again(rows, columns, draw(st.sampled_from([1, 7, 32])), seed)
        case "scattered":
            return scattered(rows, columns, draw(st.integers(1, 4)), seed)
        case _:
            # A stretch of full rows between rows that are nearly empty.
            full = np.zeros((rows, columns), dtype=bool)
            full[rows // 4 : 3 * rows // 4] = True
            return np.argwhere(full | (np.random.default_rng(seed).random(full.shape) < 0.02))


@st.composite
def graphs(draw):
    """A product, a union or a map of tall trees, alone or beside and between dense operators."""
    rows, columns = draw(st.integers(1, 900)), draw(st.integers(1, 40))
    b = GraphBuilder("tall", draw(st.sampled_from([Precision.BF16, Precision.FP32])))
    tree = b.input("p", (rows, columns), pattern=draw(patterns(rows, columns)))
    kind = draw(st.sampled_from(["vector", "rows", "union", "mixed", "trees"]))
    if kind == "vector":
        return b.finish(
            [b.sparse_product("y", "i", [(tree, "ik"), (b.input("x", (columns,)), "k")])]
        )
    if kind == "union":
        other = b.input("q", (rows, columns), pattern=draw(patterns(rows, columns)))
        return b.finish([b.sparse_union("y", "ij", ADD, (tree, "ij"), (other, "ij"))])
    if kind == "trees":
        other = b.input("q", (columns, 12), pattern=draw(patterns(columns, 12)))
        return b.finish([b.sparse_product("y", "ij", [(tree, "ik"), (other, "kj")])])
    name = b.input("x", (columns, 9))
    product = b.sparse_product("y", "ij", [(tree, "ik"), (name, "kj")])
    if kind == "rows":
        return b.finish([product])
    dense = b.contract("u", "ij", (b.input("v", (rows, 6)), "il"), (b.input("w", (6, 9)), "lj"))
    joined = b.map(
        "s", "ij", ADD, (b.map("g", "ij", SIGMOID, (dense, "ij")), "ij"), (product, "ij")
    )
    return b.finish([joined])


@settings(deadline=None, max_examples=60)
@given(
    graphs(),
    st.sampled_from(["none", "spatial"]),
    st.sampled_from([0.003, 0.1, 1.8]),
    st.sampled_from([1, 4]),
)
def test_no_cycle_changes(graph, fusion, hbm, depth):
    chip = SMALL.with_changes(hbm_tb_per_s=hbm, fifo_depth=depth)
    program = rdu.compile(graph, chip, fusion=fusion, moves=20)
    skipped = simulate(program, None)
    assert skipped == simulate(program, None, Manner(fast_forward=False))
    # With data every tile is run as a whole, by itself.
    rng = np.random.default_rng(0)
    arrays = []
    for name in graph.inputs:
        array = rng.random(graph.tensor(name).shape)
        if name in graph.patterns:
            full = np.zeros_like(array)
            full[tuple(graph.patterns[name].T)] = 1 + array[tuple(graph.patterns[name].T)]
            array = full
        arrays.append(array)
    assert rdu.run(program, *arrays)[1] == skipped


def mixed(rows, pattern):
    """A product of a sparse matrix beside a dense one."""
    b = GraphBuilder("mixed")
    tree, x = b.input("p", (rows, 64), pattern=pattern), b.input("x", (rows, 32))
    dense = b.contract("u", "tj", (x, "ti"), (b.input("w", (32, 32)), "ij"))
    sparse = b.sparse_product("v", "tj", [(tree, "tk"), (b.input("e", (64, 32)), "kj")])
    gated = b.map("s", "tj", SIGMOID, (dense, "tj"))
    return b.finish([b.map("y", "tj", ADD, (gated, "tj"), (sparse, "tj"))])


@pytest.mark.parametrize("kind", ["band", "again", "scattered"])
def test_most_rounds_of_tiles_that_take_equally_long_are_skipped(kind):
    rows = 96 * 1024
    pattern = {
        "band": np.stack([np.repeat(np.arange(rows), 2), np.tile([3, 4], rows)], axis=1),
        "again": again(rows, 64, 32, 0),
        "scattered": scattered(rows, 64, 2, 0),
    }[kind]
    program = rdu.compile(mixed(rows, pattern), NODE, moves=20)
    (kernel,) = program.kernels
    count = kernel.schedule.count(kernel.schedule.order[0])
    found, whole = (execute(program, kernel, None, Manner(fast_forward=f)) for f in (True, False))
    assert count > 20
    assert found.skipped > count / 3
    assert (found.cycles, whole.skipped) == (whole.cycles, 0)


def times_of(pattern, columns):
    """The times of the tiles of a product with a vector."""
    b = GraphBuilder("alone")
    tree = b.input("p", (int(pattern[:, 0].max()) + 1, columns), pattern=pattern)
    graph = b.finish([b.sparse_product("y", "i", [(tree, "ik"), (b.input("x", (columns,)), "k")])])
    (kernel,) = rdu.compile(graph, SMALL, moves=5).kernels
    return tile_times(SMALL, graph, kernel.schedule, kernel.stages[0])


def test_tiles_that_are_alike_are_run_once():
    rows = 10_000
    found = times_of(band(rows, rows, 3), rows)
    assert len(found.cycles) > 3
    assert found.run == 2
    found = times_of(scattered(rows, 50, 2, 0), 50)
    assert found.run == len(found.cycles)


def test_a_tile_with_one_entry_more_is_not_taken_for_the_others():
    rows = 10_000
    plain = band(rows, rows, 3)
    regular = times_of(plain, rows)
    tile = rows // len(regular.cycles)
    # An entry more in the middle of the third tile, which shifts nothing else.
    more = np.array([[2 * tile + tile // 2, 2 * tile + tile // 2 + 3]])
    found = times_of(np.unique(np.concatenate([plain, more]), axis=0), rows)
    pairs = zip(regular.cycles, found.cycles, strict=True)
    assert [n for n, (one, other) in enumerate(pairs) if one != other] == [2]
