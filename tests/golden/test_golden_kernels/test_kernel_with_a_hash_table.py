import numpy as np
from numba import njit
from numpy import int32 as i32
from numpy import int64 as i64
from numpy import uint64 as u64


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def kernel(A_indptr, A_indices, B_indptr, A_data, B_data, B_indices, C_indices, C_indptr, C_data, n_i, n_j, i_begin, i_end, C_from, C_until, C_counted):
    """C[i, j] = sum(k, A[i, k] * B[k, j])
    A: csr
    B: csr
    finds: none needed
    proofs: 6 of 6 goals
    bounds: 8 of 8 subscripts
    """
    C_n1 = C_from
    C_room = C_counted
    if C_room == 0:
        for A_p in range(i64(A_indptr[u64(i_begin)]), i64(A_indptr[u64(i_end)])):
            k = i64(A_indices[u64(A_p)])
            C_room += max(B_indptr[u64(k + 1)] - B_indptr[u64(k)], 0)
    if C_room <= C_until - C_from:
        # hash table: a slot holds a place in the list of touched coordinates
        C_entries = 32
        while C_entries <= min(n_j, len(B_indices)):
            C_entries *= 2
        C_slots = np.empty(C_entries * 2, np.int64)
        C_sums = np.empty(C_entries, np.float64)
        C_touched = np.empty(C_entries, np.int64)
        C_order = np.empty(C_entries, np.int64)
        C_moved = np.empty(C_entries, np.int64)
        C_digits = np.empty(257, np.int64)
        C_mask = 63
        for C_slot in range(C_mask + 1):
            C_slots[u64(C_slot)] = -1
        C_end = 0
        for i in range(i_begin, i_end):
            for A_p in range(i64(A_indptr[u64(i)]), i64(A_indptr[u64(i + 1)])):
                A_v = A_data[u64(A_p)]
                k = i64(A_indices[u64(A_p)])
                for B_p in range(i64(B_indptr[u64(k)]), i64(B_indptr[u64(k + 1)])):
                    B_v = B_data[u64(B_p)]
                    j = i64(B_indices[u64(B_p)])
                    C_slot = (j * -7046029254386353131 ^ j * -7046029254386353131 >> 32) & C_mask
                    C_place = C_slots[u64(C_slot)]
                    while C_place >= 0 and C_touched[u64(C_place)] != j:
                        C_slot = C_slot + 1 & C_mask
                        C_place = C_slots[u64(C_slot)]
                    if C_place < 0:
                        C_place = C_end
                        C_slots[u64(C_slot)] = C_end
                        C_touched[u64(C_end)] = j
                        C_sums[u64(C_end)] = 0.0
                        C_end += 1
                        if C_end * 2 > C_mask:
                            C_mask = C_mask * 2 + 1
                            for C_slot in range(C_mask + 1):
                                C_slots[u64(C_slot)] = -1
                            for C_again in range(C_end):
                                C_slot = (C_touched[u64(C_again)] * -7046029254386353131 ^ C_touched[u64(C_again)] * -7046029254386353131 >> 32) & C_mask
                                C_other = C_slots[u64(C_slot)]
                                while C_other >= 0:
                                    C_slot = C_slot + 1 & C_mask
                                    C_other = C_slots[u64(C_slot)]
                                C_slots[u64(C_slot)] = C_again
                    C_sums[u64(C_place)] += A_v * B_v
            if C_end > 0:
                if C_end <= 48:
                    for C_again in range(C_end):
                        C_at = C_touched[u64(C_again)]
                        C_to = C_again
                        while C_to > 0 and C_touched[u64(C_order[u64(C_to - 1)])] > C_at:
                            C_order[u64(C_to)] = C_order[u64(C_to - 1)]
                            C_to -= 1
                        C_order[u64(C_to)] = C_again
                else:
                    C_seen = 0
                    for C_again in range(C_end):
                        C_order[u64(C_again)] = C_again
                        C_seen |= C_touched[u64(C_again)]
                    C_shift = 0
                    while C_shift < 64 and C_seen >> C_shift > 0:
                        for C_digit in range(len(C_digits)):
                            C_digits[u64(C_digit)] = 0
                        for C_again in range(C_end):
                            C_place = C_order[u64(C_again)]
                            C_digit = C_touched[u64(C_place)] >> C_shift & 255
                            C_digits[u64(C_digit + 1)] += 1
                        for C_digit in range(256):
                            C_digits[u64(C_digit + 1)] += C_digits[u64(C_digit)]
                        for C_again in range(C_end):
                            C_place = C_order[u64(C_again)]
                            C_digit = C_touched[u64(C_place)] >> C_shift & 255
                            C_moved[u64(C_digits[u64(C_digit)])] = C_place
                            C_digits[u64(C_digit)] += 1
                        for C_digit in range(len(C_digits)):
                            C_digits[u64(C_digit)] = 0
                        for C_again in range(C_end):
                            C_place = C_moved[u64(C_again)]
                            C_digit = C_touched[u64(C_place)] >> C_shift + 8 & 255
                            C_digits[u64(C_digit + 1)] += 1
                        for C_digit in range(256):
                            C_digits[u64(C_digit + 1)] += C_digits[u64(C_digit)]
                        for C_again in range(C_end):
                            C_place = C_moved[u64(C_again)]
                            C_digit = C_touched[u64(C_place)] >> C_shift + 8 & 255
                            C_order[u64(C_digits[u64(C_digit)])] = C_place
                            C_digits[u64(C_digit)] += 1
                        C_shift += 16
                for C_next in range(C_end):
                    C_place = C_order[u64(C_next)]
                    C_at = C_touched[u64(C_place)]
                    C_value = C_sums[u64(C_place)]
                    C_indices[u64(C_n1)] = i32(C_at)
                    C_data[u64(C_n1)] = C_value
                    C_n1 += i64(C_value != 0.0)
                for C_slot in range(C_mask + 1):
                    C_slots[u64(C_slot)] = -1
                while C_mask > 63 and C_end * 8 < C_mask:
                    C_mask >>= 1
                C_end = 0
            C_indptr[u64(i + 1)] = i32(C_n1)
    return (C_room, C_n1)
