"""Outputs that are read before they are complete, and outputs assigned in several places.

Takes: a program.  Gives: an equivalent one in which each output is complete before it is read
(`settled`), and one in which the statements of an output stand together (`together`).
Invariant: what a statement reads is what it would have read in the order written.

    C = a; D = f(C); C += b     =>  C_1 = a; D = f(C_1); C = C_1 + b
    C = a; D = e;    C += b     =>  D = e; C = a; C += b
"""

from __future__ import annotations

from dataclasses import replace

from sparsedsl.contraction.algebra import fill_of
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
    Tensor,
)
from sparsedsl.contraction.operators import MONOIDS


def settled(program: Program) -> Program:
    """Give each partial value of an output that is read a tensor of its own."""
    statements: list[Assign] = []
    for statement in program.statements:
        target = statement.target
        last = max((n for n, s in enumerate(statements) if s.target == target), default=-1)
        if last < 0 or not any(_reads(s, target) for s in (*statements[last + 1 :], statement)):
            statements.append(statement)
            continue
        program, earlier = _output_like(program, target)
        statements = [_redirected(s, target, earlier) for s in statements]
        program, added = _completed(program, statement, earlier)
        statements.extend(added)
    return replace(program, statements=tuple(statements))


def together(program: Program) -> Program:
    """Move the statements of an output down to its last one; `settled` has made that legal."""
    last = {s.target: n for n, s in enumerate(program.statements)}
    ordered = sorted(
        enumerate(program.statements), key=lambda pair: (last[pair[1].target], pair[0])
    )
    return replace(program, statements=tuple(s for _, s in ordered))


def _reads(statement: Assign, name: str) -> bool:
    parts = walk(statement.expression)
    return any(isinstance(e, Access | Stored) and e.tensor == name for e in parts)


def _output_like(program: Program, name: str, **changes: object) -> tuple[Program, str]:
    """Add an output like ``name``, under a name of its own."""
    taken = {t.name for t in (*program.inputs, *program.outputs)}
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    made: Tensor = replace(program.tensor(name), name=f"{name}_{number}", **changes)
    return replace(program, outputs=(*program.outputs, made)), made.name


def _completed(
    program: Program, statement: Assign, earlier: str
) -> tuple[Program, tuple[Assign, ...]]:
    """Return ``C = C_1 + b`` for ``C += b``; a value of another dtype is cast by itself first."""
    name, subscripts = statement.target, statement.subscripts
    value = _renamed(statement.expression, name, earlier)
    dtype = program.tensor(name).dtype
    before: tuple[Assign, ...] = ()
    if dtype_of(value, program) != dtype:
        fill = fill_of(value, program)
        program, cast = _output_like(program, name, fill=0 if fill is None else fill)
        before = (Assign(cast, subscripts, value, None, statement.span),)
        value = Access(cast, subscripts, statement.span)
    assert statement.accumulate is not None
    operator = MONOIDS[statement.accumulate].operator
    whole = Call(operator, (Access(earlier, subscripts, statement.span), value))
    return program, (*before, Assign(name, subscripts, whole, None, statement.span))


def _redirected(statement: Assign, old: str, new: str) -> Assign:
    """Let a statement assign to and read ``new`` in place of ``old``."""
    return replace(
        statement,
        target=new if statement.target == old else statement.target,
        expression=_renamed(statement.expression, old, new),
    )


def _renamed(node: Expression, old: str, new: str) -> Expression:
    match node:
        case Access() | Stored():
            return replace(node, tensor=new) if node.tensor == old else node
        case Call(operator, arguments):
            return Call(operator, tuple(_renamed(a, old, new) for a in arguments))
        case Reduce(monoid, indices, body):
            return Reduce(monoid, indices, _renamed(body, old, new))
        case Literal() | IndexValue() | Extent():
            return node
