"""Memory of large results, used again once nothing refers to it.

Takes: a shape and a dtype.  Gives: an array of anything, as ``numpy.empty`` does.  Invariant: the
memory of an array is handed out again after the last array that lies in it is gone, not before.

Pages that a process has not touched are cleared by the system first: of a sum of two matrices that
takes a third of the time or more, and threads do not share it well.  C's allocator keeps what is
less, but only once it was given back as much as it may keep (``keep_less``).
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count as numbers
from typing import Any

import numpy as np

from sparsedsl.runtime.memory import memory_bytes

LEAST = 1 << 22
"""Bytes from which memory of an array is kept."""

LONGEST = 16
"""Bytes of the longest element."""

MOST = 1 << 28
"""Most bytes that are kept while no array lies in them, and a sixteenth of the machine's."""

KEPT = (1 << 25) - (1 << 16)
"""Bytes that glibc's allocator may keep, less what it adds to a request."""

PAGES = 1 << 21
"""Bytes to a multiple of which memory is taken: a large page."""

_PRIVATE = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)

_NAMES = getattr(os, "confstr_names", ())

DENSE = KEPT if "CS_GNU_LIBC_VERSION" in _NAMES and os.confstr("CS_GNU_LIBC_VERSION") else LEAST - 1
"""Bytes of a dense result beyond which its memory is kept here.

Where C's allocator keeps it, it lies in what was given back last, by whatever that was: caches hold
this still, where they do not hold memory in which such results alone lie.
"""

AVAILABLE = hasattr(mmap, "MADV_DONTNEED") and _PRIVATE != 0
"""Whether the system lets memory be taken and given back in this way."""


@dataclass(slots=True)
class _Memory:
    """Pages; only the first ``used`` bytes may have been written to since they were given back.

    ``turn`` grows from one time that memory is handed out to the next.
    """

    pages: mmap.mmap
    used: int = 0
    turn: int = 0

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.pages)


_kept: dict[int, _Memory] = {}
"""Memory that no array lies in, the first given back first."""


_turns = numbers(1)
"""Numbers the times that memory is handed out."""


class _Block(np.ndarray[Any, Any]):
    """All of a piece of memory.  The array handed out refers to it, and so do views of that."""

    memory: _Memory | None

    def __array_finalize__(self, of: Any) -> None:
        self.memory = None  # a view of a block is none

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # as a process ends, names of modules are gone
        if self.memory is not None and not ending():
            _keep(self.memory)


def empty(shape: int | tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of anything, in memory that was used before if there is some.

    >>> empty((2, 3), np.dtype("float32")).shape
    (2, 3)
    """
    count = shape if isinstance(shape, int) else math.prod(shape)
    # small calls come here: no element is longer
    if count < LEAST // LONGEST or (size := count * dtype.itemsize) < LEAST or not AVAILABLE:
        return np.empty(shape, dtype)
    return _within(_used(size) or _new(size), shape, dtype)


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros, in memory that was used before if there is some.

    >>> zeros((2, 3), np.dtype("int8"))
    array([[0, 0, 0],
           [0, 0, 0]], dtype=int8)
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= DENSE or not AVAILABLE:
        return np.zeros(shape, dtype)
    memory = _used(size)
    if memory is None:
        return _within(_new(size), shape, dtype)
    written = min(size, memory.used)
    array = _within(memory, shape, dtype)
    array.reshape(-1).view(np.uint8)[:written] = 0
    return array


def maker(
    shape: int | tuple[int, ...], dtype: np.dtype, *, zero: bool = False
) -> Callable[[Any, np.dtype], np.ndarray]:
    """Return the least that makes a dense array of anything, or of zeros, of this shape."""
    count = shape if isinstance(shape, int) else math.prod(shape)
    if count * dtype.itemsize > DENSE:
        return zeros if zero else empty
    return np.zeros if zero else np.empty


def part_maker(length: int, dtype: np.dtype) -> Callable[[Any, np.dtype], np.ndarray]:
    """Return the least that makes an array of a sparse result, which may be ``shortened``."""
    return empty if length * dtype.itemsize >= LEAST else np.empty


@functools.cache
def keep_less() -> None:
    """Have C's allocator keep memory that a kernel gives back, for its next call.

    In a process that never gave back much at once, glibc returns what is free at the end of its
    memory to the system, so that a kernel with a table of 512 KiB waits for all pages at each call:
    four times as long as it runs.  What it keeps follows the largest piece it was given back.
    """
    np.empty(KEPT, np.uint8)  # untouched, it takes no memory


def release() -> None:
    """Give what is kept back to the system."""
    _kept.clear()


def _within(memory: _Memory, shape: int | tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array at the start of memory, which is kept when nothing refers to it."""
    # the base of the block is no array, so that NumPy lets arrays in it refer to the block itself
    block = _Block(memory.size, np.uint8, memory.pages)
    block.memory, memory.used, memory.turn = memory, memory.size, next(_turns)
    return np.ndarray(shape, dtype, block)


def shortened(array: np.ndarray, count: int) -> np.ndarray:
    """Return the first ``count`` elements of an array of one axis; the rest takes no memory."""
    block = array.base
    if isinstance(block, _Block) and block.memory is not None:
        used = -(-count * array.itemsize // PAGES) * PAGES
        if used < block.memory.used:
            block.memory.pages.madvise(mmap.MADV_DONTNEED, used)
            block.memory.used = used
    return array[:count]


def _used(size: int) -> _Memory | None:
    """Take memory of at least ``size`` bytes, and not much more, from what is kept."""
    fitting = [m for m in list(_kept.values()) if size <= m.size <= 2 * size]
    # what asks for several in turn fills each as far as it did before
    for memory in sorted(fitting, key=lambda m: (m.size, m.turn)):
        if _kept.pop(id(memory), None) is not None:
            return memory
    return None


def _new(size: int) -> _Memory:
    """Return new memory of at least ``size`` bytes."""
    # what is kept is of other sizes: it would be there beside what is new
    release()
    pages = mmap.mmap(-1, -(-size // PAGES) * PAGES, flags=_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return _Memory(pages)


def _keep(memory: _Memory) -> None:
    """Keep memory that no array lies in, and give back the oldest where that is too much."""
    most = min(MOST, memory_bytes() // 16)
    if memory.used > most:
        return
    _kept[id(memory)] = memory
    for oldest in list(_kept):
        if sum(m.used for m in list(_kept.values())) <= most:
            break
        _kept.pop(oldest, None)
