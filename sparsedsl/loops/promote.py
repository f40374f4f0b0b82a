"""Accumulation into array elements that a loop does not change, held in scalars instead.

    for p in a .. b:                    if a < b:
        j = indices[p]                      y_sum = y[i]
        y[i] =add= f(p)            =>       for p in a .. b:
                                                j = indices[p]
                                                y_sum = add(y_sum, f(p))
                                            y[i] = y_sum

The loop then carries its sums in registers and can be vectorised; the compiler could not see
by itself that ``y`` shares no memory with the arrays it reads.  Several elements of one array
are held if their places differ by constants, as the rows of a block do.  Values are combined
in the same order.  Takes and gives a kernel that ``loops.verify`` accepts; different arrays of
a kernel are taken to be different memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.loops import build
from sparsedsl.loops.effects import array_dtypes, changes, fresh, names, reads, touched
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    Assign,
    Break,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.simplify import expression
from sparsedsl.loops.walk import statements, with_bodies, with_children

MOST = 16
"""Most elements that one loop holds: as many registers as there are, about."""


def promote(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with accumulations into loop-invariant elements held in scalars.

    Only an accumulation that runs in every iteration is moved, so that no element is touched
    which the original would not have touched.
    """
    return replace(kernel, body=_Promotion(array_dtypes(kernel), names(kernel)).block(kernel.body))


class _Promotion:
    """One pass: the dtypes of the arrays and the names already taken."""

    def __init__(self, dtypes: dict[str, str], taken: set[str]) -> None:
        self.dtypes = dtypes
        self.taken = taken

    def block(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(part for statement in body for part in self.statement(statement))

    def statement(self, statement: Stmt) -> tuple[Stmt, ...]:
        if isinstance(statement, For):
            held = dict(_candidates(statement))
            if held:
                return self.hoist(statement, held)
        return (with_bodies(statement, self.block),)

    def hoist(self, loop: For, held: dict[int, Store]) -> tuple[Stmt, ...]:
        """Move the stores at these places of the loop's body out of it."""
        totals: dict[tuple[str, tuple[Expr, ...]], Var] = {}
        before: list[Stmt] = []
        after: list[Stmt] = []
        body: list[Stmt] = []
        for place, part in enumerate(loop.body):
            store = held.get(place)
            if store is None:
                body.append(part)
                continue
            element = (store.array, store.subscripts)
            if element not in totals:
                dtype = self.dtypes[store.array]
                totals[element] = Var(fresh(f"{store.array}_sum", self.taken), dtype)
                load = Load(store.array, store.subscripts, dtype, store.proved)
                before.append(Assign(totals[element], load))
                after.append(replace(store, value=totals[element], combine=None))
            body.append(_accumulated(store, totals[element]))
        loop = replace(loop, body=self.block(tuple(body)))
        first, past = (loop.start, loop.stop) if loop.step > 0 else (loop.stop, loop.start)
        runs = build.lt(first, past)
        return (If(runs, (*before, loop, *after)),)


def _accumulated(store: Store, total: Var) -> Stmt:
    operator = MONOIDS[store.combine or "add"].operator
    value = build.cast(store.value, total.type)
    return Assign(total, Apply(operator, (total, value), total.type))


def _candidates(loop: For) -> Iterator[tuple[int, Store]]:
    """Yield the stores of ``loop`` that can be held in scalars, by their place in its body.

    Their subscripts are written with what the loop does not change.
    """
    inner = list(statements(loop.body))
    if any(isinstance(statement, Break) for statement in inner):
        return
    moving = changes(loop.body) | {loop.variable.name}
    uses = Counter(name for statement in inner for name in touched(statement))
    found: dict[str, list[tuple[int, Store]]] = {}
    for place, store in _resolved(loop.body, moving):
        if not any(reads(subscript) & moving for subscript in store.subscripts):
            found.setdefault(store.array, []).append((place, store))
    for array, stores in found.items():
        elements = list(dict.fromkeys(store.subscripts for _, store in stores))
        alone = len(stores) == uses[array] and len({s.combine for _, s in stores}) == 1
        apart = all(_apart(a, b) for a, b in combinations(elements, 2))
        if alone and apart and len(elements) <= MOST:
            yield from stores


def _resolved(body: tuple[Stmt, ...], moving: set[str]) -> Iterator[tuple[int, Store]]:
    """Yield the accumulations of a loop's body, ints that it computes put in their place."""
    known: dict[str, Expr] = {}

    def put(node: Expr) -> Expr:
        if isinstance(node, Var) and node.name in known:
            return known[node.name]
        return expression(with_children(node, put))

    for place, statement in enumerate(body):
        match statement:
            case Store(_, subscripts) if statement.combine is not None:
                yield place, replace(statement, subscripts=tuple(map(put, subscripts)))
            case Assign(Var(name, "int"), value):
                value = put(value)
                known.pop(name, None)
                if not reads(value) & moving:
                    known[name] = value
            case _:
                for name in changes((statement,)):
                    known.pop(name, None)


def _apart(left: tuple[Expr, ...], right: tuple[Expr, ...]) -> bool:
    """Whether two places differ, by a constant along some axis."""
    gaps = (build.sub(a, b) for a, b in zip(left, right, strict=True))
    return any(isinstance(gap, Const) and gap.type == INT and gap.value != 0 for gap in gaps)
