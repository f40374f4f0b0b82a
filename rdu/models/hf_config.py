"""The shape of a decoder-only model from a Hugging Face ``config.json``.

A family's traits (norm, positions, kind of MLP) stand in no key of its files; they are a table in
`rdu.models.families`. Decoders that are not in it are read like Llama where their keys say so, else
like GPT-2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from rdu.errors import SpecError
from rdu.models.config import Latent, TransformerConfig
from rdu.models.families import family_of, windowed_layers

_NESTED = ("text_config", "llm_config", "language_config", "ffn_config", "attn_config")
_ANY_HIDDEN = ("hidden_size", "n_embd", "n_embed", "d_model")
_ANY_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_ANY_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_ANY_KV = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads")
_ANY_WIDTH = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
_ANY_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_ANY_USED = ("num_experts_per_tok", "moe_top_k")
_ANY_BIAS = ("attention_bias", "add_qkv_bias", "use_qkv_bias", "qkv_bias")
_ANY_WINDOW = ("sliding_window", "window_size")


def from_hf_config(path: str | Path | Mapping[str, Any]) -> TransformerConfig:
    """Read the shape of a decoder-only model from a Hugging Face ``config.json``.

    Latent attention (``kv_lora_rank``), shared experts, layers without experts and sliding windows
    that hold for some layers are read; layers that predict further tokens are not counted.

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
    where, data = _content(path)
    kind = str(data.get("model_type", "model"))
    family = family_of(data, kind, where)
    hidden = _integer(data, _ANY_HIDDEN, where)
    layers = _integer(data, _ANY_LAYERS, where)
    _require_one_width(data, hidden, where)
    experts = _integer(data, _ANY_EXPERTS, where, 1)
    window = _window(data)
    length = data.get("max_position_embeddings", data.get("n_positions", 0))
    learned = family.position == "learned" and isinstance(length, int)
    tied = data.get("tie_word_embeddings")
    return TransformerConfig(
        name=str(data.get("_name_or_path") or kind),
        hidden=hidden,
        layers=layers,
        **_heads(data, kind, hidden, where),
        **_widths(data, kind, hidden, layers, where),
        vocab=_integer(data, ("vocab_size", "padded_vocab_size"), where),
        gated=family.gated,
        norm=family.norm,
        position="alibi" if data.get("alibi") is True else family.position,
        parallel=family.parallel or _says_parallel(data),
        bias=family.bias or (kind == "falcon" and data.get("bias") is True),
        attention_bias=family.attention_bias or any(data.get(k) is True for k in _ANY_BIAS),
        tied=family.tied if tied is None else bool(tied),
        window=window,
        windowed_layers=None if window is None else windowed_layers(data, family, layers),
        sandwich=family.sandwich,
        head_norms=family.head_norms,
        experts=experts,
        experts_used=_integer(data, _ANY_USED, where, 1),
        positions=int(length) if learned else 0,
    )


def _content(path: str | Path | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What messages call the file, and its keys; those of a language model inside come first."""
    if isinstance(path, Mapping):
        where, data = "the given mapping", dict(path)
    else:
        where, data = str(path), _read_json(Path(path))
    for key in _NESTED:
        if isinstance(data.get(key), Mapping):
            data = data | dict(cast("Mapping[str, Any]", data[key]))
    return where, data


class _Heads(TypedDict):
    heads: int
    kv_heads: int
    head_dim: int
    latent: Latent | None


def _heads(data: Mapping[str, Any], kind: str, hidden: int, where: str) -> _Heads:
    """Number and width of attention heads."""
    heads = _integer(data, _ANY_HEADS, where)
    latent = _latent(data, where)
    if latent is not None:
        width = latent.nope + latent.rope
        return _Heads(heads=heads, kv_heads=heads, head_dim=width, latent=latent)
    if data.get("head_dim") is None and hidden % heads:
        raise SpecError(
            f"{where}: hidden size {hidden} does not divide into {heads} heads",
            hint="the file may need a head_dim",
        )
    return _Heads(
        heads=heads,
        kv_heads=_kv_heads(data, kind, heads, where),
        head_dim=_integer(data, ("head_dim",), where, hidden // heads),
        latent=None,
    )


class _Widths(TypedDict):
    intermediate: int
    shared_intermediate: int
    dense_layers: int
    dense_intermediate: int


def _widths(data: Mapping[str, Any], kind: str, hidden: int, layers: int, where: str) -> _Widths:
    """Widths of the MLPs: of an expert, of the experts all tokens pass, of layers without."""
    if _integer(data, _ANY_EXPERTS, where, 1) == 1:
        width = _integer(data, _ANY_WIDTH, where, 4 * hidden)
        return _Widths(
            intermediate=width, shared_intermediate=0, dense_layers=0, dense_intermediate=0
        )
    dense = _dense_layers(data, layers, where)
    plain = ("intermediate_size_mlp", *_ANY_WIDTH)
    return _Widths(
        intermediate=_integer(data, ("moe_intermediate_size", *_ANY_WIDTH), where, 4 * hidden),
        shared_intermediate=_shared(data, kind, where),
        dense_layers=dense,
        dense_intermediate=_integer(data, plain, where, 4 * hidden) if dense else 0,
    )


def _says_parallel(data: Mapping[str, Any]) -> bool:
    """Whether a file's own keys say that attention and MLP read one input (Falcon)."""
    return data.get("new_decoder_architecture") is True or data.get("parallel_attn") is True


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


def _require_one_width(data: Mapping[str, Any], hidden: int, where: str) -> None:
    """Refuse embeddings narrower than the layers (one size of OPT)."""
    width = data.get("word_embed_proj_dim", hidden)
    if width != hidden:
        raise SpecError(
            f"{where}: embeddings of {width!r} numbers are projected to {hidden}, which is not "
            "modelled",
            hint="word_embed_proj_dim must equal hidden_size",
        )


def _dense_layers(data: Mapping[str, Any], layers: int, where: str) -> int:
    """Number of layers without experts: the first ones, or all but one in so many (Llama 4)."""
    step = _integer(data, ("interleave_moe_layer_step",), where, 1)
    return layers - layers // step if step > 1 else _count(data, "first_k_dense_replace", where)


def _shared(data: Mapping[str, Any], kind: str, where: str) -> int:
    """Width of the experts that every token passes."""
    if kind.startswith("llama4"):
        return _integer(data, _ANY_WIDTH, where)
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
    value = next((data[key] for key in _ANY_WINDOW if data.get(key) is not None), None)
    used = data.get("use_sliding_window", True)
    return value if isinstance(value, int) and not isinstance(value, bool) and used else None
