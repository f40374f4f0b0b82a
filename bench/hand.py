"""Kernels written by hand in Numba, as an expert on each would: the mark to reach.

Every kernel takes raw arrays and gives raw arrays.  ``KERNELS`` maps the name of a kernel of
``sparsedsl.bench.cases`` to its variants; a variant takes operands and returns a call and what
turns its result into NumPy or scipy.  Where several variants exist the faster one on a case
counts.

Points that recur: subscripts are unsigned, because Numba wraps negative ones and that blocks
vector code; tables hold positions or stamps and are never cleared between rows; rows of
products are put in order by walking a bitmap of touched columns.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit, uint32, uint64

from sparsedsl.codegen.intrinsics import cttz

Arrays = tuple[np.ndarray, ...]


def u(a: np.ndarray) -> np.ndarray:
    """View int32 subscripts as unsigned: no copy."""
    return a.view(np.uint32)


def csr(m: Any) -> Arrays:
    return u(m.indptr), u(m.indices), m.data


# Matrix times vector


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


# Matrix times sparse vector


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


# Dense factors


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


# Element by element


@njit(cache=True)
def add_branches(ap, ac, av, bp, bc, bv):
    n = ap.size - 1
    most = av.size + bv.size
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        p, q = uint64(ap[i]), uint64(bp[i])
        pe, qe = uint64(ap[i + 1]), uint64(bp[i + 1])
        while p < pe and q < qe:
            j, k = ac[p], bc[q]
            if j == k:
                crd[at], val[at] = j, av[p] + bv[q]
                p += uint64(1)
                q += uint64(1)
            elif j < k:
                crd[at], val[at] = j, av[p]
                p += uint64(1)
            else:
                crd[at], val[at] = k, bv[q]
                q += uint64(1)
            at += uint64(1)
        while p < pe:
            crd[at], val[at] = ac[p], av[p]
            p += uint64(1)
            at += uint64(1)
        while q < qe:
            crd[at], val[at] = bc[q], bv[q]
            q += uint64(1)
            at += uint64(1)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def add_branch_free(ap, ac, av, bp, bc, bv):
    n = ap.size - 1
    most = av.size + bv.size
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        p, q = uint64(ap[i]), uint64(bp[i])
        pe, qe = uint64(ap[i + 1]), uint64(bp[i + 1])
        while p < pe and q < qe:
            j, k = ac[p], bc[q]
            left, right = j <= k, k <= j
            crd[at] = j if left else k
            val[at] = (av[p] if left else 0.0) + (bv[q] if right else 0.0)
            p += uint64(left)
            q += uint64(right)
            at += uint64(1)
        while p < pe:
            crd[at], val[at] = ac[p], av[p]
            p += uint64(1)
            at += uint64(1)
        while q < qe:
            crd[at], val[at] = bc[q], bv[q]
            q += uint64(1)
            at += uint64(1)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def add3(ap, ac, av, bp, bc, bv, cp, cc, cv):
    """Merge three rows, a column beyond all standing for the end of each."""
    n = ap.size - 1
    most = av.size + bv.size + cv.size
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    at = uint64(0)
    end = uint32(0xFFFFFFFF)
    pos[0] = 0
    for i in range(n):
        p, q, r = uint64(ap[i]), uint64(bp[i]), uint64(cp[i])
        pe, qe, re = uint64(ap[i + 1]), uint64(bp[i + 1]), uint64(cp[i + 1])
        while True:
            j = ac[p] if p < pe else end
            k = bc[q] if q < qe else end
            m = cc[r] if r < re else end
            least = min(j, min(k, m))
            if least == end:
                break
            total = 0.0
            if j == least:
                total += av[p]
                p += uint64(1)
            if k == least:
                total += bv[q]
                q += uint64(1)
            if m == least:
                total += cv[r]
                r += uint64(1)
            crd[at], val[at] = least, total
            at += uint64(1)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def mul_branches(ap, ac, av, bp, bc, bv):
    n = ap.size - 1
    most = min(av.size, bv.size)
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        p, q = uint64(ap[i]), uint64(bp[i])
        pe, qe = uint64(ap[i + 1]), uint64(bp[i + 1])
        while p < pe and q < qe:
            j, k = ac[p], bc[q]
            if j == k:
                crd[at], val[at] = j, av[p] * bv[q]
                at += uint64(1)
                p += uint64(1)
                q += uint64(1)
            elif j < k:
                p += uint64(1)
            else:
                q += uint64(1)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def mul_branch_free(ap, ac, av, bp, bc, bv):
    n = ap.size - 1
    # one place more: a place is written before it is known to hold a match
    most = min(av.size, bv.size) + 1
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        p, q = uint64(ap[i]), uint64(bp[i])
        pe, qe = uint64(ap[i + 1]), uint64(bp[i + 1])
        while p < pe and q < qe:
            j, k = ac[p], bc[q]
            crd[at], val[at] = j, av[p] * bv[q]
            at += uint64(j == k)
            p += uint64(j <= k)
            q += uint64(k <= j)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def mul_table(ap, ac, av, bp, bc, bv, m):
    """Keep where each column of B's row lies; a position outside the row is an old one."""
    n = ap.size - 1
    most = min(av.size, bv.size) + 1
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    place = np.full(m, 0xFFFFFFFF, np.uint32)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        start, count = bp[i], bp[i + 1] - bp[i]
        for q in range(bp[i], bp[i + 1]):
            place[bc[q]] = uint32(q)
        for p in range(ap[i], ap[i + 1]):
            j = ac[p]
            q = place[j]
            if uint32(q - start) < count:
                crd[at], val[at] = j, av[p] * bv[q]
                at += uint64(1)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def mul_search(ap, ac, av, bp, bc, bv):
    """Seek each column of B in the longer row of A, by halving without branches."""
    n = ap.size - 1
    most = min(av.size, bv.size) + 1
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        first, count = uint64(ap[i]), uint64(ap[i + 1]) - uint64(ap[i])
        if count:
            for q in range(bp[i], bp[i + 1]):
                j = bc[q]
                low, left = first, count
                while left > uint64(1):
                    half = left >> uint64(1)
                    low = low + half if ac[low + half] <= j else low
                    left -= half
                crd[at], val[at] = j, av[low] * bv[q]
                at += uint64(ac[low] == j)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


