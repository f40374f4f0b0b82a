from numba import njit
from numpy import int64 as i64
from numpy import uint64 as u64


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def spmv(A_indptr, A_indices, A_data, x, y, N):
    """y[i] = sum(k, A[i, k] * x[k])

    scanned: A; x: determined
    """
    for i in range(N):
        if A_indptr[u64(i)] < A_indptr[u64(i + 1)]:
            y_sum = y[u64(i)]
            for p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                j = i64(A_indices[u64(p)])
                y_sum += A_data[u64(p)] * x[u64(j)]
            y[u64(i)] = y_sum
    return (y,)
