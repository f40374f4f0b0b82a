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


def alternatives(unit: Unit, settings: Settings) -> Iterator[str]:
    """Yield a line for each loop order that differs from the plan's, fastest first.

    They are planned, as the plan was, for rounded sizes, and predicted for those that are given,
    as if each search were the cheapest one.  A copy that is made once is charged to the first call
    where a plan is chosen, so that one that pays later is told here.
    """
    found, impossible = other_orders(request_of(unit.group, settings), unit.nest)
    request, _, _ = unit.planned[-1]
    times: list[tuple[float, str, str]] = []
    for nest, order in found:
        spent = predict(nest, (), known_sizes(request, nest, unit.group.sources))
        kept = [c.source for c in nest.conversions if not c.tensor.total]
        price = sum(convert_cost(max(request.entries[name].values())) for name in kept)
        copies = " and ".join(f"a copy of {name}" for name in dict.fromkeys(kept))
        beside = f", with {copies} made once in about {price / 1e6:.3g} ms" if kept else ""
        saved = unit.cost - spent.nanoseconds
        pays = f", which pays after {math.ceil(price / saved)} calls" if kept and saved > 0 else ""
        times.append((spent.nanoseconds, f"loops {' '.join(order)}{beside}", pays))
    for nanoseconds, what, pays in sorted(times):
        ratio = nanoseconds / max(unit.cost, 1e-9)
        yield f"{what}: estimated {nanoseconds / 1e6:.3g} ms, {ratio:.2g} times the plan's{pays}"
    if impossible:
        yield f"loops {', '.join(' '.join(order) for order in impossible)}: no plan"
