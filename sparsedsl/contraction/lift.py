"""Give each reduction inside an expression a statement of its own.

Takes: a program.  Gives: a program in which ``Reduce`` stands only at the top of a
statement.  Invariant: the results have the same values, up to the order of floating sums.

    C = f(sum(k, e))        =>  T = sum(k, e);  C = f(T)
    C = a * sum(k, e)       =>  C = sum(k, a * e)      where a does not mention k
    C = sum(k, sum(l, e))   =>  C = sum(k l, e)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sparsedsl.contraction.algebra import dtype_of, fill_of, finite_if
from sparsedsl.contraction.bindings import free_indices
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


@dataclass(slots=True)
class _Lifter:
    program: Program
    unusual: frozenset[str]
    moved: set[str] = field(default_factory=set[str])
    temporaries: list[Tensor] = field(default_factory=list[Tensor])
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
        """Move a factor that does not mention the summed indices into the sum."""
        for inner, other, swapped in ((right, left, False), (left, right, True)):
            if not isinstance(inner, Reduce) or inner.monoid != "add":
                continue
            same = dtype_of(inner, self.program) == dtype_of(inner.body, self.program)
            needed = self._finite(other)
            if needed & self.unusual:
                continue
            if same and not set(free_indices(other)) & set(inner.indices):
                self.moved |= needed
                pair = (inner.body, other) if swapped else (other, inner.body)
                return Reduce("add", inner.indices, Call("mul", pair))
        return None

    def _finite(self, factor: Expression) -> frozenset[str]:
        """Return the inputs that must be finite for a factor to be: infinity times 0 is NaN.

        What functions and intermediates give is taken to be finite.
        """
        names = finite_if(factor, self.program) or frozenset()
        return names if names <= {t.name for t in self.program.inputs} else frozenset()

    def inside(self, node: Expression) -> Expression:
        """Return ``node`` with every reduction replaced by a temporary."""
        match node:
            case Reduce():
                return self._temporary(self.top(node))
            case Call(operator, arguments):
                return Call(operator, tuple(self.inside(a) for a in arguments))
            case _:
                return node

    def _temporary(self, node: Expression) -> Expression:
        indices = free_indices(node)
        taken = {t.name for t in (*self.program.inputs, *self.program.outputs)}
        name = f"t{len(self.temporaries)}"
        while name in taken:
            name += "_"
        fill = fill_of(node, self.program)
        dtype = dtype_of(node, self.program)
        tensor = Tensor(name, len(indices), dtype, 0 if fill is None else fill)
        subscripts = tuple(Affine.of(i) for i in indices)
        self.temporaries.append(tensor)
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


def lift(program: Program) -> Program:
    """Return an equivalent program with reductions at the top of statements only."""
    return lifted(program)[0]


def lifted(
    program: Program, unusual: frozenset[str] = frozenset()
) -> tuple[Program, frozenset[str]]:
    """Return the program with reductions at the top, and the inputs that must be finite for it.

    They are factors that were moved into sums; those that are ``unusual`` are not.
    """
    lifter = _Lifter(program, unusual)
    statements: list[Assign] = []
    for statement in program.statements:
        expression = lifter.top(statement.expression)
        if isinstance(expression, Reduce) and not lifter.delivers(statement, expression):
            expression = lifter.inside(expression)
        statements.extend(lifter.before)
        lifter.before.clear()
        statements.append(replace(statement, expression=expression))
    return replace(lifter.program, statements=tuple(statements)), frozenset(lifter.moved)
