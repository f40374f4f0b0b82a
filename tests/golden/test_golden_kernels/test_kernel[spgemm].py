import numpy as np
from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import ctpop, differing, pack, pack_numbers, part, spread, store_vector, vector


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(B_indptr, B_indices, B_data, A_indptr, A_data, A_indices, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, n_k, C_from, C_until, C_counted):
    """C[i, j] = sum(k, A[i, k] * B[k, j])
    A: csr
    B: csr
    finds: none needed
    proofs: 7 of 7 goals
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
        # rows of B laid out whole
        B_p_rows = np.empty((n_k, n_j), np.float64)
        for B_p_rows_place0 in range(len(B_p_rows)):
            for B_p_rows_place1 in range(B_p_rows.shape[1]):
                B_p_rows[u64(B_p_rows_place0), u64(B_p_rows_place1)] = 0.0
        for B_p_row in range(n_k):
            for B_p in range(i64(B_indptr[u64(B_p_row)]), i64(B_indptr[u64(B_p_row + 1)])):
                B_p_rows[u64(B_p_row), u64(B_indices[u64(B_p)])] = B_data[u64(B_p)]
        for i in range(i_begin, i_end):
            # columns in vectors, then those left
            for j_strip in range(0, n_j - n_j % 64, 64):
                C_sums_columns = spread(0.0, 64)
                for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                    A_v = A_data[u64(A_p)]
                    k = i64(A_indices[u64(A_p)])
                    C_sums_columns = C_sums_columns + spread(A_v, 64) * vector(B_p_rows, (u64(k), u64(j_strip)), 64)
                store_vector(C_sums, (u64(j_strip),), C_sums_columns)
            for j_strip2 in range(n_j - n_j % 64, n_j - n_j % 32, 32):
                C_sums_columns2 = spread(0.0, 32)
                for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                    A_v = A_data[u64(A_p)]
                    k = i64(A_indices[u64(A_p)])
                    C_sums_columns2 = C_sums_columns2 + spread(A_v, 32) * vector(B_p_rows, (u64(k), u64(j_strip2)), 32)
                store_vector(C_sums, (u64(j_strip2),), C_sums_columns2)
            for j_strip3 in range(n_j - n_j % 32, n_j - n_j % 16, 16):
                C_sums_columns3 = spread(0.0, 16)
                for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                    A_v = A_data[u64(A_p)]
                    k = i64(A_indices[u64(A_p)])
                    C_sums_columns3 = C_sums_columns3 + spread(A_v, 16) * vector(B_p_rows, (u64(k), u64(j_strip3)), 16)
                store_vector(C_sums, (u64(j_strip3),), C_sums_columns3)
            for j_strip4 in range(n_j - n_j % 16, n_j - n_j % 8, 8):
                C_sums_columns4 = spread(0.0, 8)
                for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                    A_v = A_data[u64(A_p)]
                    k = i64(A_indices[u64(A_p)])
                    C_sums_columns4 = C_sums_columns4 + spread(A_v, 8) * vector(B_p_rows, (u64(k), u64(j_strip4)), 8)
                store_vector(C_sums, (u64(j_strip4),), C_sums_columns4)
            for j_strip5 in range(n_j - n_j % 8, n_j - n_j % 4, 4):
                C_sums_columns5 = spread(0.0, 4)
                for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                    A_v = A_data[u64(A_p)]
                    k = i64(A_indices[u64(A_p)])
                    C_sums_columns5 = C_sums_columns5 + spread(A_v, 4) * vector(B_p_rows, (u64(k), u64(j_strip5)), 4)
                store_vector(C_sums, (u64(j_strip5),), C_sums_columns5)
            for j in range(n_j - n_j % 4, n_j):
                C_sums_sum = 0.0
                for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                    A_v = A_data[u64(A_p)]
                    k = i64(A_indices[u64(A_p)])
                    C_sums_sum += A_v * B_p_rows[u64(k), u64(j)]
                C_sums[u64(j)] = C_sums_sum
            C_at_past = n_j
            for C_at in range(0, C_at_past, 8):
                C_at_left = C_at_past - C_at
                C_data_lanes = part(C_sums, u64(C_at), C_at_left, 8)
                C_n1_kept = differing(C_data_lanes, 0.0, C_at_left)
                pack_numbers(C_indices, u64(C_n1), C_at, C_n1_kept, 8)
                pack(C_data, u64(C_n1), C_data_lanes, C_n1_kept)
                C_n1 += ctpop(C_n1_kept)
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
