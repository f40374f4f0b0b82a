"""A small decoder: its shape, its weights, and what it computes in plain NumPy.

The NumPy functions are the reference the emulator's results are compared with.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rdu.errors import SpecError

Array: TypeAlias = npt.NDArray[np.floating[Any]]

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""One token a character: printable ASCII and the end of a line."""

EPSILON = 1e-5
HIDDEN = -1e4
"""Added to the scores of places that a token must not see."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one decoder layer, in the order and shapes of `rdu.models.decoder_layer`."""

    norm1: Array
    wq: Array
    wk: Array
    wv: Array
    wo: Array
    norm2: Array
    w1: Array
    w3: Array
    w2: Array

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All of them, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder-only transformer over characters; the table of tokens is also the output matrix.

    Attributes
    ----------
    table, positions:
        ``[vocab, width]`` and ``[capacity, width]``.
    """

    table: Array
    positions: Array
    layers: tuple[Layer, ...]
    norm: Array

    @property
    def capacity(self) -> int:
        """Most tokens of a prompt and its answer."""
        return len(self.positions)

    @property
    def width(self) -> int:
        """Size of a token's vector."""
        return self.table.shape[1]

    @property
    def heads(self) -> int:
        """Attention heads of each layer."""
        return self.layers[0].wq.shape[1]

    @property
    def hidden(self) -> int:
        """Width of each MLP."""
        return self.layers[0].w1.shape[1]

    @property
    def weights(self) -> dict[str, Array]:
        """Every array by name, such as ``layers.0.wq``."""
        named = {"table": self.table, "positions": self.positions, "norm": self.norm}
        for n, layer in enumerate(self.layers):
            named |= {
                f"layers.{n}.{field.name}": getattr(layer, field.name) for field in fields(Layer)
            }
        return named

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return sum(array.size for array in self.weights.values())

    @classmethod
    def from_weights(cls, weights: Mapping[str, Any]) -> Decoder:
        """The inverse of `weights`, in float32.

        Raises
        ------
        SpecError
            For a missing array, or shapes that do not fit together.
        """
        count = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
        try:
            layers = tuple(
                Layer(*(_plain(weights[f"layers.{n}.{f.name}"]) for f in fields(Layer)))
                for n in range(count)
            )
            table, positions, norm = (
                _plain(weights[name]) for name in ("table", "positions", "norm")
            )
        except KeyError as error:
            raise SpecError(f"the weights lack {error.args[0]!r}") from None
        model = cls(table, positions, layers, norm)
        _check(model)
        return model

    def save(self, path: str | Path) -> None:
        """Write the weights as float16 to an ``.npz`` file."""
        halves = {name: array.astype(np.float16) for name, array in self.weights.items()}
        np.savez_compressed(path, **halves)  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: str | Path) -> Decoder:
        """Read weights from an ``.npz`` or ``.safetensors`` file.

        Raises
        ------
        SpecError
            For a file that cannot be read, or weights of another model.
        """
        file = Path(path)
        if file.suffix == ".safetensors":
            return cls.from_weights(load_safetensors(file))
        try:
            with np.load(file) as arrays:
                return cls.from_weights(dict(arrays))
        except (OSError, ValueError) as error:
            raise SpecError(f"cannot read the weights {file}: {error}") from None


def load_safetensors(path: Path) -> dict[str, Array]:
    """Arrays of a safetensors file.

    Raises
    ------
    SpecError
        Where the package is not installed or the file cannot be read.
    """
    if importlib.util.find_spec("safetensors") is None:
        raise SpecError(
            "reading .safetensors needs the package safetensors",
            hint="pip install 'sparsedsl[router]'",
        )
    package: Any = importlib.import_module("safetensors")
    reader: Any = importlib.import_module("safetensors.numpy")
    try:
        return dict(reader.load_file(path))
    except (OSError, package.SafetensorError) as error:
        raise SpecError(f"cannot read the weights {path}: {error}") from None


def _plain(array: Any) -> Array:
    return np.asarray(array, dtype=np.float32)


def _check(model: Decoder) -> None:
    if not model.layers:
        raise SpecError("the weights have no layer")
    width, heads, hidden = model.width, model.heads, model.hidden
    head = width // heads
    into, out = (width, heads, head), (heads, head, width)
    shapes: dict[str, tuple[int, ...]] = {
        "norm1": (width,), "wq": into, "wk": into, "wv": into, "wo": out, "norm2": (width,),
        "w1": (width, hidden), "w3": (width, hidden), "w2": (hidden, width),
    }  # fmt: skip
    expected: dict[str, tuple[int, ...]] = {
        "table": (len(ALPHABET), width),
        "positions": (model.capacity, width),
    }
    expected["norm"] = (width,)
    for n in range(len(model.layers)):
        expected |= {f"layers.{n}.{name}": shape for name, shape in shapes.items()}
    for name, array in model.weights.items():
        if array.shape != expected[name]:
            raise SpecError(f"weights {name!r}: expected {expected[name]}, found {array.shape}")


def encode(text: str) -> list[int]:
    """Token numbers of a text; characters outside the alphabet become blanks."""
    blank = ALPHABET.index(" ")
    return [found if (found := ALPHABET.find(c)) >= 0 else blank for c in text]


def decode(tokens: list[int]) -> str:
    """The text of token numbers.

    >>> decode(encode("naïve"))
    'na ve'
    """
    return "".join(ALPHABET[token] for token in tokens)


def rms_norm(x: Array, weight: Array) -> Array:
    """Root-mean-square norm of the last dimension."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON) * weight


def softmax(x: Array) -> Array:
    """Over the last dimension."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``."""
    return x / (1 + np.exp(-x))


def forward_layer(layer: Layer, x: Array) -> Array:
    """One layer over a whole sequence ``[tokens, width]``."""
    n = rms_norm(x, layer.norm1)
    q, k, v = (np.einsum("td,dhk->htk", n, w) for w in (layer.wq, layer.wk, layer.wv))
    hidden = np.triu(np.full((len(x), len(x)), HIDDEN, x.dtype), 1)
    share = softmax(q @ k.transpose(0, 2, 1) + hidden)
    x = x + np.einsum("htk,hkd->td", share @ v, layer.wo)
    n = rms_norm(x, layer.norm2)
    return x + (silu(n @ layer.w1) * (n @ layer.w3)) @ layer.w2


def forward(model: Decoder, tokens: list[int]) -> Array:
    """Logits ``[tokens, vocab]`` in the weights' precision."""
    x = model.table[tokens] + model.positions[: len(tokens)]
    for layer in model.layers:
        x = forward_layer(layer, x)
    return rms_norm(x, model.norm) @ model.table.T


def generate(model: Decoder, prompt: str, count: int) -> str:
    """The ``count`` most likely characters after ``prompt``, one after the other.

    Raises
    ------
    SpecError
        Where the prompt is empty or, with the answer, longer than the capacity.
    """
    tokens = fitting(model, prompt, count)
    for _ in range(count):
        tokens.append(int(np.argmax(forward(model, tokens)[-1])))
    return decode(tokens[-count:] if count else [])


def fitting(model: Decoder, prompt: str, count: int) -> list[int]:
    """Tokens of a prompt that leaves room for ``count`` more."""
    tokens = encode(prompt)
    if not tokens or count < 0:
        raise SpecError("a prompt needs at least one character, and an answer none or more")
    if len(tokens) + count > model.capacity:
        raise SpecError(
            f"a prompt of {len(tokens)} characters and an answer of {count} exceed the "
            f"{model.capacity} that the model was trained for"
        )
    return tokens
