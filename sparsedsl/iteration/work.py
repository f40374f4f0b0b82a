"""What the searches of one plan may still do, and what they have found.

Takes: a number of states.  Gives: ``Work``, which all searches of a plan share.  Invariant: what
is kept of a search is what the same search would find again; counts, not clocks, end one, so that
plans do not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from sparsedsl.iteration.state import State

LIMIT = 4000
"""States that the searches of a plan visit together at most, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search of so much ``effort`` found below a cost of ``ceiling``, and its cost."""

    effort: int
    ceiling: float
    found: tuple[State, float] | None


@dataclass(slots=True)
class Work:
    """``left`` is how many states may still be visited; below zero, the limit ended a search."""

    left: int = LIMIT
    searches: dict[Hashable, Searched] = field(default_factory=dict[Hashable, Searched])

    def known(self, search: Hashable, effort: int, ceiling: float) -> Searched | None:
        """Return what is known of a search: the same one, or one that looked further.

        A plan that costs too much tells that there is none.
        """
        found = self.searches.get(search)
        if found is None or found.effort < effort:
            return None
        if found.found is not None and found.found[1] >= ceiling:
            return Searched(effort, ceiling, None)
        return found if found.found is not None or ceiling <= found.ceiling else None
