"""A small decoder on the emulated unit: embedding, each layer and the head as one kernel each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rdu.graph.graph import Graph, Precision
from rdu.mapping.compile import compile_graph
from rdu.mapping.program import Program
from rdu.models.decoder import decoder_layer, token_embedding, token_head
from rdu.session import run
from rdu.small.model import ALPHABET, HIDDEN, Array, Decoder, decode, fitting
from rdu.specs import Node


@dataclass(frozen=True, slots=True)
class Answer:
    """What a decoder wrote, and what it took on the unit.

    Attributes
    ----------
    seconds:
        Simulated time of all kernels, launches included.
    kernels:
        Kernel launches.
    hbm_bytes:
        Traffic of device memory.
    """

    text: str
    seconds: float
    kernels: int
    hbm_bytes: float


@dataclass(frozen=True, slots=True)
class _Programs:
    """The three kernels for passes of a number of tokens."""

    embedding: Program
    layer: Program
    head: Program


@lru_cache(maxsize=32)
def _programs(
    tokens: int, shape: tuple[int, int, int, int], precision: Precision, node: Node
) -> _Programs:
    """Compile for ``shape = (capacity, width, heads, hidden)``; models of one shape share them."""
    capacity, width, heads, hidden = shape
    vocab = len(ALPHABET)

    def fused(graph: Graph) -> Program:
        return compile_graph(graph, node, fusion="spatial")

    return _Programs(
        fused(token_embedding(tokens, capacity, vocab, width, precision)),
        fused(decoder_layer(tokens, capacity, width, heads, hidden, precision)),
        fused(token_head(tokens, vocab, width, precision)),
    )


class EmulatedDecoder:
    """A decoder whose prompts and tokens run on one socket of the node.

    Parameters
    ----------
    precision:
        ``"bf16"`` as the unit computes, or ``"fp32"`` to compare with NumPy closely.
    block:
        Tokens of the prompt that pass at once; each new token is a pass of its own.

    Examples
    --------
    >>> from rdu.small import expert
    >>> from rdu.specs import sn40l_node
    >>> model = EmulatedDecoder(expert("language"), sn40l_node(1))
    >>> model.generate("x", 0).text
    ''
    """

    def __init__(
        self, model: Decoder, node: Node, *, precision: str = "fp32", block: int = 1
    ) -> None:
        self.model, self.node, self.block = model, node, block
        self.precision = Precision(precision)

    def generate(self, prompt: str, count: int) -> Answer:
        """The ``count`` most likely characters after ``prompt``, with the time they took.

        Raises
        ------
        SpecError
            Where the prompt is empty or, with the answer, longer than the model's capacity.
        """
        tokens = fitting(self.model, prompt, count)
        session = _Session(self)
        pending, written = list(tokens), list[int]()
        while count and len(written) < count:
            size = self.block if len(pending) > 1 else 1
            logits = session.step(pending[:size], size)
            pending = pending[size:]
            if not pending:
                written.append(int(np.argmax(logits)))
                pending = [written[-1]]
        return Answer(decode(written), session.seconds, session.kernels, session.hbm_bytes)

    def programs(self, tokens: int) -> _Programs:
        """The compiled kernels for passes of ``tokens`` tokens."""
        m = self.model
        shape = (m.capacity, m.width, m.heads, m.hidden)
        return _programs(tokens, shape, self.precision, self.node)


class _Session:
    """One answer in the making: the caches, the position, and the time spent."""

    def __init__(self, owner: EmulatedDecoder) -> None:
        self.owner, model = owner, owner.model
        empty = np.zeros((model.capacity, model.heads, model.width // model.heads), np.float32)
        self.past: list[tuple[Array, Array]] = [(empty, empty) for _ in model.layers]
        self.position = 0
        self.seconds, self.kernels, self.hbm_bytes = 0.0, 0, 0.0

    def step(self, tokens: Sequence[int], size: int) -> Array:
        """Pass the tokens, padded to ``size``; return the logits after the last of them."""
        model, programs = self.owner.model, self.owner.programs(size)
        onehot = np.zeros((size, len(ALPHABET)), np.float32)
        place = np.zeros((model.capacity, size), np.float32)
        for n, token in enumerate(tokens):
            onehot[n, token] = place[self.position + n, n] = 1
        seen = np.arange(model.capacity) <= self.position + np.arange(size)[:, None]
        bias = np.where(seen, 0, HIDDEN).astype(np.float32)
        x = self._run(programs.embedding, onehot, place, model.table, model.positions)
        for n, layer in enumerate(model.layers):
            x, k, v = self._run(programs.layer, x, place, bias, *self.past[n], *layer.arrays)
            self.past[n] = k, v
        logits = self._run(programs.head, x, model.norm, model.table)
        self.position += len(tokens)
        return logits[len(tokens) - 1]

    def _run(self, program: Program, *arrays: Array) -> Any:
        values, report = run(program, *arrays)
        self.seconds += report.seconds
        self.kernels += len(report.kernels)
        self.hbm_bytes += report.bytes["hbm"]
        return values
