"""Ranges of terms over the coordinates of a shape.

Takes: a term.  Gives: its least value and how many values there are up to the greatest, as terms
over the extents or as numbers.
"""

from __future__ import annotations

from functools import lru_cache

from sparsedsl.conversion.order import coordinate, extent
from sparsedsl.layouts.bounds import Bounds
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Constraint, Term


def span_of(rank: int, term: Term) -> tuple[Term, Term]:
    """The least value of a term over a shape, and the number of values up to the greatest."""
    box: list[Constraint] = []
    for mode in range(rank):
        name, size = t.var(coordinate(mode)), t.var(extent(mode))
        box.append(Constraint(name, False))
        box.append(Constraint(t.subtract(t.subtract(size, name), t.ONE), False))
    extents = tuple(extent(mode) for mode in range(rank))
    bounds = Bounds(tuple(box), extents)
    low, high = bounds.minimum(term, extents)[0], bounds.maximum(term, extents)[0]
    return low, t.add(t.subtract(high, low), t.ONE)


@lru_cache(maxsize=4096)
def span_at(term: Term, extents: tuple[int, ...]) -> tuple[int, int]:
    """The least value of a term over a shape, and the number of values up to the greatest."""
    env = {extent(mode): n for mode, n in enumerate(extents)}
    low, size = span_of(len(extents), term)
    return int(t.evaluate(low, env, {})), int(t.evaluate(size, env, {}))
