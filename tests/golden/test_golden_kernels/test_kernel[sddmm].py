from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import spread, total, vector


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(S_indptr, S_data, S_indices, a_data, b_10_data, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, n_k, C_from, C_until, C_counted):
    """C[i, j] = sum(k, S[i, j] * a[i, k] * b[k, j])
    S: csr
    a: dense
    b: dense
    finds: none needed
    proofs: 9 of 9 goals
    bounds: 8 of 8 subscripts
    """
    C_n1 = C_from
    C_room = C_counted
    if C_room == 0:
        for i in range(i_begin, i_end):
            C_room += max(S_indptr[u64(i + 1)] - S_indptr[u64(i)], 0)
    if C_room <= C_until - C_from:
        for i in range(i_begin, i_end):
            if n_k == 128:
                # rows of 128 columns, in vectors
                if S_indptr[u64(i)] < S_indptr[u64(i + 1)]:
                    a_data_row = vector(a_data, (u64(i), 0), 8)
                    a_data_row2 = vector(a_data, (u64(i), 8), 8)
                    a_data_row3 = vector(a_data, (u64(i), 16), 8)
                    a_data_row4 = vector(a_data, (u64(i), 24), 8)
                    a_data_row5 = vector(a_data, (u64(i), 32), 8)
                    a_data_row6 = vector(a_data, (u64(i), 40), 8)
                    a_data_row7 = vector(a_data, (u64(i), 48), 8)
                    a_data_row8 = vector(a_data, (u64(i), 56), 8)
                    a_data_row9 = vector(a_data, (u64(i), 64), 8)
                    a_data_row10 = vector(a_data, (u64(i), 72), 8)
                    a_data_row11 = vector(a_data, (u64(i), 80), 8)
                    a_data_row12 = vector(a_data, (u64(i), 88), 8)
                    a_data_row13 = vector(a_data, (u64(i), 96), 8)
                    a_data_row14 = vector(a_data, (u64(i), 104), 8)
                    a_data_row15 = vector(a_data, (u64(i), 112), 8)
                    a_data_row16 = vector(a_data, (u64(i), 120), 8)
                    for S_p in range(i64(S_indptr[u64(i)]), i64(S_indptr[u64(i + 1)])):
                        S_v = S_data[u64(S_p)]
                        j = i64(S_indices[u64(S_p)])
                        C_sum = 0.0
                        C_sum_vector = spread(S_v, 8) * a_data_row * vector(b_10_data, (u64(j), 0), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row2 * vector(b_10_data, (u64(j), 8), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row3 * vector(b_10_data, (u64(j), 16), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row4 * vector(b_10_data, (u64(j), 24), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row5 * vector(b_10_data, (u64(j), 32), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row6 * vector(b_10_data, (u64(j), 40), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row7 * vector(b_10_data, (u64(j), 48), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row8 * vector(b_10_data, (u64(j), 56), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row9 * vector(b_10_data, (u64(j), 64), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row10 * vector(b_10_data, (u64(j), 72), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row11 * vector(b_10_data, (u64(j), 80), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row12 * vector(b_10_data, (u64(j), 88), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row13 * vector(b_10_data, (u64(j), 96), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row14 * vector(b_10_data, (u64(j), 104), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row15 * vector(b_10_data, (u64(j), 112), 8)
                        C_sum_vector = C_sum_vector + spread(S_v, 8) * a_data_row16 * vector(b_10_data, (u64(j), 120), 8)
                        C_sum += total(C_sum_vector)
                        C_value = C_sum
                        if C_value != 0.0:
                            C_indices[u64(C_n1)] = i32(j)
                            C_data[u64(C_n1)] = C_value
                            C_n1 += 1
            else:
                for S_p in range(i64(S_indptr[u64(i)]), i64(S_indptr[u64(i + 1)])):
                    S_v = S_data[u64(S_p)]
                    j = i64(S_indices[u64(S_p)])
                    C_sum = 0.0
                    for k in range(n_k):
                        a_v = a_data[u64(i), u64(k)]
                        b_10_v = b_10_data[u64(j), u64(k)]
                        C_sum += S_v * a_v * b_10_v
                    C_value = C_sum
                    if C_value != 0.0:
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += 1
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
