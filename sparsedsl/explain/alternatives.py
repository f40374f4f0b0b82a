"""What else could have been done, with its predicted cost: other loop orders, other deliveries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from sparsedsl.errors import PlanError
from sparsedsl.groups import Settings
from sparsedsl.iteration import plan as planning
from sparsedsl.iteration.nodes import Chain, Let, Merge, Scan, Step
from sparsedsl.pipeline import Unit, request_of

FEW = 4
"""Indices up to which every loop order is tried."""

EFFORT = 500
"""States the search visits for one alternative."""


def alternatives(unit: Unit, settings: Settings) -> Iterator[str]:
    """Yield a line for each loop order that differs from the plan's, cheapest first."""
    request = request_of(unit.group, settings)
    indices = sorted({i for chain in unit.nest.chains for i in _indices(chain)})
    if settings.order is not None or not 2 <= len(indices) <= FEW:
        return
    taken = {_order(unit.nest.prefix + c.steps, indices) for c in unit.nest.chains}
    found: list[tuple[float, str]] = []
    impossible: list[str] = []
    for order in itertools.permutations(indices):
        if order in taken:
            continue
        try:
            forced = replace(request, order=order, whole=None, effort=EFFORT, copying=0)
            found.append((planning.plan(forced).cost, " ".join(order)))
        except PlanError:
            impossible.append(" ".join(order))
    for cost, order in sorted(found):
        ratio = cost / max(unit.nest.cost, 1e-9)
        yield f"loops {order}: estimated {ratio:.1f}x the cost"
    if impossible:
        yield f"loops {', '.join(impossible)}: no plan"


def _indices(chain: Chain) -> set[str]:
    return {i for c in chain.coordinates for i in c.indices} | {
        i for o in chain.operands for s in o.access.subscripts for i in s.indices
    }


def _order(steps: tuple[Step, ...], indices: list[str]) -> tuple[str, ...]:
    """Return the indices in the order in which the steps bind them."""
    named = [s.variable for s in steps if isinstance(s, Scan | Let | Merge)]
    bound = [name for name in named if name in indices]
    return tuple(dict.fromkeys(bound))
