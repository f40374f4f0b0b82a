"""Loops that add to elements which index arrays tell.

Takes: kernels.  Gives: facts.  Such a turn loads what the one before it may have stored: copies of
it, one behind the other, are done no sooner, and a loop over what is left of them ends in a turn
that is not foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparsedsl.loops.nodes import Assign, Expr, For, If, Kernel, Load, Store, Var, While
from sparsedsl.loops.walk import expressions, statements, with_children


def only_scatters(kernel: Kernel) -> bool:
    """Return whether all innermost loops of a kernel add to elements that index arrays tell.

    Those around which there is none, and that store nothing, look at a few samples.
    """
    loops = [s for s in statements(kernel.body) if isinstance(s, For | While)]
    around = [s for s in loops if any(isinstance(x, For | While) for x in statements(s.body))]
    nested = [x for s in around for x in statements(s.body)]
    inner = [
        s
        for s in loops
        if s not in around
        if s in nested or any(isinstance(x, Store) for x in statements(s.body))
    ]
    return bool(inner) and all(isinstance(s, For) and _scatters(s) for s in inner)


def _scatters(loop: For) -> bool:
    known = {s.variable.name: s.value for s in loop.body if isinstance(s, Assign)}
    return any(
        isinstance(s, Store)
        and s.combine is not None
        and any(_told(subscript, loop.variable, known) for subscript in s.subscripts)
        for s in loop.body
    ) or any(isinstance(s, If) and s.even and isinstance(s.then[-1], Store) for s in loop.body)


def _told(subscript: Expr, turn: Var, known: Mapping[str, Expr]) -> bool:
    """Whether an index array tells a subscript at each turn."""
    value = _put(subscript, known)
    return any(isinstance(part, Load) and turn in part.subscripts for part in expressions(value))


def _put(node: Expr, known: Mapping[str, Expr]) -> Expr:
    """Put the definitions of variables in."""
    if isinstance(node, Var):
        return known.get(node.name, node)
    return with_children(node, lambda child: _put(child, known))
