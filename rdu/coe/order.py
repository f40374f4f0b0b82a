"""The order in which a batch's uses run: as they came, or grouped by expert.

A use is one step of one request on one expert. Steps of a request keep their order.
"""

from __future__ import annotations

from collections.abc import Container, Sequence


def grouped(
    uses: Sequence[int],
    experts: Sequence[int],
    requests: Sequence[int],
    active: Container[int],
) -> list[int]:
    """Group the uses of a batch by expert, never running a step before the one it depends on.

    Among the experts that some request is ready for, one that is already active goes first (it
    would otherwise be evicted and copied again), then the one most requests are ready for, then
    the first to appear.

    Parameters
    ----------
    uses:
        Use numbers of the batch, the steps of a request consecutive and in order.
    experts, requests:
        Expert and request of each use, by use number.
    active:
        Experts in HBM at the start of the batch.
    """
    queues: dict[int, list[int]] = {}
    for use in reversed(uses):
        queues.setdefault(requests[use], []).append(use)
    ready: dict[int, list[int]] = {}
    for queue in reversed(queues.values()):
        ready.setdefault(experts[queue[-1]], []).append(queue.pop())
    order: list[int] = []
    while ready:
        chosen = max(ready, key=lambda expert: (expert in active, len(ready[expert])))
        for use in ready.pop(chosen):
            order.append(use)
            queue = queues[requests[use]]
            # A request that asks for the same expert again goes on at once.
            while queue and experts[queue[-1]] == chosen:
                order.append(queue.pop())
            if queue:
                ready.setdefault(experts[queue[-1]], []).append(queue.pop())
    return order
