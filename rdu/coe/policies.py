"""Which active expert gives way: LRU as in the paper, and what to compare it with.

A policy holds the active experts and names a victim. `LRU` and `FIFO` read their order;
`LFU`, `UsageProbability` and `Belady` rank by a number.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rdu.coe.parts import Composition
from rdu.coe.trace import Trace
from rdu.errors import SpecError


class Policy(Protocol):
    """What the serving loop asks of a cache policy; experts and uses are numbers."""

    def insert(self, expert: int) -> None:
        """``expert`` has become active."""
        ...

    def remove(self, expert: int) -> None:
        """``expert`` is no longer active."""
        ...

    def touch(self, expert: int, use: int) -> None:
        """``expert``, active, serves use number ``use`` of the trace."""
        ...

    def victim(self, pinned: Container[int]) -> int | None:
        """The active expert to give way, none of ``pinned``; ``None`` where all are pinned."""
        ...


class FIFO:
    """The expert that became active first gives way."""

    def __init__(self) -> None:
        self._order: dict[int, None] = {}

    def insert(self, expert: int) -> None:
        self._order[expert] = None

    def remove(self, expert: int) -> None:
        del self._order[expert]

    def touch(self, expert: int, use: int) -> None:
        del expert, use

    def victim(self, pinned: Container[int]) -> int | None:
        for expert in self._order:
            if expert not in pinned:
                return expert
        return None


class LRU(FIFO):
    """The expert whose last use lies furthest back gives way, as in the paper."""

    def touch(self, expert: int, use: int) -> None:
        del use
        order = self._order
        del order[expert]
        order[expert] = None


class _Ranked:
    """The active expert of the lowest rank gives way, the longest active on a tie."""

    def __init__(self, ranks: Sequence[float]) -> None:
        self._ranks = list(ranks)
        self._active: dict[int, None] = {}

    def insert(self, expert: int) -> None:
        self._active[expert] = None

    def remove(self, expert: int) -> None:
        del self._active[expert]

    def touch(self, expert: int, use: int) -> None:
        del expert, use

    def victim(self, pinned: Container[int]) -> int | None:
        free = [expert for expert in self._active if expert not in pinned]
        return min(free, key=self._ranks.__getitem__, default=None)


class LFU(_Ranked):
    """The expert with the fewest uses since the start gives way."""

    def __init__(self, experts: int) -> None:
        super().__init__([0.0] * experts)

    def touch(self, expert: int, use: int) -> None:
        del use
        self._ranks[expert] += 1


class UsageProbability(_Ranked):
    """The expert least likely to be asked for gives way (as CoServe does)."""


class Belady(_Ranked):
    """The expert whose next use lies furthest ahead gives way: the oracle.

    No policy misses less where all experts have one size and uses run in the trace's order, copied
    ahead or not. Grouping and a window order uses by what is active, so there is no one future to
    look into: it ranks by the order of the trace, and is then only a strong policy.
    """

    def __init__(self, uses: npt.NDArray[np.int64], experts: int) -> None:
        super().__init__([-float("inf")] * experts)
        following = np.full(len(uses), len(uses) + 1, np.int64)
        order = np.argsort(uses, kind="stable")
        same = uses[order][1:] == uses[order][:-1]
        following[order[:-1][same]] = order[1:][same]
        self._following: list[int] = following.tolist()
        first = np.full(experts, len(uses) + 1, np.int64)
        first[uses[::-1]] = np.arange(len(uses))[::-1]
        self._ranks = (-first).tolist()

    def touch(self, expert: int, use: int) -> None:
        self._ranks[expert] = -self._following[use]


def make_policy(name: str, composition: Composition, trace: Trace) -> Policy:
    """Build a policy by its name, one of `POLICIES`.

    Raises
    ------
    SpecError
        For an unknown name, listing the known ones.
    """
    maker = POLICIES.get(name)
    if maker is None:
        raise SpecError(f"unknown cache policy {name!r}", hint=f"known: {', '.join(POLICIES)}")
    return maker(composition, trace)


def _probability(composition: Composition, trace: Trace) -> UsageProbability:
    given = [expert.probability for expert in composition.experts]
    seen = trace.frequencies(len(composition))
    return UsageProbability([float(seen[n]) if p is None else p for n, p in enumerate(given)])


def _belady(composition: Composition, trace: Trace) -> Belady:
    return Belady(trace.experts[trace.experts >= 0], len(composition))


def _lru(composition: Composition, trace: Trace) -> LRU:
    del composition, trace
    return LRU()


def _fifo(composition: Composition, trace: Trace) -> FIFO:
    del composition, trace
    return FIFO()


def _lfu(composition: Composition, trace: Trace) -> LFU:
    del trace
    return LFU(len(composition))


POLICIES: dict[str, Callable[[Composition, Trace], Policy]] = {
    "lru": _lru,
    "fifo": _fifo,
    "lfu": _lfu,
    "probability": _probability,
    "belady": _belady,
}
"""The cache policies by name."""
