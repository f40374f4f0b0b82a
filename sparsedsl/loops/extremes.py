"""The largest or smallest of neighbouring elements, several at a time.

    s = -inf                            lanes = spread(s)
    for p in a .. b:                    for p in a .. whole by 32:
        s = maximum(s, A[p])     =>         lanes = maximum(lanes, A[p ..+32])
                                            odd |= nans(A[p ..+32])
                                        most = largest(lanes)
                                        for p in whole .. b:
                                            most = maximum(most, A[p])
                                        if most == 0 or most != most or odd:
                                            the loop as it was
                                        else:
                                            s = most

One by one each maximum waits for the one before it.  Zeros of both signs are equal, and NaNs differ
in their bits: which of them comes first is told by the loop as it was.  So results are the same bit
for bit.  Only loops that no other loop is around are taken: they are long.  Takes and gives a
kernel that ``loops.verify`` accepts; no pass comes after this one but those of vectors and
``fetch``, since others know no vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedsl.loops import build
from sparsedsl.loops.effects import fresh, names, straight_names
from sparsedsl.loops.lifting import neighbours, substituted
from sparsedsl.loops.nodes import (
    INT,
    Apply,
    ArrayParam,
    Assign,
    Binary,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Stmt,
    Var,
)
from sparsedsl.loops.vectors import FOLDS, lanes, vector
from sparsedsl.loops.walk import with_bodies

REGISTERS = 4
"""Registers of a vector: as many maxima are on their way at once."""

FOLD_OF = {operator: fold for fold, operator in FOLDS.items() if operator != "add"}


def extremes(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with its longest maxima and minima of floats taken in vectors."""
    one = {p.name for p in kernel.params if isinstance(p, ArrayParam) and p.ndim == 1}
    straight = straight_names(kernel.body) - set(kernel.results)
    taken = names(kernel)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for statement in body:
            match statement:
                case For():
                    extreme = _extreme(statement, one, straight)
                    found += [statement] if extreme is None else _in_vectors(extreme, taken)
                case If():
                    found.append(with_bodies(statement, block))
                case _:
                    found.append(statement)
        return tuple(found)

    return replace(kernel, body=block(kernel.body))


@dataclass(frozen=True, slots=True)
class _Extreme:
    """A loop, what it finds by which operator, and what each turn gives as a vector's part."""

    loop: For
    found: Var
    operator: str
    value: Expr


def _extreme(loop: For, one: set[str], straight: set[str]) -> _Extreme | None:
    """Return what a loop finds, or None where it does not have this form."""
    match loop:
        case For(step=1, body=(*assigns, Assign(found, Apply(operator, (first, value))))) if (
            operator in FOLD_OF and first == found and found.type in ("float64", "float32")
        ):
            pass
        case _:
            return None
    local = {s.variable.name for s in assigns if isinstance(s, Assign)}
    if len(local) < len(assigns) or not local <= straight:
        return None
    value = substituted(value, assigns)
    fixed = {found.name, loop.variable.name} | local
    part = neighbours(value, loop.variable, one, vector(found.type, REGISTERS), fixed)
    return None if part is None or isinstance(part, Cast) else _Extreme(loop, found, operator, part)


def _in_vectors(extreme: _Extreme, taken: set[str]) -> list[Stmt]:
    """Return the loop in vectors, the elements left, and the loop as it was for zeros and NaN."""
    loop, found, operator = extreme.loop, extreme.found, extreme.operator
    turn, kind = loop.variable.name, extreme.value.type
    first, past, whole = (
        Var(fresh(f"{turn}_{name}", taken), INT) for name in ("first", "past", "whole")
    )
    many = Var(fresh(f"{found.name}_lanes", taken), kind)
    odd = Var(fresh(f"{found.name}_odd", taken), INT)
    most = Var(fresh(f"{found.name}_{FOLD_OF[operator]}", taken), found.type)
    left = build.mod(build.sub(past, first), lanes(kind))
    one_more = replace(loop.body[-1], variable=most, value=_of(loop.body[-1], most))
    more = (
        Assign(many, Apply(operator, (many, extreme.value), kind)),
        Assign(odd, build.bit_or(odd, nans(extreme.value))),
    )
    again = replace(loop, start=first, stop=past)
    return [
        Assign(first, loop.start),
        Assign(past, loop.stop),
        Assign(whole, build.max_(build.sub(past, left), first)),
        Assign(many, Cast(found, kind)),
        Assign(odd, build.i(0)),
        For(loop.variable, first, whole, more, lanes(kind)),
        Assign(most, Apply(FOLD_OF[operator], (many,), found.type)),
        replace(loop, start=whole, stop=past, body=(*loop.body[:-1], one_more)),
        *told(most, odd, again, Assign(found, most)),
    ]


def nans(value: Expr) -> Expr:
    """Return the bits of a vector's elements that are NaN: extremes of vectors lose them."""
    return Apply("nans", (value,), INT)


def told(most: Var, odd: Var, again: For, taken: Assign) -> tuple[Stmt, ...]:
    """Return what takes an extreme, or has the loop as it was tell which zero, or NaN, is first."""
    equals = Binary("==", most, Const(0.0, most.type), "bool")
    is_nan = Binary("!=", most, most, "bool")
    return (
        Comment("which zero, or NaN, comes first"),
        If(build.disj(equals, is_nan, build.ne(odd, 0)), (again,), (taken,)),
    )


def _of(last: Stmt, most: Var) -> Expr:
    assert isinstance(last, Assign)
    assert isinstance(last.value, Apply)
    return replace(last.value, arguments=(most, *last.value.arguments[1:]))
