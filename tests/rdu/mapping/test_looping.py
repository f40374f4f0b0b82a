"""Kernel looping: equal layers between another first and last one are one launch."""

import numpy as np
import pytest

import rdu
import sparsedsl as sd

LAYERS = 4
NODE = rdu.sn40l_node(sockets=1)
CHIP = NODE.chip


@sd.kernel
def stack(x, E, A, B, C, D, H):
    t, e, d, f, o = sd.indices("t e d f o")
    h0, h1, h2, h3, h4, y = (sd.output() for _ in range(6))
    h0[t, d] = sd.relu(sd.sum(x[t, e] * E[e, d], over=e))
    h1[t, f] = sd.relu(sd.sum(h0[t, d] * A[d, f], over=d))
    h2[t, d] = sd.relu(sd.sum(h1[t, f] * B[f, d], over=f))
    h3[t, f] = sd.relu(sd.sum(h2[t, d] * C[d, f], over=d))
    h4[t, d] = sd.relu(sd.sum(h3[t, f] * D[f, d], over=f))
    y[t, o] = h4[t, d] * H[d, o]
    return y


@pytest.fixture(name="case", scope="module")
def made():
    rng = np.random.default_rng(0)
    shapes = [(8, 12), (12, 16), *[(16, 16)] * LAYERS, (16, 24)]
    data = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    graph = rdu.trace(stack, *data)
    names = [operator.name for operator in graph.operators]
    # Two operators a layer, the last product alone.
    return graph, [names[n : n + 2] for n in range(0, len(names), 2)], data


def run(case, orchestration):
    graph, fusion, data = case
    program = rdu.compile(graph, NODE, fusion=fusion, orchestration=orchestration)
    result, report = rdu.run(program, *data)
    return program, result, report


def test_equal_layers_are_launched_once(case):
    program, _, report = run(case, "looped")
    launched = [kernel.launch_cycles > 0 for kernel in report.kernels]
    assert launched == [True, True, *[False] * (LAYERS - 1), True]
    assert rdu.estimate(program).cycles == report.cycles


def test_looping_changes_neither_results_nor_execution(case):
    _, fused, looped = run(case, "looped")
    _, plain, hardware = run(case, "hardware")
    _, hosted, software = run(case, "software")
    np.testing.assert_array_equal(fused, plain)
    np.testing.assert_array_equal(fused, hosted)
    kernels = [[kernel.cycles for kernel in r.kernels] for r in (looped, hardware, software)]
    assert kernels[0] == kernels[1] == kernels[2]
    assert looped.launch_seconds < hardware.launch_seconds < software.launch_seconds
    turn = CHIP.cycles(1e-6 * (CHIP.hardware_launch_us + CHIP.argument_load_us))
    assert hardware.cycles - looped.cycles == (LAYERS - 1) * turn
    # The host loads the program of every layer again, the schedule that of a new kernel.
    assert [k.loaded for k in software.kernels] == [True] * (LAYERS + 2)
    assert [k.loaded for k in hardware.kernels] == [True, True, *[False] * (LAYERS - 1), True]


def test_kernels_that_differ_are_not_turns_of_a_loop(case):
    graph, _, data = case
    program = rdu.compile(graph, NODE, fusion="spatial", orchestration="looped")
    _, report = rdu.run(program, *data)
    assert [kernel.launch_cycles > 0 for kernel in report.kernels] == [True]
