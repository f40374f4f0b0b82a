"""What else could have been done, with its predicted time: other loop orders."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sparsedsl.find.predict import predict
from sparsedsl.iteration.cost import convert_cost
from sparsedsl.iteration.orders import other_orders
from sparsedsl.pipeline.groups import Settings
from sparsedsl.pipeline.planned import request_of
from sparsedsl.pipeline.predicted import known_sizes
from sparsedsl.pipeline.stages import Unit

FEWER = 0.7
"""Part of the time of the plan that another one may take to be worth a copy: estimates err."""

MOST = 6
"""Orders that are told one by one."""


def alternatives(unit: Unit, settings: Settings) -> Iterator[str]:
    """Yield a line for each loop order that differs from the plan's, fastest first.

    They are planned, as the plan was, for rounded sizes, and predicted for those that are given,
    as if each search were the cheapest one.  A copy that is made once is charged to the first call
    where a plan is chosen, so that one that pays later is told here.
    """
    found, impossible = other_orders(request_of(unit.group, settings), unit.nest)
    request, _, _ = unit.planned[-1]
    planned = max(unit.cost, 1e-9)
    times: list[tuple[float, str, str]] = []
    for nest, order in found:
        spent = predict(nest, (), known_sizes(request, nest, unit.group.sources))
        kept = [c.source for c in nest.conversions if not c.tensor.total]
        price = sum(convert_cost(max(request.entries[name].values())) for name in kept)
        copies = " and ".join(f"a copy of {name}" for name in dict.fromkeys(kept))
        beside = f", with {copies} made once in about {price / 1e6:.3g} ms" if kept else ""
        saved = planned - spent.nanoseconds
        pays = f", which pays after {math.ceil(price / saved)} calls" if kept and saved > 0 else ""
        pays = pays if spent.nanoseconds < FEWER * planned else ""
        times.append((spent.nanoseconds, f"loops {' '.join(order)}{beside}", pays))
    times.sort()
    for nanoseconds, what, pays in times[:MOST]:
        ratio = nanoseconds / planned
        yield f"{what}: estimated {nanoseconds / 1e6:.3g} ms, {ratio:.2g} times the plan's{pays}"
    if len(times) > MOST:
        yield (
            f"loops in {len(times) - MOST} other orders: estimated {times[MOST][0] / 1e6:.3g} ms "
            "or more"
        )
    if impossible:
        yield f"loops {', '.join(' '.join(order) for order in impossible)}: no plan"
