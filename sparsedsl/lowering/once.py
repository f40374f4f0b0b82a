"""Whether a kernel stores every element of its dense output once, whatever it held before.

Takes: a nest.  Gives: a verdict.  The output then needs no initial value, and a sum is stored
where it would else be added to one.
"""

from __future__ import annotations

from sparsedsl.find.opening import is_whole, starts_at_identity
from sparsedsl.iteration.nodes import Let, Nest, Scan


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
    whole = [s.variable for s in steps[:end] if isinstance(s, Scan) and is_whole(s)]
    if None in names or len(outer) < count or sorted(whole) != sorted(n or "" for n in names):
        return False
    if not all(isinstance(s, Scan | Let) for s in steps[:end]):
        return False
    if chain.monoid is None:
        return not more
    return bool(more) and starts_at_identity(nest, chain.monoid)
