import numpy as np
from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import part, part_through, total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(X_crd0, X_data, A_indptr, A_indices, A_data, y_data, X_NNZ0, n_j, i_begin, i_end):
    """y[i] = sum(j, A[i, j] * X[j])
    A: csr
    X: csf
    finds: X_p0 by spread
    proofs: 7 of 8 goals
    bounds: 7 of 7 subscripts
    """
    X_p0_values = np.empty(n_j, np.float64)
    for X_p0_values_place in range(len(X_p0_values)):
        X_p0_values[u64(X_p0_values_place)] = 0.0
    X_p0_hi = X_NNZ0
    for X_p0_entry in range(X_p0_hi):
        X_p0_values[u64(X_crd0[u64(X_p0_entry)])] = X_data[u64(X_p0_entry)]
    for i in range(i_begin, i_end):
        y_sum = 0.0
        A_p_first = i64(A_indptr[u64(i)])
        A_p_past = i64(A_indptr[u64(i + 1)])
        A_p_left = A_p_past - A_p_first
        y_sum_lanes = part(A_data, u64(A_p_first), A_p_left, 8) * part_through(X_p0_values, A_indices, u64(A_p_first), A_p_left, 8)
        for A_p in range(A_p_first + 8, A_p_past, 8):
            A_p_left = A_p_past - A_p
            y_sum_lanes = y_sum_lanes + part(A_data, u64(A_p), A_p_left, 8) * part_through(X_p0_values, A_indices, u64(A_p), A_p_left, 8)
        y_sum += total(y_sum_lanes)
        y_data[u64(i)] = y_sum
    return ()
