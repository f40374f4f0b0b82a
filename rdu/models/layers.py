"""The operators of a transformer, as a framework traces them: one entry per tensor operation.

Norms, softmax, rotary positions and activations appear as the elementwise operations and
reductions they are written as, because the unfused program launches one kernel for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdu.models.config import Latent, TransformerConfig
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


def norm(
    b: GroupBuilder, c: TransformerConfig, name: str, x: str, rows: int, width: int | None = None
) -> str:
    """An RMS or layer norm over the last dimension, in fp32 and back."""
    width = c.hidden if width is None else width
    size = rows * width
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
    out = b.add(f"{name}.weight", "elementwise", [down], size, weights=width, fork=not layer)
    if layer:
        out = b.add(
            f"{name}.bias", "elementwise", [out], size, weights=width, passes=True, fork=True
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
    if c.latent is not None:
        return latent_attention(b, c, c.latent, s, x)
    heads, kv = share(c.heads, s.sockets), share(c.kv_heads, s.sockets)
    d, rows, density = c.head_dim, s.rows, c.weight_density
    bias = c.bias or c.attention_bias
    names = {"q": heads, "k": kv, "v": kv}
    parts: dict[str, str] = {}
    for name, count in names.items():
        out = matmul(b, name, x, rows, c.hidden, count * d, density=density, bias=bias)
        parts[name] = chain(b, f"{name}.heads", "layout", out, rows * count * d)
    q, k, v = parts["q"], parts["k"], parts["v"]
    if c.head_norms:
        q, k = norm(b, c, "q.norm", q, rows * heads, d), norm(b, c, "k.norm", k, rows * kv, d)
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
    mixed = _mixed(b, c, s, q, [turned], all_v, heads, (d, d), causal=causal)
    joined = chain(b, "values.join", "layout", mixed, rows * heads * d)
    return matmul(b, "o", joined, rows, heads * d, c.hidden, density=density, bias=c.bias)


def _mixed(
    b: GroupBuilder,
    c: TransformerConfig,
    s: Shape,
    q: str,
    keys: list[str],
    values: list[str],
    heads: int,
    lengths: tuple[int, int],
    *,
    causal: bool,
) -> str:
    """Scores of queries and keys, their softmax, and values so weighted.

    ``lengths`` are those of a key and of a value.
    """
    pairs = s.batch * heads
    product = Product(pairs, s.tokens, lengths[0], s.context)
    size = pairs * s.tokens * s.context
    scores = b.add("scores", "attention", [q, *keys], size, product=product, barrier=True)
    scores = chain(b, "scores.scale", "elementwise", scores, size)
    if c.position == "alibi":
        slopes = b.tensor("alibi", heads * s.context)
        scores = b.add("scores.alibi", "elementwise", [scores, slopes], size, passes=True)
    if causal:
        mask = b.tensor("mask", s.tokens * s.context)
        scores = b.add("scores.mask", "elementwise", [scores, mask], size, passes=True)
    weights = softmax(b, "softmax", scores, pairs * s.tokens)
    product = Product(pairs, s.tokens, s.context, lengths[1])
    made = s.rows * heads * lengths[1]
    return b.add("values", "attention", [weights, *values], made, product=product)


def latent_attention(b: GroupBuilder, c: TransformerConfig, a: Latent, s: Shape, x: str) -> str:
    """Attention whose heads share one vector a token, which every socket makes and keeps whole.

    A prompt's keys and values are made from the vectors. Over a cache the matrices that would make
    them are applied to the queries and to the weighted vectors instead (arXiv:2405.04434, section
    2.1.2), so that the vectors are read as they lie in the cache.
    """
    heads, rows = share(c.heads, s.sockets), s.rows
    length = a.nope + a.rope
    if a.query_rank is None:
        q = matmul(b, "q", x, rows, c.hidden, heads * length)
    else:
        low = matmul(b, "q.down", x, rows, c.hidden, a.query_rank)
        low = norm(b, c, "q.norm", low, rows, a.query_rank)
        q = matmul(b, "q", low, rows, a.query_rank, heads * length)
    both = matmul(b, "kv.down", x, rows, c.hidden, a.kv_rank + a.rope)
    vector = chain(b, "kv.vector", "layout", both, rows * a.kv_rank)
    vector = norm(b, c, "kv.norm", vector, rows, a.kv_rank)
    for table in ("cos", "sin"):
        b.add(table, "gather", [], rows * a.rope, weights=s.tokens * a.rope)
    turned = rotary(b, "q.rope", chain(b, "q.turn", "layout", q, rows * heads * a.rope))
    key = rotary(b, "k.rope", chain(b, "k.turn", "layout", both, rows * a.rope))
    kept = b.add("kv.join", "layout", [vector, key], rows * (a.kv_rank + a.rope))
    past = max(s.batch * s.context - rows, 0) * (a.kv_rank + a.rope)
    vectors = _cache(b, "kv", kept, past) if s.cached else [kept]
    if past:
        weights = heads * a.nope * a.kv_rank
        product = Product(heads, rows, a.nope, a.kv_rank)
        wide = b.add(
            "k.up", "gemm", [q], rows * heads * a.kv_rank, weights=weights, product=product
        )
        wide = b.add("q.join", "layout", [wide, turned], rows * heads * (a.kv_rank + a.rope))
        lengths = (a.kv_rank + a.rope, a.kv_rank)
        mixed = _mixed(b, c, s, wide, vectors, vectors, heads, lengths, causal=True)
        weights = heads * a.kv_rank * a.value
        product = Product(heads, rows, a.kv_rank, a.value)
        mixed = b.add(
            "v.up", "gemm", [mixed], rows * heads * a.value, weights=weights, product=product
        )
    else:
        up = matmul(b, "kv.up", vector, rows, a.kv_rank, heads * (a.nope + a.value))
        k = b.add("k.heads", "layout", [up, key], rows * heads * length)
        v = chain(b, "v.heads", "layout", up, rows * heads * a.value)
        q = b.add("q.heads", "layout", [q, turned], rows * heads * length)
        mixed = _mixed(b, c, s, q, [k], [v], heads, (length, a.value), causal=True)
    joined = chain(b, "values.join", "layout", mixed, rows * heads * a.value)
    return matmul(b, "o", joined, rows, heads * a.value, c.hidden)


def _cache(b: GroupBuilder, name: str, new: str, past: float) -> list[str]:
    """Write the new tokens to the cache in device memory; what follows reads the past from it."""
    written = b.add(f"{name}.cache", "gather", [new], b.size(new), state=b.size(new))
    return [written, b.tensor(f"{name}.past", past)] if past else [written]


def mlp(b: GroupBuilder, c: TransformerConfig, s: Shape, x: str) -> str:
    """A gated or plain MLP; with experts, the token's choice among several, and those for all."""
    rows, read, beside = s.rows, 1.0, None
    if c.shared_intermediate:
        beside = _mlp(b, c, s, "shared.", x, rows, c.shared_intermediate, 1.0)
    if c.experts > 1:
        logits = matmul(b, "router", x, rows, c.hidden, c.experts)
        chances = softmax(b, "router.softmax", logits, rows)
        chosen = chain(b, "router.top", "reduction", chances, rows * c.experts_used)
        x = b.add("dispatch", "gather", [x, chosen], rows * c.experts_used * c.hidden)
        rows *= c.experts_used
        # Weights of as many experts are read as the tokens can choose.
        read = float(min(c.experts, rows))
    out = _mlp(b, c, s, "", x, rows, c.intermediate, read)
    if c.experts > 1:
        out = b.add("combine", "gather", [out, "router.top"], s.rows * c.hidden)
    if beside is not None:
        out = b.add("shared.add", "elementwise", [out, beside], s.rows * c.hidden, passes=True)
    return out


