"""How much memory there is, and what a tensor would take of it.

Invariant: a system that promises memory it does not have ends the process that uses it, so
sizes are compared before anything is allocated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.describe import storage_bytes
from sparsedsl.layouts.layout import Layout

UNBOUNDED = 2**46
"""Bytes that no machine has."""


@lru_cache(maxsize=1)
def memory_bytes() -> int:
    """Return the memory that this process may have: the machine's, or its container's if less."""
    return min(_physical(), granted(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return UNBOUNDED


def granted(groups: Path, root: Path) -> int:
    """Return the least limit of the control groups of a process, ``UNBOUNDED`` if there is none.

    ``groups`` is the file that lists them, ``root`` where they are mounted, as Linux has it: in
    either version of the interface, the limit of a group holds for the groups below it too.
    """
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return UNBOUNDED
    least = UNBOUNDED
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            top, name = root / "memory", "memory.limit_in_bytes"
        elif not controllers:
            top, name = root, "memory.max"
        else:
            continue
        folder = top / path.lstrip("/")
        while top in (folder, *folder.parents):
            least = min(least, _limit(folder / name))
            folder = folder.parent
    return least


def _limit(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group seen from a container, or "max"
        return UNBOUNDED


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
