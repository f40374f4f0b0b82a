import numpy as np
from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint32 as u32
from numpy import uint64 as u64


@njit(cache=True, nogil=True, error_model="numpy")
def kernel(A_indptr, B_indptr, B_indices, A_indices, A_data, B_data, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, C_from, C_until, C_counted):
    """C[i, j] = A[i, j] * B[i, j]
    A: csr
    B: csr
    finds: B_p by table
    proofs: 12 of 12 goals
    bounds: 8 of 8 subscripts
    """
    C_n1 = C_from
    C_room = C_counted
    if C_room == 0:
        for i in range(i_begin, i_end):
            C_room += max(A_indptr[u64(i + 1)] - A_indptr[u64(i)], 0)
    if C_room <= C_until - C_from:
        B_p_table = np.empty(n_j, np.uint32)
        for B_p_table_place in range(len(B_p_table)):
            B_p_table[u64(B_p_table_place)] = u32(4294967295)
        for i in range(i_begin, i_end):
            B_p_lo = i64(B_indptr[u64(i)])
            B_p_hi = i64(B_indptr[u64(i + 1)])
            B_p_count = B_p_hi - B_p_lo
            for B_p_entry in range(B_p_lo, B_p_hi):
                B_p_table[u64(B_indices[u64(B_p_entry)])] = u32(B_p_entry)
            for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                j = i64(A_indices[u64(A_p)])
                B_p = i64(B_p_table[u64(j)])
                if u64(B_p - B_p_lo) < u64(B_p_count):
                    A_v = A_data[u64(A_p)]
                    B_v = B_data[u64(B_p)]
                    C_value = A_v * B_v
                    if C_value != 0.0:
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += 1
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