def _mlp(
    b: GroupBuilder,
    c: TransformerConfig,
    s: Shape,
    name: str,
    x: str,
    rows: int,
    columns: int,
    read: float,
) -> str:
    """One MLP of ``columns`` on all sockets together, its operators' names begin with ``name``."""
    width, density = share(columns, s.sockets), c.weight_density

    def product(weight: str, x: str, k: int, n: int) -> str:
        return matmul(b, name + weight, x, rows, k, n, density=density, bias=c.bias, read=read)

    up = product("up", x, c.hidden, width)
    size = rows * width
    if c.gated:
        gate = product("gate", x, c.hidden, width)
        bend = chain(b, f"{name}gate.sigmoid", "elementwise", gate, size)
        bent = b.add(f"{name}gate.silu", "elementwise", [gate, bend], size)
        up = b.add(f"{name}gate.mul", "elementwise", [bent, up], size)
    else:
        # GELU by its tanh formula.
        cube = chain(b, f"{name}gelu.cube", "elementwise", up, size)
        inner = b.add(f"{name}gelu.inner", "elementwise", [up, cube], size)
        bend = chain(b, f"{name}gelu.tanh", "elementwise", inner, size)
        up = b.add(f"{name}gelu.mul", "elementwise", [up, bend], size)
    return product("down", up, width, c.hidden)


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
    mixed = join("o", mixed)
    if c.sandwich:
        mixed = norm(b, c, "o.norm", mixed, s.rows)
    x = b.add("residual1", "elementwise", [x, mixed], size, passes=True)
    second = norm(b, c, "norm2", x, s.rows)
    joined = join("down", mlp(b, c, s, second))
    if c.sandwich:
        joined = norm(b, c, "down.norm", joined, s.rows)
    b.add("residual2", "elementwise", [x, joined], size, passes=True)
