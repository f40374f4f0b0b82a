"""Counters and address pipelines of a memory unit (PMU) by themselves.

Counters hold the state of loops; each is done when it comes to its end, and the one around it
moves on. A pipeline of integer units makes an address a cycle of them, of scalars that come from
other units (a sequence ID), and of its earlier results. Software parts the units of one PMU between
the addresses that are read and those that are written; a calculation that is longer goes on in
another PMU, whose scalars it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from rdu.errors import RDUError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counters:
    """Nested loops, outermost first: ``extents`` are their lengths.

    >>> Counters((2, 3)).values()[1].tolist()
    [0, 1, 2, 0, 1, 2]
    >>> Counters((2, 3)).done(2), Counters((2, 3)).done(5)
    ((1,), (0, 1))
    """

    extents: tuple[int, ...]

    @property
    def turns(self) -> int:
        """Cycles until the outermost counter is done."""
        return int(np.prod(self.extents, dtype=np.int64))

    def values(self) -> tuple[Ints, ...]:
        """Return the state of every counter in every cycle."""
        return np.unravel_index(np.arange(self.turns), self.extents)

    def done(self, turn: int) -> tuple[int, ...]:
        """Counters that send their event behind a turn: those at their maximum, inner ones too."""
        at = np.unravel_index(turn, self.extents)
        last = [int(n) == extent - 1 for n, extent in zip(at, self.extents, strict=True)]
        return tuple(n for n in range(len(last)) if all(last[n:]))


class Alu(Enum):
    """What one integer unit does with its operands a and b and a constant c."""

    ADD = "a + b + c"
    MULTIPLY = "a * c"
    EXTRACT = "bits c[0] .. c[0] + c[1] of a"
    SET = "b, with a in the bits from c on"
    SELECT = "a where the bit c of b is set, else -1"


@dataclass(frozen=True, slots=True)
class Operation:
    """One pipeline stage: ``result`` of the names ``a`` and ``b`` (none: 0) and a constant."""

    result: str
    alu: Alu
    a: str
    b: str = ""
    constant: int = 0
    width: int = 0

    def apply(self, known: Mapping[str, Ints]) -> Ints:
        """Compute the result for every cycle."""
        a = known[self.a]
        b = known[self.b] if self.b else np.zeros_like(a)
        match self.alu:
            case Alu.ADD:
                return a + b + self.constant
            case Alu.MULTIPLY:
                return a * self.constant
            case Alu.EXTRACT:
                return (a >> self.constant) & ((1 << self.width) - 1)
            case Alu.SET:
                return b | (a << self.constant)
            case Alu.SELECT:
                return np.where((b >> self.constant) & 1 > 0, a, -1)


@dataclass(frozen=True, slots=True)
class AddressPipeline:
    """Operations one behind the other; the last one's result is the address, -1 for none.

    Examples
    --------
    >>> row_major = AddressPipeline(
    ...     (Operation("t", Alu.MULTIPLY, "r", constant=8), Operation("at", Alu.ADD, "t", "c"))
    ... )
    >>> r, c = Counters((2, 2)).values()
    >>> row_major.addresses({"r": r, "c": c}).tolist(), row_major.cycles(4)
    ([0, 1, 8, 9], 5)
    """

    operations: tuple[Operation, ...]

    def addresses(self, scalars: Mapping[str, Ints]) -> Ints:
        """Return the address of every cycle; ``scalars`` are counters and what other units send.

        Raises
        ------
        RDUError
            If an operation takes a name that nothing before it gives.
        """
        known = dict(scalars)
        for operation in self.operations:
            for name in filter(None, (operation.a, operation.b)):
                if name not in known:
                    raise RDUError(
                        f"{operation.result} takes {name!r}, which no counter, scalar or stage "
                        f"before it gives; there are {', '.join(known)}"
                    )
            known[operation.result] = operation.apply(known)
        return known[self.operations[-1].result]

    def cycles(self, count: int, a_cycle: int = 1) -> int:
        """Cycles until the last of ``count`` addresses is there, so many of them ``a_cycle``."""
        return len(self.operations) + -(-count // a_cycle) - 1


def parted(stages: int, read: AddressPipeline, write: AddressPipeline) -> int:
    """Part the ``stages`` of one PMU between two pipelines; return those left over.

    Raises
    ------
    RDUError
        If they are too few; says how many stages another PMU has to take over.
    """
    left = stages - len(read.operations) - len(write.operations)
    if left < 0:
        raise RDUError(
            f"the addresses take {len(read.operations)} stages to read and "
            f"{len(write.operations)} to write, the unit has {stages}",
            hint=f"let another PMU compute {-left} of them and send its scalars",
        )
    return left


def spanning(pipelines: Sequence[AddressPipeline], hops: Sequence[int]) -> AddressPipeline:
    """Join calculations of several PMUs, ``hops`` cycles apart, into one with the same results."""
    joined: list[Operation] = []
    for n, pipeline in enumerate(pipelines):
        for _ in range(hops[n - 1] if n else 0):
            before = joined[-1].result
            joined.append(Operation(before, Alu.ADD, before))
        joined += pipeline.operations
    return AddressPipeline(tuple(joined))
