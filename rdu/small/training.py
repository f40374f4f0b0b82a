"""Training a small decoder on a text, in plain NumPy: forward, backward, Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rdu.errors import SpecError
from rdu.memory.tiers import counts
from rdu.small.model import ALPHABET, EPSILON, HIDDEN, Array, Decoder, encode, silu, softmax

Numbers: TypeAlias = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Shape of the model and how it is trained; the defaults are those of the shipped experts."""

    width: int = 48
    heads: int = 4
    hidden: int = 128
    layers: int = 2
    capacity: int = 64
    batch: int = 16
    steps: int = 1500
    rate: float = 3e-3
    seed: int = 0


def train(
    text: str, recipe: Recipe | None = None, progress: Callable[[int, float], None] | None = None
) -> Decoder:
    """Train a decoder to continue ``text``.

    Parameters
    ----------
    progress:
        Called with each step's number and loss (nats a character).

    Raises
    ------
    SpecError
        Where the text is shorter than two contexts, or a number of the recipe makes no sense.

    Examples
    --------
    >>> quick = Recipe(width=8, heads=2, hidden=8, layers=1, capacity=8, batch=4, steps=2)
    >>> train("to be or not to be, that is the question", quick).parameters
    1304
    """
    r = recipe if recipe is not None else Recipe()
    counts("recipe", width=r.width, heads=r.heads, layers=r.layers, steps=r.steps, batch=r.batch)
    data = np.array(encode(text))
    if len(data) < 2 * r.capacity:
        raise SpecError(f"training needs {2 * r.capacity} characters, found {len(data)}")
    rng = np.random.default_rng(r.seed)
    weights = initial(r, rng)
    first = {name: np.zeros_like(w) for name, w in weights.items()}
    second = {name: np.zeros_like(w) for name, w in weights.items()}
    for step in range(r.steps):
        starts = rng.integers(0, len(data) - r.capacity, r.batch)
        window = data[starts[:, None] + np.arange(r.capacity + 1)]
        loss, gradients = loss_and_gradients(weights, window[:, :-1], window[:, 1:])
        # A short warm-up, then a cosine down to a tenth.
        rate = r.rate * min(1.0, (step + 1) / 50)
        rate *= 0.55 + 0.45 * float(np.cos(np.pi * step / r.steps))
        for name, g in gradients.items():
            first[name] += 0.1 * (g - first[name])
            second[name] += 0.01 * (g * g - second[name])
            mean = first[name] / (1 - 0.9 ** (step + 1))
            spread = second[name] / (1 - 0.99 ** (step + 1))
            weights[name] -= rate * mean / (np.sqrt(spread) + 1e-8)
        if progress is not None:
            progress(step, loss)
    return Decoder.from_weights(weights)


def initial(r: Recipe, rng: np.random.Generator) -> dict[str, Array]:
    """Random weights by the names of `Decoder.weights`."""
    head = r.width // r.heads

    def draw(*shape: int, scale: float) -> Array:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    weights = {
        "table": draw(len(ALPHABET), r.width, scale=0.1),
        "positions": draw(r.capacity, r.width, scale=0.1),
        "norm": np.ones(r.width, np.float32),
    }
    inner = r.width**-0.5
    for n in range(r.layers):
        into = (r.width, r.heads, head)
        weights |= {
            f"layers.{n}.norm1": np.ones(r.width, np.float32),
            # The scale of the scores belongs to wq.
            f"layers.{n}.wq": draw(*into, scale=inner * head**-0.5),
            f"layers.{n}.wk": draw(*into, scale=inner),
            f"layers.{n}.wv": draw(*into, scale=inner),
            f"layers.{n}.wo": draw(r.heads, head, r.width, scale=inner / (2 * r.layers) ** 0.5),
            f"layers.{n}.norm2": np.ones(r.width, np.float32),
            f"layers.{n}.w1": draw(r.width, r.hidden, scale=inner),
            f"layers.{n}.w3": draw(r.width, r.hidden, scale=inner),
            f"layers.{n}.w2": draw(r.hidden, r.width, scale=(2 * r.layers * r.hidden) ** -0.5),
        }
    return weights


Backward = Callable[[Array], Array]


