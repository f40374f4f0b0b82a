"""Requests to memory: vectors that the address generators ask for, merged burst by burst.

Memory is read and written in whole bursts. An address generator (AGCU) asks for one vector of a
contiguous run after the other; a request whose burst is among those of the last few requests
joins it and moves nothing (coalescing). A tile of whole aligned rows moves its bytes; one of short
strided rows moves bursts that are mostly waste.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdu.specs import Chip

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Access:
    """What a tile asks of memory: ``bytes`` in ``requests``, and the ``moved`` bytes of bursts.

    ``merged`` counts requests of a burst that joined an earlier one.
    """

    bytes: int
    requests: int
    merged: int
    moved: int


UNTOUCHED = Access(0, 0, 0, 0)


def whole(size: int) -> Access:
    """Return the access of ``size`` bytes that do not come from memory."""
    return Access(size, 1, 0, size)


def access(chip: Chip, starts: Ints, length: int) -> Access:
    """Ask for the runs of ``length`` bytes at ``starts``, in this order.

    >>> from rdu.specs import sn40l_node
    >>> chip = sn40l_node().chip
    >>> access(chip, np.arange(4) * 16, 16)
    Access(bytes=64, requests=4, merged=3, moved=64)
    >>> access(chip.with_changes(coalesce_requests=0), np.arange(4) * 16, 16)
    Access(bytes=64, requests=4, merged=0, moved=256)
    """
    size = chip.burst_bytes
    vector = chip.pmu_port_bytes_per_cycle
    pieces = -(-length // vector)
    offsets = np.arange(pieces) * vector
    begins = (starts[:, None] + offsets).reshape(-1)
    ends = (starts[:, None] + np.minimum(offsets + vector, length)).reshape(-1)
    first = begins // size
    count = (ends - 1) // size - first + 1
    request = np.repeat(np.arange(len(begins)), count)
    inside = np.arange(len(request)) - np.repeat(np.cumsum(count) - count, count)
    burst = first[request] + inside
    # Requests of one burst stand together, in the order in which they are made.
    order = np.argsort(burst, kind="stable")
    again = burst[order][1:] == burst[order][:-1]
    near = np.diff(request[order]) <= chip.coalesce_requests
    merged = int(np.sum(again & near))
    return Access(len(starts) * length, len(begins), merged, (len(burst) - merged) * size)


def contiguous(chip: Chip, start: int, length: int) -> Access:
    """Ask for ``length`` bytes that lie together."""
    return box(chip, start, (), (), length)


@functools.lru_cache(maxsize=4096)
def _box(
    chip: Chip, start: int, counts: tuple[int, ...], strides: tuple[int, ...], length: int
) -> Access:
    starts = np.full(1, start, dtype=np.int64)
    for count, stride in zip(counts, strides, strict=True):
        starts = (starts[:, None] + np.arange(count) * stride).reshape(-1)
    return access(chip, starts, length)


def box(
    chip: Chip, start: int, counts: Sequence[int], strides: Sequence[int], length: int
) -> Access:
    """Ask for a box of runs, the last of ``counts`` fastest."""
    size, vector = chip.burst_bytes, chip.pmu_port_bytes_per_cycle
    runs = math.prod(counts)
    if not any(x % size for x in (start, length, *strides)) and vector % size == 0:
        # Whole bursts, each asked for once.
        return Access(runs * length, runs * -(-length // vector), 0, runs * length)
    return _box(chip, start % size, tuple(counts), tuple(strides), length)


def tile_access(
    chip: Chip, shape: Sequence[int], element_bytes: int, place: Sequence[slice]
) -> Access:
    """Ask for a tile of a tensor that lies row by row.

    >>> from rdu.specs import sn40l_node
    >>> column = (slice(0, 32), slice(8, 16))
    >>> tile_access(sn40l_node().chip, (32, 1024), 2, column)
    Access(bytes=512, requests=32, merged=0, moved=2048)
    """
    strides = [element_bytes] * len(shape)
    for mode in range(len(shape) - 2, -1, -1):
        strides[mode] = strides[mode + 1] * shape[mode + 1]
    sizes = [part.stop - part.start for part in place]
    start = sum(part.start * stride for part, stride in zip(place, strides, strict=True))
    inner, length = len(shape), element_bytes
    while inner and strides[inner - 1] == length:
        inner -= 1
        length *= sizes[inner]
    return box(chip, start, sizes[:inner], strides[:inner], length)
