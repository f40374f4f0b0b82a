"""Write the pictures that docs/pictures.md shows.

python tests/pictures/page.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sparsedsl as sd
from sparsedsl import pictures
from sparsedsl.layouts.catalogue import resolve

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


@sd.kernel
def elementwise(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def spotted(seed, share, shape=(9, 14)):
    """A matrix by rows with a share of its entries."""
    return sd.convert((np.random.default_rng(seed).random(shape) < share).astype(float), "csr")


def grid(side):
    """The coefficients of the five-point difference scheme on a square."""
    line = np.eye(side, k=1) + np.eye(side, k=-1) - 2 * np.eye(side)
    return np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)


def drawn():
    """Every picture by the name of its file."""
    first, second = spotted(0, 0.3), spotted(1, 0.4)
    named = {"csr": (), "bcsr": (2, 3), "sell_sigma": (2, 4), "symmetric": ()}
    found = {}
    for name, sizes in named.items():
        chosen = sd.layouts[name](*sizes) if sizes else name
        found[f"{name}.svg"] = pictures.storage(resolve(chosen, 2))
    found["spy.svg"] = pictures.spy(sd.convert(grid(14), "csr"))
    found["elementwise.svg"] = pictures.space(elementwise, first, second)
    found["product.svg"] = pictures.space(product, first, second.T)
    return found


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in drawn().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
