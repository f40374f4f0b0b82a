"""Values of loops as vectors: what neighbouring turns of a loop compute, written once.

Takes: the value that the last statement of a loop's body adds or stores, and what the body defines
before.  Gives: the same of a vector of turns, None where there is no such vector.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from sparsedsl.loops.effects import reads
from sparsedsl.loops.nodes import Apply, Assign, Cast, Expr, Load, Stmt, Var
from sparsedsl.loops.vectors import ARITHMETIC, element
from sparsedsl.loops.walk import with_children


def put(node: Expr, old: Expr, new: Expr) -> Expr:
    """Return ``node`` with ``new`` wherever ``old`` stands."""
    return new if node == old else with_children(node, lambda child: put(child, old, new))


def substituted(value: Expr, definitions: Iterable[Stmt]) -> Expr:
    """Return ``value`` with variables replaced by their ``definitions``, which are assignments."""
    for definition in reversed(tuple(definitions)):
        assert isinstance(definition, Assign)
        value = put(value, definition.variable, definition.value)
    return value


def neighbours(
    node: Expr, turn: Var, one: AbstractSet[str], kind: str, moving: AbstractSet[str]
) -> Expr | None:
    """Return a value as a vector of the elements from ``turn`` on, None where it has none.

    Arrays ``one`` have one axis; what reads no name that is ``moving`` is the same in all elements.
    """
    if not reads(node) & moving:
        return Cast(node, kind) if node.type == element(kind) else None
    match node:
        case Load(array, (place,), type, True) if array in one and place == turn:
            return Load(array, (turn,), kind) if type == element(kind) else None
        case Apply(function, arguments, type) if function in ARITHMETIC and type == element(kind):
            parts = [neighbours(a, turn, one, kind, moving) for a in arguments]
            found = tuple(part for part in parts if part is not None)
            return Apply(function, found, kind) if len(found) == len(parts) else None
        case _:
            return None


def along(node: Expr, column: Var, at: Expr, type: str) -> Expr | None:
    """Return a value as a vector of the columns from ``at`` on, None where it has none.

    What is read along the last axis, and nowhere else, at ``column`` is read in one piece; what
    does not read ``column`` is the same in all elements.
    """
    if node.type != element(type):
        return None
    if column.name not in reads(node):
        return Cast(node, type)
    match node:
        case Load(array, (*outer, last), _, True) if last == column:
            if any(column.name in reads(subscript) for subscript in outer):
                return None
            return Load(array, (*outer, at), type)
        case Apply(function, arguments) if function in ARITHMETIC:
            parts = [along(argument, column, at, type) for argument in arguments]
            found = tuple(part for part in parts if part is not None)
            return Apply(function, found, type) if len(found) == len(parts) else None
        case _:
            return None
