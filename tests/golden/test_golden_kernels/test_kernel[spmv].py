from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64


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
        for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
            A_v = A_data[u64(A_p)]
            j = i64(A_indices[u64(A_p)])
            x_v = x_data[u64(j)]
            y_sum += A_v * x_v
        y_data[u64(i)] = y_sum
    return ()
