"""Stochastic rounding in the tail of a unit: exact by seed, right on average."""

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from rdu.emulate.functional import rounded_randomly

NODE = rdu.sn40l_node(1)
SMALL = NODE.chip.with_changes(pcus=24, pmus=30, mesh_rows=5, mesh_columns=6, pmu_kib=64, agcus=10)


@sd.kernel
def layer(x, w):
    t, d, h = sd.indices("t d h")
    s, y = sd.output(), sd.output()
    s[t, h] = x[t, d] * w[d, h]
    y[t, h] = sd.tanh(s[t, h]) * 0.7
    return y


def arrays(rows=70):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype("float32") for s in ((rows, 24), (24, 40))]


def run(chip, fusion, seed, rounding="stochastic"):
    data = arrays()
    graph = rdu.trace(layer, *data, rounding=rounding, seed=seed)
    return rdu.run(rdu.compile(graph, chip, fusion=fusion, moves=20), *data)


def test_a_seed_gives_the_same_bits_whatever_the_tiles_and_the_fusion():
    found = [run(c, f, 5)[0] for c in (NODE, SMALL) for f in ("none", "spatial")]
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert not np.array_equal(found[0], run(NODE, "spatial", 6)[0])
    nearest, report = run(NODE, "spatial", 5, "nearest")
    assert not np.array_equal(found[0], nearest)
    assert report.cycles == run(NODE, "spatial", 5)[1].cycles


def test_a_result_is_one_of_the_two_neighbours_and_exact_on_average():
    shape = (200, 500)
    for value in (1.0 + 2.0**-9, -3.1415927, 1e-30, 65000.5):
        exact = np.float32(value)
        whole = [slice(0, n) for n in shape]
        found = rounded_randomly(np.full(shape, exact), whole, shape, key=7)
        low = (exact.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        high = (low.view(np.uint32) + np.uint32(0x10000)).view(np.float32)
        assert set(np.unique(found)) == {low, high}
        chance = (exact - low) / (high - low)
        spread = np.sqrt(chance * (1 - chance) / found.size)
        assert abs((found == high).mean() - chance) < 4 * spread


def test_what_bf16_holds_stays_as_it_is():
    values = np.float32([[1.5, -0.0, np.inf, -np.inf, np.nan, 3e38]])
    kept = np.float32([[1.5, -0.0, np.inf, -np.inf, np.nan]])
    found = rounded_randomly(values, [slice(0, 1), slice(0, 6)], (1, 6), key=1)
    assert np.array_equal(found[:, :5].view(np.uint32), kept.view(np.uint32))


def test_a_tile_rounds_as_the_whole():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((6, 9)).astype("float32")
    whole = rounded_randomly(values, [slice(0, 6), slice(0, 9)], (6, 9), key=3)
    place = [slice(2, 5), slice(4, 9)]
    part = rounded_randomly(values[tuple(place)], place, (6, 9), key=3)
    assert np.array_equal(part, whole[tuple(place)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounding": "up"}, "rounding must be 'nearest' or 'stochastic', found 'up'"),
        ({"seed": -1}, "seed must be from 0"),
        ({"rounding": "stochastic"}, "sparse operators is not modelled"),
    ],
)
def test_refusals(options, message):
    x, w = arrays()
    with pytest.raises(rdu.RDUError, match=message):
        rdu.trace(layer, sp.csr_array(x), w, **options)


def test_cut_graphs_are_refused():
    graph = rdu.trace(layer, *arrays(), rounding="stochastic")
    with pytest.raises(rdu.RDUError, match="cut over sockets"):
        rdu.compile(graph, rdu.sn40l_node(2), split="t")
