"""Families of decoder-only models: what their files do not say, and which models are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from rdu.errors import SpecError


@dataclass(frozen=True, slots=True)
class Family:
    """What the files of a family do not say.

    ``full_every``: where a window is given, one layer in so many attends beyond it; 0 for none.
    The other traits are those of `rdu.models.TransformerConfig`.
    """

    gated: bool = True
    norm: Literal["rms", "layer"] = "rms"
    position: Literal["rope", "alibi", "learned"] = "rope"
    bias: bool = False
    attention_bias: bool = False
    parallel: bool = False
    tied: bool = False
    sandwich: bool = False
    head_norms: bool = False
    full_every: int = 0


_PLAIN = Family(gated=False, norm="layer", position="learned", bias=True, tied=True)
_GEMMA_2 = Family(tied=True, sandwich=True, full_every=2)
_GEMMA_3 = replace(_GEMMA_2, head_norms=True, full_every=6)

_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "opt"), _PLAIN),
    "gpt_neo": replace(_PLAIN, full_every=2),
    "bloom": Family(gated=False, norm="layer", position="alibi", bias=True, tied=True),
    "mpt": Family(gated=False, norm="layer", position="alibi", tied=True),
    "falcon": Family(gated=False, norm="layer", tied=True),
    **dict.fromkeys(
        ("gpt_neox", "gptj", "codegen", "phi"),
        Family(gated=False, norm="layer", bias=True, parallel=True),
    ),
    "starcoder2": Family(gated=False, norm="layer", bias=True, tied=True),
    "nemotron": Family(gated=False, norm="layer"),
    "stablelm": Family(norm="layer"),
    "cohere": Family(norm="layer", parallel=True, tied=True),
    "cohere2": Family(norm="layer", parallel=True, tied=True, full_every=4),
    "dbrx": Family(norm="layer"),
    "qwen2": Family(attention_bias=True),
    "qwen2_moe": Family(attention_bias=True),
    **dict.fromkeys(("qwen3", "qwen3_moe"), Family(head_norms=True)),
    "gemma": Family(tied=True),
    "gemma2": _GEMMA_2,
    **dict.fromkeys(("gemma3", "gemma3_text"), _GEMMA_3),
    "gpt_oss": Family(full_every=2),
    "glm4": Family(sandwich=True),
    **dict.fromkeys(
        (
            *("llama", "mistral", "mixtral", "phi3", "phimoe", "olmo2", "internlm2", "granite"),
            *("deepseek", "deepseek_v2", "deepseek_v3", "kimi_k2", "llama4_text", "exaone"),
            *("chatglm", "smollm3", "ministral", "glm", "olmo"),
        ),
        Family(),
    ),
}

_NOT_DECODERS = ("bert", "roberta", "distilbert", "electra", "vit", "clip", "t5", "whisper")
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_RECURRENT = (
    *("ssm_cfg", "state_size", "ssm_state_size", "mamba_d_state", "mamba_d_conv", "d_state"),
    *("lru_width", "block_types", "layers_block_type", "linear_num_value_heads"),
    *("attention_hidden_size", "hybrid_override_pattern"),
)
_ATTENDS = ("attention", "dense", "sparse")


def family_of(data: Mapping[str, Any], kind: str, where: str) -> Family:
    """Return the known family, or what the keys of an unknown decoder suggest.

    Raises
    ------
    SpecError
        For a model that has an encoder, layers without attention, or nothing that says that it
        is a decoder.
    """
    _require_attention(data, kind, where)
    if data.get("is_encoder_decoder") is True or kind in _NOT_DECODERS:
        raise _no_decoder(kind, where)
    known = _FAMILIES.get(kind)
    if known is not None:
        return known
    # A file without a model_type is the user's own.
    if "model_type" in data and not _says_decoder(data):
        raise _no_decoder(kind, where)
    activation = str(data.get("hidden_act", data.get("hidden_activation", "gelu")))
    rotary = "rope_theta" in data or "rope_scaling" in data or "rms_norm_eps" in data
    gated = activation in ("silu", "swish", "swiglu")
    layer = "layer_norm_epsilon" in data or "layer_norm_eps" in data
    return Family(
        gated=gated,
        norm="layer" if layer else "rms",
        position="rope" if rotary or gated else "learned",
    )


def _says_decoder(data: Mapping[str, Any]) -> bool:
    heads = data.get("architectures")
    if isinstance(heads, (list, tuple)) and heads:
        return any(str(name).endswith(_GENERATES) for name in heads)
    return data.get("is_decoder") is True or "rms_norm_eps" in data


def _no_decoder(kind: str, where: str) -> SpecError:
    return SpecError(
        f"{where}: {kind!r} is no decoder-only transformer",
        hint="an encoder, alone or before a decoder, is not modelled; of another decoder, "
        "'architectures' must name a class that ends in ForCausalLM",
    )


def _require_attention(data: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse state-space and linear-attention layers, which hold no keys and values."""
    named = [key for key in _RECURRENT if data.get(key)]
    layers = data.get("layer_types")
    if isinstance(layers, (list, tuple)):
        odd = [str(name) for name in layers if not str(name).endswith(_ATTENDS)]
        odd += [str(name) for name in layers if str(name).startswith("linear")]
        named += [f"layer_types: {odd[0]}"] if odd else []
    if named or kind.startswith(("mamba", "rwkv")):
        told = named[0] if named else kind
        raise SpecError(
            f"{where}: {kind!r} has layers that are no attention ({told})",
            hint="state-space, recurrent and linear-attention layers are not modelled",
        )


def windowed_layers(data: Mapping[str, Any], family: Family, layers: int) -> int | None:
    """Return how many layers a sliding window holds for; None for all.

    ``layer_types`` lists them in newer files; older ones give a pattern, or (Qwen) the number of
    first layers without a window.
    """
    kinds = data.get("layer_types")
    if isinstance(kinds, (list, tuple)) and kinds:
        return sum(str(kind) == "sliding_attention" for kind in kinds)
    first = data.get("max_window_layers")
    if isinstance(first, int) and not isinstance(first, bool):
        return max(layers - first, 0)
    every = data.get("sliding_window_pattern", family.full_every)
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        return None
    return layers - layers // every
