"""Transformers as operator lists: prompt, one generated token, or one training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from rdu.errors import SpecError
from rdu.memory.tiers import counts
from rdu.models.config import TransformerConfig, Vision, preset
from rdu.models.layers import Shape, chain, decoder, matmul, norm, share, softmax
from rdu.models.operators import GroupBuilder, ModelGraph, Operator, Phase
from rdu.models.training import adam, backward


def llama(
    config: TransformerConfig | str,
    phase: Phase,
    batch: int = 1,
    sequence: int = 4096,
    tensor_parallel: int = 8,
    *,
    tokens: int = 1,
) -> ModelGraph:
    """A transformer in one phase, as the operators of one of ``tensor_parallel`` sockets.

    Parameters
    ----------
    config:
        A `TransformerConfig`, or the name of a preset.
    phase:
        ``"prefill"`` reads ``sequence`` tokens, ``"decode"`` makes one token after ``sequence``,
        ``"train"`` is a forward pass, a backward pass and an Adam step.
    batch:
        Sequences.
    tensor_parallel:
        Sockets the heads and MLP columns are split over; key-value heads are replicated where
        there are fewer of them. Norms and residuals are computed on every socket.
    tokens:
        Tokens a ``"decode"`` step handles at once: more than one verifies a draft.

    Raises
    ------
    SpecError
        For an unknown phase or preset, or numbers that do not divide.

    Examples
    --------
    >>> graph = llama("llama2-7b", "decode", batch=1, sequence=4096, tensor_parallel=8)
    >>> round(graph.weight_bytes * 8 / 1e9, 1)
    13.2
    """
    c = preset(config) if isinstance(config, str) else config
    _check(c, phase, batch, sequence, tensor_parallel, tokens)
    new = tokens if phase == "decode" else 0
    shape = Shape(
        batch=batch,
        tokens=new or sequence,
        context=sequence + new,
        sockets=tensor_parallel,
        cached=phase != "train",
    )
    near = replace(shape, context=min(sequence, c.window or sequence) + new)
    vision = _vision(c.vision, shape) if c.vision and phase != "decode" else ()
    layers = _layers(c, shape, near)
    head = _head(c, shape, phase)
    operators = [*vision, *_embedding(c, shape), *(op for layer in layers for op in layer), *head]
    if phase == "train":
        operators += _training(c, layers, head, tensor_parallel)
    held = _resident(c, tensor_parallel)
    return ModelGraph(
        name=c.name,
        phase=phase,
        batch=batch,
        sequence=sequence,
        tensor_parallel=tensor_parallel,
        operators=tuple(operators),
        # bf16 weights and gradients and two fp32 moments while training.
        resident_bytes=held * (6 if phase == "train" else 1),
        cache_bytes=_cache(c, shape, near, new) if shape.cached else 0.0,
        alternating=0 < c.windowed < c.layers,
    )


def _layers(c: TransformerConfig, shape: Shape, near: Shape) -> list[list[Operator]]:
    """Return the operators of each kind of layer.

    Dense ones, those that attend to all tokens, and those whose window leads to the shape ``near``.
    Where a window holds for a part of the layers, dense ones count among those without.
    """
    others = c.layers - c.dense_layers
    local = min(c.windowed, others) if c.windowed < c.layers else 0
    wide = shape if c.windowed < c.layers else near
    kinds = [
        ("decoder.dense", c.dense, c.dense_layers, wide),
        ("decoder", c, others - local, wide),
        ("decoder.local", c, local, near),
    ]
    found: list[list[Operator]] = []
    for group, kind, count, seen in kinds:
        if count:
            layer = GroupBuilder(group, count)
            decoder(layer, kind, seen)
            found.append(layer.operators)
    return found


def _training(
    c: TransformerConfig,
    layers: Sequence[Sequence[Operator]],
    head: Sequence[Operator],
    sockets: int,
) -> list[Operator]:
    """Backward passes and the optimizer, after the forward pass."""
    found = [*backward(head, "head.backward")]
    for layer in reversed(layers):
        found += backward(layer, f"{layer[0].group}.backward")
    for layer in layers:
        # Gathered tables (of the rotary positions) are constants.
        weights = sum(op.weight_bytes for op in layer if op.kind != "gather") / 2
        group = layer[0].group.replace("decoder", "optimizer")
        found += adam(weights, group, layer[0].repeat)
    return [*found, *adam(_embedding_weights(c, sockets), "optimizer.embedding", 1)]


def _check(
    c: TransformerConfig, phase: str, batch: int, sequence: int, sockets: int, tokens: int
) -> None:
    if phase not in get_args(Phase):
        raise SpecError(f"unknown phase {phase!r}", hint=f"known: {', '.join(get_args(Phase))}")
    counts("model", batch=batch, sequence=sequence, tensor_parallel=sockets, tokens=tokens)
    if c.heads % sockets:
        raise SpecError(
            f"model {c.name!r}: {c.heads} heads do not divide over {sockets} sockets",
            hint=f"they divide over {', '.join(str(n) for n in _divisors(c.heads))}",
        )


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0]


def _embedding(c: TransformerConfig, s: Shape) -> tuple[Operator, ...]:
    b = GroupBuilder("embedding")
    size = s.rows * c.hidden
    # Rows of the table are looked up, the table itself is not streamed.
    x = b.add("embed", "gather", [], size, state=size)
    if c.positions:
        b.add("positions", "elementwise", [x], size, weights=s.tokens * c.hidden, passes=True)
    if c.position == "alibi":
        norm(b, c, "norm0", x, s.rows)
    return tuple(b.operators)


def _head(c: TransformerConfig, s: Shape, phase: Phase) -> tuple[Operator, ...]:
    """Final norm, vocabulary projection, and the choice of a token or the loss."""
    b = GroupBuilder("head")
    rows = s.rows if phase == "train" else s.batch
    last = b.tensor("x", rows * c.hidden)
    last = norm(b, c, "norm", last, rows)
    vocab = share(c.vocab, s.sockets)
    logits = matmul(b, "logits", last, rows, c.hidden, vocab)
    if phase == "train":
        chances = softmax(b, "softmax", logits, rows)
        chain(b, "loss", "reduction", chances, rows)
    else:
        best = chain(b, "argmax", "reduction", logits, rows)
        if s.sockets > 1:
            chain(b, "argmax.allreduce", "collective", best, rows)
    return tuple(b.operators)


def _vision(v: Vision, s: Shape) -> tuple[Operator, ...]:
    """The image encoder: patches, bidirectional layers, a two-layer projection."""
    encoder = TransformerConfig(
        "vision", v.hidden, v.layers, v.heads, v.heads, v.hidden // v.heads, v.intermediate, 1,
        gated=False, norm="layer", position="learned", bias=True,
    )  # fmt: skip
    patches = replace(s, tokens=v.patches, context=v.patches, cached=False)
    b = GroupBuilder("vision.embedding")
    x = b.tensor("pixels", patches.rows * v.patch_pixels)
    matmul(b, "patches", x, patches.rows, v.patch_pixels, v.hidden)
    layer = GroupBuilder("vision", v.layers)
    decoder(layer, encoder, patches, causal=False)
    return (*b.operators, *layer.operators)


def _embedding_weights(c: TransformerConfig, sockets: int) -> float:
    tables = 1 if c.tied else 2
    return (tables * share(c.vocab, sockets) + c.positions) * c.hidden


def _resident(c: TransformerConfig, sockets: int) -> float:
    """Weights of one socket in bytes, sparse ones counted by what is stored."""
    matrices = c.matrix_weights * c.weight_density / sockets
    if c.latent is not None:
        # Every socket makes the vectors itself.
        a = c.latent
        down = c.hidden * (a.kv_rank + a.rope + (a.query_rank or 0))
        matrices += c.layers * down * (1 - 1 / sockets)
    return 2 * (matrices + _embedding_weights(c, sockets))


def _cache(c: TransformerConfig, shape: Shape, near: Shape, new: int) -> float:
    """Bytes of keys and values on one socket, of the ``new`` tokens none yet."""
    kept = (c.layers - c.windowed) * (shape.context - new) + c.windowed * (near.context - new)
    if c.latent is not None:
        return float(c.kv_bytes_per_token) * shape.batch * kept / c.layers
    return 4.0 * share(c.kv_heads, shape.sockets) * c.head_dim * shape.batch * kept
