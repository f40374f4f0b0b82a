"""Conversions written by hand in Numba: the mark to reach.

Each takes raw arrays and gives raw arrays; two passes where one cannot do, no sort of entries.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def rows_of_sorted(n, row, col, data):
    pos = np.zeros(n + 1, np.int32)
    for p in range(len(row)):
        pos[row[p] + 1] += 1
    for i in range(n):
        pos[i + 1] += pos[i]
    return pos, col.copy(), data.copy()


@njit(cache=True)
def rows_of_unsorted(n, m, row, col, data):
    pos, crd, val = transposed(len(row), m, np.arange(len(row) + 1), col, data, row)
    return transposed_lists(m, n, pos, crd, val)


@njit(cache=True)
def transposed_lists(n, m, pos, crd, val):
    return transposed(n, m, pos, crd, val, np.arange(n).astype(np.int32))


@njit(cache=True)
def transposed(n, m, pos, crd, val, names):
    count = pos[n]
    new_pos = np.zeros(m + 1, np.int32)
    new_crd = np.empty(count, np.int32)
    new_val = np.empty(count, val.dtype)
    for p in range(count):
        new_pos[crd[p] + 1] += 1
    for j in range(m):
        new_pos[j + 1] += new_pos[j]
    for i in range(n):
        name = names[i]
        for p in range(pos[i], pos[i + 1]):
            q = new_pos[crd[p]]
            new_pos[crd[p]] = q + 1
            new_crd[q] = name
            new_val[q] = val[p]
    for j in range(m, 0, -1):
        new_pos[j] = new_pos[j - 1]
    new_pos[0] = 0
    return new_pos, new_crd, new_val


@njit(cache=True)
def columns_of_rows(n, m, pos, crd, val):
    return transposed(n, m, pos, crd, val, np.arange(n).astype(np.int32))


@njit(cache=True)
def blocks(n, m, r, c, pos, crd, val):
    high, wide = (n + r - 1) // r, (m + c - 1) // c
    stamp, place = np.full(wide, -1, np.int64), np.empty(wide, np.int64)
    new_pos = np.zeros(high + 1, np.int32)
    for b in range(high):
        count = 0
        for p in range(pos[b * r], pos[min(n, b * r + r)]):
            k = crd[p] // c
            if stamp[k] != b:
                stamp[k] = b
                count += 1
        new_pos[b + 1] = new_pos[b] + count
    new_crd = np.empty(new_pos[high], np.int32)
    new_val = np.zeros((new_pos[high], r, c), val.dtype)
    stamp[:] = -1
    for b in range(high):
        end = new_pos[b]
        for p in range(pos[b * r], pos[min(n, b * r + r)]):
            k = crd[p] // c
            if stamp[k] != b:
                stamp[k] = b
                new_crd[end] = k
                end += 1
        new_crd[new_pos[b] : end].sort()
        for q in range(new_pos[b], end):
            place[new_crd[q]] = q
        for i in range(b * r, min(n, b * r + r)):
            for p in range(pos[i], pos[i + 1]):
                new_val[place[crd[p] // c], i - b * r, crd[p] % c] = val[p]
    return new_pos, new_crd, new_val


@njit(cache=True)
def diagonals(n, m, pos, crd, val):
    number = np.zeros(n + m, np.int32)
    for i in range(n):
        for p in range(pos[i], pos[i + 1]):
            number[crd[p] - i + n] = 1
    count = 0
    for d in range(n + m):
        if number[d]:
            number[d] = count
            count += 1
    offsets, data = np.empty(count, np.int32), np.zeros((count, m), val.dtype)
    for i in range(n):
        for p in range(pos[i], pos[i + 1]):
            d = number[crd[p] - i + n]
            offsets[d] = crd[p] - i
            data[d, crd[p]] = val[p]
    return offsets, data


@njit(cache=True)
def padded(n, pos, crd, val):
    width = 0
    counts = np.empty(n, np.int32)
    for i in range(n):
        counts[i] = pos[i + 1] - pos[i]
        width = max(width, counts[i])
    cols, data = np.zeros((n, width), np.int32), np.zeros((n, width), val.dtype)
    for i in range(n):
        for s in range(counts[i]):
            cols[i, s] = crd[pos[i] + s]
            data[i, s] = val[pos[i] + s]
    return counts, cols, data


@njit(cache=True)
def tree(a, b, c, val):
    n = len(a)
    crd0, crd1 = np.empty(n, np.int32), np.empty(n, np.int32)
    pos1, pos2 = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)
    top, middle = 0, 0
    for p in range(n):
        fresh = p == 0 or a[p] != a[p - 1]
        if fresh:
            crd0[top] = a[p]
            pos1[top] = middle
            top += 1
        if fresh or b[p] != b[p - 1]:
            crd1[middle] = b[p]
            pos2[middle] = p
            middle += 1
    pos1[top], pos2[middle] = middle, n
    first = crd0[:top].copy(), pos1[: top + 1].copy()
    return *first, crd1[:middle].copy(), pos2[: middle + 1].copy(), c.copy(), val.copy()
