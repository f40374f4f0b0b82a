"""Whether the entries of a result are worth being stored past the caches.

Takes: a nest, its workspace put in order, and the sizes of its operands.  Gives: yes or no, for
``loops.passing``, and whether threads gain by it.  Invariant: a wrong guess costs time only.

An ordinary store to memory that is in no cache reads it first, and then drives out what the caches
hold: results larger than those cost a read that nothing needs.
"""

from __future__ import annotations

import numpy as np

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import walk
from sparsedsl.find.fetching import INDEX
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.nodes import Chain, Find, Let, Nest, Scan
from sparsedsl.iteration.weights import all_turns

CACHES = 2.0**25
"""Bytes that a processor's caches rarely hold more of."""

RUN = 16.0
"""Entries that are stored one after another, from which they pass, and elements that are read
between two of them, from which they do not: one by one, between reads that wait for memory, each
would be a transfer by itself."""


SHORT = frozenset({"add", "sub", "mul", "neg", "minimum", "maximum"})
"""Operators that take an instruction or two."""

STREAMS = 2
"""Operands that one thread reads as fast as the memory gives them."""


def passes_caches(nest: Nest, sizes: Sizes) -> bool:
    """Return whether the result is expected to be larger than caches and is stored in order.

    It is where it has an entry at most for each of an operand's that is read in the same order,
    and where rows of a workspace are long.
    """
    width = INDEX + np.dtype(nest.output.dtype).itemsize
    match nest.assembly.kind:
        case "append":
            entries = max((_in_order(nest, chain, sizes) for chain in nest.chains), default=0.0)
        case "workspace":
            entries = max((_gathered(nest, chain, sizes) for chain in nest.chains), default=0.0)
        case _:
            return False
    return entries * width >= CACHES


def streams(nest: Nest, sizes: Sizes) -> bool:
    """Whether a result that passes the caches waits for the memory more than for anything else.

    It does where two operands at most are read in its order, and little is done for an entry.
    """
    loops = [s for c in nest.chains for s in nest.prefix + c.steps if isinstance(s, Scan)]
    inside = any(s.operand is None and s.variable not in nest.coordinates for s in loops)
    parts = [part for chain in nest.chains for part in walk(chain.expression)]
    short = all(part.operator in SHORT for part in parts if isinstance(part, ct.Call))
    operands = {o.name for chain in nest.chains for o in chain.operands if not o.total}
    little = len(operands) <= STREAMS and short and not inside
    return little and nest.assembly.kind == "append" and passes_caches(nest, sizes)


def _in_order(nest: Nest, chain: Chain, sizes: Sizes) -> float:
    """Return the entries of the largest operand; 0 where one is not read as the result is made."""
    sparse = [o for o in chain.operands if not o.total]
    coordinates = {*nest.coordinates}
    if any({i for s in o.access.subscripts for i in s.indices} != coordinates for o in sparse):
        return 0.0
    if _between(nest, chain, sizes) >= RUN:
        return 0.0
    return max((sizes.entries.get(o.dims[-1], 1.0) for o in sparse if o.dims), default=0.0)


def _between(nest: Nest, chain: Chain, sizes: Sizes) -> float:
    """Return how many terms are summed for an entry: its coordinates are told before."""
    steps = nest.prefix + chain.steps
    telling = (
        place
        for place, step in enumerate(steps)
        if isinstance(step, Scan | Let | Find) and step.variable in nest.coordinates
    )
    return all_turns(
        steps, {o.name: o for o in chain.operands}, sizes, max(telling, default=-1) + 1
    )


def _gathered(nest: Nest, chain: Chain, sizes: Sizes) -> float:
    """Return the values that a workspace gathers in all; 0 where a row has few."""
    operands = {o.name: o for o in chain.operands}
    steps, outside = nest.prefix + chain.steps, len(nest.prefix)
    row = all_turns(steps, operands, sizes, outside)
    return all_turns(nest.prefix, operands, sizes) * row if row >= RUN else 0.0
