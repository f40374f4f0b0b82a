"""Places where the elements of a loop begin, loaded before it.

                                            if a < b:
    for j in a .. b:                            ptr_start = ptr[i]
        y[j] =add= data[ptr[i] + j]    =>       for j in a .. b:
                                                    y[j] =add= data[ptr_start + j]

The compiler could not see by itself that a store leaves ``ptr`` as it is, and would take neither
several elements at once.  Takes and gives a kernel that ``loops.verify`` accepts; different arrays
of a kernel are taken to be different memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sparsedsl.loops import build as lb
from sparsedsl.loops.effects import changes, fresh, names, reads
from sparsedsl.loops.nodes import INT, Assign, Expr, For, If, Kernel, Load, Stmt, Store, Var, While
from sparsedsl.loops.walk import (
    expressions,
    operands,
    statements,
    with_bodies,
    with_children,
    with_operands,
)


def starts(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with index loads that innermost loops with stores repeat taken out."""
    taken = names(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(found for s in body for found in _out_of(with_bodies(s, block), taken))

    return replace(kernel, body=block(kernel.body))


def _out_of(statement: Stmt, taken: set[str]) -> tuple[Stmt, ...]:
    if not isinstance(statement, For):
        return (statement,)
    inside = [*statements(statement.body)]
    stores = any(isinstance(s, Store) for s in inside)
    if not stores or any(isinstance(s, For | While) for s in inside):
        return (statement,)
    moving = changes(statement.body) | {statement.variable.name}
    loads = dict.fromkeys(load for load in _each_turn(statement.body) if not reads(load) & moving)
    if not loads:
        return (statement,)
    held = {load: Var(fresh(f"{load.array}_start", taken), INT) for load in loads}

    def loaded(node: Expr) -> Expr:
        found = held.get(node) if isinstance(node, Load) else None
        return found or with_children(node, loaded)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(with_bodies(with_operands(s, loaded), block) for s in body)

    begun = [Assign(variable, load) for load, variable in held.items()]
    loop = replace(statement, body=block(statement.body))
    return (If(lb.lt(statement.start, statement.stop), (*begun, loop)),)


def _each_turn(body: tuple[Stmt, ...]) -> Iterator[Load]:
    """Yield the index loads in subscripts of what every turn, so the first, loads and stores."""
    for statement in body:
        if not isinstance(statement, Assign | Store):
            return
        subscripts = [*statement.subscripts] if isinstance(statement, Store) else []
        for operand in operands(statement):
            for node in expressions(operand):
                subscripts += node.subscripts if isinstance(node, Load) else ()
        for subscript in subscripts:
            for node in expressions(subscript):
                if isinstance(node, Load) and node.type == INT:
                    yield node
