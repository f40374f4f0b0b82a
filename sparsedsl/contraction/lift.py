"""Give each reduction inside an expression a statement of its own.

Takes: a program.  Gives: a program in which ``Reduce`` stands only at the top of a
statement.  Invariant: the results have the same values, up to the order of floating sums.

    C = f(sum(k, e))        =>  T = sum(k, e);  C = f(T)
    C = a * sum(k, e)       =>  C = sum(k, a * e)      where e has the indices of a
    C = sum(k, sum(l, e))   =>  C = sum(k l, e)
    C = where(m, f(sum(k, e)), x)   =>  T = sum(k, where(m, e, 0));  C = where(m, f(T), x)

The last where ``m`` is sparse: of a sum that is read at the entries of a mask, the others are not
taken.
A floating factor is moved only where it is sparse, so that less is visited.  Its products may
overflow where those with the whole sum would not: such a target is ``factored``, and where it
turns out not to be finite it is computed again with ``FACTORS`` among what is unusual.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sparsedsl.contraction.algebra import EVERYWHERE, fill_of, support
from sparsedsl.contraction.bindings import free_indices
from sparsedsl.contraction.demands import finite_if
from sparsedsl.contraction.expressions import dtype_of, walk
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
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

FACTORS = "*"
"""Among the names of unusual tensors: products of factors and terms of a sum are."""


@dataclass(slots=True)
class _Lifter:
    program: Program
    unusual: frozenset[str]
    annihilating: bool
    moved: set[str] = field(default_factory=set[str])
    floating: bool = False
    temporaries: list[str] = field(default_factory=list[str])
    factors: int = 0
    masks: list[Expression] = field(default_factory=list[Expression])
    before: list[Assign] = field(default_factory=list[Assign])

    def top(self, node: Expression) -> Expression:
        """Return ``node`` with reductions at its top only."""
        match node:
            case Reduce(monoid, indices, body):
                inner = self.top(body)
                if isinstance(inner, Reduce) and inner.monoid == monoid:
                    return Reduce(monoid, (*indices, *inner.indices), inner.body)
                return Reduce(monoid, indices, self.inside(inner))
            case Call("mul", (left, right)):
                factored = self._factored(left, right)
                return self.inside(node) if factored is None else self.top(factored)
            case _:
                return self.inside(node)

    def _factored(self, left: Expression, right: Expression) -> Expression | None:
        """Move a factor that does not mention the summed indices into the sum.

        Infinity times 0 is NaN, so the factor must be finite: what that asks of is ``moved``.
        """
        for inner, other, swapped in ((right, left, False), (left, right, True)):
            if not isinstance(inner, Reduce) or not self._distributes(inner, other):
                continue
            rounds = np.dtype(dtype_of(inner, self.program)).kind in "fc"
            if rounds and (FACTORS in self.unusual or not self._narrows(other)):
                continue
            factor = self._checkable(other)
            needed = self._finite(factor)
            if needed is None or needed & self.unusual:
                continue
            self.moved |= needed
            self.floating |= rounds
            pair = (inner.body, factor) if swapped else (factor, inner.body)
            return Reduce("add", inner.indices, Call("mul", pair))
        return None

    def _distributes(self, sum: Reduce, factor: Expression) -> bool:
        """Whether a factor may move into a sum, and nothing is computed more often then.

        A narrower integer sum would wrap before it is multiplied.
        """
        alone = set(free_indices(factor)) <= set(free_indices(sum))
        if sum.monoid != "add" or not alone or any(isinstance(e, Reduce) for e in walk(factor)):
            return False
        dtype = dtype_of(sum, self.program)
        whole = dtype_of(Call("mul", (sum, factor)), self.program)
        rounds = np.dtype(dtype).kind in "fc"
        return dtype == dtype_of(sum.body, self.program) and (dtype == whole or rounds)

    def _narrows(self, factor: Expression) -> bool:
        """Whether a factor is zero where some operand stores nothing."""
        fill = fill_of(factor, self.program)
        return fill == 0 and support(factor, self.program) != EVERYWHERE

    def _checkable(self, factor: Expression) -> Expression:
        """Return a factor of which stored values say whether it is finite.

        A function that may give an infinity by itself gets a tensor for what it gives.
        """
        if self._finite(factor) is not None:
            return factor
        self.factors += 1
        name = self._free_name(f"factor{self.factors - 1}")
        return factor if name in self.unusual else self._assigned(name, factor)

    def _finite(self, factor: Expression) -> frozenset[str] | None:
        """Return the tensors that must be finite for a factor to be; None if none suffice.

        An intermediate is put down to what it is computed from, where that settles it.
        """
        names = finite_if(factor, self.program)
        if names is None:
            return None
        found = frozenset[str]()
        for name in names:
            made = [s for s in self.program.statements if s.target == name]
            parts = [self._finite(s.expression) for s in made]
            known = [p for p in parts if p is not None]
            found |= frozenset({name}).union(*known) - {name} if made and known == parts else {name}
        return found

    def inside(self, node: Expression) -> Expression:
        """Return ``node`` with every reduction replaced by a temporary."""
        match node:
            case Reduce():
                return self._temporary(self.top(node))
            case Call("mul", (left, right)) if factored := self._factored(left, right):
                return self._temporary(self.top(factored))
            case Call("where", (mask, yes, no)) if self._masks(mask):
                return Call("where", (mask, self._read_at(mask, yes), self.inside(no)))
            case Call("mul", (left, right)) if self.annihilating:
                stored = self._stored(left), self._stored(right)
                return Call(
                    "mul", (self._read_at(stored[1], left), self._read_at(stored[0], right))
                )
            case Call(operator, arguments):
                return Call(operator, tuple(self.inside(a) for a in arguments))
            case _:
                return node

    def _read_at(self, mask: Expression | None, node: Expression) -> Expression:
        """Return ``inside`` of what is read only where a mask is true; everywhere if it is None."""
        if mask is None:
            return self.inside(node)
        self.masks.append(mask)
        found = self.inside(node)
        self.masks.pop()
        return found

    def _stored(self, factor: Expression) -> Expression | None:
        """Return where a factor stores entries, None where it may do so everywhere."""
        match factor:
            case Access(name, subscripts) if name in {t.name for t in self.program.inputs}:
                tensor = self.program.tensor(name)
                sparse = tensor.fill == 0 and not tensor.total and tensor.rank
                return Stored(name, subscripts) if sparse else None
            case _:
                return None

    def _masks(self, condition: Expression) -> bool:
        """Whether a condition is one that stored entries decide, and false where there are none."""
        parts = tuple(walk(condition))
        told = not any(isinstance(part, Reduce | IndexValue | Extent) for part in parts)
        return told and self._narrows(condition)

    def _temporary(self, node: Expression) -> Expression:
        name = self._free_name(f"t{len(self.temporaries)}")
        self.temporaries.append(name)
        return self._assigned(name, self._masked(node))

    def _masked(self, node: Expression) -> Expression:
        """Return a reduction, taken only where the mask around it has it read."""
        if not isinstance(node, Reduce) or node.monoid not in ("add", "min", "max"):
            return node
        own = set(free_indices(node))
        mask = next((m for m in reversed(self.masks) if set(free_indices(m)) <= own), None)
        if mask is None:
            return node
        dtype = dtype_of(node.body, self.program)
        nothing = Literal(MONOIDS[node.monoid].identity(dtype), dtype)
        return replace(node, body=Call("where", (mask, node.body, nothing)))

    def _free_name(self, name: str) -> str:
        taken = {t.name for t in (*self.program.inputs, *self.program.outputs)}
        while name in taken:
            name += "_"
        return name

    def _assigned(self, name: str, node: Expression) -> Expression:
        """Return an access to a new tensor that a statement before assigns the value to."""
        indices = free_indices(node)
        fill = fill_of(node, self.program)
        dtype = dtype_of(node, self.program)
        tensor = Tensor(name, len(indices), dtype, 0 if fill is None else fill)
        subscripts = tuple(Affine.of(i) for i in indices)
        self.before.append(Assign(name, subscripts, node))
        self.program = replace(self.program, outputs=(*self.program.outputs, tensor))
        return Access(name, subscripts)

    def delivers(self, statement: Assign, reduce: Reduce) -> bool:
        """Whether points of a reduction may be combined right into the statement's target.

        All statements of a target must combine alike, in its dtype: an int8 sum wraps before
        it is widened.  A wider floating sum only rounds less.
        """
        name = statement.target
        combined = {s.accumulate for s in self.program.statements if s.target == name}
        dtype, target = dtype_of(reduce, self.program), self.program.tensor(name).dtype
        rounds = np.dtype(dtype).kind in "fc" and np.can_cast(dtype, target)
        return combined <= {None, reduce.monoid} and (dtype == target or rounds)


@dataclass(frozen=True, slots=True)
class Lifted:
    """A program with reductions at the top of statements.

    ``moved`` are the tensors that must be finite for it, those of factors moved into sums, and
    ``factored`` the targets with floating ones.
    """

    program: Program
    moved: frozenset[str]
    factored: frozenset[str]


def lift(program: Program) -> Program:
    """Return an equivalent program with reductions at the top of statements only."""
    return lifted(program).program


def lifted(
    program: Program, unusual: frozenset[str] = frozenset(), *, annihilating: bool = False
) -> Lifted:
    """Return the program with reductions at the top; what is ``unusual`` is not moved.

    ``annihilating``: what an implicit zero is multiplied by is not asked for.
    """
    lifter = _Lifter(program, unusual, annihilating)
    statements: list[Assign] = []
    factored: set[str] = set()
    for statement in program.statements:
        expression = lifter.top(statement.expression)
        if isinstance(expression, Reduce) and not lifter.delivers(statement, expression):
            expression = lifter.inside(expression)
        if lifter.floating:
            factored |= {statement.target, *(s.target for s in lifter.before)}
            lifter.floating = False
        statements.extend(lifter.before)
        lifter.before.clear()
        statements.append(replace(statement, expression=expression))
    made = replace(lifter.program, statements=tuple(statements))
    return Lifted(made, frozenset(lifter.moved), frozenset(factored))
