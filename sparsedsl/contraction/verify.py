"""The verifier of contraction programs.

Takes: a program.  Gives: the same program, or the first error.  Invariant: a program that
passes has known tensors and operators, matching ranks, defined dtypes, and every index bound.
"""

from __future__ import annotations

from collections import Counter
from typing import assert_never

import numpy as np

from sparsedsl.contraction.bindings import bound_indices, free_indices
from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.nodes import (
    Access,
    Assign,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)
from sparsedsl.contraction.operators import MONOIDS, OPERATORS
from sparsedsl.errors import NotationError, NotationTypeError, Span


def verify(program: Program) -> Program:
    """Return the program if it is well formed.

    Raises
    ------
    NotationError
        For a mistake a user can make: ranks, names, unbound or repeated indices, dtypes.
    AssertionError
        For one only a pass can make: unknown operators, wrong arity, shared bound indices.
    """
    counts = Counter(t.name for t in program.inputs + program.outputs)
    for name, count in counts.items():
        if count > 1:
            raise NotationError(f"expected one tensor called '{name}', found {count}")
    assigned: set[str] = set()
    for assign in program.statements:
        _check_target(assign, program, assigned)
        known = {t.name for t in program.inputs} | assigned
        _check_expression(assign.expression, program, known)
        _check_indices(assign)
        _check_dtype(assign, program)
        assigned.add(assign.target)
    for name in program.results:
        if name not in assigned:
            raise NotationError(
                f"'{name}' is returned but nothing is assigned to it",
                hint=f"assign to it first: {name}[...] = ...",
            )
    return program


def _check_target(assign: Assign, program: Program, assigned: set[str]) -> None:
    if assign.target not in {t.name for t in program.outputs}:
        raise NotationError(
            f"'{assign.target}' is an argument and cannot be assigned to",
            span=assign.span,
            hint="make a result with sd.output()",
        )
    _check_rank(assign.target, len(assign.subscripts), program, assign.span)
    for n, subscript in enumerate(assign.subscripts):
        if subscript.name is None:
            raise NotationError(
                f"expected a plain index on the left of '=', found '{subscript}'",
                span=assign.span,
                hint="move the offset to the right side: C[i] = A[i + 1]",
            )
        if subscript in assign.subscripts[:n]:
            raise NotationError(
                f"index {subscript} stands twice on the left of '='",
                span=assign.span,
                hint="give each mode an index of its own and select with sd.where(i == j, ..., 0)",
            )
    if assign.target in assigned and assign.accumulate is None:
        raise NotationError(
            f"'{assign.target}' is assigned twice",
            span=assign.span,
            hint="use += to accumulate, or a second sd.output()",
        )
    assert assign.target in assigned or assign.accumulate is None, "the first statement is plain"
    assert assign.accumulate is None or assign.accumulate in MONOIDS, assign.accumulate


def _check_expression(expression: Expression, program: Program, known: set[str]) -> None:
    for part in walk(expression):
        match part:
            case Access(tensor, subscripts, span) | Stored(tensor, subscripts, span):
                if tensor not in known:
                    raise NotationError(
                        f"'{tensor}' is read before anything is assigned to it", span=span
                    )
                _check_rank(tensor, len(subscripts), program, span)
            case Call(operator, arguments):
                assert operator in OPERATORS, operator
                assert OPERATORS[operator].arity == len(arguments), operator
            case Reduce(monoid, indices, _):
                assert monoid in MONOIDS, monoid
                assert indices, "a reduction is over some index"
            case Literal() | IndexValue() | Extent():
                pass
            case _:
                assert_never(part)


def _check_rank(name: str, found: int, program: Program, span: Span | None) -> None:
    rank = program.tensor(name).rank
    if found != rank:
        modes = "1 mode" if rank == 1 else f"{rank} modes"
        subscripts = "1 subscript" if found == 1 else f"{found} subscripts"
        raise NotationError(f"{name} has {modes}, found {subscripts}", span=span)


def _check_indices(assign: Assign) -> None:
    left = {n for s in assign.subscripts for n in s.indices}
    free = set(free_indices(assign.expression))
    if free - left:
        raise NotationError(
            f"index {min(free - left)} is neither on the left of '=' nor reduced",
            span=assign.span,
            hint=f"sum over it with sd.sum(..., over={min(free - left)})",
        )
    _check_bindings(assign.expression, frozenset(left))


def _check_bindings(expression: Expression, scope: frozenset[str]) -> None:
    match expression:
        case Reduce(_, indices, body):
            assert not scope & set(indices), f"{indices} bound inside their own scope"
            _check_bindings(body, scope | frozenset(indices))
        case Call(operator, arguments):
            seen: frozenset[str] = frozenset()
            for argument in arguments:
                bound = bound_indices(argument)
                assert operator in ("add", "sub") or not seen & bound, "factors share indices"
                seen |= bound
                _check_bindings(argument, scope)
        case Literal() | Access() | Stored() | IndexValue() | Extent():
            pass
        case _:
            assert_never(expression)


def _check_dtype(assign: Assign, program: Program) -> None:
    try:
        found = dtype_of(assign.expression, program)
    except NotationTypeError as error:
        raise NotationTypeError(error.message, span=assign.span, hint=error.hint) from None
    target = program.tensor(assign.target).dtype
    if np.dtype(found).kind == "c" and np.dtype(target).kind != "c":
        raise NotationTypeError(
            f"{assign.target} has dtype {target}, which cannot hold {found} values",
            span=assign.span,
            hint="take sd.real(...) or give the output a complex dtype",
        )
