import numpy as np
from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint32 as u32
from numpy import uint64 as u64


@njit(cache=True, nogil=True, error_model="numpy")
def kernel(B_indptr, A_indptr, A_indices, B_indices, A_data, B_data, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, C_from, C_until, C_counted):
    """C[i, j] = A[i, j] * B[i, j]
    A: bcsr(4, 4)
    B: csr
    finds: A_p by table
    proofs: 20 of 20 goals
    bounds: 10 of 10 subscripts
    """
    C_n1 = C_from
    C_room = C_counted
    if C_room == 0:
        for i in range(i_begin, i_end):
            A_bi = i // 4
            A_r = i - A_bi * 4
            C_room += max(B_indptr[u64(i + 1)] - B_indptr[u64(i)], 0)
    if C_room <= C_until - C_from:
        A_p_table = np.empty((n_j + 3) // 4, np.uint32)
        for A_p_table_place in range(len(A_p_table)):
            A_p_table[u64(A_p_table_place)] = u32(4294967295)
        for i in range(i_begin, i_end):
            A_bi = i // 4
            A_p_lo = i64(A_indptr[u64(A_bi)])
            A_p_hi = i64(A_indptr[u64(A_bi + 1)])
            A_p_count = A_p_hi - A_p_lo
            for A_p_entry in range(A_p_lo, A_p_hi):
                A_p_table[u64(A_indices[u64(A_p_entry)])] = u32(A_p_entry)
            A_r = i - A_bi * 4
            for B_p in range(i64(B_indptr[u64(i)]), i64(B_indptr[u64(i + 1)])):
                j = i64(B_indices[u64(B_p)])
                A_c = j - j // 4 * 4
                A_p = i64(A_p_table[u64((j - A_c) // 4)])
                if u64(A_p - A_p_lo) < u64(A_p_count):
                    A_v = A_data[u64(A_p), u64(A_r), u64(A_c)]
                    B_v = B_data[u64(B_p)]
                    C_value = A_v * B_v
                    if C_value != 0.0:
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += 1
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
