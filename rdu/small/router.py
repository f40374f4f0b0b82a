"""Routers: which expert a prompt goes to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zlib import crc32

import numpy as np

from rdu.errors import SpecError
from rdu.graph.builder import GraphBuilder
from rdu.graph.graph import Graph, Precision
from rdu.graph.pattern import Table
from rdu.mapping.compile import compile_graph
from rdu.session import run
from rdu.small.model import Array, softmax
from rdu.specs import Node

_WORD = re.compile(r"[a-z]+")


class TextRouter(Protocol):
    """What a composition asks of its router."""

    @property
    def names(self) -> tuple[str, ...]:
        """The experts it chooses among."""
        ...

    @property
    def weight_bytes(self) -> float:
        """Its weights in bf16."""
        ...

    def scores(self, prompts: Sequence[str]) -> Array:
        """``[prompts, experts]``, in NumPy; the largest names the expert."""
        ...

    def emulated(self, prompts: Sequence[str], node: Node) -> tuple[Array, float]:
        """The same on the unit, and the simulated seconds."""
        ...


@dataclass(frozen=True, slots=True)
class WordRouter:
    """Embeds a prompt as the mean of its words' vectors, one row a hashed word.

    The vectors are the weights of a linear classifier trained on windows of the experts' texts,
    so they have one column an expert.

    Examples
    --------
    >>> texts = {"sea": "the ship sails on the waves " * 20, "land": "a horse on the road " * 30}
    >>> router = WordRouter.train(texts, windows=20)
    >>> router.names[int(router.scores(["waves and ships"]).argmax())]
    'sea'
    """

    names: tuple[str, ...]
    vectors: Array

    @classmethod
    def train(
        cls,
        texts: Mapping[str, str],
        *,
        buckets: int = 1024,
        windows: int = 400,
        steps: int = 300,
        seed: int = 0,
    ) -> WordRouter:
        """Fit the vectors to short windows of each text by gradient descent.

        Raises
        ------
        SpecError
            For fewer than two texts.
        """
        if len(texts) < 2:
            raise SpecError(f"a router chooses among at least two experts, found {len(texts)}")
        rng = np.random.default_rng(seed)
        rows: list[str] = []
        for text in texts.values():
            for start in rng.integers(0, max(len(text) - 60, 1), windows):
                rows.append(text[start : start + int(rng.integers(20, 61))])
        x = _mean_words(rows, buckets)
        target = np.repeat(np.eye(len(texts), dtype=np.float32), windows, axis=0)
        vectors = np.zeros((buckets, len(texts)), np.float32)
        for _ in range(steps):
            error = softmax(x @ vectors) - target
            vectors -= 30.0 * (x.T @ error / len(x) + 1e-5 * vectors)
        return cls(tuple(texts), vectors)

    @classmethod
    def load(cls, path: str | Path) -> WordRouter:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(tuple(map(str, arrays["names"])), arrays["vectors"].astype(np.float32))

    def save(self, path: str | Path) -> None:
        """Write the vectors as float16 to an ``.npz`` file."""
        np.savez_compressed(
            path, names=np.array(self.names), vectors=self.vectors.astype(np.float16)
        )

    @property
    def weight_bytes(self) -> float:
        """The vectors in bf16."""
        return 2.0 * self.vectors.size

    def scores(self, prompts: Sequence[str]) -> Array:
        """``[prompts, experts]``, in NumPy; the largest names the expert."""
        return _mean_words(prompts, len(self.vectors)) @ self.vectors

    def emulated(self, prompts: Sequence[str], node: Node) -> tuple[Array, float]:
        """The same as a sparse product on the unit, and the simulated seconds."""
        words = _mean_words(prompts, len(self.vectors))
        graph = _word_graph(np.argwhere(words != 0).astype(np.int64), words.shape, len(self.names))
        scores, report = run(compile_graph(graph, node, fusion="spatial"), words, self.vectors)
        return scores, report.seconds


def _mean_words(prompts: Sequence[str], buckets: int) -> Array:
    """Share of each hashed word among a prompt's words."""
    table = np.zeros((len(prompts), buckets), np.float32)
    for row, prompt in zip(table, prompts, strict=True):
        words = _WORD.findall(prompt.lower())
        for word in words:
            row[crc32(word.encode()) % buckets] += 1 / len(words)
    return table


def _word_graph(pattern: Table, shape: tuple[int, ...], experts: int) -> Graph:
    b = GraphBuilder("word_router", Precision.FP32)
    words = b.input("words", shape, pattern=pattern)
    vectors = b.input("vectors", (shape[1], experts))
    return b.finish([b.sparse_product("scores", "be", [(words, "bv"), (vectors, "ve")])])
