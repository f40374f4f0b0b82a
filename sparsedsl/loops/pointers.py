"""Pointers to rows of large arrays fetched before the rows they point to are.

    for p in a .. b:                        for p in a .. b:
        k = indices[p]                          soon = indices[min(p + 24, length(indices) - 1)]
        for q in ptr[k] .. ptr[k + 1]:  =>      prefetch ptr[soon]
            ... B[q] ...                        k = indices[p]
                                                for q in ptr[k] .. ptr[k + 1]:
                                                    ... B[q] ...

Where a row begins is waited for before any of it is: a row that is fetched 12 turns early
(``loops.fetch``) reads its pointer there, which this has brought near by then.  What is read is
inside its array, as there; a prefetch changes no value.  Takes and gives a kernel that
``loops.verify`` accepts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from sparsedsl.loops.effects import changes, reads
from sparsedsl.loops.fetch import AHEAD
from sparsedsl.loops.nodes import (
    Assign,
    Comment,
    Expr,
    For,
    Kernel,
    Load,
    Prefetch,
    Stmt,
    Var,
    While,
)
from sparsedsl.loops.told import later, leaves, put, told
from sparsedsl.loops.walk import expressions, operands, statements, with_bodies

EARLIER = 2 * AHEAD
"""Turns after which a row begins at a pointer that is fetched."""


def pointers(kernel: Kernel, far: Collection[str]) -> Kernel:
    """Return ``kernel`` with pointers fetched before the rows they point to.

    Parameters
    ----------
    kernel:
        A verified kernel.
    far:
        Those of its arguments that are read far apart and do not stay in cache.
    """
    given = {p.name for p in kernel.params} - changes(kernel.body)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        inner = (with_bodies(statement, block) for statement in body)
        return tuple(loop(s) if isinstance(s, For) and s.step == 1 else s for s in inner)

    def loop(statement: For) -> For:
        found: dict[tuple[str, str], Prefetch] = {}
        for array, index, place in _pointers(statement):
            if array in far and {array, index} <= given:
                found.setdefault((array, index), Prefetch(array, (place,), to_store=False))
        if not found:
            return statement
        note = Comment(f"where rows begin that are read {EARLIER} turns later")
        return replace(statement, body=(note, *found.values(), *statement.body))

    return replace(kernel, body=block(kernel.body))


def _pointers(loop: For) -> Iterator[tuple[str, str, Expr]]:
    """Yield arrays of integers, what tells where they are read, and where some turns later.

    Turns that do no more than read them are short enough that a processor goes on with later ones
    by itself.
    """
    if leaves(loop.body) or not any(isinstance(s, For | While) for s in statements(loop.body)):
        return
    others = changes(loop.body)
    known: dict[str, Expr] = {}
    for statement in loop.body:
        for operand in operands(statement):
            for node in expressions(operand):
                match node:
                    case Load(array, (subscript,), "int"):
                        place = put(subscript, known)
                        index = told(place, loop.variable)
                        soon = later(place, loop.variable, EARLIER)
                        if index is not None and not reads(soon) & others:
                            yield array, index, soon
                    case _:
                        pass
        match statement:
            case Assign(Var(name, "int"), value):
                known[name] = put(value, known)
            case _:
                pass
