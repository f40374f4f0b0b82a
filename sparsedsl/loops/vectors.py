"""Types of several values at once: neighbouring elements along an array's last axis.

A vector type is written ``"float64*8"``.  A ``Load`` of such a type takes as many elements from
its subscripts on, a ``Store`` of such a value writes them, ``add``, ``sub`` and ``mul`` work on
each element by itself, and a ``Cast`` of a scalar gives it to all.
"""

from __future__ import annotations

import numpy as np

BYTES = 64
"""Bytes of a vector: a cache line, and the widest register there is."""

OPERATORS = frozenset({"add", "sub", "mul"})
"""The elementwise operators that vectors have."""


def vector(dtype: str) -> str:
    """Return the vector type of a float dtype.

    >>> vector("float64"), vector("float32")
    ('float64*8', 'float32*16')
    """
    return f"{dtype}*{BYTES // np.dtype(dtype).itemsize}"


def element(type: str) -> str:
    """Return the type of one element; other types are their own.

    >>> element("float64*8"), element("int")
    ('float64', 'int')
    """
    return type.partition("*")[0]


def lanes(type: str) -> int:
    """Return the number of elements; 1 for types that are no vectors.

    >>> lanes("float64*8"), lanes("int")
    (8, 1)
    """
    return int(type.partition("*")[2] or 1)