def loss_and_gradients(
    weights: dict[str, Array], tokens: Numbers, targets: Numbers
) -> tuple[float, dict[str, Array]]:
    """Mean cross-entropy of ``targets [batch, tokens]`` and its gradient by each weight."""
    gradients = {name: np.zeros_like(w) for name, w in weights.items()}
    layers = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    table = weights["table"]
    x = table[tokens] + weights["positions"][: tokens.shape[1]]
    steps: list[Backward] = []
    for n in range(layers):
        own = {name: f"layers.{n}.{name}" for name in ("norm1", "norm2", *_MATRICES)}
        x, back = _attention(weights, gradients, own, x)
        steps.append(back)
        x, back = _mlp(weights, gradients, own, x)
        steps.append(back)
    normed, back_norm = _norm(weights, gradients, "norm", x)
    chances = softmax(normed @ table.T)
    count = tokens.size
    rows, columns = np.ogrid[: tokens.shape[0], : tokens.shape[1]]
    loss = -float(np.mean(np.log(chances[rows, columns, targets] + 1e-30)))
    chances[rows, columns, targets] -= 1
    chances /= count
    gradients["table"] += np.einsum("btv,btd->vd", chances, normed, optimize=True)
    dx = back_norm(chances @ table)
    for back in reversed(steps):
        dx = back(dx)
    np.add.at(gradients["table"], tokens, dx)
    gradients["positions"][: tokens.shape[1]] += dx.sum(axis=0)
    return loss, gradients


_MATRICES = ("wq", "wk", "wv", "wo", "w1", "w3", "w2")


def _norm(
    weights: dict[str, Array], gradients: dict[str, Array], name: str, x: Array
) -> tuple[Array, Backward]:
    scale = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON)
    unit = x * scale

    def back(dy: Array) -> Array:
        gradients[name] += (dy * unit).sum(axis=(0, 1))
        du = dy * weights[name]
        return scale * (du - unit * np.mean(du * unit, axis=-1, keepdims=True))

    return unit * weights[name], back


def _attention(
    weights: dict[str, Array], gradients: dict[str, Array], own: dict[str, str], x: Array
) -> tuple[Array, Backward]:
    n, back_norm = _norm(weights, gradients, own["norm1"], x)
    wq, wk, wv, wo = (weights[own[name]] for name in ("wq", "wk", "wv", "wo"))
    q, k, v = (np.einsum("btd,dhk->bhtk", n, w, optimize=True) for w in (wq, wk, wv))
    hidden = np.triu(np.full((x.shape[1],) * 2, HIDDEN, x.dtype), 1)
    share = softmax(q @ k.swapaxes(-1, -2) + hidden)
    mixed = share @ v
    y = x + np.einsum("bhtk,hkd->btd", mixed, wo, optimize=True)

    def back(dy: Array) -> Array:
        gradients[own["wo"]] += np.einsum("bhtk,btd->hkd", mixed, dy, optimize=True)
        dmixed = np.einsum("btd,hkd->bhtk", dy, wo, optimize=True)
        dshare = dmixed @ v.swapaxes(-1, -2)
        dscores = share * (dshare - (dshare * share).sum(axis=-1, keepdims=True))
        parts = (dscores @ k, dscores.swapaxes(-1, -2) @ q, share.swapaxes(-1, -2) @ dmixed)
        dn = np.zeros_like(n)
        for name, w, d in zip(("wq", "wk", "wv"), (wq, wk, wv), parts, strict=True):
            gradients[own[name]] += np.einsum("btd,bhtk->dhk", n, d, optimize=True)
            dn += np.einsum("bhtk,dhk->btd", d, w, optimize=True)
        return dy + back_norm(dn)

    return y, back


def _mlp(
    weights: dict[str, Array], gradients: dict[str, Array], own: dict[str, str], x: Array
) -> tuple[Array, Backward]:
    n, back_norm = _norm(weights, gradients, own["norm2"], x)
    w1, w3, w2 = (weights[own[name]] for name in ("w1", "w3", "w2"))
    up, gate = n @ w1, n @ w3
    active = silu(up)
    product = active * gate

    def back(dy: Array) -> Array:
        gradients[own["w2"]] += np.einsum("btf,btd->fd", product, dy, optimize=True)
        dproduct = dy @ w2.T
        bend = 1 / (1 + np.exp(-up))
        dup = dproduct * gate * (bend + active * (1 - bend))
        dgate = dproduct * active
        gradients[own["w1"]] += np.einsum("btd,btf->df", n, dup, optimize=True)
        gradients[own["w3"]] += np.einsum("btd,btf->df", n, dgate, optimize=True)
        return dy + back_norm(dup @ w1.T + dgate @ w3.T)

    return x + product @ w2, back
