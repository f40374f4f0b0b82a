"""Where a row of a dense output may be set to what its sums start from.

Takes: a nest.  Gives: after how many of its steps.  The whole output then needs no initial value:
a row is still in cache when the first products reach it, and may stay in registers.
"""

from __future__ import annotations

import math

from sparsedsl.contraction.expressions import same_value
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.find.parallel import Shared
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.nodes import Let, Nest, Scan, Step
from sparsedsl.iteration.space import extent_name
from sparsedsl.iteration.weights import all_turns
from sparsedsl.spf import terms

NARROW = 16.0
"""Elements of a row below which setting it takes longer than to fill the whole result at once."""


def is_whole(step: Step) -> bool:
    """Whether a step is a loop over the whole extent of an index."""
    return (
        isinstance(step, Scan)
        and step.lows == (terms.const(0),)
        and step.highs == (terms.var(extent_name(step.variable)),)
    )


def starts_at_identity(nest: Nest, monoid: str) -> bool:
    """Whether elements of the output are accumulated from where its sums start."""
    identity = MONOIDS[monoid].identity(nest.output.dtype)
    return same_value(nest.initial, identity)


def opened_rows(nest: Nest, shared: Shared | None, sizes: Sizes) -> int:
    """Return after how many steps a row is complete in coordinates, and nothing is added yet.

    0 where the outermost loops are not whole ones over coordinates of the output, where these
    are all of its coordinates, where threads share a loop inside of a row, where rows are
    narrow, and where less is expected to be added to a row than it has elements, whose memory is
    then best left alone.  Of two chains the first is meant: the other must not come before it.
    """
    if nest.assembly.kind != "dense" or len(nest.chains) not in (1, 2):
        return 0
    chain = nest.chains[0]
    names = {c.name for c in chain.coordinates}
    if chain.monoid is None or None in names or not starts_at_identity(nest, chain.monoid):
        return 0
    steps = nest.prefix + chain.steps
    count = 0
    for place, step in enumerate(steps):
        if isinstance(step, Scan) and is_whole(step) and step.variable in names:
            count = place + 1
        elif not isinstance(step, Let):
            break
    rows = {step.variable for step in steps[:count] if isinstance(step, Scan)}
    inside = (shared is not None and shared.place >= count) or count < len(nest.prefix)
    if not rows or rows == names or inside:
        return 0
    row = math.prod(sizes.extent(n or "") for n in names - rows)
    operands = {o.name: o for o in chain.operands}
    added = all_turns(steps, operands, sizes, count)
    return count if row >= NARROW and added >= row else 0
