"""One encoder layer of a sentence model (BERT) as a graph to run."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erf

from rdu.graph.builder import GraphBuilder, Read
from rdu.graph.functions import ADD, MULTIPLY
from rdu.graph.graph import Graph, Precision
from rdu.graph.nodes import Function, Monoid
from rdu.memory.tiers import counts

EPSILON = 1e-12


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


GELU = Function("gelu", _gelu)


def encoder_layer(
    tokens: int, width: int, heads: int, hidden: int, precision: Precision = Precision.BF16
) -> Graph:
    """Build a post-norm encoder layer with biases: attention both ways, then a GELU MLP.

    Inputs in order: ``x [tokens, width]``; ``hidden_places [tokens]``, added to the scores; ``wq,
    bq, wk, bk, wv, bv`` (``[width, heads, width / heads]`` and ``[heads, width / heads]``), ``wo
    [heads, width / heads, width]``, ``bo``, ``scale1``, ``shift1``, ``w1 [width, hidden]``,
    ``b1``, ``w2``, ``b2``, ``scale2``, ``shift2``.

    >>> encoder_layer(4, 8, 2, 16).results
    ('y',)
    """
    counts("layer", tokens=tokens, width=width, heads=heads, hidden=hidden)
    b = GraphBuilder("encoder_layer", precision)
    head = width // heads
    x: Read = (b.input("x", (tokens, width)), "td")
    mask: Read = (b.input("hidden_places", (tokens,)), "s")
    parts: dict[str, str] = {}
    for name in "qkv":
        w, bias = b.input(f"w{name}", (width, heads, head)), b.input(f"b{name}", (heads, head))
        product = b.contract(f"{name}_product", "thk", x, (w, "dhk"))
        parts[name] = b.map(name, "thk", ADD, (product, "thk"), (bias, "hk"))
    scores = b.contract("scores", "hts", (parts["q"], "thk"), (parts["k"], "shk"))
    masked = b.map("masked", "hts", ADD, (scores, "hts"), mask)
    share = b.softmax("attention", (masked, "hts"), "s")
    mixed = b.contract("mixed", "thk", (share, "hts"), (parts["v"], "shk"))
    wo = b.input("wo", (heads, head, width))
    out = b.contract("out", "td", (mixed, "thk"), (wo, "hkd"))
    middle = _joined(b, "1", x, (out, "td"), width)
    w1, b1 = b.input("w1", (width, hidden)), b.input("b1", (hidden,))
    up = b.contract("up", "tf", (middle, "td"), (w1, "df"))
    shifted = b.map("shifted", "tf", ADD, (up, "tf"), (b1, "f"))
    bent = b.map("bent", "tf", GELU, (shifted, "tf"))
    down = b.contract("down", "td", (bent, "tf"), (b.input("w2", (hidden, width)), "fd"))
    return b.finish([_joined(b, "2", (middle, "td"), (down, "td"), width, name="y")])


def _joined(b: GraphBuilder, label: str, x: Read, change: Read, width: int, name: str = "") -> str:
    """Bias, residual and layer norm: ``norm(x + change + bias) * scale + shift``."""
    bias = b.input("bo" if label == "1" else "b2", (width,))
    scale, shift = b.input(f"scale{label}", (width,)), b.input(f"shift{label}", (width,))
    biased = b.map(f"biased{label}", "td", ADD, change, (bias, "d"))
    total: Read = (b.map(f"total{label}", "td", ADD, x, (biased, "td")), "td")
    mean = b.reduce(f"sum{label}", "t", Monoid.SUM, total)

    def shifted(value: Any, added: Any) -> Any:
        return value - added / width

    def scaled_to_one(value: Any, added: Any) -> Any:
        return value / np.sqrt(added / width + EPSILON)

    centred: Read = (
        b.map(f"centred{label}", "td", Function("centre", shifted), total, (mean, "t")),
        "td",
    )
    square = b.map(f"square{label}", "td", MULTIPLY, centred, centred)
    spread = b.reduce(f"spread{label}", "t", Monoid.SUM, (square, "td"))
    normed = b.map(f"normed{label}", "td", Function("unit", scaled_to_one), centred, (spread, "t"))
    scaled = b.map(f"scaled{label}", "td", MULTIPLY, (normed, "td"), (scale, "d"))
    return b.map(name or f"middle{label}", "td", ADD, (scaled, "td"), (shift, "d"))
