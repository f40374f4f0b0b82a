"""Six kernels, each with the arguments a matrix gives it and scipy's or NumPy's way beside it.

Takes: a matrix.  Gives: ``Case``: a kernel, its arguments, and a reference that computes the
same without this library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.demo.matrices import pair_tensor

RANK = 16
"""Columns of the dense factors in SDDMM and MTTKRP."""


@sd.kernel
def spmv(A, x):  # pyright: ignore
    """Multiply a matrix by a vector, dense or sparse."""
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def product(A, B):  # pyright: ignore
    """Multiply element by element."""
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def spgemm(A, B):  # pyright: ignore
    """Multiply two sparse matrices."""
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@sd.kernel
def sddmm(S, P, Q):  # pyright: ignore
    """Compute a dense product where a sparse matrix has entries, scaled by them."""
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * P[i, k] * Q[k, j]
    return C


@sd.kernel
def mttkrp(T, B, C):  # pyright: ignore
    """Multiply an unfolded order-3 tensor by a Khatri-Rao product."""
    i, j, k, r = sd.indices("i j k r")
    M = sd.output()
    M[i, r] = T[i, j, k] * B[j, r] * C[k, r]
    return M


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel on its arguments; ``peer`` says what ``reference()`` uses."""

    name: str
    kernel: Any
    arguments: tuple[Any, ...]
    reference: Callable[[], Any]
    peer: str


def cases(matrix: Any) -> list[Case]:
    """The six kernels on one matrix."""
    rng = np.random.default_rng(0)
    rows = matrix.tocsr()
    n, m = matrix.shape
    return [
        _spmv(matrix, rng.standard_normal(m)),
        _spmspv(matrix, rows),
        _product(matrix, rows),
        _spgemm(matrix, rows),
        _sddmm(matrix, rows, rng.standard_normal((n, RANK)), rng.standard_normal((RANK, m))),
        _mttkrp(matrix, rng.standard_normal((m, RANK)), rng.standard_normal((m, RANK))),
    ]


def _spmv(matrix: Any, x: np.ndarray) -> Case:
    return Case("SpMV", spmv, (matrix, x), lambda: matrix @ x, "scipy")


def _spmspv(matrix: Any, rows: Any) -> Case:
    """The matrix times its own longest row but one in ten: a similarity search."""
    longest = int(np.argsort(np.diff(rows.indptr))[-1 - rows.shape[0] // 10])
    row = rows[[longest], :].tocoo()
    x = sp.coo_array((row.data, (row.coords[1],)), shape=(rows.shape[1],))
    column: Any = sp.csc_array(rows[[longest], :].T)
    return Case("SpMSpV", spmv, (matrix, x), lambda: (matrix @ column).toarray()[:, 0], "scipy")


def _product(matrix: Any, rows: Any) -> Case:
    """The matrix and itself with every row moved down by one."""
    moved = rows[np.roll(np.arange(rows.shape[0]), 1), :]
    moved.sort_indices()
    return Case("A * B", product, (matrix, moved), lambda: matrix.multiply(moved), "scipy")


def _spgemm(matrix: Any, rows: Any) -> Case:
    """The square of a square matrix, else the transpose times the matrix."""
    left = matrix if matrix.shape[0] == matrix.shape[1] else rows.T.tocsr()
    return Case("SpGEMM", spgemm, (left, matrix), lambda: left @ matrix, "scipy")


def _sddmm(matrix: Any, rows: Any, P: np.ndarray, Q: np.ndarray) -> Case:
    places = rows.tocoo().coords

    def reference() -> Any:
        dots = np.einsum("pk,kp->p", P[places[0]], Q[:, places[1]])
        return sp.csr_array((rows.data * dots, rows.indices, rows.indptr), shape=rows.shape)

    return Case("SDDMM", sddmm, (matrix, P, Q), reference, "NumPy")


def _mttkrp(matrix: Any, B: np.ndarray, C: np.ndarray) -> Case:
    (i, j, k), values = pair_tensor(matrix)
    shape = (matrix.shape[0], matrix.shape[1], matrix.shape[1])
    tensor = sd.convert(sp.coo_array((values, (i, j, k)), shape=shape), "csf")
    ends = np.cumsum(np.bincount(i, minlength=shape[0]))
    starts = np.concatenate([[0], ends])
    unfolded: Any = sp.csr_array(
        (values, np.arange(values.size), starts), shape=(shape[0], values.size)
    )
    return Case("MTTKRP", mttkrp, (tensor, B, C), lambda: unfolded @ (B[j] * C[k]), "scipy")
