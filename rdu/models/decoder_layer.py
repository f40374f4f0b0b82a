"""A whole decoder layer of a Llama as a graph that can be mapped and run on data.

Norm, projections, rotary positions, attention over a cache and the new tokens, output
projection, residual, norm, gated MLP, residual. Cut the axes ``g`` (key-value heads) and ``m``
(hidden columns of the MLP) to run it on several sockets: the two products that sum over them
become all-reduces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdu.errors import RDUError
from rdu.graph.builder import GraphBuilder
from rdu.graph.functions import (
    ADD,
    CAUSAL,
    DIVIDE,
    EXP,
    MAXIMUM,
    MULTIPLY,
    SILU,
    SUBTRACT,
)
from rdu.graph.graph import Graph, Precision
from rdu.graph.nodes import Constant, Monoid, Position, Subscript


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Sizes of a layer; ``cached`` tokens lie in the cache when ``tokens`` new ones come."""

    tokens: int
    cached: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise RDUError(
                f"{self.heads} heads must be a multiple of {self.kv_heads} key-value heads, and "
                f"the head dimension {self.head_dim} even"
            )


LLAMA2_7B = LayerShape(1, 4096, 4096, 32, 32, 128, 11008)
"""One token after 4096; ``dataclasses.replace`` gives other phases."""


def decoder_layer(shape: LayerShape, precision: Precision = Precision.BF16) -> Graph:
    """Build the layer; results are ``y`` and the keys and values to append to the cache.

    Axes: ``t`` new tokens, ``u`` the same as keys, ``s`` cached tokens, ``d`` and ``o`` hidden,
    ``g`` key-value heads, ``r`` query heads of each, ``p`` and ``f`` halves of a head, ``m``
    columns of the MLP. Inputs in order: ``x [t, d]``, ``cos``, ``sin`` ``[t, p, f]``, with a
    cache ``past_k``, ``past_v`` ``[s, g, p, f]``, then ``norm1``, ``wq [d, g, r, p, f]``, ``wk``,
    ``wv``, ``wo [g, r, p, f, d]``, ``norm2``, ``w_gate``, ``w_up [d, m]``, ``w_down [m, d]``.

    >>> graph = decoder_layer(LayerShape(4, 8, 16, 4, 2, 4, 24))
    >>> graph.results
    ('y', 'k', 'v')
    """
    b = GraphBuilder("decoder_layer", precision)
    n, g, r = shape.tokens, shape.kv_heads, shape.heads // shape.kv_heads
    half, d, m = shape.head_dim // 2, shape.hidden, shape.intermediate
    x = b.input("x", (n, d))
    cos, sin = (b.input(name, (n, 2, half)) for name in ("cos", "sin"))
    past = (
        [b.input(name, (shape.cached, g, 2, half)) for name in ("past_k", "past_v")]
        if shape.cached
        else []
    )
    norm1 = b.input("norm1", (d,))
    wq = b.input("wq", (d, g, r, 2, half))
    wk, wv = (b.input(name, (d, g, 2, half)) for name in ("wk", "wv"))
    wo = b.input("wo", (g, r, 2, half, d))
    normed = b.rms_norm("x_norm", (x, "td"), norm1, "d")
    q = b.contract("q_flat", "tgrpf", (normed, "td"), (wq, "dgrpf"))
    k = b.contract("k_flat", "tgpf", (normed, "td"), (wk, "dgpf"))
    v = b.contract("v", "tgpf", (normed, "td"), (wv, "dgpf"))
    q = _rotary(b, "q", q, "tgrpf", cos, sin)
    k = _rotary(b, "k", k, "tgpf", cos, sin)
    mixed = _attention(b, q, k, v, past, 1 / np.sqrt(shape.head_dim))
    out = b.contract("o", "td", (mixed, "tgrpf"), (wo, "grpfd"))
    after = b.map("x_mid", "td", ADD, (out, "td"), (x, "td"))
    norm2 = b.input("norm2", (d,))
    gates, ups = (b.input(name, (d, m)) for name in ("w_gate", "w_up"))
    down = b.input("w_down", (m, d))
    normed = b.rms_norm("mid_norm", (after, "td"), norm2, "d")
    gate = b.contract("gate", "tm", (normed, "td"), (gates, "dm"))
    up = b.contract("up", "tm", (normed, "td"), (ups, "dm"))
    active = b.map("active", "tm", SILU, (gate, "tm"))
    both = b.map("both", "tm", MULTIPLY, (active, "tm"), (up, "tm"))
    low = b.contract("down", "td", (both, "tm"), (down, "md"))
    y = b.map("y", "td", ADD, (low, "td"), (after, "td"))
    return b.finish([y, k, v])


def _rotary(b: GraphBuilder, name: str, x: str, axes: str, cos: str, sin: str) -> str:
    """``x * cos + turned * sin``: turned holds the other half, the signs are in ``sin``."""
    turned = [Subscript((("p", -1),), 1) if a == "p" else Subscript(((a, 1),)) for a in axes]
    extents = dict(zip(axes, b.shapes[x], strict=True))
    other = b.rearrange(f"{name}_turned", axes, x, turned, extents=extents)
    straight = b.map(f"{name}_cos", axes, MULTIPLY, (x, axes), (cos, "tpf"))
    crossed = b.map(f"{name}_sin", axes, MULTIPLY, (other, axes), (sin, "tpf"))
    return b.map(name, axes, ADD, (straight, axes), (crossed, axes))


