import numpy as np
from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import ctpop, cttz


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def spgemm(A_indptr, A_indices, A_data, B_indptr, B_indices, B_data, N, M):
    """C[i, j] = sum(k, A[i, k] * B[k, j])"""
    nnz = 0
    C_indptr = np.empty(N + 1, np.int32)
    for C_indptr_place in range(len(C_indptr)):
        C_indptr[u64(C_indptr_place)] = 0
    C_indices = np.empty(len(A_indices), np.int32)
    C_data = np.empty(len(C_indices), np.float64)
    work = np.empty(M, np.float64)
    for work_place in range(len(work)):
        work[u64(work_place)] = 0.0
    bits = np.empty((M + 63) // 64, np.int64)
    for bits_place in range(len(bits)):
        bits[u64(bits_place)] = 0
    for i in range(N):
        for p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
            k = i64(A_indices[u64(p)])
            a = A_data[u64(p)]
            for q in range(i64(B_indptr[u64(k)]), i64(B_indptr[u64(k + 1)])):
                j = i64(B_indices[u64(q)])
                work[u64(j)] += a * B_data[u64(q)]
                bits[u64(j >> 6)] |= 1 << (j & 63)
        count = 0
        for w in range(len(bits)):
            count += ctpop(bits[u64(w)])
        if nnz + count > len(C_indices):
            C_indices_resized = np.empty(max(nnz + count, len(C_indices) * 2), np.int32)
            for C_indices_place in range(min(len(C_indices), len(C_indices_resized))):
                C_indices_resized[u64(C_indices_place)] = C_indices[u64(C_indices_place)]
            C_indices = C_indices_resized
            C_data_resized = np.empty(len(C_indices), np.float64)
            for C_data_place in range(min(len(C_data), len(C_data_resized))):
                C_data_resized[u64(C_data_place)] = C_data[u64(C_data_place)]
            C_data = C_data_resized
        # walk the touched columns in order
        for w in range(len(bits)):
            word = bits[u64(w)]
            bits[u64(w)] = 0
            while word != 0:
                j = w * 64 + cttz(word)
                C_indices[u64(nnz)] = j
                C_data[u64(nnz)] = work[u64(j)]
                work[u64(j)] = 0.0
                nnz += 1
                word &= word - 1
        C_indptr[u64(i + 1)] = nnz
    C_indices_resized = np.empty(nnz, np.int32)
    for C_indices_place in range(min(len(C_indices), len(C_indices_resized))):
        C_indices_resized[u64(C_indices_place)] = C_indices[u64(C_indices_place)]
    C_indices = C_indices_resized
    C_data_resized = np.empty(nnz, np.float64)
    for C_data_place in range(min(len(C_data), len(C_data_resized))):
        C_data_resized[u64(C_data_place)] = C_data[u64(C_data_place)]
    C_data = C_data_resized
    return (C_indptr, C_indices, C_data)
