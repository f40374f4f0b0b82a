from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import part, part_through, total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(A_indptr, A_data, A_indices, x_data, y_data, i_begin, i_end):
    """y[i] = sum(j, A[i, j] * x[j])
    A: csr
    x: dense
    finds: none needed
    proofs: 4 of 4 goals
    bounds: 6 of 6 subscripts
    """
    for i in range(i_begin, i_end):
        y_sum = 0.0
        A_p_first = i64(A_indptr[u64(i)])
        A_p_past = i64(A_indptr[u64(i + 1)])
        A_p_left = A_p_past - A_p_first
        y_sum_lanes = part(A_data, u64(A_p_first), A_p_left, 8) * part_through(x_data, A_indices, u64(A_p_first), A_p_left, 8)
        for A_p in range(A_p_first + 8, A_p_past, 8):
            A_p_left = A_p_past - A_p
            y_sum_lanes = y_sum_lanes + part(A_data, u64(A_p), A_p_left, 8) * part_through(x_data, A_indices, u64(A_p), A_p_left, 8)
        y_sum += total(y_sum_lanes)
        y_data[u64(i)] = y_sum
    return ()
