"""Functions of dense operands over some of a statement's indices, computed once beforehand.

Takes: a program whose reductions stand at the top of statements.  Gives: an equivalent one, as if
the user had written the statements for the functions first.  Invariant: results have the same
values, bit for bit; no intermediate has more elements than one of the operands it is a function of.

    C[i, j] = A[i, j] * exp(x[j])  =>  once0[j] = exp(x[j]);  C[i, j] = A[i, j] * once0[j]

What ``exp`` gives may be infinite although ``x`` is not: only of values that are stored can be
checked whether implicit zeros may be skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from sparsedsl.contraction.algebra import ieee_operands, support
from sparsedsl.contraction.bindings import bound_indices, free_indices
from sparsedsl.contraction.demands import is_product
from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Literal,
    Program,
    Reduce,
    Tensor,
)
from sparsedsl.contraction.operators import OPERATORS

BOUNDED = frozenset({"sin", "cos", "tanh", "sigmoid"})
"""Functions that are finite where their arguments are, and take longer than arithmetic."""

OFTEN = 4.0
"""Times a function must be read for each time it is computed, so that storing it pays."""

FEW = 2.0**13
"""Values met below which that saves less than the call of another kernel takes."""


def taken_out(
    program: Program,
    turns: Mapping[str, tuple[float, ...]],
    extents: Mapping[str, float],
    unusual: frozenset[str],
    *,
    ieee: bool,
) -> Program:
    """Return the program with functions computed beforehand, where that pays.

    It does where implicit zeros may be skipped then, and not before, or where a function is met
    much more often than it has values.  Whether a result is sparse does not depend on sizes.

    Parameters
    ----------
    turns:
        How often loops over an input meet a value of each of its modes' indices, by magnitude.
    extents:
        How many values each index takes, by magnitude.
    unusual:
        Tensors known to hold what does not allow implicit zeros to be skipped.
    ieee:
        Whether implicit zeros meet infinities and NaN.
    """
    for target in dict.fromkeys(s.target for s in program.statements):
        own = [s for s in program.statements if s.target == target]
        taker = _Taker(program)
        instead = [taker.statement(s) for s in own]
        if not taker.made:
            continue
        now, then = (
            not ieee or _skips(statements, given, unusual)
            for statements, given in ((own, program), (instead, taker.program))
        )
        if now:
            pays = all(_often(s, own, program, turns, extents) for s in taker.made)
        else:
            pays = not _is_small(instead, taker.program, extents)
        if then and pays:
            first = program.statements.index(own[0])
            new = dict(zip(map(id, own), instead, strict=True))
            kept = [new.get(id(s), s) for s in program.statements]
            statements = (*kept[:first], *taker.made, *kept[first:])
            program = replace(taker.program, statements=statements)
    return program


def _skips(statements: list[Assign], program: Program, unusual: frozenset[str]) -> bool:
    """Whether checks of stored values settle that implicit zeros may be skipped."""
    asked = [ieee_operands(s.expression, program) for s in statements]
    return all(d is not None and not {name for _, name in d} & unusual for d in asked)


def _often(
    made: Assign,
    readers: list[Assign],
    program: Program,
    turns: Mapping[str, tuple[float, ...]],
    extents: Mapping[str, float],
) -> bool:
    """Whether loops over a sparse operand meet a function much more often than it has values."""
    indices = {s.name for s in made.subscripts}
    most = 0.0
    for access in (e for s in readers for e in walk(s.expression) if isinstance(e, Access)):
        if access.tensor in turns and not program.tensor(access.tensor).total:
            pairs = zip(access.subscripts, turns[access.tensor], strict=True)
            most = max([most, *(n for s, n in pairs if s.name in indices)])
    return most >= max(FEW, OFTEN * prod(extents[i or ""] for i in indices))


def _is_small(statements: list[Assign], program: Program, extents: Mapping[str, float]) -> bool:
    """Whether so little is visited anyway, for a dense result, that another kernel takes longer."""
    target = program.tensor(statements[0].target)
    bound = [a for s in statements for c in support(s.expression, program) for a in c]
    if target.rank > 1 or (target.rank == 1 and all(len(a.subscripts) == 1 for a in bound)):
        return False  # the result may be sparse
    indices = [{*bound_indices(s.expression), *_indices(s)} for s in statements]
    return max(prod(extents[i] for i in each) for each in indices) < FEW


def _indices(statement: Assign) -> frozenset[str]:
    free = free_indices(statement.expression)
    return frozenset({*free, *(n for s in statement.subscripts for n in s.indices)})


@dataclass(slots=True)
class _Taker:
    """Replaces functions in statements by accesses to what the statements ``made`` compute."""

    program: Program
    made: list[Assign] = field(default_factory=list[Assign])

    def statement(self, statement: Assign) -> Assign:
        """Return a statement that reads functions where they were computed."""
        taken = self._taken(statement.expression, _indices(statement))
        return replace(statement, expression=taken)

    def _taken(self, node: Expression, loops: frozenset[str]) -> Expression:
        match node:
            case Reduce(monoid, indices, body):
                return Reduce(monoid, indices, self._taken(body, loops | {*indices}))
            case Call() if self._is_function(node, loops):
                return self._access(node)
            case Call(operator, arguments):
                return Call(operator, tuple(self._taken(a, loops) for a in arguments))
            case _:
                return node

    def _is_function(self, node: Call, loops: Set[str]) -> bool:
        """Whether a value is a function of dense inputs, of fewer indices than are looped over."""
        inputs = {t.name for t in self.program.inputs}
        indices = {*free_indices(node)}
        if not indices < loops or np.dtype(dtype_of(node, self.program)).kind not in "fc":
            return False
        parts = list(walk(node))
        accesses = [p for p in parts if isinstance(p, Access)]
        return (
            all(isinstance(p, Access | Call | Literal) for p in parts)
            and all(a.tensor in inputs and self.program.covers(a) for a in accesses)
            and any(_is_plain(a, indices) for a in accesses)
            and any(_is_dear(p) for p in parts)
        )

    def _access(self, node: Call) -> Access:
        """Return an access to a tensor that a statement made assigns the value to."""
        indices = free_indices(node)
        subscripts = tuple(Affine.of(i) for i in indices)
        for statement in self.made:
            if statement.expression == node:
                return Access(statement.target, subscripts)
        taken = {t.name for t in (*self.program.inputs, *self.program.outputs)}
        number = 0
        while (name := f"once{number}") in taken:
            number += 1
        tensor = Tensor(name, len(indices), dtype_of(node, self.program), total=True)
        self.made.append(Assign(name, subscripts, node))
        self.program = replace(self.program, outputs=(*self.program.outputs, tensor))
        return Access(name, subscripts)


def _is_plain(access: Access, indices: Set[str]) -> bool:
    """Whether an access has all indices as subscripts, so that its operand is as large."""
    return {s.name for s in access.subscripts} >= indices


def _is_dear(node: Expression) -> bool:
    """Whether a value takes longer than arithmetic, or may be infinite where operands are not."""
    match node:
        case Call("div", (_, Literal(value))) if value != 0:
            return False
        case Call("pow", (_, Literal(int() | float() as power))) if is_product(power):
            return False
        case Call("eq" | "ne" | "lt" | "le" | "gt" | "ge" | "isnan" | "isinf" | "isfinite"):
            return False
        case Call(operator):
            return operator in BOUNDED or not OPERATORS[operator].finite
        case _:
            return False
