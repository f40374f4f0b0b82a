"""Terms of a specification as expressions of loops.

Takes: terms over dims, parameters and index arrays.  Gives: loop expressions.  Invariant: what is
read has the value of the term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import Expr
from sparsedsl.spf.nodes import UF, Constraint, FloorDiv, Mod, Product, Term
from sparsedsl.spf.nodes import Var as TermVar


@dataclass(frozen=True, slots=True)
class Reader:
    """Terms as loop expressions: names are replaced, arrays are prefixed.

    Subscripts are printed as proved: who reads sees to it that they lie inside the arrays.
    """

    variables: Mapping[str, Expr]
    prefix: str

    def __call__(self, term: Term) -> Expr:
        total: Expr = lb.i(term.constant)
        for factor, node in sorted(term.parts, key=lambda part: part[0] < 0):
            value = lb.mul(self._atom(node), abs(factor))
            total = lb.add(total, value) if factor > 0 else lb.sub(total, value)
        return total

    def _atom(self, node: TermVar | UF | FloorDiv | Mod | Product) -> Expr:
        match node:
            case TermVar(name):
                return self.variables[name]
            case UF(function, arguments):
                return lb.load(self.prefix + function, *map(self, arguments))
            case FloorDiv(numerator, denominator):
                return lb.floordiv(self(numerator), self(denominator))
            case Mod(numerator, denominator):
                return lb.mod(self(numerator), self(denominator))
            case Product(left, right):
                return lb.mul(self(left), self(right))
            case _:
                assert_never(node)

    def holds(self, constraint: Constraint) -> Expr:
        """The condition a constraint states."""
        return lb.compare("==" if constraint.equality else ">=", self(constraint.term), 0)
