"""Products of sparse matrices, masked and sampled ones among them."""

import numpy as np
from numba import njit, uint32, uint64

from sparsedsl.codegen.intrinsics import cttz


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
