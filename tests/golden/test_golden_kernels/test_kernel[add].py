import numpy as np
from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint64 as u64

from sparsedsl.codegen.intrinsics import chosen


@njit(cache=True, nogil=True, error_model="numpy")
def kernel(A_indptr, B_indptr, A_indices, B_indices, A_data, B_data, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, A_guessed, C_from, C_until):
    """C[i, j] = A[i, j]; C[i, j] += B[i, j]
    A: csr
    B: csr
    finds: none needed
    proofs: 7 of 7 goals
    bounds: 8 of 8 subscripts
    """
    C_n1 = C_from
    C_room = 0
    A_words = np.empty(64, np.int64)
    for A_words_place in range(len(A_words)):
        A_words[u64(A_words_place)] = 0
    A_guess = A_guessed
    A_streak = 0
    A_word = 0
    for i in range(i_begin, i_end):
        C_room += max(A_indptr[u64(i + 1)] - A_indptr[u64(i)], 0)
        C_room += max(B_indptr[u64(i + 1)] - B_indptr[u64(i)], 0)
        if C_room <= C_until - C_from:
            A_p = i64(A_indptr[u64(i)])
            A_p_hi = i64(A_indptr[u64(i + 1)])
            B_p = i64(B_indptr[u64(i)])
            B_p_hi = i64(B_indptr[u64(i + 1)])
            if A_guess <= 0 and A_p_hi < len(A_indices) and B_p_hi < len(B_indices):
                if A_p < A_p_hi and B_p < B_p_hi:
                    A_key = i64(A_indices[u64(A_p)])
                    B_key = i64(B_indices[u64(B_p)])
                    while A_p < A_p_hi and B_p < B_p_hi:
                        A_next = i64(A_indices[u64(A_p + 1)])
                        B_next = i64(B_indices[u64(B_p + 1)])
                        j = min(A_key, B_key)
                        A_hit = A_key <= B_key
                        B_hit = B_key <= A_key
                        A_word = A_word << 2 | i64(A_hit) | i64(B_hit) << 1
                        A_v = chosen(A_hit, A_data[u64(A_p)], 0.0)
                        B_v = chosen(B_hit, B_data[u64(B_p)], 0.0)
                        C_value = A_v + B_v
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += i64(C_value != 0.0)
                        A_key = chosen(A_hit, A_next, A_key)
                        A_p += i64(A_hit)
                        B_key = chosen(B_hit, B_next, B_key)
                        B_p += i64(B_hit)
                    A_word &= 16777215
                    A_word_seen = A_words[u64(A_word * 2654435761 >> 26 & 63)] == A_word
                    A_words[u64(A_word * 2654435761 >> 26 & 63)] = A_word
                    A_streak = min(A_streak + 1, 8) if A_word_seen else 0
                    A_guess = (1 << A_streak) - 1
            else:
                A_guess -= 1
                while A_p < A_p_hi and B_p < B_p_hi:
                    A_key = i64(A_indices[u64(A_p)])
                    B_key = i64(B_indices[u64(B_p)])
                    if A_key == B_key:
                        j = A_key
                        A_v = A_data[u64(A_p)]
                        B_v = B_data[u64(B_p)]
                        C_value = A_v + B_v
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += i64(C_value != 0.0)
                        A_p += 1
                        B_p += 1
                    elif A_key < B_key:
                        j = A_key
                        A_v = A_data[u64(A_p)]
                        C_value = A_v + 0.0
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += i64(C_value != 0.0)
                        A_p += 1
                    else:
                        j = B_key
                        B_v = B_data[u64(B_p)]
                        C_value = 0.0 + B_v
                        C_indices[u64(C_n1)] = i32(j)
                        C_data[u64(C_n1)] = C_value
                        C_n1 += i64(C_value != 0.0)
                        B_p += 1
            while A_p < A_p_hi:
                j = i64(A_indices[u64(A_p)])
                A_v = A_data[u64(A_p)]
                C_value = A_v + 0.0
                C_indices[u64(C_n1)] = i32(j)
                C_data[u64(C_n1)] = C_value
                C_n1 += i64(C_value != 0.0)
                A_p += 1
            while B_p < B_p_hi:
                j = i64(B_indices[u64(B_p)])
                B_v = B_data[u64(B_p)]
                C_value = 0.0 + B_v
                C_indices[u64(C_n1)] = i32(j)
                C_data[u64(C_n1)] = C_value
                C_n1 += i64(C_value != 0.0)
                B_p += 1
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
