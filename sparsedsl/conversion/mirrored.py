"""Layouts whose second alternative is the mirror image of the first.

Takes: a layout of two alternatives over the same arrays.  Gives: the permutation of the modes that
takes one to the other.  Invariant: a tensor is what such a layout gives back if what the first
alternative holds of it is the same after the modes are permuted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

from sparsedsl.conversion.order import coordinate, extent
from sparsedsl.conversion.target_from_layout import target_of
from sparsedsl.conversion.unions import alone
from sparsedsl.layouts.layout import Layout
from sparsedsl.spf import isl
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Constraint


@lru_cache(maxsize=128)
def reflection(layout: Layout) -> tuple[int, ...] | None:
    """Return ``order``: mode ``k`` of the second alternative is mode ``order[k]`` of the first.

    None where it is not proved that, over shapes that the permutation leaves as they are, every
    coordinate is in one of the alternatives, and the image of each in the second is in the first.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> reflection(resolve("symmetric", 2)), reflection(resolve("hyb", 2))
    ((1, 0), None)
    """
    if len(layout.structures) != 2:
        return None
    first, second = layout.structures
    outputs = layout.relation.outputs
    given = [[part.definition(name) for name in outputs] for part in (first, second)]
    orders = permutations(range(layout.rank))
    order = next((o for o in orders if given[1] == [given[0][k] for k in o]), None)
    targets = [target_of(alone(layout, place)) for place in (0, 1)]
    if order is None or first.dims != second.dims or targets[0] is None or targets[1] is None:
        return None
    here, there = (target.checks for target in targets if target is not None)
    box = _box(order)
    mirrored = [_permuted(c, order) for c in here]
    covered = all(isl.is_empty([*box, _not(a), _not(b)]) for a in here for b in there)
    lands = all(isl.implied(c, [*box, *there]) for c in mirrored)
    once = isl.is_empty([*box, *here, *there])
    plain = not any(c.equality for c in (*here, *there))
    return order if plain and here and there and covered and lands and once else None


def _box(order: Sequence[int]) -> list[Constraint]:
    """A coordinate lies inside a shape that the permutation leaves as it is."""
    found: list[Constraint] = []
    for mode, other in enumerate(order):
        name, size = t.var(coordinate(mode)), t.var(extent(mode))
        found.append(Constraint(name, False))
        found.append(Constraint(t.subtract(t.subtract(size, name), t.ONE), False))
        found.append(Constraint(t.subtract(size, t.var(extent(other))), True))
    return found


def _permuted(constraint: Constraint, order: Sequence[int]) -> Constraint:
    """``constraint`` on the image of a coordinate."""
    names = {coordinate(mode): t.var(coordinate(k)) for k, mode in enumerate(order)}
    return Constraint(t.substitute(constraint.term, names), constraint.equality)


def _not(constraint: Constraint) -> Constraint:
    return Constraint(t.subtract(t.scale(-1, constraint.term), t.ONE), False)