# Products of sparse matrices


@njit(cache=True)
def product_bound(ac, bp):
    total = 0
    for p in range(ac.size):
        total += bp[ac[p] + uint32(1)] - bp[ac[p]]
    return total


@njit(cache=True)
def spgemm_bitmap(ap, ac, av, bp, bc, bv, m):
    """Gather a row in a dense accumulator, then walk a bitmap of two levels for its order."""
    n = ap.size - 1
    most = product_bound(ac, bp)
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    row = np.zeros(m)
    words = np.zeros((m >> 6) + 1, np.int64)
    upper = np.zeros((m >> 12) + 1, np.int64)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        low, high = uint32(upper.size), uint32(0)
        for p in range(ap[i], ap[i + 1]):
            factor, k = av[p], ac[p]
            first, last = bp[k], bp[k + uint32(1)]
            if first == last:
                continue
            low = min(low, bc[first] >> uint32(12))
            high = max(high, bc[last - uint32(1)] >> uint32(12))
            for q in range(first, last):
                j = bc[q]
                row[j] += factor * bv[q]
                words[j >> uint32(6)] |= np.int64(1) << np.int64(j & uint32(63))
                upper[j >> uint32(12)] |= np.int64(1) << np.int64((j >> uint32(6)) & uint32(63))
        for g in range(uint64(low), uint64(high) + uint64(1)):
            group = upper[g]
            upper[g] = 0
            while group:
                w = (uint64(g) << uint64(6)) + uint64(cttz(group))
                group &= group - 1
                word = words[w]
                words[w] = 0
                while word:
                    j = (w << uint64(6)) + uint64(cttz(word))
                    word &= word - 1
                    crd[at], val[at] = j, row[j]
                    row[j] = 0.0
                    at += uint64(1)
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def spgemm_sort(ap, ac, av, bp, bc, bv, m):
    """Gather a row in a dense accumulator, list its columns as they come, sort the list."""
    n = ap.size - 1
    most = product_bound(ac, bp)
    pos, crd, val = np.empty(n + 1, np.int32), np.empty(most, np.uint32), np.empty(most)
    row = np.zeros(m)
    stamp = np.full(m, 0xFFFFFFFF, np.uint32)
    at = uint64(0)
    pos[0] = 0
    for i in range(n):
        begin = at
        for p in range(ap[i], ap[i + 1]):
            factor, k = av[p], ac[p]
            for q in range(bp[k], bp[k + uint32(1)]):
                j = bc[q]
                if stamp[j] == uint32(i):
                    row[j] += factor * bv[q]
                else:
                    stamp[j] = uint32(i)
                    row[j] = factor * bv[q]
                    crd[at] = j
                    at += uint64(1)
        if at - begin <= uint64(32):
            for r in range(begin + uint64(1), at):
                j, s = crd[r], uint64(r)
                while s > begin and crd[s - uint64(1)] > j:
                    crd[s] = crd[s - uint64(1)]
                    s -= uint64(1)
                crd[s] = j
        else:
            crd[begin:at].sort()
        for r in range(begin, at):
            val[r] = row[crd[r]]
        pos[i + 1] = at
    return pos, crd[:at], val[:at]