def _attention(b: GraphBuilder, q: str, k: str, v: str, past: list[str], scale: float) -> str:
    """Causal attention over the cache and the new tokens, with one softmax over both."""
    raw = b.contract("scores", "tgru", (q, "tgrpf"), (k, "ugpf"))
    visible = b.map(
        "visible", "tgru", CAUSAL,
        (raw, "tgru"), Constant(float(scale)),
        Position(Subscript((("u", 1),))), Position(Subscript((("t", 1),))),
    )  # fmt: skip
    if not past:
        chances = b.softmax("chances", (visible, "tgru"), "u")
        return b.contract("mixed", "tgrpf", (chances, "tgru"), (v, "ugpf"))
    keys, values = past
    old = b.contract("past_scores", "tgrs", (q, "tgrpf"), (keys, "sgpf"))
    old = b.map("past_scaled", "tgrs", MULTIPLY, (old, "tgrs"), Constant(float(scale)))
    tops = [
        b.reduce(f"{name}_top", "tgr", Monoid.MAXIMUM, (s, f"tgr{a}"))
        for name, s, a in (("new", visible, "u"), ("past", old, "s"))
    ]
    top = b.map("top", "tgr", MAXIMUM, *((t, "tgr") for t in tops))
    parts: list[tuple[str, str]] = []
    for name, s, a, w in (("new", visible, "u", v), ("past", old, "s", values)):
        low = b.map(f"{name}_low", f"tgr{a}", SUBTRACT, (s, f"tgr{a}"), (top, "tgr"))
        power = b.map(f"{name}_exp", f"tgr{a}", EXP, (low, f"tgr{a}"))
        total = b.reduce(f"{name}_total", "tgr", Monoid.SUM, (power, f"tgr{a}"))
        part = b.contract(f"{name}_mixed", "tgrpf", (power, f"tgr{a}"), (w, f"{a}gpf"))
        parts.append((total, part))
    total = b.map("total", "tgr", ADD, *((t, "tgr") for t, _ in parts))
    whole = b.map("weighted", "tgrpf", ADD, *((p, "tgrpf") for _, p in parts))
    return b.map("mixed", "tgrpf", DIVIDE, (whole, "tgrpf"), (total, "tgr"))


def rotary_tables(positions: npt.NDArray[Any], head_dim: int) -> tuple[Any, Any]:
    """Return ``cos`` and ``sin`` ``[t, 2, head_dim / 2]`` with the signs of the turned halves.

    >>> cos, sin = rotary_tables(np.arange(3), 8)
    >>> cos.shape, sin[0].tolist() == (np.zeros((2, 4))).tolist()
    ((3, 2, 4), True)
    """
    half = head_dim // 2
    angles = positions[:, None] * 10000.0 ** (-np.arange(half) / half)
    sin = np.sin(angles)
    return np.stack([np.cos(angles)] * 2, axis=1), np.stack([-sin, sin], axis=1)


def decoder_layer_reference(
    shape: LayerShape, arrays: dict[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Evaluate the layer with plain NumPy in float64: ``y``, ``k`` and ``v``."""
    a = {name: np.asarray(value, dtype=np.float64) for name, value in arrays.items()}

    def norm(x: Any, w: Any) -> Any:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w

    def turn(x: Any, spread: str) -> Any:
        cos, sin = (np.einsum(spread, a[name], np.ones(x.shape)) for name in ("cos", "sin"))
        return x * cos + x[..., ::-1, :] * sin

    n = norm(a["x"], a["norm1"])
    q = turn(np.einsum("td,dgrpf->tgrpf", n, a["wq"]), "tpf,tgrpf->tgrpf")
    k = turn(np.einsum("td,dgpf->tgpf", n, a["wk"]), "tpf,tgpf->tgpf")
    v = np.einsum("td,dgpf->tgpf", n, a["wv"])
    keys = np.concatenate([a["past_k"], k]) if shape.cached else k
    values = np.concatenate([a["past_v"], v]) if shape.cached else v
    scores = np.einsum("tgrpf,sgpf->tgrs", q, keys) / np.sqrt(shape.head_dim)
    now = shape.cached + np.arange(shape.tokens)
    late = np.arange(len(keys)) > now[:, None]
    scores = np.where(late[:, None, None, :], -np.inf, scores)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("tgrs,sgpf->tgrpf", e / e.sum(-1, keepdims=True), values)
    mid = a["x"] + np.einsum("tgrpf,grpfd->td", mixed, a["wo"])
    n = norm(mid, a["norm2"])
    gate = n @ a["w_gate"]
    y = mid + (gate / (1 + np.exp(-gate)) * (n @ a["w_up"])) @ a["w_down"]
    return {"y": y, "k": k, "v": v}
