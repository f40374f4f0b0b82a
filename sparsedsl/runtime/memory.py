"""How much memory there is, and what a tensor would take of it.

Invariant: a system that promises memory it does not have ends the process that uses it, so
sizes are compared before anything is allocated.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sparsedsl.containers import granted_memory
from sparsedsl.errors import LayoutError
from sparsedsl.layouts.describe import storage_bytes
from sparsedsl.layouts.layout import Layout

UNBOUNDED = 2**46
"""Bytes that no machine has."""


@lru_cache(maxsize=1)
@functools.cache
def memory_bytes() -> int:
    """Return the memory that this process may have: the machine's, or its container's if less."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        machine = UNBOUNDED
    return min(machine, granted_memory() or UNBOUNDED)


def require_memory(layout: Layout, shape: Sequence[int], nnz: int, dtype: np.dtype) -> None:
    """Raise MemoryError where a tensor takes more memory than this process may have.

    Layouts whose size only their entries tell are let through: their arrays grow with those.
    """
    try:
        size = storage_bytes(layout, shape, nnz, dtype=dtype.name)
    except LayoutError:
        return
    if size > memory_bytes():
        raise MemoryError(f"{size} bytes")
