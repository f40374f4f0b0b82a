"""Reductions that combine implicit values once: only what may differ from them is visited.

Takes: a reduction whose body has one value wherever nothing is stored.  Gives: statements that
reduce and count what may differ, and one that combines the value of all the rest.  Invariant:
results have the same values, up to the order of floating operations.

    y[i] = max(j, A[i, j])      with the fill 0
        =>  y_stored[i] = max(j, where(pattern(A)[i, j], A[i, j], -inf))
            y_count[i] = sum(j, pattern(A)[i, j])
            y[i] = where(y_count[i] < n_j, maximum(y_stored[i], 0), y_stored[i])

Where ``n_j`` is known not to be 0, no entry at all means that the value takes part, whatever
``n_j`` is: ``y_count[i] < n_j | y_count[i] == 0`` has a fill, and the result may be sparse.

A sum adds the value times the number of the rest, a product multiplies by its power; a value that
combined with itself is itself stands for any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce as folded

import numpy as np

from sparsedsl.contraction.algebra import EVERYWHERE, Support, fill_of, support
from sparsedsl.contraction.bindings import free_indices
from sparsedsl.contraction.expressions import dtype_of, same_value
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Extent,
    Literal,
    Program,
    Reduce,
    Scalar,
    Stored,
    Tensor,
)
from sparsedsl.contraction.operators import MONOIDS, Monoid


@dataclass(frozen=True, slots=True)
class _Parts:
    """A reduction whose body is ``fill``, in the reduction's dtype, outside of ``where``."""

    reduce: Reduce
    monoid: Monoid
    dtype: str
    fill: Scalar
    where: Support


def restated(
    statements: tuple[Assign, ...],
    program: Program,
    annihilating: bool,
    taken: frozenset[str] = frozenset(),
) -> tuple[Program, tuple[Assign, ...]] | None:
    """Return the statements of one output with implicit values combined once, and the program.

    ``taken`` are indices known to take a value.  None where no reduction has any: its body varies
    where nothing is stored, or is the identity there, so that nothing is to be combined.
    """
    before: list[Assign] = []
    after: list[Assign] = []
    for statement in statements:
        parts = _parts(statement, program, annihilating)
        if parts is None:
            after.append(statement)
            continue
        program, reduced, last = _split(statement, parts, program, taken)
        before += reduced
        after.append(last)
    return (program, (*before, *after)) if before else None


def _parts(statement: Assign, program: Program, annihilating: bool) -> _Parts | None:
    reduce = statement.expression
    if not isinstance(reduce, Reduce):
        return None
    where = support(reduce.body, program, annihilating)
    fill = fill_of(reduce.body, program, annihilating)
    if fill is None or where in (EVERYWHERE, ()):
        return None
    monoid, dtype = MONOIDS[reduce.monoid], dtype_of(reduce, program)
    with np.errstate(all="ignore"):
        fill = np.asarray(fill).astype(dtype).item()
    parts = _Parts(reduce, monoid, dtype, fill, where)
    if same_value(fill, monoid.identity(dtype)):
        return None
    # NumPy counts unsigned 64-bit values beside signed ones in floating point
    return None if dtype == "uint64" and not monoid.keeps(fill, dtype) else parts


def _split(
    statement: Assign, parts: _Parts, program: Program, taken: frozenset[str]
) -> tuple[Program, tuple[Assign, Assign], Assign]:
    """Return what reduces, what counts, and the statement that combines the rest."""
    reduce, target = parts.reduce, program.tensor(statement.target)
    indices = free_indices(reduce)
    subscripts = tuple(Affine.of(index) for index in indices)
    # a wider target of a floating sum rounds less, as it did
    wide = target.dtype if statement.accumulate in (None, reduce.monoid) else parts.dtype
    dtype = wide if np.can_cast(parts.dtype, wide) else parts.dtype
    identity = parts.monoid.identity(dtype)
    stored = Tensor(_name(f"{target.name}_stored", program), len(indices), dtype, identity)
    counted = Tensor(_name(f"{target.name}_count", program), len(indices), "int64")
    program = replace(program, outputs=(*program.outputs, stored, counted))

    inside = _condition(parts.where)
    body_dtype = dtype_of(reduce.body, program)
    nothing = np.asarray(parts.monoid.identity(parts.dtype)).astype(body_dtype).item()
    body = Call("where", (inside, reduce.body, Literal(nothing, body_dtype)))
    some, count = Access(stored.name, subscripts), Access(counted.name, subscripts)
    whole = folded(_times, (Extent(index) for index in reduce.indices))
    both = Call(parts.monoid.operator, (some, _rest(parts, Call("sub", (whole, count)))))
    more: Expression = Call("lt", (count, whole))
    if taken.issuperset(reduce.indices):
        more = Call("or", (more, Call("eq", (count, Literal(0, "int64")))))
    last = Call("where", (more, both, some))
    reduced = replace(reduce, body=body)
    counting = Reduce("add", reduce.indices, inside)
    before = (
        Assign(stored.name, subscripts, reduced, None, statement.span),
        Assign(counted.name, subscripts, counting, None, statement.span),
    )
    return program, before, replace(statement, expression=last)


def _name(wanted: str, program: Program) -> str:
    taken = {t.name for t in (*program.inputs, *program.outputs)}
    while wanted in taken:
        wanted += "_"
    return wanted


def _condition(where: Support) -> Expression:
    """Return what is true in the support."""
    every = [
        folded(_and, [Stored(a.tensor, a.subscripts, a.span) for a in _ordered(conjunction)])
        for conjunction in where
    ]
    return folded(lambda left, right: Call("or", (left, right)), every)


def _ordered(conjunction: frozenset[Access]) -> list[Access]:
    return sorted(conjunction, key=lambda a: (a.tensor, [str(s) for s in a.subscripts]))


def _and(left: Expression, right: Expression) -> Expression:
    return Call("and", (left, right))


def _times(left: Expression, right: Expression) -> Expression:
    return Call("mul", (left, right))


def _rest(parts: _Parts, missing: Expression) -> Expression:
    """Return the fill combined ``missing`` times, at least once."""
    fill = Literal(parts.fill, parts.dtype)
    if parts.monoid.repeated is None or parts.monoid.keeps(parts.fill, parts.dtype):
        return fill
    return Call(parts.monoid.repeated, (fill, missing))
