import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.errors import SpecError
from rdu.models import PRESETS, TransformerConfig, llama, preset
from rdu.models.training import ADAM_STEPS


def products(graph):
    return sum(op.product.flops * op.repeat for op in graph.operators if op.product)


def expected_forward(c, batch, tokens, context, rows_of_head):
    """Operations of all products of one pass, written down from the architecture."""
    rows = batch * tokens
    weights = c.layers * c.layer_weights * c.weight_density
    attention = c.layers * 4 * batch * c.heads * tokens * context * c.head_dim
    return 2 * rows * weights + attention + 2 * rows_of_head * c.hidden * c.vocab


@pytest.mark.parametrize("name", [n for n in PRESETS if n != "llava-1.5-7b"])
def test_prefill_products_on_one_socket(name):
    c = preset(name)
    graph = llama(c, "prefill", batch=2, sequence=512, tensor_parallel=1)
    assert products(graph) == pytest.approx(expected_forward(c, 2, 512, 512, 2), rel=1e-12)


@pytest.mark.parametrize("name", ["llama2-7b", "llama2-70b", "falcon-40b"])
def test_decode_products_and_weights(name):
    c = preset(name)
    graph = llama(c, "decode", batch=3, sequence=100, tensor_parallel=1)
    assert products(graph) == pytest.approx(expected_forward(c, 3, 1, 101, 3), rel=1e-12)
    streamed = 2 * (c.parameters - c.vocab * c.hidden * (0 if c.tied else 1))
    assert graph.weight_bytes == pytest.approx(streamed, rel=1e-3)


@pytest.mark.parametrize("sockets", [2, 4, 8, 16])
def test_sockets_share_the_products(sockets):
    one = llama("llama2-7b", "prefill", 1, 256, 1)
    many = llama("llama2-7b", "prefill", 1, 256, sockets)
    assert products(many) * sockets == pytest.approx(products(one))


def test_training_is_three_forward_passes_of_products():
    forward = products(llama("llama2-7b", "prefill", 1, 1024, 8))
    # The head's products cover all tokens in training.
    head = 2 * 1023 * 4096 * 32000 / 8
    assert products(llama("llama2-7b", "train", 1, 1024, 8)) == pytest.approx(3 * (forward + head))


def test_decode_reads_the_cache_once():
    short = llama("mistral-7b", "decode", 1, 1000, 8)
    long = llama("mistral-7b", "decode", 1, 3000, 8)
    past = {op.name: dict(op.reads) for op in long.operators if op.group == "decoder"}
    assert past["k.repeat"]["k.past"] == 2 * 3000 * 128
    assert long.cache_bytes == 3 * short.cache_bytes


def test_a_window_bounds_what_is_attended_to():
    at, beyond = (llama("mistral-7b", "decode", 1, n, 8) for n in (4096, 32768))
    assert products(at) == products(beyond)


def test_all_reduces_of_a_layer():
    def payloads(name, phase, sockets):
        graph = llama(name, phase, 1, 128, sockets)
        return [op for op in graph.operators if op.kind == "collective" and "decoder" in op.group]

    assert len(payloads("llama2-7b", "prefill", 8)) == 2
    assert len(payloads("falcon-40b", "prefill", 8)) == 1
    assert len(payloads("llama2-7b", "train", 8)) == 4
    assert not payloads("llama2-7b", "train", 1)
    assert payloads("llama2-7b", "prefill", 8)[0].network_bytes == 2 * 128 * 4096


def test_every_read_has_a_maker_or_comes_from_outside():
    outside = {"x", "mask", "k.past", "v.past", "cos", "sin", "gradient", "pixels", "alibi"}
    for name in PRESETS:
        for phase in ("prefill", "decode", "train"):
            for group, operators in llama(name, phase, 1, 64, 8).groups.items():
                made: set[str] = set()
                for op in operators:
                    free = {t for t, _ in op.reads} - made
                    free = {t for t in free if not t.startswith(("saved.", "grad."))}
                    assert free <= outside, (name, phase, group, op.name)
                    assert op.name not in made
                    made.add(op.name)


def test_optimizer_touches_every_weight():
    c = preset("llama2-7b")
    graph = llama(c, "train", 1, 64, 8)
    steps = [op for op in graph.operators if op.group.startswith("optimizer")]
    assert len(steps) == 2 * len(ADAM_STEPS)
    updated = sum(op.output_bytes * op.repeat for op in steps if op.name == "update")
    assert updated * 8 == pytest.approx(2 * c.parameters, rel=2e-3)


def test_vision_runs_before_the_prompt_only():
    assert "vision" in llama("llava-1.5-7b", "prefill").groups
    assert "vision" not in llama("llava-1.5-7b", "decode").groups


@settings(deadline=None, max_examples=30)
@given(
    heads=st.sampled_from([1, 2, 4]),
    ratio=st.sampled_from([1, 2]),
    experts=st.sampled_from([(1, 1), (4, 2)]),
    norm=st.sampled_from(["rms", "layer"]),
    position=st.sampled_from(["rope", "alibi", "learned"]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    batch=st.integers(1, 3),
    sequence=st.integers(1, 40),
)
def test_any_shape_gives_whole_graphs(
    heads, ratio, experts, norm, position, flags, batch, sequence
):
    gated, parallel, bias = flags
    c = TransformerConfig(
        "any", 16 * heads, 2, heads, max(heads // ratio, 1), 16, 48, 100,
        gated=gated, norm=norm, position=position, parallel=parallel, bias=bias,
        experts=experts[0], experts_used=experts[1],
    )  # fmt: skip
    for phase in ("prefill", "decode", "train"):
        graph = llama(c, phase, batch, sequence, heads)
        assert all(op.memory_bytes > 0 for op in graph.operators)
        assert graph.flops > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("llama2-7b", "serve"),
        ("llama2-8b", "decode"),
        ("llama2-7b", "decode", 0),
        ("llama2-7b", "decode", 1, 0),
        ("llama2-7b", "decode", 1, 8, 5),
        ("llama2-7b", "decode", 1, 8, 0),
    ],
)
def test_refusals(arguments):
    with pytest.raises(SpecError):
        llama(*arguments)
