from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import spread, store_vector, vector


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(A_crd0, A_pos1, A_crd1, A_pos2, A_data, A_crd2, b_data, c_data, D_data, A_NNZ0_begin, A_NNZ0_end, n_j):
    """D[i, j] = sum((k, l), A[i, k, l] * b[k, j] * c[l, j])
    A: csf
    b: dense
    c: dense
    finds: none needed
    proofs: 10 of 10 goals
    bounds: 14 of 14 subscripts
    """
    for A_p0 in range(A_NNZ0_begin, A_NNZ0_end):
        i = i64(A_crd0[u64(A_p0)])
        # columns in vectors, then those left
        if A_pos1[u64(A_p0)] < A_pos1[u64(A_p0 + 1)]:
            for j_strip in range(0, n_j - n_j % 64, 64):
                D_data_columns = vector(D_data, (u64(i), u64(j_strip)), 64)
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_columns = D_data_columns + spread(A_v, 64) * vector(b_data, (u64(k), u64(j_strip)), 64) * vector(c_data, (u64(l), u64(j_strip)), 64)
                store_vector(D_data, (u64(i), u64(j_strip)), D_data_columns)
            for j_strip2 in range(n_j - n_j % 64, n_j - n_j % 32, 32):
                D_data_columns2 = vector(D_data, (u64(i), u64(j_strip2)), 32)
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_columns2 = D_data_columns2 + spread(A_v, 32) * vector(b_data, (u64(k), u64(j_strip2)), 32) * vector(c_data, (u64(l), u64(j_strip2)), 32)
                store_vector(D_data, (u64(i), u64(j_strip2)), D_data_columns2)
            for j_strip3 in range(n_j - n_j % 32, n_j - n_j % 16, 16):
                D_data_columns3 = vector(D_data, (u64(i), u64(j_strip3)), 16)
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_columns3 = D_data_columns3 + spread(A_v, 16) * vector(b_data, (u64(k), u64(j_strip3)), 16) * vector(c_data, (u64(l), u64(j_strip3)), 16)
                store_vector(D_data, (u64(i), u64(j_strip3)), D_data_columns3)
            for j_strip4 in range(n_j - n_j % 16, n_j - n_j % 8, 8):
                D_data_columns4 = vector(D_data, (u64(i), u64(j_strip4)), 8)
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_columns4 = D_data_columns4 + spread(A_v, 8) * vector(b_data, (u64(k), u64(j_strip4)), 8) * vector(c_data, (u64(l), u64(j_strip4)), 8)
                store_vector(D_data, (u64(i), u64(j_strip4)), D_data_columns4)
            for j_strip5 in range(n_j - n_j % 8, n_j - n_j % 4, 4):
                D_data_columns5 = vector(D_data, (u64(i), u64(j_strip5)), 4)
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_columns5 = D_data_columns5 + spread(A_v, 4) * vector(b_data, (u64(k), u64(j_strip5)), 4) * vector(c_data, (u64(l), u64(j_strip5)), 4)
                store_vector(D_data, (u64(i), u64(j_strip5)), D_data_columns5)
            for j in range(n_j - n_j % 4, n_j):
                D_data_sum = D_data[u64(i), u64(j)]
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_sum += A_v * b_data[u64(k), u64(j)] * c_data[u64(l), u64(j)]
                D_data[u64(i), u64(j)] = D_data_sum
    return ()
