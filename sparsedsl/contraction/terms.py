"""Additive terms: one statement per summand.

Takes: an assignment.  Gives: assignments that mean the same together, each computable by
itself.  Invariant: evaluating them in order gives the same values, in the same dtype, up to
the order of floating sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from sparsedsl.contraction.algebra import fill_of
from sparsedsl.contraction.expressions import dtype_of, same_value, walk
from sparsedsl.contraction.nodes import Assign, Call, Expression, Literal, Program, Reduce

_Term: TypeAlias = tuple[bool, Expression]
"""Whether the term is subtracted, and the term."""


def terms(assign: Assign, program: Program, annihilating: bool = True) -> tuple[Assign, ...]:
    """Split ``target = e1 + e2 - e3`` into ``target = e1``, ``target += e2``, ``target += -e3``.

    Sums distribute over additions.  The first statement keeps the accumulation of the
    original, the others accumulate by ``"add"``.  The statement is returned whole unless it
    starts from zero: the target's fill is 0 and so is every term's where it is known (a term
    with a sum inside may have another fill, since it needs a statement of its own), and all
    additions are done in the target's dtype.
    """
    target = program.tensor(assign.target)
    dtype = dtype_of(assign.expression, program)
    whole = (assign,)
    if dtype != target.dtype or not same_value(target.fill, 0):
        return whole
    if assign.accumulate not in (None, "add"):
        return whole
    parts = tuple(_split(assign.expression, program, dtype, negative=False))
    if len(parts) == 1:
        return whole
    if not any(isinstance(e, Reduce) for e in walk(assign.expression)):
        fills = (fill_of(part, program, annihilating) for _, part in parts)
        if any(fill is not None and not same_value(fill, 0) for fill in fills):
            return whole
    signed = [_negate(part, program, dtype) if minus else part for minus, part in parts]
    first = replace(assign, expression=signed[0])
    return (first, *(replace(assign, expression=p, accumulate="add") for p in signed[1:]))


def _split(expression: Expression, program: Program, dtype: str, negative: bool) -> Iterator[_Term]:
    if dtype_of(expression, program) != dtype:  # an addition of its own, with its own wrapping
        yield negative, expression
        return
    match expression:
        case Call("add", (left, right)):
            yield from _split(left, program, dtype, negative)
            yield from _split(right, program, dtype, negative)
        case Call("sub", (left, right)):
            yield from _split(left, program, dtype, negative)
            yield from _split(right, program, dtype, not negative)
        case Call("neg", (operand,)):
            yield from _split(operand, program, dtype, not negative)
        case Reduce("add", indices, body):
            for minus, part in _split(body, program, dtype, negative):
                yield minus, Reduce("add", indices, _widened(part, program, dtype))
        case _:
            yield negative, expression


def _widened(expression: Expression, program: Program, dtype: str) -> Expression:
    """Return the term in ``dtype``, so that its own sum does not wrap or round earlier."""
    if dtype_of(expression, program) == dtype:
        return expression
    if np.dtype(dtype).kind == "c":  # an infinity times 1 + 0j would have the imaginary part NaN
        return Call("add", (Literal(0j, dtype), expression))
    return Call("mul", (Literal(np.array(1, dtype).item(), dtype), expression))


def _negate(expression: Expression, program: Program, dtype: str) -> Expression:
    """Return the negated term, computed in ``dtype`` and inside its sum."""
    if isinstance(expression, Reduce) and expression.monoid == "add":
        return replace(expression, body=_negate(expression.body, program, dtype))
    if dtype_of(expression, program) == dtype:
        return Call("neg", (expression,))
    if np.dtype(dtype).kind == "c":
        return Call("neg", (_widened(expression, program, dtype),))
    return Call("mul", (Literal(np.array(-1).astype(dtype).item(), dtype), expression))
