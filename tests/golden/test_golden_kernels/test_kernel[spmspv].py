import numpy as np
from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(X_crd0, A_indptr, A_data, A_indices, X_data, y_data, X_NNZ0, n_j, i_begin, i_end):
    """y[i] = sum(j, A[i, j] * X[j])
    A: csr
    X: csf
    finds: X_p0 by table
    proofs: 8 of 9 goals
    """
    X_p0_table = np.empty(n_j, np.int64)
    for X_p0_table_place in range(len(X_p0_table)):
        X_p0_table[u64(X_p0_table_place)] = -1
    X_p0_hi = X_NNZ0
    for X_p0_entry in range(X_p0_hi):
        X_p0_table[u64(X_crd0[u64(X_p0_entry)])] = X_p0_entry
    for i in range(i_begin, i_end):
        y_sum = 0.0
        for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
            A_v = A_data[u64(A_p)]
            j = i64(A_indices[u64(A_p)])
            X_p0 = X_p0_table[u64(j)]
            if 0 <= X_p0 and X_p0 < X_p0_hi:
                X_v = X_data[u64(X_p0)]
                y_sum += A_v * X_v
        y_data[u64(i)] = y_sum
    return ()
