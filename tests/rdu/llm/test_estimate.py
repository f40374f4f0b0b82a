from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.errors import CapacityError, MappingError
from rdu.llm import Assumptions, estimate
from rdu.llm.estimate import balanced, pipelined, unit_seconds
from rdu.models import llama
from rdu.models.operators import Operator, Product
from rdu.specs import sn40l_node

NODE = sn40l_node()


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(["llama2-7b", "mistral-7b", "falcon-40b"]),
    phase=st.sampled_from(["prefill", "decode"]),
    fusion=st.sampled_from(["none", "spatial"]),
    orchestration=st.sampled_from(["software", "hardware", "looped"]),
    sequence=st.sampled_from([1, 100, 2048]),
    batch=st.integers(1, 3),
)
def test_never_faster_than_the_roofline(name, phase, fusion, orchestration, sequence, batch):
    graph = llama(name, phase, batch, sequence, 8)
    result = estimate(graph, NODE, fusion, orchestration)
    peak = 1e12 * NODE.chip.peak_tflops
    products = sum(op.product.flops * op.repeat for op in graph.operators if op.product)
    assert result.seconds >= products / peak
    assert result.seconds >= result.bytes["hbm"] / (1e12 * NODE.chip.hbm_tb_per_s)
    assert 0 < result.hbm_fraction < 1
    assert 0 < result.launch_seconds < result.seconds


def test_the_host_launches_slower_than_the_schedule_and_a_loop_is_fastest():
    graph = llama("llama2-7b", "decode")
    software, hardware, looped = (
        estimate(graph, NODE, "spatial", mode) for mode in ("software", "hardware", "looped")
    )
    assert software.seconds > hardware.seconds > looped.seconds
    assert software.launches == hardware.launches == 34
    # Kernel looping brings decoding near the bandwidth bound.
    assert looped.hbm_fraction > 0.8


def test_decode_is_bound_by_memory_and_the_layer_kernel_near_85_percent():
    (layer,) = estimate(llama("llama2-70b", "decode"), NODE).group("decoder")
    assert layer.memory > max(layer.compute, layer.network)
    fraction = 0.85 * layer.memory / layer.seconds
    assert fraction == pytest.approx(0.85, abs=0.05)


def test_more_sockets_are_faster_but_not_proportionally():
    times = {}
    for sockets in (1, 2, 4, 8, 16):
        graph = llama("llama-3.1-8b", "decode", 1, 8192, sockets)
        times[sockets] = estimate(graph, replace(NODE, sockets=sockets)).seconds
    values = list(times.values())
    assert values == sorted(values, reverse=True)
    assert times[1] / times[16] < 16


def test_unfused_products_take_the_units_they_need():
    kernels = estimate(llama("llama2-7b", "decode"), NODE, "none", "software").kernels
    for time in kernels:
        assert 1 <= time.pcus < 100
        assert time.compute <= max(time.memory, 1e-9 * NODE.chip.hbm_latency_ns) * 1.001
    heavy = estimate(llama("llama2-7b", "prefill"), NODE, "none", "software").kernels
    assert max(time.pcus for time in heavy) == NODE.chip.pcus


def test_unit_seconds_closed_forms():
    chip = NODE.chip.with_changes(clock_ghz=1.0)

    def op(product=None, elements=0.0):
        kind = "gemm" if product else "elementwise"
        return Operator("a", kind, "g", (), 1.0, product=product, elements=elements)

    assert unit_seconds(op(elements=320), chip) == pytest.approx(10e-9)
    # Blocks of 32 x 6: two by two of them, a hundred operand pairs each.
    assert unit_seconds(op(Product(1, 64, 100, 12)), chip) == pytest.approx(400e-9)
    # A vector times a matrix runs as dot products, 32 lanes at a time.
    assert unit_seconds(op(Product(1, 1, 64, 64)), chip) == pytest.approx(128e-9)


@settings(deadline=None, max_examples=100)
@given(work=st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=20), units=st.integers(20, 500))
def test_balanced_is_feasible_and_cannot_be_much_better(work, units):
    time = balanced(work, units)
    assert time >= sum(work) / units * (1 - 1e-9)
    assert sum(-(-seconds // (time * (1 + 1e-6))) for seconds in work) <= units
    better = 0.999 * time
    needed = sum(-(-seconds // better) for seconds in work)
    assert needed > units or time <= sum(work) / units * 1.001


def test_a_barrier_keeps_units_idle_unless_sequences_follow_each_other():
    work, sections = [3.0, 1.0], [0, 1]
    alone = pipelined(work, sections, 4)
    assert alone == pytest.approx((3**0.5 + 1) ** 2 / 4)  # units by the square root of the work
    assert pipelined(work, [0, 0], 4) == pytest.approx(1.0)
    many = pipelined(work, sections, 4, 1000)
    assert 1.0 < many < 1.01 < alone
    assert pipelined([2.0], [3], 4) == pytest.approx(0.5)


def test_fp32_products_run_on_half_the_lanes():
    chip = NODE.chip.with_changes(clock_ghz=1.0)
    op = Operator("a", "gemm", "g", (), 1.0, product=Product(1, 64, 32, 32), element_bytes=4)
    assert unit_seconds(op, chip) == pytest.approx(64 * 32 * 2 * 1e-9)
    plain = Operator("a", "elementwise", "g", (), 1.0, elements=320, element_bytes=4)
    assert unit_seconds(plain, chip) == pytest.approx(20e-9)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(CapacityError, match="bytes too many"):
        estimate(llama("llama-3.1-405b", "decode", 1, 8192, 8), NODE)
    estimate(llama("llama-3.1-405b", "decode", 1, 8192, 16), replace(NODE, sockets=16))


def test_spilled_weights_cost_ddr_time():
    graph = llama("llama-3.1-405b", "decode", 1, 8192, 8)
    result = estimate(graph, NODE, spill=True)
    over = graph.resident_bytes + graph.cache_bytes - NODE.chip.hbm_bytes
    assert over < result.bytes["ddr"] < 1.1 * over + graph.resident_bytes / 126
    assert result.spill_seconds == pytest.approx(result.bytes["ddr"] / 200e9)
    fits = llama("llama2-7b", "decode")
    assert estimate(fits, NODE, spill=True).seconds == estimate(fits, NODE).seconds


def test_unknown_modes_are_refused():
    graph = llama("llama2-7b", "decode")
    with pytest.raises(MappingError, match="unknown fusion"):
        estimate(graph, NODE, "all")
    with pytest.raises(MappingError, match="unknown orchestration"):
        estimate(graph, NODE, "spatial", "magic")


def test_assumptions_matter_in_their_direction():
    graph = llama("llama2-7b", "decode")
    slow = replace(NODE, p2p_latency_ns=5000.0)
    half = Assumptions(hbm_efficiency=0.5)
    assert estimate(graph, slow, assumptions=half).seconds > 1.5 * estimate(graph, NODE).seconds


def test_weights_stream_while_a_sum_is_under_way():
    """The sum after the attention hides behind memory, the one at the layer's end cannot."""
    graph = llama("llama2-7b", "decode")
    quick = replace(NODE, p2p_latency_ns=0.0)
    layers = [estimate(graph, n).group("decoder")[0].seconds for n in (NODE, quick)]
    # A message to the owner of a part, and one back.
    assert layers[0] - layers[1] == pytest.approx(2e-9 * NODE.p2p_latency_ns, rel=1e-6)
