"""Making sums explicit: every index absent on the left of ``=`` gets a ``Reduce``.

Takes: an expression and the indices on the left.  Gives: the expression with each other index
summed.  Invariant: the rule is that of the summation convention, term by term:

- in ``a + b`` each term is summed over its own indices;
- in a product the sum is around the whole product, except that an index which occurs in one
  factor only, and that factor is a sum of terms, is summed inside it: ``2 * (A[i, j] + B[i, k])``;
- around a function, ``exp(A[i, k])`` sums the exponentials; but where the argument itself
  contracts the index, as a product of two factors that carry it, ``relu(A[i, k] * x[k] + b[i])``,
  the sum is inside.  What could be read both ways is refused.
"""

from __future__ import annotations

from typing import assert_never

from sparsedsl.contraction.bindings import distinct, free_indices
from sparsedsl.contraction.nodes import (
    Access,
    Call,
    Expression,
    Extent,
    IndexValue,
    Literal,
    Reduce,
    Stored,
)
from sparsedsl.errors import NotationError
from sparsedsl.frontend.spans import here

_TERMS = ("add", "sub", "neg", "pos")


def bind(expression: Expression, left: frozenset[str]) -> Expression:
    """Sum over every free index not in ``left``, and give bound indices distinct names.

    Raises
    ------
    NotationError
        If an index could be summed inside a function or around it.
    """
    return distinct(_bind(expression, left), left)


def _bind(expression: Expression, left: frozenset[str]) -> Expression:
    summed = [n for n in free_indices(expression) if n not in left]
    return _place(expression, summed) if summed else expression


def _place(expression: Expression, summed: list[str]) -> Expression:
    """Sum the expression over ``summed``, some of its free indices."""
    match expression:
        case Call(operator, arguments) if operator in _TERMS:
            return Call(operator, tuple(_place_own(a, summed) for a in arguments))
        case Call("where", (condition, yes, no)):
            inside = [n for n in summed if n not in free_indices(condition)]
            branches = tuple(_place_own(b, inside) for b in (yes, no))
            return _reduce(Call("where", (condition, *branches)), summed)
        case Call("mul", (a, b)):
            return _place_product(expression, a, b, summed)
        case Call("div", (numerator, denominator)):
            inside = [n for n in summed if n not in free_indices(denominator)]
            return _reduce(Call("div", (_push(numerator, inside), denominator)), summed)
        case Call(operator, arguments):
            inside = [n for n in summed if _contracted(expression, n)]
            placed = Call(operator, tuple(_place_own(a, inside) for a in arguments))
            return _reduce(placed, summed)
        case Literal() | Access() | Stored() | IndexValue() | Extent() | Reduce():
            return _reduce(expression, summed)
        case _:
            assert_never(expression)


def _place_product(whole: Call, a: Expression, b: Expression, summed: list[str]) -> Expression:
    pushed: list[Expression] = []
    for factor, other in ((a, b), (b, a)):
        elsewhere = free_indices(other)
        own = [n for n in summed if n in free_indices(factor)]
        for n in own:
            if n in elsewhere and _contracted_in_function(factor, n):
                raise _ambiguous(n)
        pushed.append(_push(factor, [n for n in own if n not in elsewhere]))
    return _reduce(Call(whole.operator, tuple(pushed)), summed)


def _push(factor: Expression, summed: list[str]) -> Expression:
    """Sum inside a factor where the convention says so; leave the other indices free."""
    match factor:
        case Call(operator, arguments) if operator in ("add", "sub") and summed:
            return Call(operator, tuple(_place_own(a, summed) for a in arguments))
        case Call("neg" | "pos" as operator, (argument,)):
            return Call(operator, (_push(argument, summed),))
        case Call("mul", (a, b)):
            left, right = free_indices(a), free_indices(b)
            for n in summed:
                if n in left and n in right:
                    for part in (a, b):
                        if _contracted_in_function(part, n):
                            raise _ambiguous(n)
            return Call(
                "mul",
                (
                    _push(a, [n for n in summed if n in left and n not in right]),
                    _push(b, [n for n in summed if n in right and n not in left]),
                ),
            )
        case Call("div", (numerator, denominator)):
            inside = [n for n in summed if n not in free_indices(denominator)]
            return Call("div", (_push(numerator, inside), denominator))
        case Call("where", (condition, yes, no)):
            inside = [n for n in summed if n not in free_indices(condition)]
            return Call("where", (condition, _place_own(yes, inside), _place_own(no, inside)))
        case Call(operator, arguments):
            inside = [n for n in summed if _contracted(factor, n)]
            return Call(operator, tuple(_place_own(a, inside) for a in arguments))
        case _:
            return factor


def _place_own(expression: Expression, summed: list[str]) -> Expression:
    own = [n for n in summed if n in free_indices(expression)]
    return _place(expression, own) if own else expression


def _reduce(expression: Expression, summed: list[str]) -> Expression:
    """Sum over those indices that are still free."""
    remaining = tuple(n for n in summed if n in free_indices(expression))
    return Reduce("add", remaining, expression) if remaining else expression


def _contracted(function: Expression, name: str) -> bool:
    """Return whether a function's arguments contract the index by themselves.

    Raises
    ------
    NotationError
        If some occurrences are inside such a contraction and others are not.
    """
    if not isinstance(function, Call):
        return False
    found = {kind for a in function.arguments for kind in _occurrences(a, name)}
    if len(found) == 2:
        raise _ambiguous(name)
    return found == {True}


def _contracted_in_function(expression: Expression, name: str) -> bool:
    """Return whether some function in a product contracts the index in its arguments."""
    match expression:
        case Call("add" | "sub" | "neg" | "pos" | "mul" | "div" | "where", arguments):
            return any(_contracted_in_function(a, name) for a in arguments)
        case Call(_, arguments):
            return any(kind for a in arguments for kind in _occurrences(a, name))
        case _:
            return False


def _occurrences(expression: Expression, name: str) -> frozenset[bool]:
    """Return, over the additive terms that carry the index, whether each contracts it."""
    if name not in free_indices(expression):
        return frozenset()
    match expression:
        case Call("mul", (a, b)):
            if name in free_indices(a) and name in free_indices(b):
                return frozenset({True})
            return _occurrences(a, name) | _occurrences(b, name)
        case Call(_, arguments):
            parts = (_occurrences(a, name) for a in arguments)
            return frozenset(kind for part in parts for kind in part)
        case _:
            return frozenset({False})


def _ambiguous(name: str) -> NotationError:
    return NotationError(
        f"the sum over {name} could be inside the function or around it",
        span=here(),
        hint=f"say which with sd.sum(..., over={name})",
    )
