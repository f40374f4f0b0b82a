"""The shape of a decoder-only model from a Hugging Face ``config.json``.

A family's traits (norm, positions, kind of MLP) stand in no key of its files; they are a table
here. Families that are not in it are read like Llama where their keys say so, else like GPT-2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from rdu.errors import SpecError
from rdu.models.config import Latent, TransformerConfig


@dataclass(frozen=True, slots=True)
class _Family:
    """What the files of a family do not say."""

    gated: bool = True
    norm: Literal["rms", "layer"] = "rms"
    position: Literal["rope", "alibi", "learned"] = "rope"
    bias: bool = False
    attention_bias: bool = False
    parallel: bool = False
    tied: bool = False


_PLAIN = _Family(gated=False, norm="layer", position="learned", bias=True, tied=True)

_FAMILIES: dict[str, _Family] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "opt"), _PLAIN),
    "bloom": _Family(gated=False, norm="layer", position="alibi", bias=True, tied=True),
    "mpt": _Family(gated=False, norm="layer", position="alibi", tied=True),
    "falcon": _Family(gated=False, norm="layer", tied=True),
    **dict.fromkeys(
        ("gpt_neox", "gptj", "codegen", "phi"),
        _Family(gated=False, norm="layer", bias=True, parallel=True),
    ),
    "starcoder2": _Family(gated=False, norm="layer", bias=True, tied=True),
    "stablelm": _Family(norm="layer"),
    "cohere": _Family(norm="layer", parallel=True, tied=True),
    "dbrx": _Family(norm="layer"),
    "qwen2": _Family(attention_bias=True),
    "qwen2_moe": _Family(attention_bias=True),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), _Family(tied=True)),
    **dict.fromkeys(
        (
            *("llama", "mistral", "mixtral", "qwen3", "qwen3_moe", "phi3", "phimoe", "olmo2"),
            *(
                "internlm2",
                "granite",
                "deepseek",
                "deepseek_v2",
                "deepseek_v3",
                "kimi_k2",
                "gpt_oss",
                "llama4_text",
                "exaone",
                "chatglm",
            ),
        ),
        _Family(),
    ),
}

_NOT_DECODERS = ("bert", "roberta", "distilbert", "electra", "vit", "clip", "t5", "whisper")
_NESTED = ("text_config", "llm_config", "language_config", "ffn_config", "attn_config")
_ANY_HIDDEN = ("hidden_size", "n_embd", "n_embed", "d_model")
_ANY_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_ANY_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_ANY_KV = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads")
_ANY_WIDTH = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
_ANY_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_ANY_USED = ("num_experts_per_tok", "moe_top_k")


def from_hf_config(path: str | Path | Mapping[str, Any]) -> TransformerConfig:
    """Read the shape of a decoder-only model from a Hugging Face ``config.json``.

    Latent attention (``kv_lora_rank``), shared experts and dense first layers are read; layers that
    predict further tokens are not counted, and a sliding window is taken for all layers.

    Parameters
    ----------
    path:
        The file, a folder that holds it, or its content as a mapping.

    Raises
    ------
    SpecError
        For a file that cannot be read, a key that is needed and missing or senseless, or a model
        that is no such decoder.

    Examples
    --------
    >>> shape = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
    ...          "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100}
    >>> from_hf_config(shape).head_dim
    16
    """
    if isinstance(path, Mapping):
        where, data = "the given mapping", dict(path)
    else:
        where, data = str(path), _read_json(Path(path))
    for key in _NESTED:
        if isinstance(data.get(key), Mapping):
            data = data | dict(cast("Mapping[str, Any]", data[key]))
    kind = str(data.get("model_type", "model"))
    _require_decoder(data, kind, where)
    family = _family(data, kind)
    hidden = _integer(data, _ANY_HIDDEN, where)
    heads = _integer(data, _ANY_HEADS, where)
    if data.get("kv_lora_rank") is None and data.get("head_dim") is None and hidden % heads:
        raise SpecError(
            f"{where}: hidden size {hidden} does not divide into {heads} heads",
            hint="the file may need a head_dim",
        )
    experts = _integer(data, _ANY_EXPERTS, where, 1)
    widths = ("moe_intermediate_size", *_ANY_WIDTH) if experts > 1 else _ANY_WIDTH
    latent = _latent(data, where)
    dense = _count(data, "first_k_dense_replace", where) if experts > 1 else 0
    length = data.get("max_position_embeddings", data.get("n_positions", 0))
    learned = family.position == "learned" and isinstance(length, int)
    new_falcon = data.get("new_decoder_architecture") is True
    tied = data.get("tie_word_embeddings")
    return TransformerConfig(
        name=str(data.get("_name_or_path") or kind),
        hidden=hidden,
        layers=_integer(data, _ANY_LAYERS, where),
        heads=heads,
        kv_heads=heads if latent else _kv_heads(data, kind, heads, where),
        head_dim=latent.nope + latent.rope
        if latent
        else _integer(data, ("head_dim",), where, hidden // heads),
        intermediate=_integer(data, widths, where, 4 * hidden),
        vocab=_integer(data, ("vocab_size", "padded_vocab_size"), where),
        gated=family.gated,
        norm=family.norm,
        position="alibi" if data.get("alibi") is True else family.position,
        parallel=family.parallel or new_falcon or data.get("parallel_attn") is True,
        bias=family.bias,
        attention_bias=family.attention_bias or data.get("attention_bias") is True,
        tied=family.tied if tied is None else bool(tied),
        window=_window(data),
        experts=experts,
        experts_used=_integer(data, _ANY_USED, where, 1),
        positions=int(length) if learned else 0,
        latent=latent,
        shared_intermediate=_shared(data, where) if experts > 1 else 0,
        dense_layers=dense,
        dense_intermediate=_integer(data, _ANY_WIDTH, where, 4 * hidden) if dense else 0,
    )


def _require_decoder(data: Mapping[str, Any], kind: str, where: str) -> None:
    if data.get("is_encoder_decoder") is True or kind in _NOT_DECODERS:
        raise SpecError(
            f"{where}: {kind!r} is no decoder-only transformer",
            hint="an encoder, alone or before a decoder, is not modelled",
        )


def _family(data: Mapping[str, Any], kind: str) -> _Family:
    """The known family, or what the keys of an unknown one suggest."""
    known = _FAMILIES.get(kind)
    if known is not None:
        return known
    activation = str(data.get("hidden_act", data.get("hidden_activation", "gelu")))
    rotary = "rope_theta" in data or "rope_scaling" in data or "rms_norm_eps" in data
    gated = activation in ("silu", "swish", "swiglu")
    layer = "layer_norm_epsilon" in data or "layer_norm_eps" in data
    return _Family(
        gated=gated,
        norm="layer" if layer else "rms",
        position="rope" if rotary or gated else "learned",
    )


def _read_json(path: Path) -> dict[str, Any]:
    file = path / "config.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read the model file {file}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{file}: expected a JSON object, found {type(data).__name__}")
    return cast("dict[str, Any]", data)


def _integer(
    data: Mapping[str, Any], keys: tuple[str, ...], where: str, default: int | None = None
) -> int:
    for key in keys:
        value = data.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(f"{where}: {key} must be a whole number from 1, found {value!r}")
        return value
    if default is None:
        raise SpecError(
            f"{where}: missing key {keys[0]!r}",
            hint="only decoder-only transformers are read; "
            f"any of these keys will do: {', '.join(keys)}",
        )
    return default


def _kv_heads(data: Mapping[str, Any], kind: str, heads: int, where: str) -> int:
    """Flags of multi-query attention mean one head, unless a number of groups is given."""
    if kind == "falcon" and not data.get("new_decoder_architecture"):
        return 1 if data.get("multi_query", True) else heads
    if kind == "gpt_bigcode" and data.get("multi_query", True):
        return 1
    if kind == "chatglm" and data.get("multi_query_attention") is True:
        return _integer(data, ("multi_query_group_num",), where)
    return _integer(data, _ANY_KV, where, heads)


def _latent(data: Mapping[str, Any], where: str) -> Latent | None:
    """Latent attention, told by the length of its vector."""
    if data.get("kv_lora_rank") is None:
        return None
    queries = data.get("q_lora_rank")
    return Latent(
        _integer(data, ("kv_lora_rank",), where),
        None if queries is None else _integer(data, ("q_lora_rank",), where),
        _integer(data, ("qk_nope_head_dim",), where),
        _integer(data, ("qk_rope_head_dim",), where),
        _integer(data, ("v_head_dim",), where),
    )


def _shared(data: Mapping[str, Any], where: str) -> int:
    """Width of the experts that every token passes."""
    if data.get("shared_expert_intermediate_size"):
        return _integer(data, ("shared_expert_intermediate_size",), where)
    count = _count(data, "n_shared_experts", where)
    return count * _integer(data, ("moe_intermediate_size",), where) if count else 0


def _count(data: Mapping[str, Any], key: str, where: str) -> int:
    """A number of things of which there may be none."""
    value = data.get(key)
    return 0 if value is None or value == 0 else _integer(data, (key,), where)


def _window(data: Mapping[str, Any]) -> int | None:
    """A sliding window, unless the file says that it is off (Qwen2)."""
    value = data.get("sliding_window")
    used = data.get("use_sliding_window", True)
    return value if isinstance(value, int) and not isinstance(value, bool) and used else None
