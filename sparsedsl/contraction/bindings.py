"""Names of bound indices: which are free, and giving each ``Reduce`` names of its own.

Takes: an expression.  Gives: the same expression, bound indices renamed where two of them
share a name although both may be in scope of one product.  Invariant: terms of a sum may
share bound names (``sum(k, ...) + sum(k, ...)``), factors may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from sparsedsl.contraction.algebra import walk
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Call,
    Expression,
    IndexValue,
    Literal,
    Reduce,
    Stored,
)


def free_indices(expression: Expression) -> tuple[str, ...]:
    """Return the indices no ``Reduce`` binds, in order of first appearance."""
    match expression:
        case Literal():
            return ()
        case Access(_, subscripts) | Stored(_, subscripts):
            return tuple(dict.fromkeys(n for s in subscripts for n in s.indices))
        case IndexValue(index):
            return index.indices
        case Call(_, arguments):
            return tuple(dict.fromkeys(n for a in arguments for n in free_indices(a)))
        case Reduce(_, indices, body):
            return tuple(n for n in free_indices(body) if n not in indices)
        case _:
            assert_never(expression)


def bound_indices(expression: Expression) -> frozenset[str]:
    """Return the indices that some ``Reduce`` inside binds."""
    return frozenset(n for e in walk(expression) if isinstance(e, Reduce) for n in e.indices)


def rename(expression: Expression, names: Mapping[str, str]) -> Expression:
    """Replace free indices by others; bound ones are left alone."""
    match expression:
        case Literal():
            return expression
        case Access(_, subscripts) | Stored(_, subscripts):
            return replace(
                expression, subscripts=tuple(rename_affine(s, names) for s in subscripts)
            )
        case IndexValue(index):
            return IndexValue(rename_affine(index, names))
        case Call(operator, arguments):
            return Call(operator, tuple(rename(a, names) for a in arguments))
        case Reduce(monoid, indices, body):
            kept = {old: new for old, new in names.items() if old not in indices}
            return Reduce(monoid, indices, rename(body, kept))
        case _:
            assert_never(expression)


def rename_affine(index: Affine, names: Mapping[str, str]) -> Affine:
    """Replace index names in an affine subscript."""
    terms = sorted((names.get(name, name), coefficient) for name, coefficient in index.terms)
    return Affine(tuple(terms), index.constant)


def distinct(expression: Expression, taken: frozenset[str] = frozenset()) -> Expression:
    """Rename bound indices so that factors share none, nor any of ``taken``.

    A second ``k`` becomes ``k_2``.  Terms of a sum keep sharing theirs.
    """
    return _distinct(expression, taken | frozenset(free_indices(expression)))


def _distinct(expression: Expression, taken: frozenset[str]) -> Expression:
    match expression:
        case Literal() | Access() | Stored() | IndexValue():
            return expression
        case Call(operator, arguments):
            done: list[Expression] = []
            for argument in arguments:
                done.append(_distinct(argument, taken))
                if operator not in ("add", "sub"):
                    taken |= bound_indices(done[-1])
            return Call(operator, tuple(done))
        case Reduce(monoid, indices, body):
            names = {name: _fresh(name, taken, body) for name in indices}
            fresh = tuple(names.values())
            renamed = rename(body, {old: new for old, new in names.items() if old != new})
            return Reduce(monoid, fresh, _distinct(renamed, taken | frozenset(fresh)))
        case _:
            assert_never(expression)


def _fresh(name: str, taken: frozenset[str], body: Expression) -> str:
    if name not in taken:
        return name
    inside = bound_indices(body) | frozenset(free_indices(body))
    number = 2
    while f"{name}_{number}" in taken or f"{name}_{number}" in inside:
        number += 1
    return f"{name}_{number}"
