"""Whether a kernel stores every element of its dense output once, whatever it held before.

Takes: a nest.  Gives: a verdict.  The output then needs no initial value, and a sum is stored
where it would else be added to one.
"""

from __future__ import annotations

from sparsedsl.contraction import algebra
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.iteration.nodes import Let, Nest, Scan, Step
from sparsedsl.iteration.space import extent_name
from sparsedsl.spf import terms


def stores_each_once(nest: Nest) -> bool:
    """Whether whole loops over the output's coordinates, and nothing else, enclose the delivery.

    What is delivered must be a plain value, or a sum that starts at the monoid's identity as
    the output would.
    """
    if nest.assembly.kind != "dense" or len(nest.chains) != 1:
        return False
    (chain,) = nest.chains
    names = [c.name for c in chain.coordinates]
    steps = nest.prefix + chain.steps
    loops = [place for place, s in enumerate(steps) if isinstance(s, Scan)]
    count = len(names)
    outer, more = loops[:count], loops[count:]
    end = more[0] if more else len(steps)
    whole = [s.variable for s in steps[:end] if isinstance(s, Scan) and _is_whole(s)]
    if None in names or len(outer) < count or sorted(whole) != sorted(n or "" for n in names):
        return False
    if not all(isinstance(s, Scan | Let) for s in steps[:end]):
        return False
    if chain.monoid is None:
        return not more
    identity = MONOIDS[chain.monoid].identity(nest.output.dtype)
    return bool(more) and algebra.same_value(nest.initial, identity)


def _is_whole(step: Step) -> bool:
    """Whether a step is a loop over the whole extent of an index."""
    return (
        isinstance(step, Scan)
        and step.lows == (terms.const(0),)
        and step.highs == (terms.var(extent_name(step.variable)),)
    )
