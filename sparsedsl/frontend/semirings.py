"""Products and sums over stored entries alone, as graph algorithms mean them.

Takes: the accesses of a product and the names of a product and a sum.  Gives: an expression
that is the identity of the sum wherever an operand stores nothing.  Invariant: no value of an
entry that is not stored takes part, whatever its fill.

A matrix is a graph here: an entry that is not stored is an edge that is not there, which no
sum notices (Kepner and Gilbert, Graph Algorithms in the Language of Linear Algebra, ch. 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.contraction.nodes import Access, Call, Expression, Literal, Program, Stored
from sparsedsl.contraction.operators import MONOIDS

STRUCTURAL = ("pair", "first", "second")
"""Products that only make sense over stored entries: 1, the first factor, the last one."""


def over_stored(
    factors: Sequence[Access], value: Expression, monoid: str, program: Program
) -> Expression:
    """Return ``value`` where every factor is stored, the monoid's identity elsewhere."""
    present: Expression | None = None
    for factor in factors:
        if not program.tensor(factor.tensor).total:
            here = Stored(factor.tensor, factor.subscripts)
            present = here if present is None else Call("and", (present, here))
    if present is None:
        return value
    dtype = dtype_of(value, program)
    identity = MONOIDS[monoid].identity(MONOIDS[monoid].result(dtype))
    nothing = Literal(np.asarray(identity).astype(dtype).item(), dtype)
    return Call("where", (present, value, nothing))


def structural(combine: str, factors: Sequence[Access], monoid: str) -> Expression:
    """Return the value of one of ``STRUCTURAL`` where every factor is stored."""
    match combine:
        case "pair":
            truth = monoid in ("any", "all")
            return Literal(True, "bool") if truth else Literal(1, "int64")
        case "first":
            return factors[0]
        case _:
            return factors[-1]
