"""Matrices and tensors to measure on.  Indices are int32, values float64, seeds fixed.

Takes: a name and whether the run is quick.  Gives: scipy CSR arrays with sorted rows and no
duplicates, or ``Fibers`` for tensors of order 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.demo.matrices import from_scipy


@dataclass(frozen=True, slots=True)
class Fibers:
    """A tensor of order 3, its stored entries sorted, grouped by the first two coordinates.

    Attributes
    ----------
    shape:
        Three extents.
    roots, root_of:
        int32 ``(r,)`` and int32 ``(r + 1,)``: the first coordinates that have entries, and
        where the fibers of each start.
    middles, starts:
        int32 ``(f,)`` and int32 ``(f + 1,)``: the second coordinate of each fiber, and where
        its entries start.
    last, values:
        int32 and float64 ``(n,)``: the third coordinate and the value of each entry.
    """

    shape: tuple[int, int, int]
    roots: np.ndarray
    root_of: np.ndarray
    middles: np.ndarray
    starts: np.ndarray
    last: np.ndarray
    values: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The first coordinate of each fiber, int32 ``(f,)``."""
        return np.repeat(self.roots, np.diff(self.root_of))

    @property
    def by_fiber(self) -> Any:
        """The entries as a CSR array with one row for each fiber."""
        shape = (self.middles.size, self.shape[2])
        return sp.csr_array((self.values, self.last, self.starts), shape=shape)


@dataclass(frozen=True, slots=True)
class Input:
    """A name, a line about it, and how to make it; ``make(quick)``."""

    name: str
    about: str
    make: Callable[[bool], Any]


def _csr(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: Any) -> Any:
    coordinates = (rows.astype(np.int32), columns.astype(np.int32))
    matrix = sp.coo_array((values, coordinates), shape=shape).tocsr()
    matrix.sum_duplicates()
    return matrix


def uniform(n: int, per_row: int, seed: int = 0) -> Any:
    """Return a square matrix with ``per_row`` entries a row, columns drawn uniformly."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(n), per_row)
    return _csr(rng.random(rows.size), rows, rng.integers(0, n, rows.size), (n, n))


def scattered(n: int, entries: int, seed: int = 0) -> Any:
    """Return a square matrix whose entries fall anywhere."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, n, (2, entries))
    return _csr(rng.random(entries), places[0], places[1], (n, n))


def rmat(scale: int, degree: int, seed: int = 0) -> Any:
    """Return an R-MAT graph of ``2**scale`` vertices, quadrants at 0.57, 0.19, 0.19, 0.05."""
    rng = np.random.default_rng(seed)
    n = 1 << scale
    rows = np.zeros(n * degree, np.int64)
    columns = np.zeros(n * degree, np.int64)
    for _ in range(scale):
        draw = rng.random(rows.size)
        low = draw >= 0.57 + 0.19
        right = ((draw >= 0.57) & ~low) | (draw >= 1 - 0.05)
        rows, columns = 2 * rows + low, 2 * columns + right
    return _csr(rng.random(rows.size), rows, columns, (n, n))


def _chain(side: int) -> Any:
    offsets: Any = [-1, 0, 1]
    return sp.diags_array([1.0, 1.0, 1.0], offsets=offsets, shape=(side, side))


def grid(side: int, seed: int = 0) -> Any:
    """Return the five-point stencil on a square grid, values drawn."""
    near = _chain(side)
    eye = sp.eye_array(side)
    pattern: Any = (sp.kron(near, eye) + sp.kron(eye, near)).tocoo()
    rng = np.random.default_rng(seed)
    rows, columns = pattern.coords
    return _csr(rng.random(pattern.nnz), rows, columns, pattern.shape)


def blocks(side: int, seed: int = 0) -> Any:
    """Return the pattern of trilinear elements on a cube of nodes, three unknowns a node."""
    near = _chain(side)
    nodes = sp.kron(sp.kron(near, near), near)
    pattern: Any = sp.kron(nodes, np.ones((3, 3))).tocoo()
    rng = np.random.default_rng(seed)
    rows, columns = pattern.coords
    return _csr(rng.random(pattern.nnz), rows, columns, pattern.shape)


def tensor(shape: tuple[int, int, int], entries: int, seed: int = 0) -> Fibers:
    """Return a tensor of order 3 with about ``entries`` entries that fall anywhere."""
    rng = np.random.default_rng(seed)
    drawn = np.unique(np.ravel_multi_index([rng.integers(0, n, entries) for n in shape], shape))
    i, j, k = (c.astype(np.int32) for c in np.unravel_index(drawn, shape))
    new = np.flatnonzero(np.r_[True, (np.diff(i) != 0) | (np.diff(j) != 0)])
    new_root = np.flatnonzero(np.r_[True, np.diff(i[new]) != 0])
    ends = np.array([i.size]), np.array([new.size])
    return Fibers(
        shape=shape,
        roots=i[new][new_root],
        root_of=np.concatenate([new_root, ends[1]]).astype(np.int32),
        middles=j[new],
        starts=np.concatenate([new, ends[0]]).astype(np.int32),
        last=k,
        values=rng.random(i.size),
    )