@njit(cache=True)
def masked_product(mp, mc, mv, ap, ac, av, bp, bc, bv, m):
    """Number the mask's columns, and add only products that meet one."""
    out = np.zeros(mv.size)
    place = np.full(m, 0xFFFFFFFF, np.uint32)
    for i in range(mp.size - 1):
        start, count = mp[i], mp[i + 1] - mp[i]
        for p in range(mp[i], mp[i + 1]):
            place[mc[p]] = uint32(p)
        for p in range(ap[i], ap[i + 1]):
            factor, k = av[p], ac[p]
            for q in range(bp[k], bp[k + uint32(1)]):
                s = place[bc[q]]
                if uint32(s - start) < count:
                    out[s] += factor * bv[q]
        for p in range(mp[i], mp[i + 1]):
            out[p] *= mv[p]
    return out


@njit(cache=True)
def masked_product_scatter(mp, mc, mv, ap, ac, av, bp, bc, bv, m):
    """Add every product to a dense row, read the mask's columns, clear what was touched."""
    out = np.empty(mv.size)
    row = np.zeros(m)
    for i in range(mp.size - 1):
        for p in range(ap[i], ap[i + 1]):
            factor, k = av[p], ac[p]
            for q in range(bp[k], bp[k + uint32(1)]):
                row[bc[q]] += factor * bv[q]
        for p in range(mp[i], mp[i + 1]):
            out[p] = mv[p] * row[mc[p]]
        for p in range(ap[i], ap[i + 1]):
            k = ac[p]
            for q in range(bp[k], bp[k + uint32(1)]):
                row[bc[q]] = 0.0
    return out


@njit(cache=True)
def triangles(pos, crd, val, m):
    total = 0.0
    place = np.full(m, 0xFFFFFFFF, np.uint32)
    for i in range(pos.size - 1):
        start, count = pos[i], pos[i + 1] - pos[i]
        for p in range(pos[i], pos[i + 1]):
            place[crd[p]] = uint32(p)
        for p in range(pos[i], pos[i + 1]):
            k, part = crd[p], 0.0
            for q in range(pos[k], pos[k + uint32(1)]):
                s = place[crd[q]]
                if uint32(s - start) < count:
                    part += val[s] * val[q]
            total += val[p] * part
    return total


