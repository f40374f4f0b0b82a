"""Real matrices: those that scipy ships for its own tests, and pyamg's discretisations.

Takes: nothing but installed packages.  Gives: matrices with where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class RealMatrix:
    """A matrix, a short name for tables, and a line that says where it comes from."""

    name: str
    source: str
    matrix: Any

    @property
    def description(self) -> str:
        """Format, shape, entries and dtype in one line."""
        m = self.matrix
        blocks = f" blocks {m.blocksize}" if m.format == "bsr" else ""
        return f"{m.format}{blocks} {m.shape[0]} x {m.shape[1]}, {m.nnz} stored, {m.dtype}"


def from_scipy() -> list[RealMatrix]:
    """Every matrix in the file of PROPACK tests inside the scipy package, as CSR."""
    import scipy
    import scipy.sparse as sp

    place = Path("sparse", "linalg", "tests", "propack_test_data.npz")
    path = Path(scipy.__file__).parent / place
    if not path.exists():
        return []
    found: list[RealMatrix] = []
    # the file keeps pickled scipy matrices; it is part of the installed scipy package
    with np.load(path, allow_pickle=True) as data:
        for key in data.files:
            matrix = sp.csr_array(data[key].item())
            matrix.sort_indices()
            found.append(RealMatrix(key, f"scipy/{place.as_posix()}, {key}", matrix))
    return found


def from_pyamg(quick: bool) -> list[RealMatrix]:
    """Linear elasticity (blocks of 2 x 2) and the Poisson problem; empty without pyamg."""
    try:
        from pyamg.gallery import linear_elasticity, poisson
    except ImportError:
        return []
    side, grid = (8, 12) if quick else (30, 120)
    elastic: Any = linear_elasticity((side, side))[0]
    laplace: Any = poisson((grid, grid), format="csr")
    gallery = "pyamg.gallery"
    return [
        RealMatrix("elasticity", f"{gallery}.linear_elasticity(({side}, {side}))", elastic),
        RealMatrix("poisson", f"{gallery}.poisson(({grid}, {grid}))", laplace),
    ]


def shortened(given: RealMatrix, rows: int) -> RealMatrix:
    """The leading ``rows`` x ``rows`` part, for short runs; a matrix of blocks stays whole."""
    m = given.matrix
    if m.format == "bsr" or max(m.shape) <= rows:
        return given
    part = m[:rows, :rows]
    return RealMatrix(given.name, f"{given.source}, leading part", part)


def collect(quick: bool) -> tuple[list[RealMatrix], list[str]]:
    """All matrices, and a line for each source that is missing."""
    missing: list[str] = []
    shipped = from_scipy()
    if not shipped:
        missing.append("scipy was installed without its test data: its matrices are left out")
    built = from_pyamg(quick)
    if not built:
        missing.append("pyamg is not installed: its matrices are left out (pip install pyamg)")
    if quick:
        shipped = [shortened(m, 200) for m in shipped]
    return [*shipped, *built], missing


def pair_tensor(matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """The order-3 tensor of pairs in each row: ``T[i, j, k] = A[i, j] * A[i, k]``.

    Row ``i`` of ``A`` is one observation; the tensor holds the product of every two of its
    entries, as models of pairwise interactions use it.  Returns int64 coordinates of shape
    ``(3, n)``, sorted, and values of shape ``(n,)``.
    """
    rows = matrix.tocsr()
    rows.sort_indices()
    counts = np.diff(rows.indptr).astype(np.int64)
    row_of = np.repeat(np.arange(rows.shape[0]), counts)
    partners = counts[row_of]
    first = np.repeat(np.arange(rows.nnz), partners)
    start = np.repeat(np.cumsum(partners) - partners, partners)
    second = rows.indptr[row_of[first]] + np.arange(first.size) - start
    coordinates = np.stack([row_of[first], rows.indices[first], rows.indices[second]])
    return coordinates.astype(np.int64), rows.data[first] * rows.data[second]
