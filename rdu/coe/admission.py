"""Which requests form the next batch: in order of arrival, or by expert within a window of them.

A request of a conversation builds on the answer before it, so it waits for a later batch than its
predecessor's, whatever the order. One that as many later ones as the window holds have overtaken
goes first, so none waits for ever.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Sequence
from itertools import chain

from rdu.coe.trace import Trace


class Admission:
    """The requests of a trace that wait, and the batches they are taken in.

    Parameters
    ----------
    window:
        How many waiting requests, oldest first, the next batch is chosen among; ``None`` takes
        them as they came.
    """

    def __init__(self, trace: Trace, window: int | None) -> None:
        self._count, self._batch = len(trace), trace.batch
        self._arrivals: list[float] | None = (
            None if trace.arrivals is None else trace.arrivals.tolist()
        )
        self._window = max(trace.batch if window is None else window, trace.batch)
        self._conversations = trace.conversations is not None
        self._in_order = self._window == trace.batch and not self._conversations
        self.predecessors: list[int] = trace.predecessors().tolist()
        self._experts: list[int] = trace.experts[:, 0].tolist()
        self._waiting: list[int] = []
        self._next = 0

    @property
    def empty(self) -> bool:
        """Whether every request has been taken."""
        return self._next == self._count and not self._waiting

    def next_arrival(self, now: float) -> float:
        """When there is a request to take: ``now``, or the next arrival."""
        if self._waiting or self._arrivals is None:
            return now
        return max(now, self._arrivals[self._next])

    def take(self, now: float, active: Container[int]) -> Sequence[int]:
        """Take the next batch of what has arrived by ``now``, at least one request.

        Parameters
        ----------
        active:
            Experts in HBM, whose requests a window lets go first.
        """
        room = self._window - len(self._waiting)
        high = min(self._next + room, self._count)
        if self._arrivals is not None:
            high = min(high, bisect_right(self._arrivals, now, self._next))
        new = range(self._next, high)
        self._next = high
        if self._in_order:
            return new
        self._waiting += new
        chosen = self._choose(active)
        taken = set(chosen)
        self._waiting = [request for request in self._waiting if request not in taken]
        return chosen

    def _choose(self, active: Container[int]) -> list[int]:
        """Requests of active experts, then of popular ones; before them the oldest, if due."""
        waiting, experts = self._waiting, self._experts
        # The oldest needs nothing that waits. What is gone of the later ones overtook it.
        due = self._next - waiting[0] - len(waiting) >= self._window
        chosen = waiting[:1] if due else []
        held = set(waiting) if self._conversations else ()
        asked: dict[int, list[int]] = {}
        for request in waiting[len(chosen) :]:
            if not held or self.predecessors[request] not in held:
                asked.setdefault(experts[request], []).append(request)
        if self._window == self._batch:
            return [*chosen, *sorted(chain(*asked.values()))][: self._batch]

        def rank(expert: int) -> tuple[bool, int, int]:
            return expert not in active, -len(asked[expert]), asked[expert][0]

        for expert in sorted(asked, key=rank):
            if len(chosen) >= self._batch:
                break
            chosen += asked[expert]
        return chosen[: self._batch]
