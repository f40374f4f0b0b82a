"""Channels: bounded queues whose elements carry the cycle at which they are ready.

An element is ``(ready, payload)``; the payload is None in a timing-only run. A push takes a
credit; a credit comes back when the receiver pops. Because sender and receiver are sequential
and times travel with the elements, the result does not depend on which unit runs first.
"""

from __future__ import annotations

from collections import deque
from typing import Any


class Channel:
    """A queue of ``capacity`` elements from one context to another.

    ``latency`` cycles pass between a push and the element's being ready, and between a pop
    and the credit's return. ``free`` is when the link behind it can begin with an element.
    """

    __slots__ = (
        "capacity",
        "credits",
        "free",
        "items",
        "latency",
        "name",
        "popped",
        "popped_bytes",
        "pushed",
        "pushed_bytes",
        "waiting_reader",
        "waiting_writer",
        "wake",
    )

    def __init__(
        self, name: str, capacity: int, latency: int = 0, wake: deque[Any] | None = None
    ) -> None:
        assert capacity >= 1
        self.name = name
        self.wake: deque[Any] = deque() if wake is None else wake
        self.capacity = capacity
        self.latency = latency
        self.items: deque[tuple[int, Any]] = deque()
        self.credits: deque[int] = deque([0] * capacity)
        self.free = 0
        self.pushed = 0
        self.popped = 0
        self.pushed_bytes = 0
        self.popped_bytes = 0
        self.waiting_reader: Any = None
        self.waiting_writer: Any = None

    def put(self, ready: int, payload: Any, count: int) -> None:
        """Add an element of ``count`` bytes that is there at tick ``ready``; wake its reader."""
        self.items.append((ready, payload))
        self.pushed += 1
        self.pushed_bytes += count
        if self.waiting_reader is not None:
            self.wake.append(self.waiting_reader)
            self.waiting_reader = None

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {len(self.items)}/{self.capacity})"
