"""Scalar functions of a user's own that random kernels call."""

import numba
import numpy as np

import sparsedsl as sd


@sd.function
@numba.njit
def shrink(x):
    """Zero stays zero."""
    return np.sign(x) * max(abs(x) - 1.0, 0.0)


@sd.function
@numba.njit
def shifted(x):
    """Zero becomes another value."""
    return x * 0.5 + 1.0


@sd.function(zeros=(0,))
@numba.njit
def gate(x, y):
    """Zero where the first argument is, whatever the other."""
    if x == 0 or y < 0:
        return 0.0
    return x * 2.0


@sd.function
@numba.njit
def furthest(x, y):
    """The argument that is further from zero; zero where both are."""
    return x if abs(x) >= abs(y) else y * 1.0
