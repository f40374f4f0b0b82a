"""State of one lowering: names in use, parameters needed, and terms as loop expressions.

Takes: terms of the plan and expressions of the contraction.  Gives: loop expressions.
Invariant: every array and extent an expression reads becomes a parameter of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

from sparsedsl.contraction import nodes as ct
from sparsedsl.contraction.expressions import dtype_of
from sparsedsl.iteration.nodes import Operand
from sparsedsl.iteration.space import extent_name, subscript_term
from sparsedsl.layouts.signs import natural_arrays
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, ArrayParam, Const, Expr, IntParam, Load, Var
from sparsedsl.spf import terms
from sparsedsl.spf.nodes import UF, FloorDiv, Mod, Product, Term
from sparsedsl.spf.nodes import Var as TermVar


class Emitter:
    """Collects parameters while terms are printed as loop expressions.

    ``index_dtypes`` gives the dtype of each index array, ``program`` the dtypes of
    values.  ``aliases`` maps variables that are equal to another one; ``nonnegative`` are the
    variables proved so in the chain being lowered.
    """

    def __init__(
        self,
        program: ct.Program,
        operands: Mapping[str, Operand],
        index_dtypes: Mapping[str, str],
    ) -> None:
        self.program = program
        self.operands = dict(operands)
        self.index_dtypes = index_dtypes
        self.natural = {
            used
            for operand in operands.values()
            for own, used in operand.functions
            if own in natural_arrays(operand.layout)
        }
        self.nonnegative: frozenset[str] = frozenset()
        self.arrays: dict[str, ArrayParam] = {}
        self.integers: dict[str, IntParam] = {}
        self.local: set[str] = set()
        self.aliases: dict[str, Expr] = {}

    def bind(self, name: str) -> Var:
        """Declare a variable of the plan and return it."""
        self.local.add(name)
        self.aliases.pop(name, None)
        return Var(name, INT)

    def term(self, term: Term) -> Expr:
        """Return a term as an integer expression."""
        total: Expr = lb.i(term.constant)
        positive = [(c, a) for c, a in term.parts if c > 0]
        negative = [(c, a) for c, a in term.parts if c < 0]
        for coefficient, atom in positive:
            total = lb.add(self._scaled(coefficient, atom), total)
        for coefficient, atom in negative:
            total = lb.sub(total, self._scaled(-coefficient, atom))
        return total

    def _scaled(self, factor: int, atom: TermVar | UF | FloorDiv | Mod | Product) -> Expr:
        value = self._atom(atom)
        return value if factor == 1 else lb.mul(value, factor)

    def _atom(self, atom: TermVar | UF | FloorDiv | Mod | Product) -> Expr:
        match atom:
            case TermVar(name):
                return self.variable(name)
            case UF(function, arguments):
                return self.load(function, arguments, INT)
            case FloorDiv(numerator, denominator):
                return lb.floordiv(self.term(numerator), self.term(denominator))
            case Mod(numerator, denominator):
                return lb.mod(self.term(numerator), self.term(denominator))
            case Product(left, right):
                return lb.mul(self.term(left), self.term(right))
            case _:
                assert_never(atom)

    def extreme(self, ends: tuple[Term, ...], combine: Callable[[Expr, Expr], Expr]) -> Expr:
        """Return the greatest or least of several ends of a range."""
        result = self.term(ends[0])
        for end in ends[1:]:
            result = combine(result, self.term(end))
        return result

    def variable(self, name: str) -> Expr:
        """Return a bound variable, its alias, or a parameter."""
        if name in self.aliases:
            return self.aliases[name]
        if name not in self.local:
            self.integers.setdefault(name, IntParam(name))
        return Var(name, INT)

    def load(self, array: str, arguments: tuple[Term, ...], type: str) -> Load:
        """Return ``array[arguments]`` and make the array a parameter."""
        if array not in self.arrays:
            dtype = self.index_dtypes[array] if type == INT else type
            self.arrays[array] = ArrayParam(array, dtype, len(arguments))
        proved = all(self.is_nonnegative(a) for a in arguments)
        found = lb.load(array, *(self.term(a) for a in arguments), type=type, proved=proved)
        return replace(found, natural=True) if type == INT and array in self.natural else found

    def is_nonnegative(self, term: Term) -> bool:
        """Whether a sum of proved non-negative variables, scaled up, is all there is."""
        if term.constant < 0:
            return False
        return all(c > 0 and self._atom_nonnegative(a) for c, a in term.parts)

    def _atom_nonnegative(self, atom: TermVar | UF | FloorDiv | Mod | Product) -> bool:
        match atom:
            case TermVar(name):
                return name in self.nonnegative or name not in self.local
            case FloorDiv(numerator, denominator):
                return self.is_nonnegative(numerator) and not terms.variables(denominator)
            case Mod(_, denominator):
                return not terms.variables(denominator)
            case UF() | Product():
                return False
            case _:
                assert_never(atom)

    def expression(self, node: ct.Expression, values: Mapping[ct.Access, Expr]) -> Expr:
        """Return a contraction expression over the loaded values of its accesses."""
        match node:
            case ct.Literal(value, dtype):
                return Const(value, dtype)
            case ct.Access():
                return values[node]
            case ct.Stored(tensor, subscripts, _):
                return values[ct.Access(f"?{tensor}", subscripts)]
            case ct.IndexValue(index):
                return lb.cast(self.term(subscript_term(index)), "int64")
            case ct.Extent(name):
                return lb.cast(self.variable(extent_name(name)), "int64")
            case ct.Call(operator, arguments):
                given = [self.expression(a, values) for a in arguments]
                dtype = dtype_of(node, self.program)
                return lb.apply(operator, *given, type=dtype)
            case ct.Reduce():
                raise AssertionError("a reduction inside an expression was not lifted")
            case _:
                assert_never(node)
