"""Shapes of transformer models: presets of the paper's benchmarks, and Hugging Face files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from rdu.errors import SpecError

_GATED_TYPES = frozenset(
    {
        *("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"),
        *("phi3", "olmo", "olmo2", "cohere", "internlm2", "granite", "stablelm", "deepseek"),
    }
)
_COUNTS = (
    *("hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate", "vocab"),
    *("experts", "experts_used"),
)


@dataclass(frozen=True, slots=True)
class Vision:
    """An image encoder in front of the language model."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    patches: int
    patch_pixels: int


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A decoder-only transformer.

    Attributes
    ----------
    intermediate:
        Width of the MLP; ``gated`` has three matrices, plain two.
    norm:
        ``"rms"`` or ``"layer"``.
    position:
        ``"rope"``, ``"alibi"``, ``"learned"``.
    parallel:
        Attention and MLP read the same norm and share one residual (Falcon).
    window:
        Tokens a query attends to at most, or ``None``.
    experts, experts_used:
        Mixture-of-experts MLPs in each layer, and how many a token passes.
    weight_density:
        Share of the decoder's weights that is not zero and is stored and multiplied.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    gated: bool = True
    norm: Literal["rms", "layer"] = "rms"
    position: Literal["rope", "alibi", "learned"] = "rope"
    parallel: bool = False
    bias: bool = False
    attention_bias: bool = False
    tied: bool = False
    window: int | None = None
    experts: int = 1
    experts_used: int = 1
    positions: int = 0
    weight_density: float = 1.0
    vision: Vision | None = None

    def __post_init__(self) -> None:
        for key in _COUNTS:
            value: object = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SpecError(
                    f"model {self.name!r}: {key} must be a whole number from 1, found {value!r}"
                )
        if self.heads % self.kv_heads:
            raise SpecError(
                f"model {self.name!r}: {self.heads} heads do not divide into "
                f"{self.kv_heads} key-value heads"
            )
        if self.experts_used > self.experts:
            raise SpecError(
                f"model {self.name!r}: a token passes {self.experts_used} of {self.experts} experts"
            )
        if not 0 < self.weight_density <= 1:
            raise SpecError(
                f"model {self.name!r}: weight_density must lie in (0, 1], "
                f"found {self.weight_density!r}"
            )

    @property
    def layer_weights(self) -> int:
        """Parameters of the matrices of one layer, all experts counted."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (2 * q + 2 * kv)
        router = self.hidden * self.experts if self.experts > 1 else 0
        return attention + self.experts * self.mlp_weights + router

    @property
    def mlp_weights(self) -> int:
        """Parameters of the matrices of one MLP."""
        return (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def parameters(self) -> int:
        """All parameters of the language model, biases and norms included.

        >>> preset("llama2-7b").parameters
        6738415616
        """
        h, q, kv = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim
        norm = h * (2 if self.norm == "layer" else 1)
        norms = self.layers * norm * 2 + norm
        biases = 0
        if self.bias:
            biases += self.layers * (h + self.experts * (self.intermediate + h))
        if self.bias or self.attention_bias:
            biases += self.layers * (q + 2 * kv)
        embeddings = self.vocab * h * (1 if self.tied else 2) + self.positions * h
        if self.position == "alibi":
            norms += norm  # a norm after the embedding, as in Bloom
        return self.layers * self.layer_weights + norms + biases + embeddings

    @property
    def kv_bytes_per_token(self) -> int:
        """Key-value cache of one token in bf16, all sockets together."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


