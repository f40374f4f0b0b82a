"""A chain to plan, and a plan of it as it grows.

Takes: nothing (a closed set of nodes).  Gives: what ``iteration.search`` and
``iteration.following`` pass on.  Invariant: a state is never changed, so that a search may go on
from any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsedsl.iteration import cost
from sparsedsl.iteration.nodes import Operand, Step
from sparsedsl.spf.nodes import Constraint


@dataclass(frozen=True, slots=True)
class Problem:
    """One chain to plan.

    ``required`` operands are stored at every point wanted, ``total`` ones everywhere,
    ``probed`` ones perhaps.  ``bound`` is known from an enclosing prefix.  ``excluded``
    names groups of operands whose joint hit another case covers.  ``order`` forces the
    order in which logical indices are bound.  ``visits`` is how often the chain is entered,
    ``limit`` how many states are visited before the search settles for the best so far,
    ``ceiling`` the cost from which a plan is of no use.  ``strict`` says which coordinates are
    taken to come out of order, as ``output.Target`` does.
    """

    required: tuple[Operand, ...]
    total: tuple[Operand, ...]
    probed: tuple[Operand, ...]
    indices: tuple[str, ...]
    bound: frozenset[str]
    excluded: tuple[tuple[str, ...], ...]
    sizes: cost.Sizes
    order: tuple[str, ...] | None
    visits: float
    limit: int
    finish: Callable[[State], float]
    ceiling: float = float("inf")
    strict: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A partial plan.  ``visits`` counts how often the innermost point so far is reached."""

    bound: frozenset[str]
    steps: tuple[Step, ...]
    visits: float
    spent: float
    handled: frozenset[tuple[str, Constraint]]
    probed: frozenset[str]
    history: tuple[str, ...]
    trail: tuple[float, ...]
