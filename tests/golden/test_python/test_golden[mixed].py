import math

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy import float32 as f32
from numpy import uint64 as u64

from sparsedsl.codegen.straight import exponential


@register_jitable
def float_floordiv(a, b):
    rest = np.fmod(a, b)
    if b == 0.0:
        return a / b
    quotient = (a - rest) / b
    if rest != 0.0 and (b < 0.0) != (rest < 0.0):
        quotient = quotient - 1.0
    if quotient == 0.0:
        return math.copysign(0.0, a / b)
    whole = np.floor(quotient)
    return whole + 1.0 if quotient - whole > 0.5 else whole


@njit(cache=True, nogil=True, error_model="numpy")
def mixed(np_, scale, len_):
    scale = f32(scale)
    flags = np.empty(len_, np.bool_)
    for flags_place in range(len(flags)):
        flags[u64(flags_place)] = False
    low = np.empty((len_, 2), np.float32)
    for low_place0 in range(len(low)):
        for low_place1 in range(low.shape[1]):
            low[u64(low_place0), u64(low_place1)] = f32(np.inf)
    for range_ in range(0, len_, 2):
        u64_ = np_[1, range_]
        if range_ < 3 and u64_ > f32(0.0):
            low[u64(range_), 0] = np.minimum(low[u64(range_), 0], np.minimum(f32(1) / (f32(1) + exponential(-u64_ * scale)), f32(0.5)))
            flags[u64(range_)] |= True
        elif range_ == 5:
            break
        else:
            low[u64(range_), 1] = f32(float_floordiv(u64_, f32(0.5)))
    return (low, flags)
