"""Types of several values at once: neighbouring elements along an array's last axis.

A vector type is written ``"float64*8"``; its elements fill registers, or half of one.  A ``Load``
of such a type takes as many elements from its subscripts on, a ``Store`` of such a value writes
them, ``add``, ``sub``, ``mul``, ``maximum`` and ``minimum`` work on each float by itself, and a
``Cast`` of a scalar gives it to all.  Where either float is NaN, ``maximum`` and ``minimum`` of
vectors give the left one, whatever it is.  Vectors of indices are loaded, stored and compared only.
"""

from __future__ import annotations

import numpy as np

BYTES = 64
"""Bytes of a register: the widest there is, and a cache line."""

DTYPES = frozenset({"float32", "float64", "int32", "int64"})
"""What vectors may hold."""

ARITHMETIC = frozenset({"add", "sub", "mul"})
"""The elementwise operators of vectors whose operands are computed in vectors, too."""

OPERATORS = ARITHMETIC | {"maximum", "minimum"}
"""The elementwise operators that vectors have."""

FOLDS = {"total": "add", "largest": "maximum", "smallest": "minimum"}
"""What makes one value of a vector: its halves are combined until one element is left."""


def vector(dtype: str, registers: float = 1) -> str:
    """Return the type of a vector that fills so many registers.

    >>> vector("float64"), vector("float32", 4), vector("float64", 0.5)
    ('float64*8', 'float32*64', 'float64*4')
    """
    return f"{dtype}*{int(registers * BYTES) // np.dtype(dtype).itemsize}"


def is_vector(type: str) -> bool:
    """Return whether a type is that of a vector of whole registers, or halves.

    >>> is_vector("float64*4"), is_vector("float64*2"), is_vector("int64*8"), is_vector("bool*64")
    (True, False, True, False)
    """
    dtype, count = element(type), lanes(type)
    return dtype in DTYPES and count > 1 and count % lanes(vector(dtype, 0.5)) == 0


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
