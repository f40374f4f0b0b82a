"""Names of bound indices: which are free, and giving each ``Reduce`` names of its own.

Takes: an expression.  Gives: the same expression, bound indices renamed where two of them
share a name although both may be in scope of one product.  Invariant: terms of a sum may
share bound names (``sum(k, ...) + sum(k, ...)``), factors may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import assert_never

from sparsedsl.contraction.expressions import walk
from sparsedsl.contraction.nodes import (
    Access,
    Affine,
    Assign,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Program,
    Reduce,
    Stored,
)


def free_indices(expression: Expression) -> tuple[str, ...]:
    """Return the indices no ``Reduce`` binds, in order of first appearance."""
    match expression:
        case Literal() | Extent():
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
        case Extent(name):
            return Extent(names.get(name, name))
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
    return replace(index, terms=tuple(terms))


def apart(program: Program) -> Program:
    """Rename indices that later stages could take for names of theirs.

    The dimensions and arrays of a tensor ``A`` are called ``A_i``, ``A_p``, ``A_data``, the
    extent of an index ``n_i``: a user's index of such a name becomes another, everywhere.  Arrays
    of a tensor called ``n`` are taken to have names of several letters, as such indices have.
    """
    tensors = [t.name for t in (*program.inputs, *program.outputs)]
    shorter = [name.removeprefix("n_") for name in tensors]
    prefixes = tuple(f"{name}_" for name in ("n", *tensors, *shorter))
    used = {name for statement in program.statements for name in _indices(statement)}
    names: dict[str, str] = {}
    for name in sorted(used):
        longer = any(name.startswith(f"{other}_") for other in used)
        array = "n" in tensors and len(name) > 1
        if longer or array or name.startswith(prefixes) or name in tensors:
            names[name] = _unlike(name, used | {*names.values(), *tensors}, prefixes)
    if not names:
        return program
    return replace(
        program,
        statements=tuple(_put(s, names) for s in program.statements),
        extents=tuple((names.get(name, name), size) for name, size in program.extents),
    )


def _indices(statement: Assign) -> set[str]:
    left = [n for s in statement.subscripts for n in s.indices]
    return {*left, *bound_indices(statement.expression)}


def _put(statement: Assign, names: Mapping[str, str]) -> Assign:
    """Rename the indices of a whole statement."""
    subscripts = tuple(rename_affine(s, names) for s in statement.subscripts)
    expression = _renamed(statement.expression, names)
    return replace(statement, subscripts=subscripts, expression=expression)


def _unlike(name: str, used: Set[str], prefixes: tuple[str, ...]) -> str:
    """Return a name that no other begins with, close to the old one where that is possible."""
    near = name.replace("_", "")
    return next(
        found
        for found in (near, *(f"i{n}" for n in range(len(used) + 1)))
        if found not in used
        and not any(other.startswith(f"{found}_") for other in used)
        and not f"{found}_".startswith(prefixes)
    )


def _renamed(expression: Expression, names: Mapping[str, str]) -> Expression:
    """Replace indices everywhere, bound ones too."""
    match expression:
        case Reduce(monoid, indices, body):
            return Reduce(monoid, tuple(names.get(n, n) for n in indices), _renamed(body, names))
        case Call(operator, arguments):
            return Call(operator, tuple(_renamed(a, names) for a in arguments))
        case _:
            return rename(expression, names)


def distinct(expression: Expression, taken: frozenset[str] = frozenset()) -> Expression:
    """Rename bound indices so that factors share none, nor any of ``taken``.

    A second ``k`` becomes ``k_2``.  Terms of a sum keep sharing theirs.
    """
    return _distinct(expression, taken | frozenset(free_indices(expression)))


def _distinct(expression: Expression, taken: frozenset[str]) -> Expression:
    match expression:
        case Literal() | Access() | Stored() | IndexValue() | Extent():
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
