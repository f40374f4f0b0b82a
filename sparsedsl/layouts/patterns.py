"""Forms of constraints that say how an index array is filled.

Takes: constraints and equalities.  Gives: what they say of one array, or None.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedsl.layouts.properties import Equality
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Constraint, Term


def interval_bound(constraint: Constraint, name: str) -> tuple[UF, int, int] | None:
    """(f, side, slack) of a constraint ``f(..) <= name`` (side 1) or ``name < f(..)`` (-1)."""
    side = t.coefficient(constraint.term, name)
    rest = t.subtract(constraint.term, t.scale(side, t.var(name)))
    if constraint.equality or abs(side) != 1 or len(rest.parts) != 1:
        return None
    factor, node = rest.parts[0]
    if factor != -side or not isinstance(node, UF):
        return None
    return node, side, rest.constant * side


def lone_call(term: Term) -> UF | None:
    """The call a term is nothing but."""
    if term.constant == 0 and len(term.parts) == 1 and term.parts[0][0] == 1:
        node = term.parts[0][1]
        return node if isinstance(node, UF) else None
    return None


@dataclass(frozen=True, slots=True)
class Recurrence:
    """``call`` (at ``x + 1``) exceeds the same array at ``x`` by ``step``."""

    call: UF
    step: Term


def recurrence(item: Equality) -> Recurrence | None:
    """The step of an equality between neighbours of one array."""
    difference = t.subtract(item.left, item.right)
    for factor, node in difference.parts:
        if not isinstance(node, UF) or abs(factor) != 1 or len(node.arguments) != 1:
            continue
        before = UF(node.function, (t.subtract(node.arguments[0], t.ONE),))
        rest = t.subtract(t.scale(factor, difference), t.atom(node))
        step = t.scale(-1, t.add(rest, t.atom(before)))
        names = t.variables(node.arguments[0])
        if names and all(call.function != node.function for call in t.ufs(step)):
            return Recurrence(node, step)
    return None


def leap(term: Term) -> Recurrence | None:
    """The least step of ``f(x + 1) - f(x) - e >= 0``: at least ``e``."""
    for factor, node in term.parts:
        if factor != 1 or not isinstance(node, UF) or len(node.arguments) != 1:
            continue
        before = UF(node.function, (t.subtract(node.arguments[0], t.ONE),))
        step = t.scale(-1, t.add(t.subtract(term, t.atom(node)), t.atom(before)))
        if t.variables(node.arguments[0]) and not t.ufs(step):
            return Recurrence(node, step)
    return None


def first_value(item: object, function: str) -> Term | None:
    """``a`` of a property ``function(0) = a``."""
    if not isinstance(item, Equality):
        return None
    for left, right in ((item.left, item.right), (item.right, item.left)):
        if left == t.uf(function, t.ZERO) and not t.ufs(right):
            return right
    return None
