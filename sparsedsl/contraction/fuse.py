"""Fusing statements: an elementwise intermediate is computed where it is read, and never stored.

Takes: a program whose reductions stand at the top of statements.  Gives: an equivalent one
with fewer statements, and what was fused into what.  Invariant: results have the same values;
nothing is computed more often than before, since the reader loops over the intermediate's own
indices alone.

    T[i, j] = A[i, j] * B[i, j];  s = sum(i j, T[i, j] * T[i, j])
        =>  s = sum(i j, (A[i, j] * B[i, j]) * (A[i, j] * B[i, j]))
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedsl.contraction.algebra import ieee_operands, support
from sparsedsl.contraction.bindings import free_indices, rename
from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.nodes import (
    Access,
    Assign,
    Call,
    Expression,
    Program,
    Reduce,
    Stored,
)

MOST = 6
"""Accesses a fused statement may have: the cases to visit grow with their number."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """The intermediate ``name`` is computed inside the statement of ``into``."""

    name: str
    into: str


def fused(
    program: Program, held: frozenset[str] = frozenset()
) -> tuple[Program, tuple[Fusion, ...]]:
    """Put elementwise intermediates that one statement reads into it.

    An intermediate stays where it is a result, is reduced or accumulated into, is read by
    several statements or by other indices than its reader loops over, where its pattern is
    asked for, where its value is cast, or where it is ``held``, so that its values are looked at.
    """
    done: list[Fusion] = []
    for name in [s.target for s in program.statements]:
        statement = next(s for s in program.statements if s.target == name)
        reader = None if name in held else _reader(program, statement)
        if reader is None:
            continue
        put = _put(reader.expression, statement)
        if len(_reads(put)) > MOST or _shows_zeros(put, reader.expression, program):
            continue
        kept = [s for s in program.statements if s is not statement]
        program = replace(
            program,
            outputs=tuple(t for t in program.outputs if t.name != statement.target),
            statements=tuple(replace(s, expression=put) if s is reader else s for s in kept),
        )
        into = reader.target
        done = [replace(f, into=into) if f.into == name else f for f in done]
        done.append(Fusion(name, into))
    return program, tuple(done)


def _shows_zeros(put: Expression, before: Expression, program: Program) -> bool:
    """Whether implicit zeros may be skipped by a check of stored values before, not after."""
    return ieee_operands(put, program) is None and ieee_operands(before, program) is not None


def _reader(program: Program, statement: Assign) -> Assign | None:
    """Return the one statement that an intermediate may be put into, if there is one."""
    name, expression = statement.target, statement.expression
    alone = sum(s.target == name for s in program.statements) == 1
    if name in program.results or not alone or statement.accumulate is not None:
        return None
    if any(isinstance(e, Reduce) for e in walk(expression)):
        return None
    if dtype_of(expression, program) != program.tensor(name).dtype:
        return None
    if len(support(expression, program)) != 1:
        return None  # a union: its reader would visit each part of it
    found = [s for s in program.statements if any(a.tensor == name for a in _reads(s.expression))]
    if len(found) != 1:
        return None
    (reader,) = found
    body = reader.expression.body if isinstance(reader.expression, Reduce) else reader.expression
    loops = {*free_indices(body), *(n for s in reader.subscripts for n in s.indices)}
    return reader if all(_fits(a, name, loops) for a in _reads(body)) else None


def _fits(access: Access | Stored, name: str, loops: set[str]) -> bool:
    if access.tensor != name:
        return True
    plain = [s.name for s in access.subscripts]
    return isinstance(access, Access) and len(set(plain)) == len(plain) and set(plain) == loops


def _put(node: Expression, statement: Assign) -> Expression:
    """Put the value of a statement in place of the accesses of its target."""
    match node:
        case Access(name, subscripts) if name == statement.target:
            own = (s.name or "" for s in statement.subscripts)
            read = (s.name or "" for s in subscripts)
            return rename(statement.expression, dict(zip(own, read, strict=True)))
        case Call(operator, arguments):
            return Call(operator, tuple(_put(a, statement) for a in arguments))
        case Reduce(monoid, indices, body):
            return Reduce(monoid, indices, _put(body, statement))
        case _:
            return node


def _reads(expression: Expression) -> list[Access | Stored]:
    return [e for e in walk(expression) if isinstance(e, Access | Stored)]
