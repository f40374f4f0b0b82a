"""How much a kernel stores of what it appends, beside the entries that are there in the end.

Takes: a kernel and the arrays that it appends to.  Gives: a ``Reach``.  Invariant: it stores no
more than that says; a reach too far costs time only.

- ``"entry"``: an entry where one is counted, and nothing else.
- ``"next"``: also one that turns out to be left out, where the next one goes.
- ``"turn"``: also more of these, until entries are written over them; no more at a time than a turn
  of the outermost loop needs room for.
- ``"piece"``: all entries of some turns, before it is seen which are left out (``loops.kept``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

from sparsedsl.loops import build
from sparsedsl.loops.nodes import (
    BOOL,
    Assign,
    Binary,
    Cast,
    Comment,
    Expr,
    Kernel,
    Pack,
    Stmt,
    Store,
    Var,
)
from sparsedsl.loops.walk import bodies, statements

Reach: TypeAlias = Literal["entry", "next", "turn", "piece"]


def reach(kernel: Kernel, arrays: Collection[str]) -> Reach:
    """Return how far a kernel stores, of the ``arrays`` that it appends to."""
    stored = [s for s in statements(kernel.body) if isinstance(s, Store) and s.array in arrays]
    if any(_ahead(place) for s in stored for place in s.subscripts):
        return "piece"
    if _counted(kernel.body, arrays, every=True):
        return "entry"
    return "next" if _counted(kernel.body, arrays, every=False) else "turn"


def _ahead(place: Expr) -> bool:
    """Whether a place is told as so far behind a counter as another one is behind a third."""
    match place:
        case Binary("+", Var(), Binary("-", _, Var())):
            return True
        case _:
            return False


def _counted(body: tuple[Stmt, ...], arrays: Collection[str], *, every: bool) -> bool:
    """Whether what is stored is at the place that counts it, and ``every`` one counted."""
    return all(
        _counts(statement, body[place + 1 :], arrays, every=every)
        and all(_counted(inner, arrays, every=every) for inner in bodies(statement))
        for place, statement in enumerate(body)
    )


def _counts(
    statement: Stmt, after: tuple[Stmt, ...], arrays: Collection[str], *, every: bool
) -> bool:
    """Whether the statements after one count what it stores, if it stores to one of the arrays."""
    match statement:
        case Store(array, (Var() as counter,), combine=None) if array in arrays:
            added: Expr = build.i(1)
        case Pack(array, Var() as counter, _, kept) if array in arrays:
            added = build.ctpop(kept)
        case Store(array) | Pack(array):
            return array not in arrays
        case _:
            return True
    for following in after:
        match following:
            case Assign(variable, value) if variable == counter:
                return value == build.add(counter, added) or (
                    not every and isinstance(statement, Store) and _if_kept(value, counter)
                )
            case Store() | Pack() | Assign() | Comment():
                pass
            case _:
                return False
    return False


def _if_kept(value: Expr, counter: Var) -> bool:
    """Whether one more is counted if something holds."""
    match value:
        case Binary("+", old, Cast(kept)):
            return old == counter and kept.type == BOOL
        case _:
            return False
