"""Configuration files of families that people have, against the counts on the models' pages."""

import pytest

from rdu.errors import SpecError
from rdu.llm import estimate
from rdu.models import from_hf_config, llama
from rdu.specs import sn40l_node

SILU = {"hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0}
GPT = {"layer_norm_epsilon": 1e-5, "hidden_act": "gelu"}


def shape(kind, hidden, layers, heads, kv, width, vocab, **more):
    return {
        "model_type": kind, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": width,
        "vocab_size": vocab, **more,
    }  # fmt: skip


GEMMA_2 = {"head_dim": 256, "sliding_window": 4096}
# The number of parameters to the last one, where only families' traits decide it.
EXACT = {
    7_615_616_512: shape(
        "qwen2", 3584, 28, 28, 4, 18944, 152064, **SILU, tie_word_embeddings=False,
        use_sliding_window=False, sliding_window=131072, max_window_layers=28,
    ),
    8_190_735_360: shape(
        "qwen3", 4096, 36, 32, 8, 12288, 151936, **SILU, head_dim=128, tie_word_embeddings=False
    ),
    596_049_920: shape(
        "qwen3", 1024, 28, 16, 8, 3072, 151936, **SILU, head_dim=128, tie_word_embeddings=True
    ),
    8_537_680_896: shape("gemma", 3072, 28, 16, 16, 24576, 256000, head_dim=256),
    2_614_341_888: shape("gemma2", 2304, 26, 8, 4, 9216, 256000, **GEMMA_2),
    9_241_705_984: shape("gemma2", 3584, 42, 16, 8, 14336, 256000, **GEMMA_2),
    27_227_128_320: shape(
        "gemma2", 4608, 46, 32, 16, 36864, 256000, head_dim=128, sliding_window=4096
    ),
    999_885_952: shape(
        "gemma3_text", 1152, 26, 4, 1, 6912, 262144, head_dim=256, sliding_window=512,
        sliding_window_pattern=6,
    ),
    3_821_079_552: shape("phi3", 3072, 32, 32, 32, 8192, 32064, **SILU, sliding_window=2047),
    14_659_507_200: shape("phi3", 5120, 40, 40, 10, 17920, 100352, **SILU),
    140_620_634_112: shape(
        "mixtral", 6144, 56, 48, 8, 16384, 32000, **SILU, num_local_experts=8,
        num_experts_per_tok=2,
    ),
    6_857_302_016: shape("gpt_neox", 4096, 32, 32, 32, 16384, 50432, tie_word_embeddings=False),
    1_235_814_400: shape(
        "llama", 2048, 16, 32, 8, 8192, 128256, **SILU, tie_word_embeddings=True
    ),
    12_247_782_400: shape("mistral", 5120, 40, 32, 8, 14336, 131072, **SILU, head_dim=128),
    7_069_016_064: {
        "model_type": "bloom", "hidden_size": 4096, "n_layer": 30, "n_head": 32,
        "vocab_size": 250880,
    },
    1_557_611_200: {
        "model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257,
        "n_positions": 1024,
    },
    1_644_515_328: shape(
        "stablelm", 2048, 24, 32, 32, 5632, 100352, hidden_act="silu", use_qkv_bias=True
    ),
    9_399_951_360: {
        "model_type": "chatglm", "hidden_size": 4096, "num_layers": 40,
        "num_attention_heads": 32, "multi_query_attention": True, "multi_query_group_num": 2,
        "ffn_hidden_size": 13696, "kv_channels": 128, "padded_vocab_size": 151552,
        "add_qkv_bias": True, "tie_word_embeddings": False,
    },
}  # fmt: skip

# Within 0.05 %: routing biases, attention sinks and biases of single matrices are not counted.
NEARLY = {
    6_921_720_704: {
        "model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32,
        "num_attention_heads": 71, "vocab_size": 65024, "multi_query": True,
        "parallel_attn": True, "new_decoder_architecture": False,
    },
    1_311_625_216: {
        "model_type": "falcon", "hidden_size": 2048, "num_hidden_layers": 24,
        "num_attention_heads": 32, "vocab_size": 50304, "multi_query": False,
        "parallel_attn": False, "bias": True, "alibi": True, "new_decoder_architecture": False,
    },
    6_658_473_984: {
        "model_type": "opt", "hidden_size": 4096, "num_hidden_layers": 32, "ffn_dim": 16384,
        "num_attention_heads": 32, "vocab_size": 50272, "max_position_embeddings": 2048,
        "word_embed_proj_dim": 4096,
    },
    2_779_683_840: shape("phi", 2560, 32, 32, 32, 10240, 51200, tie_word_embeddings=False),
    1_315_575_808: {
        "model_type": "gpt_neo", "hidden_size": 2048, "num_layers": 24, "num_heads": 16,
        "intermediate_size": None, "vocab_size": 50257, "max_position_embeddings": 2048,
        "window_size": 256, **GPT,
    },
    20_914_757_184: shape(
        "gpt_oss", 2880, 24, 64, 8, 2880, 201088, **SILU, head_dim=64, num_local_experts=32,
        num_experts_per_tok=4, sliding_window=128, tie_word_embeddings=False,
        layer_types=["sliding_attention", "full_attention"] * 12,
    ),
    41_873_153_344: shape(
        "phimoe", 4096, 32, 32, 8, 6400, 32064, **SILU, num_local_experts=16,
        num_experts_per_tok=2, attention_bias=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("parameters", EXACT)
def test_parameters_to_the_last_one(parameters):
    assert from_hf_config(EXACT[parameters]).parameters == parameters


@pytest.mark.parametrize("parameters", NEARLY)
def test_parameters_nearly(parameters):
    assert from_hf_config(NEARLY[parameters]).parameters == pytest.approx(parameters, rel=5e-4)


def test_llama_4_mixes_experts_and_plain_layers():
    maverick = from_hf_config(shape(
        "llama4_text", 5120, 48, 40, 8, 8192, 202048, **SILU, head_dim=128,
        num_local_experts=128, num_experts_per_tok=1, interleave_moe_layer_step=2,
        intermediate_size_mlp=16384, tie_word_embeddings=False,
    ))  # fmt: skip
    # Published as 400 and 17 billion; the image encoder is no part of the text model.
    assert maverick.parameters == pytest.approx(400e9, rel=0.01)
    assert maverick.active_parameters == pytest.approx(17e9, rel=0.02)
    assert maverick.dense_layers == 24


@pytest.mark.parametrize(
    ("parameters", "layers", "window"),
    [(2_614_341_888, 13, 4096), (999_885_952, 22, 512), (20_914_757_184, 12, 128)],
)
def test_a_window_in_some_of_the_layers(parameters, layers, window):
    read = from_hf_config((EXACT | NEARLY)[parameters])
    assert (read.windowed, read.window) == (layers, window)
    long = llama(read, "decode", 2, 8192, 1)
    a_layer = 2 * 2 * 2 * read.kv_heads * read.head_dim
    assert long.cache_bytes == a_layer * (layers * window + (read.layers - layers) * 8192)
    repeats = {name: ops[0].repeat for name, ops in long.groups.items() if "decoder" in name}
    assert repeats == {"decoder": read.layers - layers, "decoder.local": layers}
    pasts = {
        name: dict(op.reads)["k.past"]
        for name, ops in long.groups.items()
        for op in ops
        if "k.past" in dict(op.reads)
    }
    assert pasts["decoder"] * window == pasts["decoder.local"] * 8192
    # Up to the window both kinds of layers do the same work.
    short = llama(read, "prefill", 1, min(window, 64), 1)
    one, other = (sum(op.flops for op in short.groups[n]) for n in ("decoder", "decoder.local"))
    assert one == other


def test_layers_in_turn_are_loaded_in_turn():
    """Two kinds of kernels that alternate cost a program load each time."""
    read = from_hf_config(EXACT[9_241_705_984])
    found = estimate(llama(read, "decode", 1, 64, 8), sn40l_node())
    for time in found.kernels:
        if time.kernel.repeat > 1:
            assert time.relaunch == time.launch


def test_windows_of_the_last_layers():
    qwen = EXACT[7_615_616_512] | {"use_sliding_window": True, "max_window_layers": 20}
    assert from_hf_config(qwen).windowed == 8
    assert from_hf_config(qwen | {"use_sliding_window": False}).windowed == 0
    mistral = EXACT[12_247_782_400] | {"sliding_window": 4096}
    assert from_hf_config(mistral).windowed == 40
    with pytest.raises(SpecError, match="a window in 40 of 28 layers"):
        from_hf_config(qwen | {"layer_types": ["sliding_attention"] * 40})


BERT = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 30522,
    "intermediate_size": 3072, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    "type_vocab_size": 2, "max_position_embeddings": 512,
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        *("bert", "roberta", "xlm-roberta", "deberta-v2", "albert", "mpnet", "modernbert"),
        *("nomic_bert", "electra", "longformer", "esm", "vit", "siglip", "clip_text_model"),
    ],
)
@pytest.mark.parametrize("heads", [None, ["SomeForMaskedLM"], ["SomeModel"]])
def test_encoders_are_refused(kind, heads):
    data = BERT | {"model_type": kind} | ({} if heads is None else {"architectures": heads})
    with pytest.raises(SpecError, match=f"'{kind}' is no decoder-only transformer"):
        from_hf_config(data)


@pytest.mark.parametrize("kind", ["t5", "bart", "whisper", "marian"])
def test_encoders_with_decoders_are_refused(kind):
    heads = ["SomeForConditionalGeneration"]
    data = BERT | {"model_type": kind, "is_encoder_decoder": True, "architectures": heads}
    with pytest.raises(SpecError, match="no decoder-only transformer"):
        from_hf_config(data)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mamba", "state_size": 16},
        {"model_type": "rwkv"},
        {"model_type": "jamba", "mamba_d_state": 16},
        {"model_type": "recurrent_gemma", "lru_width": 2560},
        {"model_type": "qwen3_next", "layer_types": ["linear_attention", "full_attention"]},
        {"model_type": "lfm2", "layer_types": ["conv", "full_attention"]},
    ],
)
def test_layers_without_attention_are_refused(change):
    with pytest.raises(SpecError, match="layers that are no attention"):
        from_hf_config(BERT | {"architectures": ["SomeForCausalLM"]} | change)


def test_unknown_decoders_say_that_they_are_some():
    data = BERT | {"model_type": "of_mine"}
    assert from_hf_config(data | {"architectures": ["MineForCausalLM"]}).position == "learned"
    assert from_hf_config(data | {"is_decoder": True}).norm == "layer"
    assert from_hf_config(data | {"rms_norm_eps": 1e-6, "hidden_act": "silu"}).gated
    with pytest.raises(SpecError, match="must name a class that ends in ForCausalLM"):
        from_hf_config(data)


def test_embeddings_of_another_width_are_refused():
    opt = NEARLY[6_658_473_984] | {"word_embed_proj_dim": 512}
    with pytest.raises(SpecError, match="embeddings of 512 numbers are projected to 4096"):
        from_hf_config(opt)


def test_heads_that_do_not_divide_say_over_what_they_would():
    read = from_hf_config(EXACT[7_615_616_512])
    with pytest.raises(SpecError, match="they divide over 1, 2, 4, 7, 14, 28"):
        llama(read, "decode", 1, 64, 8)
    assert estimate(llama(read, "decode", 1, 64, 7), sn40l_node()).seconds > 0
