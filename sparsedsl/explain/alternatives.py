"""What else could have been done, with its predicted cost: other loop orders."""

from __future__ import annotations

from collections.abc import Iterator

from sparsedsl.iteration.orders import other_orders
from sparsedsl.pipeline.groups import Settings
from sparsedsl.pipeline.planned import request_of
from sparsedsl.pipeline.stages import Unit


def alternatives(unit: Unit, settings: Settings) -> Iterator[str]:
    """Yield a line for each loop order that differs from the plan's, cheapest first.

    They are planned, as the plan was, for rounded sizes.
    """
    found, impossible = other_orders(request_of(unit.group, settings), unit.nest)
    _, planned = unit.planned[-1]
    for cost, order in found:
        ratio = cost / max(planned.cost, 1e-9)
        yield f"loops {' '.join(order)}: estimated {ratio:.1f}x the cost"
    if impossible:
        yield f"loops {', '.join(' '.join(order) for order in impossible)}: no plan"
