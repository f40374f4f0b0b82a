"""Elements that a loop's range and its body both read are read once, before the loop.

    for i in 0 .. n - off[d]:               off_here = off[d]
        j = i + off[d]                =>    for i in 0 .. n - off_here:
        ...                                     j = i + off_here

The compiler could not see by itself that what the loop stores is not ``off``.  A range is
evaluated whether the loop turns or not, so that nothing is read that was not read before.
Takes and gives a kernel that ``loops.verify`` accepts; results are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sparsedsl.loops.effects import changed, changes, fresh, names, reads
from sparsedsl.loops.nodes import Assign, Binary, Expr, For, Kernel, Load, Select, Stmt, Var
from sparsedsl.loops.walk import (
    bodies,
    children,
    expressions,
    operands,
    statements,
    with_bodies,
    with_children,
    with_operands,
)


def reuse(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with the loads that a loop's range and body share made once."""
    taken = names(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            *before, last = _shared(statement, taken)
            found += [*before, with_bodies(last, block)]
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


def _shared(statement: Stmt, taken: set[str]) -> tuple[Stmt, ...]:
    """Return the loads made before ``statement``, then the statement that uses them."""
    before: list[Stmt] = []
    if isinstance(statement, For):
        for load in dict.fromkeys(_certain_loads(statement.start, statement.stop)):
            if _worth_keeping(load, statement):
                kept = Var(fresh(f"{load.array}_here", taken), load.type)
                before.append(Assign(kept, load))
                statement = _replaced(statement, load, kept)
    return (*before, statement)


def _certain_loads(*nodes: Expr) -> Iterator[Load]:
    """Yield the loads that evaluating ``nodes`` makes in any case."""
    for node in nodes:
        match node:
            case Select(condition):
                yield from _certain_loads(condition)
                continue
            case Binary("and" | "or", left, _):
                yield from _certain_loads(left)
                continue
            case Load():
                yield node
            case _:
                pass
        yield from _certain_loads(*children(node))


def _worth_keeping(load: Load, statement: Stmt) -> bool:
    """Whether the body of a loop reads ``load`` again and nothing in it changes it."""
    (body,) = bodies(statement)
    if reads(load) & (changes(body) | changed(statement)):
        return False
    inner = (o for s in statements(body) for o in operands(s))
    return any(part == load for operand in inner for part in expressions(operand))


def _replaced(statement: Stmt, old: Expr, new: Expr) -> Stmt:
    """Return ``statement`` with ``old`` replaced wherever it stands in it."""

    def expression(node: Expr) -> Expr:
        return new if node == old else with_children(node, expression)

    return with_bodies(
        with_operands(statement, expression),
        lambda body: tuple(_replaced(inner, old, new) for inner in body),
    )
