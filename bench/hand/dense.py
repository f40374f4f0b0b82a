"""Products with dense factors of a width that is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, uint32


def columns_fixed(width: int) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Make kernels whose inner loop has a constant trip count: it unrolls into vectors."""

    @njit(cache=True, fastmath={"reassoc", "contract"})
    def spmm(pos, crd, val, b):
        c = np.empty((pos.size - 1, width))
        for i in range(c.shape[0]):
            out = c[i]
            for j in range(width):
                out[j] = 0.0
            for p in range(pos[i], pos[i + 1]):
                factor, row = val[p], b[crd[p]]
                for j in range(width):
                    out[j] += factor * row[j]
        return c

    @njit(cache=True, fastmath={"reassoc", "contract"})
    def sddmm(pos, crd, val, left, right):
        out = np.empty(val.size)
        for i in range(pos.size - 1):
            row = left[i]
            for p in range(pos[i], pos[i + 1]):
                other = right[crd[p]]
                total = 0.0
                for k in range(width):
                    total += row[k] * other[k]
                out[p] = val[p] * total
        return out

    @njit(cache=True, fastmath={"contract"})
    def mttkrp(roots, root_of, middles, starts, last, val, b, c, n):
        m = np.zeros((n, width))
        total = np.empty(width)
        for a in range(roots.size):
            out = m[roots[a]]
            for f in range(root_of[a], root_of[a + 1]):
                for r in range(width):
                    total[r] = 0.0
                for p in range(starts[f], starts[f + uint32(1)]):
                    factor, row = val[p], c[last[p]]
                    for r in range(width):
                        total[r] += factor * row[r]
                row = b[middles[f]]
                for r in range(width):
                    out[r] += total[r] * row[r]
        return m

    return spmm, sddmm, mttkrp


def khatri_rao_sparse(width: int) -> dict[str, Callable[..., Any]]:
    """Make MTTKRP with sparse factors: what is dense meanwhile has a constant width."""

    @njit(cache=True, fastmath={"contract"})
    def workspace(roots, root_of, middles, starts, last, val, bp, bc, bv, cp, cc, cv, n):
        """Gather a fiber's products with C in a row, which the entries of B read."""
        m = np.zeros((n, width))
        row = np.zeros(width)
        for a in range(roots.size):
            out = m[roots[a]]
            for f in range(root_of[a], root_of[a + uint32(1)]):
                j = middles[f]
                for r in range(width):
                    row[r] = 0.0
                for p in range(starts[f], starts[f + uint32(1)]):
                    factor, k = val[p], last[p]
                    for q in range(cp[k], cp[k + uint32(1)]):
                        row[cc[q]] += factor * cv[q]
                for q in range(bp[j], bp[j + uint32(1)]):
                    out[bc[q]] += row[bc[q]] * bv[q]
        return m

    @njit(cache=True, fastmath={"contract", "reassoc"})
    def spread(roots, root_of, middles, starts, last, val, bp, bc, bv, cp, cc, cv, n):
        """Lay a row of B out over zeros: products of what does not meet are zero."""
        m = np.zeros((n, width))
        row = np.zeros(width)
        for a in range(roots.size):
            out = m[roots[a]]
            for f in range(root_of[a], root_of[a + uint32(1)]):
                j = middles[f]
                for q in range(bp[j], bp[j + uint32(1)]):
                    row[bc[q]] = bv[q]
                for p in range(starts[f], starts[f + uint32(1)]):
                    factor, k = val[p], last[p]
                    for q in range(cp[k], cp[k + uint32(1)]):
                        out[cc[q]] += factor * cv[q] * row[cc[q]]
                for q in range(bp[j], bp[j + uint32(1)]):
                    row[bc[q]] = 0.0
        return m

    @njit(cache=True, fastmath={"contract"})
    def dense_rows(roots, root_of, middles, starts, last, val, bp, bc, bv, cp, cc, cv, n):
        """Make C dense once, so that a fiber's products are vectors; B stays sparse."""
        m = np.zeros((n, width))
        c = np.zeros((cp.size - 1, width))
        for k in range(c.shape[0]):
            for q in range(cp[k], cp[k + 1]):
                c[k, cc[q]] = cv[q]
        row = np.empty(width)
        for a in range(roots.size):
            out = m[roots[a]]
            for f in range(root_of[a], root_of[a + uint32(1)]):
                j = middles[f]
                for r in range(width):
                    row[r] = 0.0
                for p in range(starts[f], starts[f + uint32(1)]):
                    factor, other = val[p], c[last[p]]
                    for r in range(width):
                        row[r] += factor * other[r]
                for q in range(bp[j], bp[j + uint32(1)]):
                    out[bc[q]] += row[bc[q]] * bv[q]
        return m

    return {"workspace": workspace, "spread": spread, "dense rows": dense_rows}
