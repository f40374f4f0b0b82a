"""Accumulation into an array element that a loop does not change, held in a scalar instead.

    for p in a .. b:                    if a < b:
        j = indices[p]                      y_sum = y[i]
        y[i] =add= f(p)            =>       for p in a .. b:
                                                j = indices[p]
                                                y_sum = add(y_sum, f(p))
                                            y[i] = y_sum

The loop then carries its sum in a register and can be vectorised; the compiler could not see
by itself that ``y`` shares no memory with the arrays it reads.  Values are combined in the
same order.  Takes and gives a kernel that ``loops.verify`` accepts; different arrays of a
kernel are taken to be different memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.loops import build
from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    ArrayParam,
    Assign,
    Break,
    Expr,
    For,
    If,
    Kernel,
    Length,
    Load,
    Resize,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.walk import expressions, operands, statements, with_bodies


def promote(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with accumulations into loop-invariant elements held in scalars.

    Only an accumulation that runs in every iteration is moved, so that no element is touched
    which the original would not have touched.
    """
    dtypes = {p.name: p.dtype for p in kernel.params if isinstance(p, ArrayParam)}
    names = {p.name for p in kernel.params}
    for statement in statements(kernel.body):
        names |= _assigned(statement)
        if isinstance(statement, Allocate):
            dtypes[statement.array] = statement.dtype
    return replace(kernel, body=_Promotion(dtypes, names).block(kernel.body))


class _Promotion:
    """One pass: the dtypes of the arrays and the names already taken."""

    def __init__(self, dtypes: dict[str, str], names: set[str]) -> None:
        self.dtypes = dtypes
        self.names = names

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(part for statement in body for part in self.statement(statement))

    def statement(self, statement: Stmt) -> tuple[Stmt, ...]:
        if isinstance(statement, For):
            candidates = tuple(_candidates(statement))
            if candidates:
                return self.hoist(statement, candidates)
        return (with_bodies(statement, self.block),)

    def hoist(self, loop: For, stores: tuple[Store, ...]) -> tuple[Stmt, ...]:
        before: list[Stmt] = []
        after: list[Stmt] = []
        body = loop.body
        for store in stores:
            dtype = self.dtypes[store.array]
            total = Var(self.fresh(f"{store.array}_sum"), dtype)
            element = Load(store.array, store.subscripts, dtype, store.proved)
            before.append(Assign(total, element))
            after.append(replace(store, value=total, combine=None))
            body = tuple(self.accumulated(part, store, total) for part in body)
        loop = replace(loop, body=self.block(body))
        first, past = (loop.start, loop.stop) if loop.step > 0 else (loop.stop, loop.start)
        runs = build.lt(first, past)
        return (If(runs, (*before, loop, *after)),)

    def accumulated(self, part: Stmt, store: Store, total: Var) -> Stmt:
        if part != store or store.combine is None:
            return part
        operator = MONOIDS[store.combine].operator
        value = build.cast(store.value, total.type)
        return Assign(total, Apply(operator, (total, value), total.type))

    def fresh(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name


def _candidates(loop: For) -> Iterator[Store]:
    """Yield the stores of ``loop`` that can be held in a scalar, one per array."""
    changed = {loop.variable.name}
    touched: dict[str, int] = {}
    for statement in statements(loop.body):
        changed |= _assigned(statement)
        for name in _touched(statement):
            touched[name] = touched.get(name, 0) + 1
    if any(isinstance(statement, Break) for statement in statements(loop.body)):
        return
    for statement in loop.body:
        if not isinstance(statement, Store) or statement.combine is None:
            continue
        invariant = not any(_reads(place) & changed for place in statement.subscripts)
        if invariant and touched[statement.array] == 1:
            yield statement


def _assigned(statement: Stmt) -> set[str]:
    """Return the variable or array that ``statement`` changes."""
    match statement:
        case Assign(variable) | For(variable):
            return {variable.name}
        case Store(array) | Allocate(array) | Resize(array):
            return {array}
        case _:
            return set()


def _touched(statement: Stmt) -> list[str]:
    """Return the arrays that ``statement`` itself reads, stores to or replaces, once per use."""
    found = [name for operand in operands(statement) for name in _arrays(operand)]
    if isinstance(statement, Store | Allocate | Resize):
        found.append(statement.array)
    return found


def _arrays(node: Expr) -> list[str]:
    return [part.array for part in expressions(node) if isinstance(part, Load | Length)]


def _reads(node: Expr) -> set[str]:
    """Return the variables and arrays ``node`` reads."""
    variables = {part.name for part in expressions(node) if isinstance(part, Var)}
    return variables | set(_arrays(node))
