"""The runtime's linker-loader: which experts are active in HBM (section V-B of the paper).

Each expert is compiled on its own and declares what it needs in HBM. All segments have a place in
the backing tier; activating an expert copies its HBM segments up, and as many experts as fit stay
active. Evicting one copies its mutable segments back, its read-only ones never.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable

from rdu.coe.parts import Composition
from rdu.coe.platform import Platform
from rdu.coe.policies import Policy


class Loader:
    """The active experts of one node, and the bytes moved to make them so.

    Raises
    ------
    CapacityError
        When the composition cannot be served on the platform at all.
    """

    def __init__(self, composition: Composition, platform: Platform, policy: Policy) -> None:
        platform.require(composition)
        self._policy = policy
        self._reserved = composition.router.hbm_bytes
        self._budget = platform.hbm_bytes - self._reserved
        self._sizes = [expert.hbm_bytes for expert in composition.experts]
        self._state = [math.ceil(expert.state_bytes) for expert in composition.experts]
        self._up = [platform.switch_seconds(size) for size in self._sizes]
        self._down = [platform.switch_seconds(size) for size in self._state]
        self._used = 0
        self.active: set[int] = set()
        self.bytes_up = 0
        self.bytes_down = 0
        self.peak_bytes = self._reserved

    def can_activate(self, expert: int, pinned: Iterable[int]) -> bool:
        """Whether ``expert`` fits when every active expert but ``pinned`` may give way."""
        held = sum(self._sizes[other] for other in set(pinned) if other in self.active)
        return held + self._sizes[expert] <= self._budget

    def activate(self, expert: int, pinned: Container[int] = ()) -> tuple[float, float]:
        """Make ``expert`` active, evicting as needed.

        Returns
        -------
        tuple of float
            Seconds of copying back what was evicted, and of copying ``expert`` up.
        """
        back = 0.0
        size = self._sizes[expert]
        while self._used + size > self._budget:
            victim = self._policy.victim(pinned)
            assert victim is not None, "can_activate() holds before activate()"
            back += self.evict(victim)
        self._used += size
        self.active.add(expert)
        self._policy.insert(expert)
        self.bytes_up += size
        self.peak_bytes = max(self.peak_bytes, self._reserved + self._used)
        return back, self._up[expert]

    def evict(self, expert: int) -> float:
        """Take ``expert`` out of HBM; return the seconds of copying its mutable bytes back."""
        self.active.remove(expert)
        self._policy.remove(expert)
        self._used -= self._sizes[expert]
        self.bytes_down += self._state[expert]
        return self._down[expert]

    def release(self) -> float:
        """Evict every active expert; return the seconds of copying back."""
        return sum(self.evict(expert) for expert in tuple(self.active))