@njit(cache=True)
def sampled(mp, mc, mv, ap, ac, av, bp, bc, bv, m):
    """Number the columns of a row of A once, for all rows of B that the mask names."""
    out = np.empty(mv.size)
    place = np.full(m, 0xFFFFFFFF, np.uint32)
    for i in range(mp.size - 1):
        start, count = ap[i], ap[i + 1] - ap[i]
        for p in range(ap[i], ap[i + 1]):
            place[ac[p]] = uint32(p)
        for p in range(mp[i], mp[i + 1]):
            j, total = mc[p], 0.0
            for q in range(bp[j], bp[j + uint32(1)]):
                s = place[bc[q]]
                if uint32(s - start) < count:
                    total += av[s] * bv[q]
            out[p] = mv[p] * total
    return out


@njit(cache=True, fastmath={"reassoc"})
def sampled_scatter(mp, mc, mv, ap, ac, av, bp, bc, bv, m):
    """Spread a row of A over zeros: products of what does not meet are zero (no infinities)."""
    out = np.empty(mv.size)
    row = np.zeros(m)
    for i in range(mp.size - 1):
        for p in range(ap[i], ap[i + 1]):
            row[ac[p]] = av[p]
        for p in range(mp[i], mp[i + 1]):
            j, total = mc[p], 0.0
            for q in range(bp[j], bp[j + uint32(1)]):
                total += row[bc[q]] * bv[q]
            out[p] = mv[p] * total
        for p in range(ap[i], ap[i + 1]):
            row[ac[p]] = 0.0
    return out


# Tensors of order 3


@njit(cache=True, fastmath={"reassoc"})
def ttv(starts, last, val, v):
    out = np.empty(starts.size - 1)
    for f in range(out.size):
        total = 0.0
        for p in range(starts[f], starts[f + 1]):
            total += val[p] * v[last[p]]
        out[f] = total
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


# How operands reach the kernels


def same(result: Any) -> Any:
    return result


def arrays_of(x: Any) -> Arrays:
    return u(x.roots), u(x.root_of), u(x.middles), u(x.starts), u(x.last), x.values


def rows(shape: Any) -> Callable[[Any], Any]:
    def finish(result: Any) -> Any:
        pos, crd, val = result
        return sp.csr_array((val, crd.view(np.int32), pos), shape=shape)

    return finish


def like(m: Any) -> Callable[[Any], Any]:
    return lambda val: sp.csr_array((val, m.indices, m.indptr), shape=m.shape)


def vector(kernel: Any) -> Any:
    return lambda o: (lambda: kernel(*csr(o["A"]), o["x"]), same)


def vector_of_columns(o: Any) -> Any:
    a = o["A"]
    return lambda: spmv_columns(*csr(a), o["x"], a.shape[0]), same


def vector_of_diagonals(o: Any) -> Any:
    a = o["A"]
    offsets = a.offsets.astype(np.int64)
    return lambda: spmv_diagonals(offsets, a.data, o["x"], a.shape[0]), same


def sparse_vector(kernel: Any, extent: int) -> Any:
    def variant(o: Any) -> Any:
        a, x = o["A"], o["x"]
        at = u(x.coords[0])
        return lambda: kernel(*csr(a), at, x.data, a.shape[extent]), same

    return variant


def elementwise(kernel: Any, *more: str, extent: bool = False) -> Any:
    def variant(o: Any) -> Any:
        a = o["A"]
        given = [part for n in ("A", "B", *more) for part in csr(o[n])]
        given += [a.shape[1]] if extent else []
        return lambda: kernel(*given), rows(a.shape)

    return variant


