"""A memory unit (PMU) by itself: banks, address ranges, striping, unaligned vectors.

Words lie in banks; a bank serves one read and one write a cycle, so an access takes as many
cycles as its most wanted bank has words of it. Which bits of an address choose the bank is
programmable: with the low bits, neighbouring words lie in different banks; with a high bit
among them, the halves of a double buffer do, and never wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdu.errors import RDUError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Banking:
    """Address bits that choose the bank, lowest first; ``diagonal``: rows of ``2**row`` words are
    shifted by one bank each, so that rows and columns both touch all banks.

    >>> Banking((0, 1)).bank(np.arange(6)).tolist()
    [0, 1, 2, 3, 0, 1]
    >>> Banking((0, 1), diagonal=2).bank(np.array([0, 4, 8, 12])).tolist()
    [0, 1, 2, 3]
    """

    bits: tuple[int, ...]
    diagonal: int | None = None

    @property
    def banks(self) -> int:
        """How many banks there are."""
        return 1 << len(self.bits)

    def bank(self, addresses: Ints) -> Ints:
        """Return the bank of each address."""
        found = np.zeros_like(addresses)
        for n, bit in enumerate(self.bits):
            found |= ((addresses >> bit) & 1) << n
        if self.diagonal is not None:
            found = (found + (addresses >> self.diagonal)) % self.banks
        return found

    def cycles(self, addresses: Ints) -> int:
        """Cycles one vector access takes: the most words that lie in one bank."""
        if not len(addresses):
            return 0
        return int(np.bincount(self.bank(addresses), minlength=self.banks).max())


class Scratchpad:
    """Words of one PMU that holds the addresses ``low .. low + size`` of a logical tensor.

    A tensor larger than a PMU lies in several; each gets every access and drops the addresses
    outside its own range (or, with ``mask``, those whose predicate bit is not set).

    Examples
    --------
    >>> pad = Scratchpad(16, Banking((0, 1)))
    >>> pad.write(np.arange(4), np.float32([5, 6, 7, 8]))
    1
    >>> values, cycles = pad.read(np.array([1, 5, 9]))
    >>> float(values[0]), cycles
    (6.0, 3)
    """

    def __init__(self, size: int, banking: Banking, low: int = 0) -> None:
        if size < 1:
            raise RDUError(f"a scratchpad needs at least one word, found {size}")
        self.size = size
        self.banking = banking
        self.low = low
        self.words = np.zeros(size, dtype=np.float32)
        self.conflicts = 0

    def write(
        self,
        addresses: Ints,
        values: npt.NDArray[np.float32],
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> int:
        """Write one vector and return its cycles; words of other ranges are dropped."""
        mine = self._mine(addresses, mask)
        local = addresses[mine] - self.low
        self.words[local] = values[mine]
        return self._spent(local)

    def read(
        self, addresses: Ints, mask: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.float32], int]:
        """Read one vector; words of other ranges are 0, for another PMU to fill in."""
        mine = self._mine(addresses, mask)
        local = addresses[mine] - self.low
        found = np.zeros(len(addresses), dtype=np.float32)
        found[mine] = self.words[local]
        return found, self._spent(local)

    def together(self, reads: Ints, writes: Ints) -> int:
        """Cycles of a read and a write in the same cycle when a bank has one port for both."""
        return self._spent(np.concatenate([reads, writes]) - self.low)

    def _mine(self, addresses: Ints, mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        inside = (addresses >= self.low) & (addresses < self.low + self.size)
        return inside if mask is None else inside & mask

    def _spent(self, local: Ints) -> int:
        cycles = self.banking.cycles(local)
        self.conflicts += max(cycles - 1, 0)
        return cycles


def transpose(pad: Scratchpad, rows: int, columns: int, vector: int) -> tuple[Ints, int]:
    """Write a ``rows x columns`` tile by rows, read it by columns; values and read cycles.

    The tile holds 0, 1, 2, ... in row-major order; vectors have ``vector`` words.
    """
    for r in range(rows):
        for c in range(0, columns, vector):
            at = r * columns + np.arange(c, min(c + vector, columns))
            pad.write(at, at.astype(np.float32))
    found: list[Ints] = []
    spent = 0
    for c in range(columns):
        for r in range(0, rows, vector):
            at = np.arange(r, min(r + vector, rows)) * columns + c
            values, cycles = pad.read(at)
            found.append(values.astype(np.int64))
            spent += cycles
    return np.concatenate(found), spent


def filled(pads: Sequence[Scratchpad], addresses: Ints) -> npt.NDArray[np.float32]:
    """Read one vector from a tensor spread over several PMUs by address range."""
    total = np.zeros(len(addresses), dtype=np.float32)
    for pad in pads:
        total += pad.read(addresses)[0]
    return total
