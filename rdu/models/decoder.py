"""One decoder layer as a graph to run: the same kernel reads a prompt and makes a token.

The key-value cache has a fixed capacity. New keys are put in their places by a product with
``place``, so that the layer is dense and one program serves every position.
"""

from __future__ import annotations

from rdu.errors import SpecError
from rdu.graph.builder import GraphBuilder, Read
from rdu.graph.functions import ADD, MULTIPLY, SILU
from rdu.graph.graph import Graph, Precision
from rdu.memory.tiers import counts


def decoder_layer(
    tokens: int,
    capacity: int,
    width: int,
    heads: int,
    hidden: int,
    precision: Precision = Precision.BF16,
) -> Graph:
    """Build a pre-norm decoder layer: attention over a cache, then a gated MLP.

    Inputs in order: ``x [tokens, width]``; ``place [capacity, tokens]``, 1 where a token's key
    goes; ``bias [tokens, capacity]``, added to the scores (very negative hides a place); the cache
    ``past_k``, ``past_v [capacity, heads, width / heads]``, 0 where nothing is stored yet; and the
    weights ``norm1 [width]``, ``wq``, ``wk``, ``wv [width, heads, width / heads]`` (the scale of
    the scores is part of ``wq``), ``wo [heads, width / heads, width]``, ``norm2``, ``w1``, ``w3
    [width, hidden]``, ``w2 [hidden, width]``. Results: ``y``, and the cache with the new tokens.

    Raises
    ------
    SpecError
        Where the width does not divide into heads, or a number is below 1.

    Examples
    --------
    >>> graph = decoder_layer(1, 16, 8, 2, 12)
    >>> len(graph.groups("spatial")), [graph.tensor(name).shape for name in graph.results]
    (1, [(1, 8), (16, 2, 4), (16, 2, 4)])
    """
    counts("layer", tokens=tokens, capacity=capacity, width=width, heads=heads, hidden=hidden)
    if width % heads:
        raise SpecError(f"a width of {width} does not divide into {heads} heads")
    b = GraphBuilder("decoder_layer", precision)
    head = width // heads
    x: Read = (b.input("x", (tokens, width)), "td")
    place: Read = (b.input("place", (capacity, tokens)), "st")
    bias: Read = (b.input("bias", (tokens, capacity)), "ts")
    past = {name: b.input(f"past_{name}", (capacity, heads, head)) for name in "kv"}
    norm1 = b.input("norm1", (width,))
    into = {name: b.input(f"w{name}", (width, heads, head)) for name in "qkv"}
    wo: Read = (b.input("wo", (heads, head, width)), "hkd")
    norm2 = b.input("norm2", (width,))
    up, gate = ((b.input(name, (width, hidden)), "df") for name in ("w1", "w3"))
    down: Read = (b.input("w2", (hidden, width)), "fd")

    n = b.rms_norm("normed", x, norm1, "d")
    parts = {name: b.contract(name, "thk", (n, "td"), (w, "dhk")) for name, w in into.items()}
    cache: dict[str, str] = {}
    for name in "kv":
        placed = b.contract(f"{name}_placed", "shk", place, (parts[name], "thk"))
        cache[name] = b.map(f"{name}_all", "shk", ADD, (past[name], "shk"), (placed, "shk"))
    scores = b.contract("scores", "hts", (parts["q"], "thk"), (cache["k"], "shk"))
    hidden_scores = b.map("biased", "hts", ADD, (scores, "hts"), bias)
    share = b.softmax("attention", (hidden_scores, "hts"), "s")
    mixed = b.contract("mixed", "thk", (share, "hts"), (cache["v"], "shk"))
    middle = b.map("middle", "td", ADD, x, (b.contract("out", "td", (mixed, "thk"), wo), "td"))
    n = b.rms_norm("normed2", (middle, "td"), norm2, "d")
    active = b.map("active", "tf", SILU, (b.contract("up", "tf", (n, "td"), up), "tf"))
    gated = b.contract("gate", "tf", (n, "td"), gate)
    product = b.map("product", "tf", MULTIPLY, (active, "tf"), (gated, "tf"))
    y = b.map(
        "y", "td", ADD, (middle, "td"), (b.contract("down", "td", (product, "tf"), down), "td")
    )
    return b.finish([y, cache["k"], cache["v"]])


def token_embedding(
    tokens: int, capacity: int, vocab: int, width: int, precision: Precision = Precision.BF16
) -> Graph:
    """Build ``x = onehot @ table + place.T @ positions``.

    Inputs in order: ``onehot [tokens, vocab]``, ``place [capacity, tokens]``, ``table [vocab,
    width]``, ``positions [capacity, width]``.
    """
    b = GraphBuilder("token_embedding", precision)
    onehot = b.input("onehot", (tokens, vocab))
    place = b.input("place", (capacity, tokens))
    table = b.input("table", (vocab, width))
    positions = b.input("positions", (capacity, width))
    word = b.contract("word", "td", (onehot, "tv"), (table, "vd"))
    where = b.contract("where", "td", (place, "st"), (positions, "sd"))
    return b.finish([b.map("x", "td", ADD, (word, "td"), (where, "td"))])


def token_head(tokens: int, vocab: int, width: int, precision: Precision = Precision.BF16) -> Graph:
    """Build the last norm and the logits.

    Inputs in order: ``x [tokens, width]``, ``norm [width]``, ``table [vocab, width]``.
    """
    b = GraphBuilder("token_head", precision)
    x = b.input("x", (tokens, width))
    norm = b.input("norm", (width,))
    table = b.input("table", (vocab, width))
    n = b.rms_norm("normed", (x, "td"), norm, "d")
    return b.finish([b.contract("logits", "tv", (n, "td"), (table, "vd"))])
