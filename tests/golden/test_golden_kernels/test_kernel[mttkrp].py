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
                D_data_0 = vector(D_data, (u64(i), u64(j_strip)))
                D_data_1 = vector(D_data, (u64(i), u64(j_strip + 8)))
                D_data_2 = vector(D_data, (u64(i), u64(j_strip + 16)))
                D_data_3 = vector(D_data, (u64(i), u64(j_strip + 24)))
                D_data_4 = vector(D_data, (u64(i), u64(j_strip + 32)))
                D_data_5 = vector(D_data, (u64(i), u64(j_strip + 40)))
                D_data_6 = vector(D_data, (u64(i), u64(j_strip + 48)))
                D_data_7 = vector(D_data, (u64(i), u64(j_strip + 56)))
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_0 = D_data_0 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip))) * vector(c_data, (u64(l), u64(j_strip)))
                        D_data_1 = D_data_1 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 8))) * vector(c_data, (u64(l), u64(j_strip + 8)))
                        D_data_2 = D_data_2 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 16))) * vector(c_data, (u64(l), u64(j_strip + 16)))
                        D_data_3 = D_data_3 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 24))) * vector(c_data, (u64(l), u64(j_strip + 24)))
                        D_data_4 = D_data_4 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 32))) * vector(c_data, (u64(l), u64(j_strip + 32)))
                        D_data_5 = D_data_5 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 40))) * vector(c_data, (u64(l), u64(j_strip + 40)))
                        D_data_6 = D_data_6 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 48))) * vector(c_data, (u64(l), u64(j_strip + 48)))
                        D_data_7 = D_data_7 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip + 56))) * vector(c_data, (u64(l), u64(j_strip + 56)))
                store_vector(D_data, (u64(i), u64(j_strip)), D_data_0)
                store_vector(D_data, (u64(i), u64(j_strip + 8)), D_data_1)
                store_vector(D_data, (u64(i), u64(j_strip + 16)), D_data_2)
                store_vector(D_data, (u64(i), u64(j_strip + 24)), D_data_3)
                store_vector(D_data, (u64(i), u64(j_strip + 32)), D_data_4)
                store_vector(D_data, (u64(i), u64(j_strip + 40)), D_data_5)
                store_vector(D_data, (u64(i), u64(j_strip + 48)), D_data_6)
                store_vector(D_data, (u64(i), u64(j_strip + 56)), D_data_7)
            for j_strip2 in range(n_j - n_j % 64, n_j - n_j % 32, 32):
                D_data_02 = vector(D_data, (u64(i), u64(j_strip2)))
                D_data_12 = vector(D_data, (u64(i), u64(j_strip2 + 8)))
                D_data_22 = vector(D_data, (u64(i), u64(j_strip2 + 16)))
                D_data_32 = vector(D_data, (u64(i), u64(j_strip2 + 24)))
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_02 = D_data_02 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip2))) * vector(c_data, (u64(l), u64(j_strip2)))
                        D_data_12 = D_data_12 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip2 + 8))) * vector(c_data, (u64(l), u64(j_strip2 + 8)))
                        D_data_22 = D_data_22 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip2 + 16))) * vector(c_data, (u64(l), u64(j_strip2 + 16)))
                        D_data_32 = D_data_32 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip2 + 24))) * vector(c_data, (u64(l), u64(j_strip2 + 24)))
                store_vector(D_data, (u64(i), u64(j_strip2)), D_data_02)
                store_vector(D_data, (u64(i), u64(j_strip2 + 8)), D_data_12)
                store_vector(D_data, (u64(i), u64(j_strip2 + 16)), D_data_22)
                store_vector(D_data, (u64(i), u64(j_strip2 + 24)), D_data_32)
            for j_strip3 in range(n_j - n_j % 32, n_j - n_j % 8, 8):
                D_data_03 = vector(D_data, (u64(i), u64(j_strip3)))
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        D_data_03 = D_data_03 + spread(A_v) * vector(b_data, (u64(k), u64(j_strip3))) * vector(c_data, (u64(l), u64(j_strip3)))
                store_vector(D_data, (u64(i), u64(j_strip3)), D_data_03)
            if n_j - n_j % 8 < n_j:
                for A_p1 in range(i64(A_pos1[u64(A_p0)]), i64(A_pos1[u64(A_p0 + 1)])):
                    k = i64(A_crd1[u64(A_p1)])
                    for A_p2 in range(i64(A_pos2[u64(A_p1)]), i64(A_pos2[u64(A_p1 + 1)])):
                        A_v = A_data[u64(A_p2)]
                        l = i64(A_crd2[u64(A_p2)])
                        for j in range(n_j - n_j % 8, n_j):
                            b_v = b_data[u64(k), u64(j)]
                            c_v = c_data[u64(l), u64(j)]
                            D_data[u64(i), u64(j)] += A_v * b_v * c_v
    return ()
