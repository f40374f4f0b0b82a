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
