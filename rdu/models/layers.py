"""The operators of a transformer, as a framework traces them: one entry per tensor operation.

Norms, softmax, rotary positions and activations appear as the elementwise operations and
reductions they are written as, because the unfused program launches one kernel for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdu.models.config import TransformerConfig
from rdu.models.operators import GroupBuilder, Kind, Product


@dataclass(frozen=True, slots=True)
class Shape:
    """What one socket sees: ``tokens`` new per sequence, ``context`` keys a query attends to."""

    batch: int
    tokens: int
    context: int
    sockets: int
    cached: bool

    @property
    def rows(self) -> int:
        """Tokens of all sequences."""
        return self.batch * self.tokens


def share(count: int, sockets: int) -> int:
    """Heads or columns on one socket; at least one, so few key-value heads are replicated."""
    return max(-(-count // sockets), 1)


def matmul(
    b: GroupBuilder,
    name: str,
    x: str,
    rows: int,
    k: int,
    n: int,
    *,
    density: float = 1.0,
    bias: bool = False,
    read: float = 1.0,
) -> str:
    """A weight product, and its bias as an operator of its own; ``read`` scales the weights."""
    product = Product(1, rows, k, n, density)
    stored = density * k * n * read
    out = b.add(name, "gemm", [x], rows * n, weights=stored, product=product)
    if bias:
        out = b.add(f"{name}.bias", "elementwise", [out], rows * n, weights=n, passes=True)
    return out


def chain(
    b: GroupBuilder, name: str, kind: Kind, x: str, elements: float, *, passes: bool = False
) -> str:
    """A unary operator."""
    return b.add(name, kind, [x], elements, passes=passes)


def norm(b: GroupBuilder, c: TransformerConfig, name: str, x: str, rows: int) -> str:
    """An RMS or layer norm over the last dimension, in fp32 and back."""
    size = rows * c.hidden
    up = chain(b, f"{name}.upcast", "elementwise", x, size, passes=True)
    if c.norm == "layer":
        mean = chain(b, f"{name}.mean", "reduction", up, rows)
        up = b.add(f"{name}.centre", "elementwise", [up, mean], size)
    square = chain(b, f"{name}.square", "elementwise", up, size)
    mean = chain(b, f"{name}.variance", "reduction", square, rows)
    shifted = chain(b, f"{name}.epsilon", "elementwise", mean, rows, passes=True)
    scale = chain(b, f"{name}.rsqrt", "elementwise", shifted, rows)
    unit = b.add(f"{name}.scale", "elementwise", [up, scale], size)
    down = chain(b, f"{name}.downcast", "elementwise", unit, size, passes=True)
    layer = c.norm == "layer"
    out = b.add(f"{name}.weight", "elementwise", [down], size, weights=c.hidden, fork=not layer)
    if layer:
        out = b.add(
            f"{name}.bias", "elementwise", [out], size, weights=c.hidden, passes=True, fork=True
        )
    return out


def rotary(b: GroupBuilder, name: str, x: str) -> str:
    """``x * cos + rotate_half(x) * sin``."""
    size = b.size(x)
    straight = b.add(f"{name}.cos", "elementwise", [x, "cos"], size)
    negated = chain(b, f"{name}.negate", "elementwise", x, size / 2)
    turned = b.add(f"{name}.rotate", "layout", [negated, x], size)
    crossed = b.add(f"{name}.sin", "elementwise", [turned, "sin"], size)
    return b.add(f"{name}.add", "elementwise", [straight, crossed], size, passes=True)


def softmax(b: GroupBuilder, name: str, x: str, rows: float) -> str:
    """Over the last dimension, in fp32 and back."""
    size = b.size(x)
    up = chain(b, f"{name}.upcast", "elementwise", x, size, passes=True)
    top = chain(b, f"{name}.max", "reduction", up, rows)
    low = b.add(f"{name}.subtract", "elementwise", [up, top], size)
    power = chain(b, f"{name}.exp", "elementwise", low, size)
    total = chain(b, f"{name}.sum", "reduction", power, rows)
    ratio = b.add(f"{name}.divide", "elementwise", [power, total], size)
    return chain(b, f"{name}.downcast", "elementwise", ratio, size, passes=True)


def attention(b: GroupBuilder, c: TransformerConfig, s: Shape, x: str, *, causal: bool) -> str:
    """Projections, positions, cache, scores, softmax, values, output projection."""
    heads, kv = share(c.heads, s.sockets), share(c.kv_heads, s.sockets)
    d, rows, density = c.head_dim, s.rows, c.weight_density
    bias = c.bias or c.attention_bias
    names = {"q": heads, "k": kv, "v": kv}
    parts: dict[str, str] = {}
    for name, count in names.items():
        out = matmul(b, name, x, rows, c.hidden, count * d, density=density, bias=bias)
        parts[name] = chain(b, f"{name}.heads", "layout", out, rows * count * d)
    q, k, v = parts["q"], parts["k"], parts["v"]
    if c.position == "rope" and causal:
        for table in ("cos", "sin"):
            b.add(table, "gather", [], rows * d, weights=s.tokens * d)
        q, k = rotary(b, "q.rope", q), rotary(b, "k.rope", k)
    keys = s.batch * s.context
    past = max(keys - rows, 0) * kv * d
    all_k, all_v = [k], [v]
    if s.cached:
        all_k, all_v = _cache(b, "k", k, past), _cache(b, "v", v, past)
    if heads != kv:
        all_k = [b.add("k.repeat", "layout", all_k, keys * heads * d)]
        all_v = [b.add("v.repeat", "layout", all_v, keys * heads * d)]
    turned = b.add("k.transpose", "layout", all_k, keys * heads * d)
    pairs = s.batch * heads
    product = Product(pairs, s.tokens, d, s.context)
    size = pairs * s.tokens * s.context
    scores = b.add("scores", "attention", [q, turned], size, product=product, barrier=True)
    scores = chain(b, "scores.scale", "elementwise", scores, size)
    if c.position == "alibi":
        slopes = b.tensor("alibi", heads * s.context)
        scores = b.add("scores.alibi", "elementwise", [scores, slopes], size, passes=True)
    if causal:
        mask = b.tensor("mask", s.tokens * s.context)
        scores = b.add("scores.mask", "elementwise", [scores, mask], size, passes=True)
    weights = softmax(b, "softmax", scores, pairs * s.tokens)
    product = Product(pairs, s.tokens, s.context, d)
    mixed = b.add("values", "attention", [weights, *all_v], rows * heads * d, product=product)
    joined = chain(b, "values.join", "layout", mixed, rows * heads * d)
    return matmul(b, "o", joined, rows, heads * d, c.hidden, density=density, bias=c.bias)


def _cache(b: GroupBuilder, name: str, new: str, past: float) -> list[str]:
    """Write the new tokens to the cache in device memory; what follows reads the past from it."""
    written = b.add(f"{name}.cache", "gather", [new], b.size(new), state=b.size(new))
    return [written, b.tensor(f"{name}.past", past)] if past else [written]


def mlp(b: GroupBuilder, c: TransformerConfig, s: Shape, x: str) -> str:
    """A gated or plain MLP; with experts, the token's choice among several."""
    rows, width, density = s.rows, share(c.intermediate, s.sockets), c.weight_density
    read = 1.0
    if c.experts > 1:
        logits = matmul(b, "router", x, rows, c.hidden, c.experts)
        chances = softmax(b, "router.softmax", logits, rows)
        chosen = chain(b, "router.top", "reduction", chances, rows * c.experts_used)
        x = b.add("dispatch", "gather", [x, chosen], rows * c.experts_used * c.hidden)
        rows *= c.experts_used
        # Weights of as many experts are read as the tokens can choose.
        read = float(min(c.experts, rows))
    up = matmul(b, "up", x, rows, c.hidden, width, density=density, bias=c.bias, read=read)
    size = rows * width
    if c.gated:
        gate = matmul(b, "gate", x, rows, c.hidden, width, density=density, bias=c.bias, read=read)
        bend = chain(b, "gate.sigmoid", "elementwise", gate, size)
        bent = b.add("gate.silu", "elementwise", [gate, bend], size)
        up = b.add("gate.mul", "elementwise", [bent, up], size)
    else:
        # GELU by its tanh formula.
        cube = chain(b, "gelu.cube", "elementwise", up, size)
        inner = b.add("gelu.inner", "elementwise", [up, cube], size)
        bend = chain(b, "gelu.tanh", "elementwise", inner, size)
        up = b.add("gelu.mul", "elementwise", [up, bend], size)
    out = matmul(b, "down", up, rows, width, c.hidden, density=density, bias=c.bias, read=read)
    if c.experts > 1:
        out = b.add("combine", "gather", [out, "router.top"], s.rows * c.hidden)
    return out


def decoder(b: GroupBuilder, c: TransformerConfig, s: Shape, *, causal: bool = True) -> None:
    """One decoder layer (an encoder layer where not ``causal``), from ``x`` to its output."""
    size = s.rows * c.hidden
    x = b.tensor("x", size)

    def join(name: str, partial: str) -> str:
        if s.sockets == 1:
            return partial
        return chain(b, f"{name}.allreduce", "collective", partial, size)

    first = norm(b, c, "norm1", x, s.rows)
    mixed = attention(b, c, s, first, causal=causal)
    if c.parallel:
        second = norm(b, c, "norm2", x, s.rows)
        both = b.add(
            "branches.add", "elementwise", [mixed, mlp(b, c, s, second)], size, passes=True
        )
        b.add("residual", "elementwise", [x, join("branches", both)], size, passes=True)
        return
    x = b.add("residual1", "elementwise", [x, join("o", mixed)], size, passes=True)
    second = norm(b, c, "norm2", x, s.rows)
    joined = join("down", mlp(b, c, s, second))
    b.add("residual2", "elementwise", [x, joined], size, passes=True)