def _llama(
    name: str, hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, **more: Any
) -> TransformerConfig:
    values: dict[str, Any] = {"vocab": 32000, "head_dim": hidden // heads} | more
    return TransformerConfig(
        name=name,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        intermediate=intermediate,
        **values,
    )


_CLIP_L_336 = Vision(
    hidden=1024, layers=24, heads=16, intermediate=4096, patches=576, patch_pixels=14 * 14 * 3
)

PRESETS: dict[str, TransformerConfig] = {
    config.name: config
    for config in (
        _llama("llama2-7b", 4096, 32, 32, 32, 11008),
        _llama("llama2-13b", 5120, 40, 40, 40, 13824),
        _llama("llama2-70b", 8192, 80, 64, 8, 28672),
        _llama("llama-3.1-8b", 4096, 32, 32, 8, 14336, vocab=128256),
        _llama("llama-3.1-70b", 8192, 80, 64, 8, 28672, vocab=128256),
        _llama("llama-3.1-405b", 16384, 126, 128, 8, 53248, vocab=128256),
        _llama("mistral-7b", 4096, 32, 32, 8, 14336, window=4096),
        TransformerConfig(
            "falcon-40b", 8192, 60, 128, 8, 64, 32768, 65024,
            gated=False, norm="layer", parallel=True, tied=True,
        ),
        TransformerConfig(
            "bloom-176b", 14336, 70, 112, 112, 128, 57344, 250880,
            gated=False, norm="layer", position="alibi", bias=True, tied=True,
        ),
        TransformerConfig(
            "sparsegpt-13b", 5120, 40, 40, 40, 128, 20480, 50257,
            gated=False, norm="layer", position="learned", bias=True, tied=True,
            positions=2048, weight_density=0.125,
        ),
        replace(_llama("llava-1.5-7b", 4096, 32, 32, 32, 11008, vocab=32064), vision=_CLIP_L_336),
    )
}  # fmt: skip
"""Models of the paper's benchmarks; shapes from their public configuration files.

``sparsegpt-13b`` is a GPT of 13 billion dense parameters (40 layers of 5120) of which 12.5 % are
kept; its exact shape is not published.
"""


def preset(name: str) -> TransformerConfig:
    """The model of that name.

    Raises
    ------
    SpecError
        For an unknown name, listing the known ones.
    """
    if name not in PRESETS:
        raise SpecError(f"unknown model {name!r}", hint=f"known: {', '.join(PRESETS)}")
    return PRESETS[name]


def from_hf_config(path: str | Path | Mapping[str, Any]) -> TransformerConfig:
    """Read the shape of a decoder-only model from a Hugging Face ``config.json``.

    Parameters
    ----------
    path:
        The file, a folder that holds it, or its content as a mapping.

    Raises
    ------
    SpecError
        For a file that cannot be read, or a key that is needed and missing or senseless.

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
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(data.get(key), Mapping):
            data = data | dict(cast("Mapping[str, Any]", data[key]))
    kind = str(data.get("model_type", "model"))
    hidden = _integer(data, ("hidden_size", "n_embd", "d_model"), where)
    heads = _integer(data, ("num_attention_heads", "n_head", "n_heads", "num_heads"), where)
    if "head_dim" not in data and hidden % heads:
        raise SpecError(
            f"{where}: hidden size {hidden} does not divide into {heads} heads",
            hint="the file may need a head_dim",
        )
    activation = str(data.get("hidden_act", data.get("hidden_activation", "gelu")))
    layer_norm = "layer_norm_epsilon" in data or "layer_norm_eps" in data
    alibi = kind == "bloom" or data.get("alibi") is True
    rope = "rope_theta" in data or "rope_scaling" in data or kind in _GATED_TYPES | {"falcon"}
    learned = not alibi and not rope
    length = data.get("max_position_embeddings", data.get("n_positions", 0))
    new_falcon = data.get("new_decoder_architecture") is True
    return TransformerConfig(
        name=str(data.get("_name_or_path") or kind),
        hidden=hidden,
        layers=_integer(data, ("num_hidden_layers", "n_layer", "n_layers", "num_layers"), where),
        heads=heads,
        kv_heads=_kv_heads(data, kind, heads, where),
        head_dim=_integer(data, ("head_dim",), where, hidden // heads),
        intermediate=_integer(
            data, ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"), where, 4 * hidden
        ),
        vocab=_integer(data, ("vocab_size",), where),
        gated=kind in _GATED_TYPES or activation in ("silu", "swish", "swiglu"),
        norm="layer" if layer_norm else "rms",
        position="alibi" if alibi else "learned" if learned else "rope",
        parallel=new_falcon or data.get("parallel_attn") is True,
        bias=kind in ("bloom", "gpt2", "opt", "gpt_neox", "gptj"),
        attention_bias=data.get("attention_bias") is True or kind == "qwen2",
        tied=bool(data.get("tie_word_embeddings", kind in ("bloom", "gpt2", "opt", "falcon"))),
        window=_window(data),
        experts=_integer(data, ("num_local_experts", "num_experts"), where, 1),
        experts_used=_integer(data, ("num_experts_per_tok",), where, 1),
        positions=int(length) if learned and isinstance(length, int) else 0,
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
    """Falcon's multi-query flag means one head unless the newer decoder is used."""
    if kind == "falcon" and not data.get("new_decoder_architecture"):
        return 1 if data.get("multi_query", True) else heads
    return _integer(data, ("num_key_value_heads", "num_kv_heads", "n_head_kv"), where, heads)


def _window(data: Mapping[str, Any]) -> int | None:
    """A sliding window, unless the file says that it is off (Qwen2)."""
    value = data.get("sliding_window")
    used = data.get("use_sliding_window", True)
    return value if isinstance(value, int) and not isinstance(value, bool) and used else None
