"""How many tiles must wait in front of a stage where paths fork and rejoin.

The kernel is run as a game of tokens, without time: every stage takes and emits tiles in its
fixed order. When nothing can move, the smallest full stream gets one more place (Parks'
algorithm), so the depths found let the real, timed run finish.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from rdu.errors import MappingError

Token = tuple[bool, int]  # (push, stream)


def sufficient_depths(
    processes: Sequence[Iterable[Token]], depths: Sequence[int], names: Sequence[str]
) -> list[int]:
    """Return depths, none below ``depths``, with which all processes finish.

    A process is its sequence of tokens: ``(True, stream)`` sends, ``(False, stream)`` takes.

    Raises
    ------
    MappingError
        If processes wait for tiles that nobody sends.
    """
    found = list(depths)
    held = [0] * len(found)
    programs: list[Iterator[Token]] = [iter(p) for p in processes]
    pending: list[Token | None] = [next(p, None) for p in programs]
    waiting_push: dict[int, int] = {}
    waiting_take: dict[int, int] = {}
    ready = deque(range(len(programs)))
    while True:
        while ready:
            process = ready.popleft()
            token = pending[process]
            while token is not None:
                push, stream = token
                if push:
                    if held[stream] >= found[stream]:
                        waiting_push[stream] = process
                        break
                    held[stream] += 1
                    other = waiting_take.pop(stream, None)
                else:
                    if not held[stream]:
                        waiting_take[stream] = process
                        break
                    held[stream] -= 1
                    other = waiting_push.pop(stream, None)
                if other is not None:
                    ready.append(other)
                token = next(programs[process], None)
            pending[process] = token
        if all(token is None for token in pending):
            return found
        if not waiting_push:
            stuck = sorted(names[stream] for stream in waiting_take)
            raise MappingError(f"nothing ever sends what {', '.join(stuck)} waits for")
        stream = min(waiting_push, key=lambda s: (found[s], s))
        found[stream] += 1
        ready.append(waiting_push.pop(stream))