def other_values(x: Any, seed: int = 1) -> Any:
    """Return a tensor with the same pattern and other values."""
    rng = np.random.default_rng(seed)
    if isinstance(x, Fibers):
        return Fibers(
            x.shape, x.roots, x.root_of, x.middles, x.starts, x.last, rng.random(x.last.size)
        )
    return sp.csr_array((rng.random(x.nnz), x.indices, x.indptr), shape=x.shape)


def shuffled(matrix: Any, seed: int) -> Any:
    """Return a matrix with rows and columns in another order: another pattern of its size."""
    rng = np.random.default_rng(seed)
    rows, columns = (rng.permutation(n) for n in matrix.shape)
    found = sp.csr_array(matrix[rows, :][:, columns])
    found.sort_indices()
    return found


def moved(matrix: Any) -> Any:
    """Return a matrix and its pattern with rows one down: near, but not the same, columns."""
    rolled = matrix[np.roll(np.arange(matrix.shape[0]), 1), :]
    rolled.sort_indices()
    return rolled


def real(quick: bool) -> dict[str, Any]:
    """Return the matrices that scipy ships for its tests, by name; int32 indices, float64.

    Those that are not square have their normal matrix beside them.
    """
    found: dict[str, Any] = {}
    for item in from_scipy():
        if item.matrix.dtype.kind == "c":
            continue
        matrix = sp.csr_array(item.matrix.astype(np.float64))
        matrix.sum_duplicates()
        part: Any = matrix[:200, :200] if quick else matrix
        found[item.name] = part
        rows, columns = item.matrix.shape
        if rows != columns:
            normal = sp.csr_array(part.T @ part)
            normal.sort_indices()
            found[_normal(item.name)] = normal
    return found


def _normal(name: str) -> str:
    return f"N{name.removeprefix('A')}"


MATRICES: dict[str, Input] = {
    i.name: i
    for i in (
        Input("a", "20k x 20k, 20 a row, uniform", lambda q: uniform(200 if q else 20_000, 20)),
        Input("b", "R-MAT, 2^16 vertices, degree 16", lambda q: rmat(7 if q else 16, 16)),
        Input("b'", "R-MAT, 2^14 vertices, degree 16", lambda q: rmat(6 if q else 14, 16)),
        Input("c", "700 x 700 grid, five points", lambda q: grid(12 if q else 700)),
        Input("d", "27-point blocks of 3 x 3, 59k rows", lambda q: blocks(4 if q else 27)),
        Input("d'", "27-point blocks of 3 x 3, 10k rows", lambda q: blocks(3 if q else 15)),
        Input(
            "e",
            "1M x 1M, 1M entries anywhere",
            lambda q: scattered(*((500, 500) if q else (1_000_000, 1_000_000))),
        ),
        Input("200:2", "10k x 10k, 200 a row", lambda q: uniform(250 if q else 10_000, 200)),
    )
}
"""Square matrices by name."""

TENSORS: dict[str, Input] = {
    i.name: i
    for i in (
        Input(
            "t1",
            "300 x 2000 x 3000, 2M entries",
            lambda q: tensor(*(((6, 20, 30), 400) if q else ((300, 2000, 3000), 2_000_000))),
        ),
        Input(
            "t2",
            "2000 x 1000 x 500, 3M entries",
            lambda q: tensor(*(((20, 10, 15), 600) if q else ((2000, 1000, 500), 3_000_000))),
        ),
    )
}
"""Tensors of order 3 by name."""


def known(quick: bool) -> dict[str, str]:
    """Return a line about every input, by name."""
    about = {name: i.about for name, i in {**MATRICES, **TENSORS}.items()}
    there = real(quick)
    for name, matrix in there.items():
        rows, columns = matrix.shape
        whose = {_normal(other): other for other in there}.get(name)
        source = f"{whose}' {whose}" if whose else "shipped with scipy"
        about[name] = f"{source}: {rows} x {columns}, {matrix.nnz} entries"
    return about


@lru_cache(maxsize=16)
def load(name: str, quick: bool) -> Any:
    """Make an input by name; ``KeyError`` for unknown names."""
    for group in (MATRICES, TENSORS):
        if name in group:
            return group[name].make(quick)
    return real(quick)[name]
