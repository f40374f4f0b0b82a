"""Sums of products of several tensors, as a tree of pairs, each summed at once.

Takes: a program whose sums stand at the top of statements, and how many entries tensors store.
Gives: an equivalent one, where expected products say that it is much cheaper.
Invariant: results have the same values, up to the order of floating sums and products.

    z[i] = sum(j k, A[i, j] * B[j, k] * x[k])
        =>  part0[j] = sum(k, B[j, k] * x[k]);  z[i] = sum(j, A[i, j] * part0[j])
    y[i] = sum(j k, A[i, j] * B[j, k])
        =>  part0[j] = sum(k, B[j, k]);  y[i] = sum(j, A[i, j] * part0[j])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sparsedsl.contraction.bindings import free_indices
from sparsedsl.contraction.expressions import same_value
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Program,
    Reduce,
    Tensor,
)
from sparsedsl.contraction.path import Factor, Tree, best_tree, summed_first


def paired(
    program: Program,
    entries: Mapping[str, float],
    extents: Mapping[str, int],
    unusual: frozenset[str] = frozenset(),
) -> tuple[Program, frozenset[str]]:
    """Return the program with products taken apart where that pays, and the floating parts.

    Such a part may overflow where the whole does not.

    Parameters
    ----------
    program:
        Reductions stand at the top of statements.
    entries:
        How many entries tensors store; others are not taken apart.
    extents:
        How many values each index takes.
    unusual:
        Tensors known to hold an infinity or NaN.  A statement of which a part does, but none of
        the inputs, stays whole.
    """
    parts = frozenset[str]()
    for statement in program.statements:
        factors = _factors(statement, program, entries)
        if factors is None:
            continue
        stored = [Factor(frozenset(free_indices(f)), entries[f.tensor]) for f in factors]
        wanted = frozenset(n for s in statement.subscripts for n in s.indices)
        tree = best_tree(stored, wanted, extents)
        if tree is not None:
            first = summed_first(stored, wanted, extents)
            taken = _Pairs(program, statement, factors, first)
            apart, made = taken.program_of(tree), {s.target for s in taken.made}
            if not made & unusual or unusual & {t.name for t in program.inputs}:
                rounds = np.dtype(program.tensor(statement.target).dtype).kind in "fc"
                program, parts = apart, parts | (made if rounds else set())
    return program, parts


def _factors(
    statement: Assign, program: Program, entries: Mapping[str, float]
) -> list[Access] | None:
    """Return the tensors whose products a statement sums; None if it is no such sum.

    Partial products are of one dtype with the whole, and where one factor is not stored they
    are 0.
    """
    expression = statement.expression
    if not isinstance(expression, Reduce) or expression.monoid != "add":
        return None
    factors = _multiplied(expression.body)
    if factors is None or len(factors) == 1:
        return None
    tensors = [program.tensor(f.tensor) for f in factors]
    dtypes = {t.dtype for t in tensors} | {program.tensor(statement.target).dtype}
    plain = all(s.name for x in (statement, *factors) for s in x.subscripts)
    zero = all(same_value(t.fill, 0) for t in tensors)
    known = all(t.name in entries for t in tensors)
    return factors if len(dtypes) == 1 and plain and zero and known else None


def _multiplied(node: Expression) -> list[Access] | None:
    """Return the accesses whose product an expression is."""
    match node:
        case Access():
            return [node]
        case Call("mul", (left, right)):
            sides = _multiplied(left), _multiplied(right)
            return None if sides[0] is None or sides[1] is None else [*sides[0], *sides[1]]
        case _:
            return None


@dataclass(slots=True)
class _Pairs:
    """Writes a tree of pairs as statements in place of one, the intermediates named ``part...``."""

    program: Program
    statement: Assign
    factors: list[Access]
    first: frozenset[int]
    made: list[Assign] = field(default_factory=list[Assign])

    def program_of(self, tree: Tree) -> Program:
        """Return the program, in which the last statement of the tree assigns the target."""
        assert not isinstance(tree, int)
        wanted = frozenset(n for s in self.statement.subscripts for n in s.indices)
        last = replace(self.statement, expression=self._summed(tree, wanted))
        place = self.program.statements.index(self.statement)
        statements = list(self.program.statements)
        statements[place : place + 1] = [*self.made, last]
        return replace(self.program, statements=tuple(statements))

    def _summed(self, tree: tuple[Tree, Tree], wanted: frozenset[str]) -> Expression:
        """Return the product of a pair, summed over what is not wanted."""
        left, right = tree
        sides = self._value(left, right, wanted), self._value(right, left, wanted)
        return _sum(Call("mul", sides), wanted)

    def _value(self, tree: Tree, beside: Tree, wanted: frozenset[str]) -> Access:
        """Return a factor, or an intermediate that keeps what is wanted and what is beside it."""
        if isinstance(tree, int) and tree not in self.first:
            return self.factors[tree]
        kept = wanted | self._indices(beside)
        single = isinstance(tree, int)
        value = _sum(self.factors[tree], kept) if single else self._summed(tree, kept)
        subscripts = tuple(Affine.of(n) for n in free_indices(value))
        name = self._name()
        dtype = self.program.tensor(self.statement.target).dtype
        part = Tensor(name, len(subscripts), dtype)
        self.program = replace(self.program, outputs=(*self.program.outputs, part))
        self.made.append(Assign(name, subscripts, value, span=self.statement.span))
        return Access(name, subscripts)

    def _indices(self, tree: Tree) -> frozenset[str]:
        if isinstance(tree, int):
            return frozenset(free_indices(self.factors[tree]))
        return self._indices(tree[0]) | self._indices(tree[1])

    def _name(self) -> str:
        taken = {t.name for t in (*self.program.inputs, *self.program.outputs)}
        number = 0
        while f"part{number}" in taken:
            number += 1
        return f"part{number}"


def _sum(value: Expression, wanted: frozenset[str]) -> Expression:
    """Return a value summed over the indices that are not wanted."""
    summed = tuple(n for n in free_indices(value) if n not in wanted)
    return Reduce("add", summed, value) if summed else value
