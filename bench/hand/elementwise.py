"""Sums and products element by element."""

import numpy as np
from numba import njit, uint32, uint64


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
