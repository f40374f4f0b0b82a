"""Products with tensors of order 3."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, uint32, uint64

from sparsedsl.codegen.intrinsics import cttz

from .products import product_bound


@njit(cache=True, fastmath={"reassoc"})
def ttv(starts, last, val, v):
    out = np.empty(starts.size - 1)
    for f in range(out.size):
        total = 0.0
        for p in range(starts[f], starts[f + 1]):
            total += val[p] * v[last[p]]
        out[f] = total
    return out


@njit(cache=True, fastmath={"reassoc"})
def ttv_table(starts, last, val, at, xv, m):
    """Lay the vector out over zeros, which stays in the first cache."""
    v = np.zeros(m)
    for p in range(at.size):
        v[at[p]] = xv[p]
    out = np.empty(starts.size - 1)
    for f in range(out.size):
        total = 0.0
        for p in range(starts[f], starts[f + 1]):
            total += val[p] * v[last[p]]
        out[f] = total
    return out


@njit(cache=True)
def ttv_bitmap(starts, last, val, at, xv, m):
    """Ask a bitmap before the vector, and read no value that meets nothing."""
    v = np.zeros(m)
    bits = np.zeros((m >> 6) + 1, np.uint64)
    for p in range(at.size):
        v[at[p]] = xv[p]
        bits[at[p] >> uint32(6)] |= uint64(1) << uint64(at[p] & uint32(63))
    out = np.empty(starts.size - 1)
    for f in range(out.size):
        total = 0.0
        for p in range(starts[f], starts[f + 1]):
            k = last[p]
            if (bits[k >> uint32(6)] >> uint64(k & uint32(63))) & uint64(1):
                total += val[p] * v[k]
        out[f] = total
    return out


@njit(cache=True)
def ttv_flat(starts, last, val, at, xv, m):
    """Go through all entries in one loop, and find the fiber of those that meet the vector."""
    v = np.zeros(m)
    bits = np.zeros((m >> 6) + 1, np.uint64)
    for p in range(at.size):
        v[at[p]] = xv[p]
        bits[at[p] >> uint32(6)] |= uint64(1) << uint64(at[p] & uint32(63))
    out = np.zeros(starts.size - 1)
    f = uint64(0)
    for p in range(uint64(last.size)):
        k = last[p]
        if (bits[k >> uint32(6)] >> uint64(k & uint32(63))) & uint64(1):
            while uint64(starts[f + uint64(1)]) <= p:
                f += uint64(1)
            out[f] += val[p] * v[k]
    return out


def ttm_fixed(width: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make products with a matrix of ``width`` (at most 64) columns: one word is the bitmap."""

    @njit(cache=True, fastmath={"reassoc", "contract"})
    def dense(roots, root_of, middles, starts, last, val, b, n, m):
        out = np.zeros((n, m, width))
        for a in range(roots.size):
            for f in range(root_of[a], root_of[a + 1]):
                row = out[roots[a], middles[f]]
                for p in range(starts[f], starts[f + uint32(1)]):
                    factor, other = val[p], b[last[p]]
                    for r in range(width):
                        row[r] += factor * other[r]
        return out

    @njit(cache=True)
    def sparse(starts, last, val, bp, bc, bv):
        count = starts.size - 1
        most = min(product_bound(last, bp), count * width)
        pos, crd, out = np.empty(count + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
        row = np.zeros(width)
        at = uint64(0)
        pos[0] = 0
        for f in range(count):
            word = np.int64(0)
            for p in range(starts[f], starts[f + 1]):
                factor, k = val[p], last[p]
                for q in range(bp[k], bp[k + uint32(1)]):
                    j = bc[q]
                    row[j] += factor * bv[q]
                    word |= np.int64(1) << np.int64(j)
            while word:
                j = uint64(cttz(word))
                word &= word - 1
                crd[at], out[at] = j, row[j]
                row[j] = 0.0
                at += uint64(1)
            pos[f + 1] = at
        return pos, crd[:at], out[:at]

    return dense, sparse


@njit(cache=True)
def inner(xr, xf, xm, xs, xl, xv, yr, yf, ym, ys, yl, yv):
    total = 0.0
    a = b = uint64(0)
    one = uint64(1)
    while a < uint64(xr.size) and b < uint64(yr.size):
        if xr[a] == yr[b]:
            f, g = uint64(xf[a]), uint64(yf[b])
            fe, ge = uint64(xf[a + one]), uint64(yf[b + one])
            while f < fe and g < ge:
                if xm[f] == ym[g]:
                    p, q = uint64(xs[f]), uint64(ys[g])
                    pe, qe = uint64(xs[f + one]), uint64(ys[g + one])
                    while p < pe and q < qe:
                        j, k = xl[p], yl[q]
                        if j == k:
                            total += xv[p] * yv[q]
                        p += uint64(j <= k)
                        q += uint64(k <= j)
                    f += one
                    g += one
                elif xm[f] < ym[g]:
                    f += one
                else:
                    g += one
            a += one
            b += one
        elif xr[a] < yr[b]:
            a += one
        else:
            b += one
    return total
