import dataclasses

import numpy as np
import pytest

import rdu
from rdu.graph.graph import Precision
from rdu.models.decoder_layer import (
    LLAMA2_7B,
    LayerShape,
    decoder_layer,
    decoder_layer_reference,
    rotary_tables,
)

SHAPE = LayerShape(tokens=5, cached=7, hidden=24, heads=4, kv_heads=2, head_dim=8, intermediate=36)


def layer_arrays(shape, graph):
    rng = np.random.default_rng(0)
    arrays = {}
    for name in graph.inputs:
        size = graph.tensor(name).shape
        arrays[name] = rng.standard_normal(size) / np.sqrt(size[0] if name[0] == "w" else 1)
    positions = shape.cached + np.arange(shape.tokens)
    arrays["cos"], arrays["sin"] = rotary_tables(positions, shape.head_dim)
    return arrays


@pytest.mark.parametrize("cached", [0, 7])
def test_fused_unfused_and_on_two_sockets(cached):
    shape = dataclasses.replace(SHAPE, cached=cached)
    graph = decoder_layer(shape, Precision.FP32)
    arrays = layer_arrays(shape, graph)
    exact = decoder_layer_reference(shape, arrays)
    found = {}
    for fusion, split in (("none", ()), ("spatial", ()), ("spatial", ("g", "m"))):
        program = rdu.compile(graph, rdu.sn40l_node(2), fusion=fusion, split=split, moves=100)
        results, report = rdu.run(program, *(arrays[name] for name in graph.inputs))
        assert report.cycles == rdu.estimate(program).cycles
        for name, result in zip(graph.results, results, strict=True):
            np.testing.assert_allclose(result, exact[name], rtol=2e-4, atol=2e-5)
        found[fusion, split] = results
    for one, other in zip(found["none", ()], found["spatial", ()], strict=True):
        assert np.array_equal(one, other)


def test_rotation_is_that_of_complex_numbers():
    positions, half = np.arange(4), 3
    cos, sin = rotary_tables(positions, 2 * half)
    x = np.random.default_rng(0).standard_normal((4, 2, half))
    turned = x * cos + x[:, ::-1] * sin
    angles = positions[:, None] * 10000.0 ** (-np.arange(half) / half)
    expected = (x[:, 0] + 1j * x[:, 1]) * np.exp(1j * angles)
    np.testing.assert_allclose(turned[:, 0] + 1j * turned[:, 1], expected)


def test_a_whole_layer_of_llama2_on_eight_sockets_is_one_kernel():
    graph = decoder_layer(LLAMA2_7B)
    node = rdu.sn40l_node(8)
    program = rdu.compile(graph, node, split=("g", "m"))
    report = rdu.estimate(program)
    assert len(report.kernels) == 1
    weights = sum(graph.tensor(n).bytes for n in graph.inputs if n[0] in "wp")
    assert report.bytes["hbm"] >= weights
    floor = report.bytes["hbm"] / (8 * node.chip.hbm_bytes_per_cycle)
    assert floor < report.kernels[0].cycles < 1.5 * floor
    assert len({stage.socket for stage in report.stages}) == 8


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(rdu.RDUError, match="3 heads must be a multiple of 2"):
        dataclasses.replace(SHAPE, heads=3)
