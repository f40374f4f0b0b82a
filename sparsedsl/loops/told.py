"""Places that an index array tells of, some turns of a loop before they come.

    k = indices[p]              indices[min(p + 12, length(indices) - 1)]
    ... ptr[k] ...       =>     tells ``k`` 12 turns later

Beyond the end of the loop the entries are those of its next run.  Takes: expressions in the body of
a loop.  Gives: what they are in a later turn; the last entry of the array stays the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sparsedsl.loops import build
from sparsedsl.loops.nodes import Break, Expr, If, Load, Stmt, Var
from sparsedsl.loops.walk import bodies, expressions, with_children


def told(node: Expr, turn: Var) -> str | None:
    """Return the index array that tells a place at a turn, if one does and nothing else."""
    arrays = [
        part.array
        for part in expressions(node)
        if isinstance(part, Load) and part.subscripts == (turn,) and part.proved
    ]
    alone = sum(part == turn for part in expressions(node)) == 1
    return arrays[0] if arrays and alone else None


def later(node: Expr, turn: Var, turns: int) -> Expr:
    """Return an expression with what index arrays hold at ``turn`` read some turns later."""
    match node:
        case Load(array, (place,), "int", True) if place == turn:
            last = build.sub(build.length(array), 1)
            place = build.min_(build.add(turn, turns), last)
            return replace(node, subscripts=(place,), natural=False)
        case _:
            return with_children(node, lambda child: later(child, turn, turns))


def put(node: Expr, known: Mapping[str, Expr]) -> Expr:
    """Put the definitions of variables in."""
    if isinstance(node, Var):
        return known.get(node.name, node)
    return with_children(node, lambda child: put(child, known))


def leaves(body: tuple[Stmt, ...]) -> bool:
    """Whether a loop of this body may end before its last turn."""
    return any(
        isinstance(s, Break) or (isinstance(s, If) and any(map(leaves, bodies(s)))) for s in body
    )
