"""Products of a matrix and a vector, dense or sparse."""

import numpy as np
from numba import njit, uint32, uint64


@njit(cache=True, fastmath={"reassoc"})
def spmv(pos, crd, val, x):
    y = np.empty(pos.size - 1)
    for i in range(y.size):
        total = 0.0
        for p in range(pos[i], pos[i + 1]):
            total += val[p] * x[crd[p]]
        y[i] = total
    return y


@njit(cache=True)
def spmv_columns(pos, crd, val, x, n):
    y = np.zeros(n)
    for j in range(x.size):
        factor = x[j]
        for p in range(pos[j], pos[j + 1]):
            y[crd[p]] += val[p] * factor
    return y


@njit(cache=True)
def spmv_blocks(pos, crd, val, x):
    y = np.empty(3 * (pos.size - 1))
    for i in range(pos.size - 1):
        a = b = c = 0.0
        for p in range(pos[i], pos[i + 1]):
            j = uint32(3) * crd[p]
            u0, u1, u2 = x[j], x[j + uint32(1)], x[j + uint32(2)]
            a += val[p, 0, 0] * u0 + val[p, 0, 1] * u1 + val[p, 0, 2] * u2
            b += val[p, 1, 0] * u0 + val[p, 1, 1] * u1 + val[p, 1, 2] * u2
            c += val[p, 2, 0] * u0 + val[p, 2, 1] * u1 + val[p, 2, 2] * u2
        y[3 * i], y[3 * i + 1], y[3 * i + 2] = a, b, c
    return y


@njit(cache=True)
def spmv_diagonals(offsets, val, x, n):
    """Take strips of rows that stay in cache, and each diagonal on each strip."""
    y = np.zeros(n)
    strip = 4096
    for start in range(0, n, strip):
        for d in range(offsets.size):
            k = offsets[d]
            low = max(start, -k)
            high = min(start + strip, n, min(x.size, val.shape[1]) - k)
            if low < high:
                out, row, part = y[low:high], val[d, low + k : high + k], x[low + k : high + k]
                for i in range(out.size):
                    out[i] += row[i] * part[i]
    return y


@njit(cache=True, fastmath={"reassoc"})
def spmspv_table(pos, crd, val, at, xv, m):
    x = np.zeros(m)
    for p in range(at.size):
        x[at[p]] = xv[p]
    y = np.empty(pos.size - 1)
    for i in range(y.size):
        total = 0.0
        for p in range(pos[i], pos[i + 1]):
            total += val[p] * x[crd[p]]
        y[i] = total
    return y


@njit(cache=True)
def spmspv_bitmap(pos, crd, val, at, xv, m):
    """Ask a bitmap, which stays in the first cache, before the vector."""
    x = np.zeros(m)
    bits = np.zeros((m >> 6) + 1, np.uint64)
    for p in range(at.size):
        x[at[p]] = xv[p]
        bits[at[p] >> uint32(6)] |= uint64(1) << uint64(at[p] & uint32(63))
    y = np.empty(pos.size - 1)
    for i in range(y.size):
        total = 0.0
        for p in range(pos[i], pos[i + 1]):
            j = crd[p]
            if (bits[j >> uint32(6)] >> uint64(j & uint32(63))) & uint64(1):
                total += val[p] * x[j]
        y[i] = total
    return y


@njit(cache=True)
def spmspv_columns(pos, crd, val, at, xv, n):
    y = np.zeros(n)
    for q in range(at.size):
        j, factor = at[q], xv[q]
        for p in range(pos[j], pos[j + uint32(1)]):
            y[crd[p]] += val[p] * factor
    return y


@njit(cache=True, fastmath={"reassoc"})
def both_products(pos, crd, val, x, w, n):
    """Both products of a row before the next, so that it is read from memory once."""
    y, z = np.empty(pos.size - 1), np.zeros(n)
    for i in range(y.size):
        total, factor = 0.0, w[i]
        for p in range(pos[i], pos[i + 1]):
            total += val[p] * x[crd[p]]
        y[i] = total
        for p in range(pos[i], pos[i + 1]):
            z[crd[p]] += val[p] * factor
    return y, z


@njit(cache=True)
def both_products_at_once(pos, crd, val, x, w, n):
    y, z = np.empty(pos.size - 1), np.zeros(n)
    for i in range(y.size):
        total, factor = 0.0, w[i]
        for p in range(pos[i], pos[i + 1]):
            j = crd[p]
            total += val[p] * x[j]
            z[j] += val[p] * factor
        y[i] = total
    return y, z


@njit(cache=True, fastmath={"reassoc"})
def sums_and_maxima(pos, val, n):
    """Sum and maximum in one loop; a row with implicit zeros has none below them."""
    s, m = np.empty(pos.size - 1), np.empty(pos.size - 1)
    for i in range(s.size):
        total = 0.0
        most = 0.0 if pos[i + 1] - pos[i] < n else -np.inf
        for p in range(pos[i], pos[i + 1]):
            total += val[p]
            most = max(most, val[p])
        s[i], m[i] = total, most
    return s, m
