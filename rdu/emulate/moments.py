"""Cycles that are not known yet: when packets have entered the network, when they have come."""

from __future__ import annotations

from collections.abc import Callable


class Moment:
    """A cycle that is not known yet, and what is to be done when it is."""

    __slots__ = ("actions", "cycle")

    def __init__(self) -> None:
        self.cycle: int | None = None
        self.actions: list[Callable[[int], None]] = []

    def then(self, action: Callable[[int], None]) -> None:
        """Call ``action`` with the cycle, which is not known yet."""
        assert self.cycle is None
        self.actions.append(action)

    def come(self, cycle: int) -> None:
        """Note the cycle and do what waits for it."""
        self.cycle = cycle
        actions, self.actions = self.actions, []
        for action in actions:
            action(cycle)


class Burst:
    """Packets of one tile or firing.

    ``sent`` is the cycle after the one in which the last of them entered, ``arrived`` the cycle
    after the one in which the last came.
    """

    __slots__ = ("arrived", "sent")

    def __init__(self) -> None:
        self.sent = Moment()
        self.arrived = Moment()
