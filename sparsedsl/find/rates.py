"""What the time of a kernel is made of: how often each thing happens, and how long one takes.

Takes: counts by cause.  Gives: nanoseconds.  Invariant: every rate is positive, so that more of
anything costs more.

The rates are times of one core of an AMD EPYC with AVX-512, fitted to 242 kernels and operands: all
of ``bench/report.md`` but those on several matrices in turn, and everyday operations on 1,000 to 5
million entries, whose times were taken while memory was slower, and divided by 1.5.  None was held
back.  A branch or a line is counted only where a processor does not foresee it: what a core does at
the same time as something longer is left out, so that rates are below latencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsedsl.find.costs import LEARNED

LINE = 64.0
"""Bytes of a cache line."""

LANES = 8.0
"""Elements of a vector."""

FIRST, SECOND, THIRD = 2.0**15, 2.0**19, 2.0**24
"""Bytes that stay in each cache beside what else a kernel reads."""


@dataclass(frozen=True, slots=True)
class Cause:
    """``kind`` is what users are told, ``rate`` are the nanoseconds of one."""

    kind: str
    rate: float


CALL, LOOPS, MEMORY, BRANCHES = "the call", "loops", "memory", "branches"
SEARCHES, DELIVERY, COPIES = "searches", "delivery", "copies"

CAUSES = {
    # finding the kernel and allocating a dense result; making a sparse one of what was assembled;
    # looking whether copies of operands are right
    "call": Cause(CALL, 1900.0),
    "assembled": Cause(CALL, 1200.0),
    "kept": Cause(CALL, 1.3e4),
    # a loop that begins; a sum in vectors that ends; a turn of an outer loop, of the innermost
    # one, and of one in vectors; an operator, and one that takes tens of instructions
    "begin": Cause(LOOPS, 0.88),
    "fold": Cause(LOOPS, 0.24),
    "outer": Cause(LOOPS, 0.055),
    "turn": Cause(LOOPS, 0.075),
    "vector": Cause(LOOPS, 0.14),
    "operator": Cause(LOOPS, 0.0083),
    "slow operator": Cause(LOOPS, 1.5),
    # a branch guessed wrongly; a condition, and an operand that may store nothing here
    "mistaken": Cause(BRANCHES, 3.2),
    "guard": Cause(BRANCHES, 0.11),
    "probe": Cause(BRANCHES, 0.48),
    # an element read where an index array says; a line that streams from beyond a cache, in
    # addition to what it costs from the one before, and one that is anywhere beyond it
    "gather": Cause(MEMORY, 0.011),
    "line beyond first": Cause(MEMORY, 0.27),
    "line beyond second": Cause(MEMORY, 0.088),
    "line beyond third": Cause(MEMORY, 0.73),
    "far beyond first": Cause(MEMORY, 0.26),
    "far beyond second": Cause(MEMORY, 0.72),
    "far beyond third": Cause(MEMORY, 15.0),
    # what ``find.costs`` says of searches
    "finds": Cause(SEARCHES, 1.0),
    # an element of a dense result that is added to, and one that was added to right before; an
    # entry appended, and one of a merge; one gathered in a workspace, put in its place, or in a
    # hash table; one taken out again, a vector of touched blocks, one sorted, and a row of those;
    # an entry of a stream, and sorting one: few are sorted without compiled passes
    "update": Cause(DELIVERY, 0.2),
    "chained": Cause(DELIVERY, 0.37),
    "append": Cause(DELIVERY, 0.68),
    "merged": Cause(DELIVERY, 0.02),
    "gathered": Cause(DELIVERY, 0.41),
    "insert": Cause(DELIVERY, 7.0),
    "hashed": Cause(DELIVERY, 6.0),
    "flushed": Cause(DELIVERY, 1.2),
    "packed": Cause(DELIVERY, 0.2),
    "sorted": Cause(DELIVERY, 0.12),
    "row": Cause(DELIVERY, 0.85),
    "streamed": Cause(DELIVERY, 6.2),
    "stream": Cause(DELIVERY, 2.9e5),
    "few streamed": Cause(DELIVERY, 64.0),
    "few stream": Cause(DELIVERY, 1.0e6),
    # a nanosecond of copies of dense operands in another order
    "copied": Cause(COPIES, 1.0),
}
"""Everything that is counted."""


@dataclass(slots=True)
class Spent:
    """Counts by cause."""

    counts: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, cause: str, count: float) -> None:
        """Count so many more of a cause."""
        self.counts[cause] = self.counts.get(cause, 0.0) + count

    def stream(self, size: float, among: float) -> None:
        """Count bytes read or written one after the other, of so many that come in turn."""
        lines = size / LINE
        self.add("line beyond first", lines * _beyond(among, FIRST))
        self.add("line beyond second", lines * _beyond(among, 2 * SECOND))
        self.add("line beyond third", lines * _beyond(among, THIRD))

    def jump(self, count: float, among: float) -> None:
        """Count reads or writes anywhere among so many bytes."""
        for cause, cache in (("first", FIRST), ("second", SECOND), ("third", THIRD)):
            if among > cache:
                self.add(f"far beyond {cause}", count * (1.0 - cache / among))

    def guess(self, times: float, part: float) -> None:
        """Count branches of which a part comes unexpected, unless there are few to remember."""
        forgotten = min(max(0.5 * (2.0 * times / LEARNED - 1.0), 0.0), 1.0)
        self.add("mistaken", times * part * forgotten)

    def plus(self, other: Spent) -> Spent:
        """Return what both spend."""
        every = {**self.counts, **other.counts}
        mine, others = self.counts, other.counts
        return Spent({cause: mine.get(cause, 0.0) + others.get(cause, 0.0) for cause in every})

    @property
    def nanoseconds(self) -> float:
        """How long all of it takes.

        >>> spent = Spent()
        >>> spent.add("finds", 2.0)
        >>> spent.nanoseconds
        2.0
        """
        return sum(CAUSES[cause].rate * count for cause, count in self.counts.items())

    @property
    def by_kind(self) -> dict[str, float]:
        """The nanoseconds of each kind, most first."""
        found: dict[str, float] = {}
        for cause, count in self.counts.items():
            kind = CAUSES[cause].kind
            found[kind] = found.get(kind, 0.0) + CAUSES[cause].rate * count
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _beyond(among: float, cache: float) -> float:
    """Return which part of bytes that come in turn a cache has lost since they came last.

    >>> _beyond(100.0, 1000.0), _beyond(1000.0, 1000.0), _beyond(3000.0, 1000.0)
    (0.0, 0.5, 1.0)
    """
    return min(max(among / cache - 0.5, 0.0), 1.0)
