import json

import pytest

from rdu.errors import SpecError
from rdu.models import PRESETS, TransformerConfig, from_hf_config, llama, preset

# Numbers of parameters printed on the models' own pages.
PARAMETERS = {
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "mistral-7b": 7_241_732_096,
    "bloom-176b": 176_247_271_424,
}

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_to_the_last_one(name):
    assert preset(name).parameters == PARAMETERS[name]


def test_cache_of_a_token():
    assert preset("llama2-7b").kv_bytes_per_token == 524_288


def test_hf_file_gives_the_preset(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    for path in (tmp_path, tmp_path / "config.json"):
        assert from_hf_config(path).parameters == PARAMETERS["llama-3.1-8b"]


def test_hf_spellings_of_other_families():
    bloom = {"model_type": "bloom", "n_embed": 1, "hidden_size": 14336, "n_layer": 70}
    bloom |= {"num_attention_heads": 112, "vocab_size": 250880, "layer_norm_epsilon": 1e-5}
    read = from_hf_config(bloom)
    assert read.parameters == PARAMETERS["bloom-176b"]
    assert read.position == "alibi"
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
    gpt2 |= {"n_positions": 1024, "layer_norm_epsilon": 1e-5, "n_inner": None}
    assert from_hf_config(gpt2).parameters == 124_439_808
    falcon = {"model_type": "falcon", "hidden_size": 8192, "num_hidden_layers": 60}
    falcon |= {"num_attention_heads": 128, "num_kv_heads": 8, "vocab_size": 65024}
    falcon |= {"new_decoder_architecture": True, "layer_norm_epsilon": 1e-5}
    assert from_hf_config(falcon).parameters == preset("falcon-40b").parameters
    old = from_hf_config(falcon | {"new_decoder_architecture": False, "multi_query": True})
    assert old.kv_heads == 1
    mixtral = LLAMA_8B | {"model_type": "mixtral", "vocab_size": 32000}
    mixtral |= {"num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None}
    assert from_hf_config(mixtral).parameters == 46_702_792_704
    llava = {"model_type": "llava", "text_config": LLAMA_8B}
    assert from_hf_config(llava).layers == 32
    qwen = LLAMA_8B | {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}
    assert from_hf_config(qwen).window is None
    assert from_hf_config(qwen).attention_bias


# Parameters printed on the models' pages; what is left out here is small norms and biases.
OTHERS = {
    2_506_172_416: {
        "model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 18, "head_dim": 256,
        "num_attention_heads": 8, "num_key_value_heads": 1, "intermediate_size": 16384,
        "vocab_size": 256000,
    },
    125_239_296: {
        "model_type": "opt", "hidden_size": 768, "num_hidden_layers": 12, "ffn_dim": 3072,
        "num_attention_heads": 12, "vocab_size": 50272, "max_position_embeddings": 2048,
    },
    494_032_768: {
        "model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
        "vocab_size": 151936, "tie_word_embeddings": True,
    },
    30_532_122_624: {
        "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "head_dim": 128,
        "num_attention_heads": 32, "num_key_value_heads": 4, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
        "vocab_size": 151936, "tie_word_embeddings": False,
    },
    3_030_371_328: {
        "model_type": "starcoder2", "hidden_size": 3072, "num_hidden_layers": 30,
        "num_attention_heads": 24, "num_key_value_heads": 2, "intermediate_size": 12288,
        "vocab_size": 49152,
    },
    20_554_567_680: {
        "model_type": "gpt_neox", "hidden_size": 6144, "num_hidden_layers": 44,
        "num_attention_heads": 64, "intermediate_size": 24576, "vocab_size": 50432,
    },
    131_596_523_520: {
        "model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40,
        "vocab_size": 100352, "attn_config": {"kv_n_heads": 8},
        "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
    },
}  # fmt: skip


@pytest.mark.parametrize("parameters", OTHERS)
def test_hf_files_of_further_families(parameters):
    read = from_hf_config(OTHERS[parameters])
    assert read.parameters == pytest.approx(parameters, rel=2e-3)
    assert llama(read, "decode", 1, 128, 1).weight_bytes > 0


DEEPSEEK = {
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "tie_word_embeddings": False,
}  # fmt: skip
LITE = DEEPSEEK | {
    "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27,
    "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": None, "vocab_size": 102400,
    "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64,
    "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
}  # fmt: skip
V2 = DEEPSEEK | {
    "model_type": "deepseek_v2", "hidden_size": 5120, "num_hidden_layers": 60,
    "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
    "vocab_size": 102400, "intermediate_size": 12288, "moe_intermediate_size": 1536,
    "n_routed_experts": 160, "n_shared_experts": 2, "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
}  # fmt: skip
V3 = DEEPSEEK | {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61,
    "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
    "vocab_size": 129280, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
}  # fmt: skip
# Parameters as the models' pages print them (of V3 without the biases of its routing), those active
# in a token in units of 1e9, and bytes of cache a token: (512 + 64) numbers of bf16 a layer.
LATENT = {
    "lite": (LITE, 15_706_484_224, 2.4, 31_104),
    "v2": (V2, 235_741_434_880, 21, 69_120),
    "v3": (V3, 671_026_419_200 - 58 * 256, 37, 70_272),
}


@pytest.mark.parametrize("name", LATENT)
def test_latent_attention_and_its_experts(name):
    file, total, active, cached = LATENT[name]
    read = from_hf_config(file)
    assert read.parameters == total
    # Without the table of embeddings, of which a token reads one row.
    counted = (read.active_parameters - read.vocab * read.hidden) / 1e9
    assert counted == pytest.approx(active, rel=0.025)
    assert read.kv_bytes_per_token == cached


@pytest.mark.parametrize("sockets", [1, 8, 16])
def test_latent_decoding_reads_weights_and_cache_once(sockets):
    read = from_hf_config(LITE)
    graph = llama(read, "decode", 1, 4096, sockets)
    assert graph.cache_bytes == read.kv_bytes_per_token * 4096
    layer = graph.groups["decoder"]
    (past,) = {size for op in layer for name, size in op.reads if name == "kv.past"}
    assert past == 2 * (512 + 64) * 4096
    # The latent vectors are made on every socket, all else is shared among them.
    down = 2 * 2048 * (512 + 64)
    attention = sum(op.weight_bytes for op in layer if op.name in ("q", "k.up", "v.up", "o"))
    assert attention * sockets + down == 2 * read.attention_weights
    dense = sum(op.weight_bytes for op in graph.groups["decoder.dense"] if op.name == "up")
    assert dense * sockets == 2 * 2048 * 10944
    assert {op.repeat for op in layer} == {26}


def test_latent_prompts_and_decoding_compute_the_same_attention():
    """A head's scores: directly 192 numbers a pair, by latent vectors 576."""
    read = from_hf_config(LITE)
    pairs = {}
    for phase in ("prefill", "decode"):
        ops = {op.name: op for op in llama(read, phase, 1, 512, 1).groups["decoder"]}
        pairs[phase] = (ops["scores"].product.k, ops["values"].product.n)
    assert pairs == {"prefill": (192, 128), "decode": (576, 512)}
    for phase in ("prefill", "decode", "train"):
        for model in (V2, V3):
            assert llama(from_hf_config(model), phase, 1, 128, 8).flops > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"qk_rope_head_dim": None}, "missing key 'qk_rope_head_dim'"),
        ({"kv_lora_rank": -1}, "kv_lora_rank must be a whole number from 1"),
        ({"first_k_dense_replace": 28}, "28 dense layers of 27 layers"),
        ({"n_shared_experts": "two"}, "n_shared_experts must be a whole number"),
    ],
)
def test_bad_latent_files_are_refused(change, told):
    with pytest.raises(SpecError, match=told):
        from_hf_config(LITE | change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"is_encoder_decoder": True}, "no decoder-only transformer"),
        ({"model_type": "bert"}, "'bert' is no decoder-only"),
    ],
)
def test_other_kinds_of_models_are_refused(change, told):
    with pytest.raises(SpecError, match=told):
        from_hf_config(LLAMA_8B | change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_size": None}, "missing key 'hidden_size'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_attention_heads": "many"}, "num_attention_heads"),
        ({"num_key_value_heads": 5}, "5 key-value heads"),
        ({"hidden_size": 4097}, "4097 does not divide"),
        ({"num_experts_per_tok": 3}, "3 of 1 experts"),
    ],
)
def test_bad_hf_files_are_refused(change, told):
    with pytest.raises(SpecError, match=told):
        from_hf_config(LLAMA_8B | change)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(SpecError, match="cannot read"):
        from_hf_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SpecError, match="not JSON"):
        from_hf_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(SpecError, match="JSON object"):
        from_hf_config(tmp_path)


def test_senseless_shapes_are_refused():
    with pytest.raises(SpecError, match="weight_density"):
        TransformerConfig("a", 8, 1, 1, 1, 8, 8, 8, weight_density=0)
    with pytest.raises(SpecError, match="unknown model 'gpt-5'"):
        preset("gpt-5")
    assert len(PRESETS) == 11
