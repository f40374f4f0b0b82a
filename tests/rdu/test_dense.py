"""Dense graphs end to end: values against NumPy, fused against unfused, time against bounds."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.functional import rounded
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import ADD, MULTIPLY, SIGMOID, SILU, SUBTRACT
from rdu.graph.graph import Precision
from rdu.graph.nodes import Monoid, Subscript
from rdu.models.monarch import monarch_fft

NODE = rdu.sn40l_node()
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
U = 2.0**-8  # unit roundoff of bf16: eight significant bits


def run_all(graph, arrays, node=NODE, fusions=("none", "pattern", "spatial")):
    """Run under every fusion; check the invariants of each report; return the common result."""
    results = []
    for fusion in fusions:
        program = rdu.compile(graph, node, fusion=fusion, moves=200)
        result, report = rdu.run(program, *arrays)
        check_report(program, report)
        assert rdu.estimate(program).cycles == report.cycles
        results.append(result)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


def check_report(program, report):
    chip = program.node.chip
    executed = sum(kernel.cycles for kernel in report.kernels)
    assert report.cycles == executed + report.launch_cycles
    assert executed >= report.bytes["hbm"] / chip.hbm_bytes_per_cycle
    peak = 2 * chip.pcus * chip.systolic_rows * chip.systolic_columns
    assert executed >= report.flops / peak
    assert report.bytes["hbm"] == program.bytes("hbm")
    for stage in report.stages:
        assert stage.busy + stage.starved + stage.blocked == stage.end
    for kernel in program.kernels:
        assert kernel.pcus <= chip.pcus
        assert kernel.pmus <= chip.pmus


def random_arrays(graph, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return [scale * rng.standard_normal(graph.tensor(name).shape) for name in graph.inputs]


def test_monarch_values_and_traffic():
    graph = monarch_fft(96, 32)
    arrays = random_arrays(graph)
    found = run_all(graph, arrays)
    data, w0, scale, w1 = (rounded(a, Precision.BF16).astype(np.float64) for a in arrays)
    exact = w1 @ ((w0 @ data) * scale).T
    # Three roundings lie on the way: product, scaled product, result.
    magnitude = np.abs(w1) @ ((np.abs(w0) @ np.abs(data)) * np.abs(scale)).T
    assert np.all(np.abs(found - exact) <= 3.1 * U * magnitude)
    program = rdu.compile(graph, NODE, fusion="spatial")
    assert program.bytes("hbm") == graph.bytes("spatial")
    unfused = rdu.compile(graph, NODE, fusion="none")
    assert unfused.bytes("hbm") == graph.bytes("none")


def test_monarch_full_size_fused_is_faster():
    graph = monarch_fft()
    cycles = {}
    for fusion in ("none", "spatial"):
        report = rdu.estimate(rdu.compile(graph, NODE, fusion=fusion))
        cycles[fusion] = sum(kernel.cycles for kernel in report.kernels)
    assert cycles["spatial"] < cycles["none"] / 2


def test_fp32_mode_is_numpy_in_float32():
    graph = monarch_fft(40, 8, Precision.FP32)
    arrays = random_arrays(graph)
    found = run_all(graph, arrays)
    data, w0, scale, w1 = arrays
    exact = w1 @ ((w0 @ data) * scale).T
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


def gated_mlp(t, d, h):
    b = GraphBuilder("mlp")
    x, w1, w3, w2 = (
        b.input(n, s) for n, s in (("x", (t, d)), ("w1", (d, h)), ("w3", (d, h)), ("w2", (h, d)))
    )
    up = b.contract("u", "th", (x, "td"), (w1, "dh"))
    gate = b.contract("g", "th", (x, "td"), (w3, "dh"))
    active = b.map("s", "th", SILU, (up, "th"))
    product = b.map("p", "th", MULTIPLY, (active, "th"), (gate, "th"))
    down = b.contract("y", "tg", (product, "th"), (w2, "hg"))
    return b.finish([b.map("r", "tg", ADD, (down, "tg"), (x, "tg"))])


@pytest.mark.parametrize("node", [NODE, SMALL], ids=["sn40l", "small"])
def test_gated_mlp_with_residual(node):
    graph = gated_mlp(33, 40, 70)
    arrays = random_arrays(graph, scale=0.3)
    found = run_all(graph, arrays, node)
    x, w1, w3, w2 = (rounded(a, Precision.BF16).astype(np.float64) for a in arrays)
    u = x @ w1
    exact = (u / (1 + np.exp(-u)) * (x @ w3)) @ w2 + x
    assert np.abs(found - exact).max() <= 8 * U * np.abs(exact).max()


def test_result_does_not_depend_on_the_chip():
    graph = gated_mlp(33, 40, 70)
    arrays = random_arrays(graph)
    one, _ = rdu.run(rdu.compile(graph, NODE), *arrays)
    other, _ = rdu.run(rdu.compile(graph, SMALL, fusion="none"), *arrays)
    assert np.array_equal(one, other)


def attention(t, d, precision=Precision.BF16):
    b = GraphBuilder("attention", precision)
    x = b.input("x", (t, d))
    norm = b.input("norm", (d,))
    weights = [b.input(n, (d, d)) for n in ("wq", "wk", "wv")]
    n = b.rms_norm("n", (x, "td"), norm, "d")
    q, k, v = (b.contract(w[1], "te", (n, "td"), (w, "de")) for w in weights)
    s = b.contract("s", "ij", (q, "ie"), (k, "je"))
    p = b.softmax("p", (s, "ij"), "j")
    o = b.contract("o", "ie", (p, "ij"), (v, "je"))
    return b.finish([b.map("out", "ie", ADD, (o, "ie"), (x, "ie"))])


@pytest.mark.parametrize("node", [NODE, SMALL], ids=["sn40l", "small"])
def test_self_attention_with_norm_and_softmax(node):
    graph = attention(50, 24, Precision.FP32)
    arrays = random_arrays(graph, scale=0.5)
    found = run_all(graph, arrays, node)
    x, norm, wq, wk, wv = arrays
    n = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * norm
    s = (n @ wq) @ (n @ wk).T
    p = np.exp(s - s.max(1, keepdims=True))
    exact = p / p.sum(1, keepdims=True) @ (n @ wv) + x
    np.testing.assert_allclose(found, exact, rtol=2e-4, atol=2e-5)


def test_access_patterns():
    b = GraphBuilder("shift", Precision.FP32)
    x = b.input("x", (10,))
    w = b.rearrange("w", "ij", x, [Subscript((("i", 1), ("j", 2)), 1)], extents={"i": 4, "j": 3})
    graph = b.finish([b.reduce("y", "i", Monoid.SUM, (w, "ij"))])
    data = np.arange(10.0)
    found = run_all(graph, [data])
    assert found.tolist() == [sum(data[i + 2 * j + 1] for j in range(3)) for i in range(4)]


def test_transpose_of_three_modes():
    b = GraphBuilder("turn", Precision.FP32)
    x = b.input("x", (5, 6, 7))
    graph = b.finish([b.transpose("y", "kij", (x, "ijk"))])
    data = random_arrays(graph)[0].astype(np.float32)
    assert np.array_equal(run_all(graph, [data]), data.transpose(2, 0, 1))


def test_several_results_come_as_a_tuple():
    b = GraphBuilder("two", Precision.FP32)
    x = b.input("x", (3, 4))
    s = b.map("s", "ij", SIGMOID, (x, "ij"))
    m = b.reduce("m", "i", Monoid.MAXIMUM, (s, "ij"))
    graph = b.finish([s, m])
    program = rdu.compile(graph, NODE)
    data = random_arrays(graph)[0]
    (first, second), _ = rdu.run(program, data)
    np.testing.assert_allclose(first, 1 / (1 + np.exp(-data)), rtol=1e-6)
    assert np.array_equal(second, first.max(1))


@st.composite
def chains(draw):
    """A random chain of products, maps and reductions over small extents."""
    b = GraphBuilder("random", draw(st.sampled_from([Precision.BF16, Precision.FP32])))
    extent = st.integers(1, 70)
    shape = (draw(extent), draw(extent))
    name = b.input("x", shape)
    saved = [(name, shape)]
    for n in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["gemm", "map", "join", "turn", "reduce"]))
        rows, columns = shape
        if kind == "gemm":
            new = draw(extent)
            weight = b.input(f"w{n}", (columns, new))
            name, shape = b.contract(f"t{n}", "ij", (name, "ik"), (weight, "kj")), (rows, new)
        elif kind == "map":
            name = b.map(f"t{n}", "ij", SIGMOID, (name, "ij"))
        elif kind == "join":
            other = draw(st.sampled_from(saved))
            if other[1] != shape:
                continue
            name = b.map(f"t{n}", "ij", ADD, (name, "ij"), (other[0], "ij"))
        elif kind == "turn":
            name, shape = b.transpose(f"t{n}", "ji", (name, "ij")), (columns, rows)
        else:
            total = b.reduce(f"r{n}", "i", Monoid.MAXIMUM, (name, "ij"))
            name = b.map(f"t{n}", "ij", SUBTRACT, (name, "ij"), (total, "i"))
        saved.append((name, shape))
    if name == "x":
        name = b.map("y", "ij", SIGMOID, (name, "ij"))
    return b.finish([name])


def evaluate(graph, arrays):
    """Evaluate a chain in float64."""
    from rdu.graph.nodes import Contract, Map, Rearrange, Reduction

    values = dict(zip(graph.inputs, (np.asarray(a, np.float64) for a in arrays), strict=True))
    for op in graph.operators:
        match op:
            case Contract():
                new = values[op.left.tensor] @ values[op.right.tensor]
            case Map(arguments=(single,)):
                new = 1 / (1 + np.exp(-values[single.tensor]))
            case Map(arguments=(left, right)):
                a, b = values[left.tensor], values[right.tensor]
                new = a + b if op.function.name == "add" else a - b[:, None]
            case Rearrange():
                new = values[op.source].T
            case Reduction():
                new = values[op.operand.tensor].max(1)
            case _:
                raise AssertionError(op)
        values[op.output.tensor] = new
    return values[graph.results[0]]


@settings(deadline=None, max_examples=25)
@given(chains(), st.sampled_from(["sn40l", "small"]), st.integers(0, 99))
def test_random_chains(graph, chip, seed):
    node = NODE if chip == "sn40l" else SMALL
    arrays = random_arrays(graph, seed, 0.2)
    found = run_all(graph, arrays, node)
    if graph.precision is Precision.FP32:
        np.testing.assert_allclose(found, evaluate(graph, arrays), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("orchestration", ["software", "hardware"])
def test_launch_costs(orchestration):
    graph = monarch_fft(64, 16)
    program = rdu.compile(graph, NODE, fusion="none", orchestration=orchestration)
    report = rdu.estimate(program)
    chip = NODE.chip
    who = chip.hardware_launch_us if orchestration == "hardware" else chip.host_launch_us
    rate = 1e12 * chip.hbm_tb_per_s
    if orchestration == "software":
        rate = 1e9 * chip.config_load_gb_per_s
    seconds = sum(
        1e-6 * (who + chip.argument_load_us) + k.config_bytes / rate for k in program.kernels
    )
    assert report.launch_seconds == pytest.approx(seconds, abs=4e-9)


def test_a_repeated_kernel_is_loaded_once():
    b = GraphBuilder("twice")
    x, y = b.input("x", (64, 64)), b.input("y", (64, 64))
    s = b.map("s", "ij", ADD, (x, "ij"), (y, "ij"))
    t = b.map("t", "ij", ADD, (s, "ij"), (y, "ij"))
    graph = b.finish([b.map("u", "ij", MULTIPLY, (t, "ij"), (y, "ij"))])
    report = rdu.estimate(rdu.compile(graph, NODE, fusion="none"))
    assert [kernel.loaded for kernel in report.kernels] == [True, False, True]
    program = rdu.compile(graph, NODE, fusion="none", orchestration="software")
    assert all(kernel.loaded for kernel in rdu.estimate(program).kernels)


def test_repeated_layers_are_simulated_once_with_the_same_cycles():
    b = GraphBuilder("layers")
    x = b.input("x", (40, 24))
    for n in range(4):
        w, v = b.input(f"w{n}", (24, 50)), b.input(f"v{n}", (50, 24))
        h = b.contract(f"h{n}", "ij", (x, "ik"), (w, "kj"))
        s = b.map(f"s{n}", "ij", SILU, (h, "ij"))
        y = b.contract(f"y{n}", "ij", (s, "ik"), (v, "kj"))
        x = b.map(f"z{n}", "ij", ADD, (y, "ij"), (x, "ij"))
    graph = b.finish([x])
    for fusion in ("none", "pattern"):
        program = rdu.compile(graph, NODE, fusion=fusion)
        assert sum(kernel.twin is not None for kernel in program.kernels) >= 6
        apart = dataclasses.replace(
            program, kernels=tuple(dataclasses.replace(k, twin=None) for k in program.kernels)
        )
        fast, slow = rdu.estimate(program), rdu.estimate(apart)
        assert fast.to_json() == slow.to_json()
        arrays = random_arrays(graph, scale=0.2)
        assert rdu.run(program, *arrays)[1].cycles == fast.cycles


def test_compile_and_run_are_deterministic():
    graph = gated_mlp(20, 24, 30)
    first, second = (rdu.compile(graph, NODE, seed=3) for _ in range(2))
    assert first.placement == second.placement
    assert rdu.estimate(first).to_json() == rdu.estimate(second).to_json()


def test_wrong_arrays_are_refused():
    graph = monarch_fft(16, 8)
    program = rdu.compile(graph, NODE)
    arrays = random_arrays(graph)
    with pytest.raises(rdu.RDUError, match="4 inputs"):
        rdu.run(program, *arrays[:3])
    with pytest.raises(rdu.RDUError, match=r"W0: expected shape \(16, 8\), found \(8, 16\)"):
        rdu.run(program, arrays[0], arrays[1].T, *arrays[2:])
    with pytest.raises(rdu.RDUError, match="complex128"):
        rdu.run(program, arrays[0] + 1j, *arrays[1:])
    with pytest.raises(rdu.RDUError, match="orchestration"):
        rdu.compile(graph, NODE, orchestration="manual")


def test_ddr_tensors_are_counted_and_slower():
    graph = monarch_fft(256, 32)
    near = rdu.estimate(rdu.compile(graph, NODE))
    some = rdu.estimate(rdu.compile(graph, NODE, tiers={"Scale": "ddr"}))
    size = graph.tensor("Scale").bytes
    assert some.bytes["ddr"] == size
    assert some.bytes["hbm"] == near.bytes["hbm"] - size
    far = rdu.estimate(rdu.compile(graph, NODE, tiers=dict.fromkeys(graph.inputs, "ddr")))
    assert far.cycles > near.cycles
    assert far.kernels[0].cycles >= far.bytes["ddr"] / NODE.chip.ddr_bytes_per_cycle
    with pytest.raises(rdu.RDUError, match="tier"):
        rdu.compile(graph, NODE, tiers={"Scale": "tape"})
    with pytest.raises(rdu.RDUError, match="Scales"):
        rdu.compile(graph, NODE, tiers={"Scales": "ddr"})


def test_report_outputs(tmp_path):
    import json

    graph = monarch_fft(64, 16)
    report = rdu.estimate(rdu.compile(graph, NODE))
    data = json.loads(report.to_json())
    assert data["bytes"]["hbm"] == report.bytes["hbm"]
    assert data["seconds"] == pytest.approx(report.seconds)
    trace = json.loads(report.chrome_trace(tmp_path / "t.json").read_text())
    names = {event["name"] for event in trace["traceEvents"]}
    assert {"Gemm0", "Mul", "Transpose", "Gemm1", "launch"} <= names
    assert "Gemm1" in report.plot(tmp_path / "p.svg").read_text()
    assert set(report.stalls) == {f"k0:Gemm0+3/{n}" for n in ("Gemm0", "Mul", "Transpose", "Gemm1")}
    assert 0 < report.hbm_fraction <= 1
    assert "flops a byte" in str(report)
    lanes = {(e["pid"], e["args"]["name"]) for e in trace["traceEvents"] if e["ph"] == "M"}
    assert {(0, "socket 0"), (0, "kernels"), (0, "Gemm0"), (0, "Gemm1")} <= lanes
    busy = sum(e["dur"] for e in trace["traceEvents"] if e["name"] == "Gemm0" and e["ph"] == "X")
    stage = next(s for s in report.stages if s.name == "Gemm0")
    assert busy == pytest.approx(stage.busy / report.clock_ghz / 1000)


def test_rooflines_and_stall_table(tmp_path):
    graph = monarch_fft()
    report = rdu.estimate(rdu.compile(graph, NODE, fusion="none"))
    roofs = {roof.kernel.split(":")[1]: roof for roof in report.rooflines}
    assert roofs["Mul"].bound == roofs["Gemm0"].bound == "memory"
    assert roofs["Mul"].intensity == pytest.approx(1024**2 / (3 * 2 * 1024**2))
    for roof in report.rooflines:
        assert 0 <= roof.share <= 1
    table = report.stall_table().splitlines()
    assert len(table) == 1 + len(report.stages)
    assert table[0].split() == [
        "kernel", "stage", "socket", "PCUs", "PMUs", "firings", "busy", "starved", "blocked",
    ]  # fmt: skip
    text = report.plot(tmp_path / "r.svg").read_text()
    for word in ("roofline", "starved", "TFLOP/s", "Gemm1 ("):
        assert word in text
    with pytest.raises(rdu.RDUError, match=r"suffix must be \.svg"):
        report.plot(tmp_path / "r.bmp")
