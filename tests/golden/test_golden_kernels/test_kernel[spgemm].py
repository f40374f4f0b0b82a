import numpy as np
from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import cttz


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(A_indptr, A_data, A_indices, B_indptr, B_data, B_indices, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, C_from, C_until, C_counted):
    """C[i, j] = sum(k, A[i, k] * B[k, j])
    A: csr
    B: csr
    finds: none needed
    proofs: 6 of 6 goals
    bounds: 8 of 8 subscripts
    """
    C_n1 = C_from
    C_room = C_counted
    if C_room == 0:
        for i in range(i_begin, i_end):
            C_room += max(n_j, 0)
    if C_room <= C_until - C_from:
        # dense accumulator
        C_sums = np.empty(n_j, np.float64)
        for C_sums_place in range(len(C_sums)):
            C_sums[u64(C_sums_place)] = 0.0
        for i in range(i_begin, i_end):
            C_touched = 0
            for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                A_v = A_data[u64(A_p)]
                k = i64(A_indices[u64(A_p)])
                for B_p in range(i64(B_indptr[u64(k)]), i64(B_indptr[u64(k + 1)])):
                    B_v = B_data[u64(B_p)]
                    j = i64(B_indices[u64(B_p)])
                    C_sums[u64(j)] += A_v * B_v
                    C_touched |= 1 << (j & 63)
            for C_base in range(0, n_j, 64):
                C_left = C_touched
                while C_left != 0:
                    C_at = C_base + cttz(C_left)
                    C_left &= C_left - 1
                    if C_at < n_j:
                        C_value = C_sums[u64(C_at)]
                        C_sums[u64(C_at)] = 0.0
                        C_indices[u64(C_n1)] = i32(C_at)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += i64(C_value != 0.0)
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