def product(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        a, b = o["A"], o["B"]
        return lambda: kernel(*csr(a), *csr(b), b.shape[1]), rows((a.shape[0], b.shape[1]))

    return variant


def with_mask(kernel: Any) -> Any:
    def variant(o: Any) -> Any:
        m, a, b = o["M"], o["A"], o["B"]
        return lambda: kernel(*csr(m), *csr(a), *csr(b), b.shape[1]), like(m)

    return variant


def count(o: Any) -> Any:
    low = o["L"]
    return lambda: triangles(*csr(low), low.shape[1]), same


spmm_64, sddmm_64, _ = columns_fixed(64)
mttkrp_32 = columns_fixed(32)[2]
ttm_dense_16, ttm_sparse_16 = ttm_fixed(16)


def dense_factor(o: Any) -> Any:
    return lambda: spmm_64(*csr(o["A"]), o["B"]), same


def sampled_dense(o: Any) -> Any:
    s = o["S"]
    return lambda: sddmm_64(*csr(s), o["P"], o["Q"]), like(s)


def tensor_vector(o: Any) -> Any:
    x = o["X"]
    held = u(x.starts), u(x.last), x.values
    first = x.first
    return (
        lambda: ttv(*held, o["v"]),
        lambda val: sp.csr_array((val, (first, x.middles)), shape=x.shape[:2]),
    )


def tensor_dense(o: Any) -> Any:
    x = o["X"]
    held = arrays_of(x)
    return (
        lambda: ttm_dense_16(*held, o["B"], x.shape[0], x.shape[1]),
        lambda out: out.reshape(-1, out.shape[2]),
    )


def tensor_sparse(o: Any) -> Any:
    x, b = o["X"], o["B"]
    held = u(x.starts), u(x.last), x.values
    joined = x.first.astype(np.int64) * x.shape[1] + x.middles

    def finish(result: Any) -> Any:
        pos, crd, val = result
        places = np.repeat(joined, np.diff(pos)), crd.view(np.int32)
        return sp.csr_array((val, places), shape=(x.shape[0] * x.shape[1], b.shape[1]))

    return lambda: ttm_sparse_16(*held, *csr(b)), finish


def khatri_rao(o: Any) -> Any:
    x = o["X"]
    held = arrays_of(x)
    return lambda: mttkrp_32(*held, o["B"], o["C"], x.shape[0]), same


def inner_product(o: Any) -> Any:
    held = (*arrays_of(o["X"]), *arrays_of(o["Y"]))
    return lambda: inner(*held), same


BY_ROWS = {
    "table": sparse_vector(spmspv_table, 1),
    "bitmap": sparse_vector(spmspv_bitmap, 1),
}
BY_COLUMNS = {"": sparse_vector(spmspv_columns, 0)}
SUMS = {"branches": elementwise(add_branches), "branch-free": elementwise(add_branch_free)}
PRODUCTS = {
    "branches": elementwise(mul_branches),
    "branch-free": elementwise(mul_branch_free),
    "table": elementwise(mul_table, extent=True),
    "search": elementwise(mul_search),
}

KERNELS: dict[str, dict[str, Any]] = {
    "SpMV CSR": {"": vector(spmv)},
    "SpMV CSC": {"": vector_of_columns},
    "SpMV BCSR": {"": vector(spmv_blocks)},
    "SpMV DIA": {"": vector_of_diagonals},
    "SpMSpV CSR 1 %": BY_ROWS,
    "SpMSpV CSR 10 %": BY_ROWS,
    "SpMSpV CSC 1 %": BY_COLUMNS,
    "SpMSpV CSC 10 %": BY_COLUMNS,
    "SpMM 64": {"": dense_factor},
    "SDDMM 64": {"": sampled_dense},
    "A + B": SUMS,
    "A + B, one pattern": SUMS,
    "A + B + C": {"": elementwise(add3, "C")},
    "A .* B": PRODUCTS,
    "A .* B, one pattern": PRODUCTS,
    "A .* B, 200 against 2": PRODUCTS,
    "SpGEMM": {"bitmap": product(spgemm_bitmap), "sort": product(spgemm_sort)},
    "masked SpGEMM": {
        "table": with_mask(masked_product),
        "scatter": with_mask(masked_product_scatter),
    },
    "triangles": {"": count},
    "sampled inner products": {
        "table": with_mask(sampled),
        "scatter": with_mask(sampled_scatter),
    },
    "TTV": {"": tensor_vector},
    "TTM dense 16": {"": tensor_dense},
    "TTM sparse 16": {"": tensor_sparse},
    "MTTKRP 32": {"": khatri_rao},
    "inner product, order 3": {"": inner_product},
}
"""Variants of each kernel, by name."""
