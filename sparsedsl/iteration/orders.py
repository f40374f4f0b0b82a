"""Loop orders other than the one a plan took, with their plans."""

from __future__ import annotations

import itertools
from dataclasses import replace

from sparsedsl.errors import PlanError
from sparsedsl.iteration.nodes import Chain, Let, Merge, Nest, Scan, Step
from sparsedsl.iteration.plan import plan
from sparsedsl.iteration.request import Request

FEW = 4
"""Indices up to which every loop order is tried."""

EFFORT = 500
"""States the search visits for one order."""


def other_orders(
    request: Request, nest: Nest
) -> tuple[list[tuple[Nest, tuple[str, ...]]], list[tuple[str, ...]]]:
    """Return the plans of other orders, cheapest first, and the orders without one.

    None of either where the order was forced, or indices are too few or too many.
    """
    indices = sorted({i for chain in nest.chains for i in _indices(chain)})
    if request.order is not None or not 2 <= len(indices) <= FEW:
        return [], []
    taken = {_order(nest.prefix + c.steps, indices) for c in nest.chains}
    found: list[tuple[Nest, tuple[str, ...]]] = []
    impossible: list[tuple[str, ...]] = []
    for order in itertools.permutations(indices):
        if order in taken:
            continue
        try:
            forced = replace(request, order=order, whole=None, effort=EFFORT, copying=0)
            found.append((plan(forced), order))
        except PlanError:
            impossible.append(order)
    return sorted(found, key=lambda one: (one[0].cost, one[1])), impossible


def _indices(chain: Chain) -> set[str]:
    return {i for c in chain.coordinates for i in c.indices} | {
        i for o in chain.operands for s in o.access.subscripts for i in s.indices
    }


def _order(steps: tuple[Step, ...], indices: list[str]) -> tuple[str, ...]:
    """Return the indices in the order in which the steps bind them."""
    named = [s.variable for s in steps if isinstance(s, Scan | Let | Merge)]
    bound = [name for name in named if name in indices]
    return tuple(dict.fromkeys(bound))
