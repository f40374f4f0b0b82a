"""A place in loops that check data, and what is known there.

Takes: terms of a specification.  Gives: statements of the loop IR.  Invariant: a subscript is
followed only where it is known to lie inside its array; where it does not, data is bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.reader import Reader
from sparsedsl.layouts.sizes import inside_by_lengths
from sparsedsl.layouts.structure import Structure
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import INT, Assign, Expr, If, Stmt
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Constraint, Term

Body: TypeAlias = "tuple[Stmt, ...]"

BAD = lb.ivar("bad")
"""Not 0 once something does not hold."""


def length_name(array: str, axis: int) -> str:
    """Return the parameter that holds the length of the value array along an axis."""
    return f"length_{array}_{axis}"


def flag(wrong: Expr) -> Body:
    """Note that data is bad where ``wrong`` is true."""
    return (Assign(BAD, lb.bit_or(BAD, lb.cast(wrong, INT))),)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a walk: the variables known there, and subscripts known to be inside.

    ``inside`` are pairs of an array's axis and the variable that subscripts it.
    """

    layout: Layout
    part: Structure | None
    variables: Mapping[str, Expr]
    inside: frozenset[tuple[str, int, str]] = frozenset()

    def read(self, term: Term) -> Expr:
        """The value of a term."""
        return Reader(self.variables, "s_")(term)

    def holds(self, constraint: Constraint) -> Expr:
        """The condition a constraint states."""
        return Reader(self.variables, "s_").holds(constraint)

    def length(self, array: str, axis: int) -> Expr:
        """How long an array is along an axis."""
        if array == self.layout.value.function:
            return lb.ivar(length_name(array, axis))
        return lb.length(f"s_{array}", axis)

    def with_variable(self, name: str, value: Expr) -> Place:
        """Return this place with one more variable known."""
        return replace(self, variables={**self.variables, name: value})

    def guarded(self, terms: Iterable[Term], body: Body) -> Body:
        """``body`` where every subscript in ``terms`` is inside its array; else data is bad."""
        conditions: list[Expr] = []
        for call in reversed(t.all_ufs(terms)):
            for axis, argument in enumerate(call.arguments):
                if not self._sure(call, axis):
                    length = self.length(call.function, axis)
                    conditions.append(lb.compare("below", self.read(argument), length))
        inside = lb.conj(*dict.fromkeys(conditions))
        return body if inside == lb.TRUE else (If(inside, body, (Assign(BAD, lb.i(1)),)),)

    def _sure(self, call: UF, axis: int) -> bool:
        """Whether the range of a dim, or the checked lengths, keep a subscript inside."""
        argument = call.arguments[axis]
        if any(
            argument == t.var(name)
            for array, k, name in self.inside
            if (array, k) == (call.function, axis)
        ):
            return True
        return self.part is not None and inside_by_lengths(self.layout, call, self.part)
