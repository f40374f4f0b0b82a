"""Kernel looping of whole models: equal layers, and kinds in turn, between head and tail."""

import pytest

from rdu.llm import estimate
from rdu.models import from_hf_config, llama
from rdu.specs import sn40l_node

NODE = sn40l_node()
GEMMA_2 = {
    "model_type": "gemma2", "hidden_size": 3584, "num_hidden_layers": 42, "vocab_size": 256000,
    "num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 14336,
    "head_dim": 256, "sliding_window": 4096,
}  # fmt: skip


def times(model, phase="decode", sequence=8192):
    graph = llama(model, phase, 1, sequence, NODE.sockets)
    return [estimate(graph, NODE, "spatial", who) for who in ("software", "hardware", "looped")]


@pytest.mark.parametrize("model", ["llama2-7b", "falcon-40b", from_hf_config(GEMMA_2)])
def test_a_model_is_three_launches(model):
    software, hardware, looped = times(model)
    assert looped.launches == 3
    assert looped.seconds < hardware.seconds < software.seconds
    assert software.launches == hardware.launches > 30
    assert looped.bytes == hardware.bytes
    # Nothing is faster than the bytes of its layers.
    busy = sum(max(t.compute, t.memory, t.network) * t.kernel.repeat for t in looped.kernels)
    assert looped.seconds >= busy


def test_layers_in_turn_are_launched_together():
    _, hardware, looped = times(from_hf_config(GEMMA_2))
    kinds = {t.kernel.operators[0].group: t for t in looped.kernels}
    assert kinds["decoder"].launches == 1
    assert kinds["decoder.local"].launches == 0
    assert kinds["decoder.local"].launch_total == 0
    assert sum(t.launches for t in hardware.group("decoder.local")) == 21


def test_layers_of_several_kernels_are_not_looped():
    # The weights and keys of a prompt's layer on one socket take two kernels.
    graph = llama("llama2-7b", "prefill", 1, 4096, 1)
    looped = estimate(graph, NODE, "spatial", "looped")
    assert len(looped.group("decoder")) > 1
    assert all(t.launches == t.kernel.repeat for t in looped.group("decoder"))
