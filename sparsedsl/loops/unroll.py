"""Loops of a small constant number of turns, written out.

    for c in 0 .. 2:                        y_sum = y_sum + data[p, 0] * x[3*j]
        v = data[p, c]                =>    y_sum = y_sum + data[p, 1] * x[3*j + 1]
        y_sum = y_sum + v * x[3*j + c]

What stands in the same place of every turn, such as the rows of a block, can then be held in
registers.  Takes and gives a kernel that ``loops.verify`` accepts; results are the same bit
for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sparsedsl.loops.effects import changes, reads, straight_names, uses
from sparsedsl.loops.nodes import (
    INT,
    Assign,
    Break,
    Const,
    Expr,
    For,
    Kernel,
    Stmt,
    Store,
    Var,
    While,
)
from sparsedsl.loops.simplify import expression
from sparsedsl.loops.walk import statements, with_bodies, with_children, with_operands

TURNS = 8
"""Most turns of a loop that is written out."""

STATEMENTS = 64
"""Most statements that one loop becomes."""


def unroll(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with short loops of constant range written out, inner ones first.

    A loop around others that stay is left: copies of those would run one after the other.
    """
    straight = straight_names(kernel.body) - set(kernel.results)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(part for s in body for part in _unrolled(with_bodies(s, block), straight))

    return replace(kernel, body=block(kernel.body))


def _unrolled(statement: Stmt, straight: set[str]) -> tuple[Stmt, ...]:
    turns = _turns(statement) if isinstance(statement, For) else None
    if not isinstance(statement, For) or turns is None or len(turns) > TURNS:
        return (statement,)
    body = _joined(statement.body, straight)
    inner = list(statements(body))
    loops = any(isinstance(s, For | While | Break) for s in inner)
    if loops or len(turns) * len(inner) > STATEMENTS:
        return (statement,)
    name = statement.variable.name
    return tuple(part for turn in turns for part in _substituted(body, {name: Const(turn, INT)}))


def _turns(loop: For) -> range | None:
    match loop.start, loop.stop:
        case Const(start, "int"), Const(stop, "int"):
            return range(int(start.real), int(stop.real), loop.step)
        case _:
            return None


def _substituted(body: tuple[Stmt, ...], values: Mapping[str, Expr]) -> tuple[Stmt, ...]:
    """Return ``body`` with variables that it does not change replaced."""

    def put(node: Expr) -> Expr:
        if isinstance(node, Var) and node.name in values:
            return values[node.name]
        return with_children(node, put)

    return tuple(
        with_bodies(
            with_operands(s, lambda node: expression(put(node))),
            lambda inner: _substituted(inner, values),
        )
        for s in body
    )


def _joined(body: tuple[Stmt, ...], straight: set[str]) -> tuple[Stmt, ...]:
    """Put values that one later statement of ``body`` reads in their place."""
    for place, statement in enumerate(body):
        rest = body[place + 1 :]
        if not isinstance(statement, Assign) or statement.variable.name not in straight:
            continue
        at = _only_reader(statement, rest)
        if at is not None:
            put = {statement.variable.name: statement.value}
            reader = _substituted((rest[at],), put)
            return _joined((*body[:place], *rest[:at], *reader, *rest[at + 1 :]), straight)
    return body


def _only_reader(definition: Assign, rest: tuple[Stmt, ...]) -> int | None:
    """Return the place of the one statement that reads a value, if it can be computed there."""
    name = definition.variable.name
    readers = [k for k, s in enumerate(rest) if name in set(uses((s,)))]
    if len(readers) != 1 or name in changes(rest):
        return None
    (at,) = readers
    between = changes(rest[:at])
    simple = isinstance(rest[at], Assign | Store)
    return at if simple and not reads(definition.value) & between else None
