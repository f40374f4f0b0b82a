"""The operands that an input gives each kernel.

Takes: a matrix or a tensor of ``inputs`` and a generator of random numbers.  Gives: operands by
their names in the statement, as scipy and NumPy hold them.  All peers get the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsedsl.bench.inputs import Fibers, other_values
from sparsedsl.bench.jobs import Operands

COLUMNS = 64
"""Columns of the dense factors of SpMM, inner extent of SDDMM."""

RANK = 32
"""Columns of the factors of MTTKRP."""

NARROW = 16
"""Columns of the matrix in tensor times matrix, whose dense result is large."""

FILLED = 0.1
"""Part of a sparse factor of MTTKRP that is filled."""


def sparse_vector(n: int, part: float, rng: np.random.Generator) -> Any:
    """Return a sparse vector with ``part`` of its ``n`` places filled, sorted, int32."""
    places = np.sort(rng.choice(n, max(int(n * part), 1), replace=False)).astype(np.int32)
    return sp.coo_array((rng.random(places.size), (places,)), shape=(n,))


def vector(form: Callable[[Any], Any]) -> Callable[[Any, np.random.Generator], Operands]:
    """Return what makes a matrix in a form, and a dense vector."""
    return lambda m, rng: {"A": form(m), "x": rng.random(m.shape[1])}


def sought(form: Callable[[Any], Any], part: float) -> Any:
    """Return what makes a matrix in a form, and a vector with a part of its places filled."""

    def operands(m: Any, rng: np.random.Generator) -> Operands:
        return {"A": form(m), "x": sparse_vector(m.shape[1], part, rng)}

    return operands


def product(m: Any, _: np.random.Generator) -> Operands:
    """Return a matrix, and its pattern with other values, transposed where it is not square."""
    square = m.shape[0] == m.shape[1]
    return {"A": m, "B": other_values(m if square else sp.csr_array(m.T))}


def skewed(m: Any, rng: np.random.Generator) -> Operands:
    """Return a matrix, and one of its size with two entries a row."""
    n = m.shape[0]
    rows = np.repeat(np.arange(n, dtype=np.int32), 2)
    columns = rng.integers(0, n, rows.size).astype(np.int32)
    thin = sp.coo_array((rng.random(rows.size), (rows, columns)), shape=m.shape).tocsr()
    thin.sum_duplicates()
    return {"A": m, "B": thin}


def skewed_sampled(m: Any, rng: np.random.Generator) -> Operands:
    """Return a matrix and its pattern to multiply rows at, and one with two entries a row."""
    return {"M": m, **skewed(m, rng)}


def lower(m: Any) -> Any:
    """Return what lies below the diagonal of a graph whose edges go both ways, all ones."""
    both = sp.csr_array(m + m.T)
    both.data = np.ones_like(both.data)
    below = sp.csr_array(sp.tril(both, k=-1, format="csr"))
    below.sort_indices()
    return below


def sparse_factor(x: Fibers, rng: np.random.Generator) -> Any:
    """Return a matrix of ``NARROW`` columns with two entries a row."""
    rows = np.repeat(np.arange(x.shape[2], dtype=np.int32), 2)
    columns = rng.integers(0, NARROW, rows.size).astype(np.int32)
    shape = (x.shape[2], NARROW)
    factor = sp.coo_array((rng.random(rows.size), (rows, columns)), shape=shape).tocsr()
    factor.sum_duplicates()
    return factor


def mttkrp(x: Fibers, rng: np.random.Generator) -> Operands:
    """Return a tensor and dense factors of its second and third modes."""
    return {"X": x, "B": rng.random((x.shape[1], RANK)), "C": rng.random((x.shape[2], RANK))}


def sparse_mttkrp(x: Fibers, rng: np.random.Generator) -> Operands:
    """Return a tensor and sparse factors of its second and third modes."""
    return {"X": x, "B": _filled(x.shape[1], rng), "C": _filled(x.shape[2], rng)}


def _filled(rows: int, rng: np.random.Generator) -> Any:
    """Return a factor with ``RANK`` columns, ``FILLED`` of its places filled anywhere."""
    places = np.sort(rng.choice(rows * RANK, int(rows * RANK * FILLED), replace=False))
    coordinates = (places // RANK).astype(np.int32), (places % RANK).astype(np.int32)
    shape = (rows, RANK)
    return sp.csr_array(sp.coo_array((rng.random(places.size), coordinates), shape=shape))


def sparse_along(part: float) -> Callable[[Fibers, np.random.Generator], Operands]:
    """Return what makes a tensor and a sparse vector along its last mode."""
    return lambda x, rng: {"X": x, "v": sparse_vector(x.shape[2], part, rng)}
