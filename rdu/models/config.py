"""Shapes of transformer models, and presets of the paper's benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from rdu.errors import SpecError

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
class Latent:
    """Multi-head latent attention: keys and values of all heads from one vector a token.

    The cache holds ``kv_rank + rope`` numbers a token and layer, whatever the heads (DeepSeek-V2,
    arXiv:2405.04434, section 2.1).

    Attributes
    ----------
    kv_rank:
        Length of the vector that keys and values are made of.
    query_rank:
        Length of that of queries, or None where they are made from the hidden state.
    nope, rope:
        Parts of a head's query and key without and with rotary positions; all heads share the key's
        second part.
    value:
        Length of a head's value.
    """

    kv_rank: int
    query_rank: int | None
    nope: int
    rope: int
    value: int

    def __post_init__(self) -> None:
        for part in fields(self):
            value: object = getattr(self, part.name)
            if part.name == "query_rank" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SpecError(
                    f"latent attention: {part.name} must be a whole number from 1, found {value!r}"
                )

    def weights(self, hidden: int, heads: int) -> int:
        """Parameters of one layer's matrices."""
        query = heads * (self.nope + self.rope)
        rank = self.query_rank
        queries = hidden * query if rank is None else (hidden + query) * rank
        down = hidden * (self.kv_rank + self.rope)
        up = self.kv_rank * heads * (self.nope + self.value)
        return queries + down + up + heads * self.value * hidden

    @property
    def norm_weights(self) -> int:
        """Parameters of the norms of its vectors."""
        return self.kv_rank + (self.query_rank or 0)


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
    window, windowed_layers:
        Tokens a query attends to at most, or ``None``, and in how many layers; ``None`` for all.
    sandwich:
        The results of attention and MLP are normed too, before they join the residual (Gemma 2).
    head_norms:
        Queries and keys are normed head by head (Qwen 3).
    experts, experts_used:
        Mixture-of-experts MLPs in each layer, and how many a token passes.
    shared_intermediate:
        Width of the MLP that every token passes beside its experts, 0 for none.
    dense_layers, dense_intermediate:
        Layers with one MLP of another width in place of experts.
    latent:
        Latent attention, whose heads have no ``kv_heads`` and ``head_dim`` of their own.
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
    latent: Latent | None = None
    shared_intermediate: int = 0
    dense_layers: int = 0
    dense_intermediate: int = 0
    windowed_layers: int | None = None
    sandwich: bool = False
    head_norms: bool = False

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
        if not 0 <= self.dense_layers <= self.layers:
            raise SpecError(
                f"model {self.name!r}: {self.dense_layers} dense layers of {self.layers} layers"
            )
        if not 0 <= (self.windowed_layers or 0) <= self.layers:
            raise SpecError(
                f"model {self.name!r}: a window in {self.windowed_layers} of {self.layers} layers"
            )
        if self.dense_layers and self.dense_intermediate < 1:
            raise SpecError(f"model {self.name!r}: dense layers need a dense_intermediate")
        if not 0 < self.weight_density <= 1:
            raise SpecError(
                f"model {self.name!r}: weight_density must lie in (0, 1], "
                f"found {self.weight_density!r}"
            )

    @property
    def dense(self) -> TransformerConfig:
        """The shape of the first, dense layers, as a model of its own."""
        return replace(
            self,
            layers=max(self.dense_layers, 1),
            intermediate=self.dense_intermediate or self.intermediate,
            experts=1,
            experts_used=1,
            shared_intermediate=0,
            dense_layers=0,
            windowed_layers=None,
        )

    @property
    def windowed(self) -> int:
        """Layers in which the window holds."""
        if self.window is None:
            return 0
        return self.layers if self.windowed_layers is None else self.windowed_layers

    @property
    def attention_weights(self) -> int:
        """Parameters of the matrices of one layer's attention."""
        if self.latent is not None:
            return self.latent.weights(self.hidden, self.heads)
        return 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim

    @property
    def layer_weights(self) -> int:
        """Parameters of the matrices of one layer, all experts counted."""
        router = self.hidden * self.experts if self.experts > 1 else 0
        shared = self._mlp(self.shared_intermediate)
        return (
            self.attention_weights + self.experts * self._mlp(self.intermediate) + shared + router
        )

    @property
    def matrix_weights(self) -> int:
        """Parameters of the matrices of all layers."""
        first = self.dense_layers * self.dense.layer_weights if self.dense_layers else 0
        return first + (self.layers - self.dense_layers) * self.layer_weights

    def _mlp(self, width: int) -> int:
        return (3 if self.gated else 2) * self.hidden * width

    @property
    def parameters(self) -> int:
        """All parameters of the language model, biases and norms included.

        >>> preset("llama2-7b").parameters
        6738415616
        """
        h, q, kv = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim
        norm = h * (2 if self.norm == "layer" else 1)
        norms = self.layers * norm * (4 if self.sandwich else 2) + norm
        if self.head_norms:
            norms += self.layers * 2 * self.head_dim
        if self.latent is not None:
            norms += self.layers * self.latent.norm_weights
        biases = 0
        if self.bias:
            biases += self.layers * (h + self.experts * (self.intermediate + h))
        if self.bias or self.attention_bias:
            biases += self.layers * (q + 2 * kv)
        embeddings = self.vocab * h * (1 if self.tied else 2) + self.positions * h
        if self.position == "alibi":
            norms += norm  # a norm after the embedding, as in Bloom
        return self.matrix_weights + norms + biases + embeddings

    @property
    def active_parameters(self) -> int:
        """Parameters that take part in one token: those of the experts it does not pass left out.

        >>> preset("llama2-7b").active_parameters == preset("llama2-7b").parameters
        True
        """
        idle = (self.experts - self.experts_used) * self._mlp(self.intermediate)
        return self.parameters - (self.layers - self.dense_layers) * idle

    @property
    def kv_bytes_per_token(self) -> int:
        """Key-value cache of one token in bf16; latent vectors once, though every socket has them.

        >>> preset("llama2-7b").kv_bytes_per_token
        524288
        """
        if self.latent is not None:
            return 2 * self.layers * (self.latent.kv_rank + self.latent.rope)
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
