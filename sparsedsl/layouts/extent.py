"""How long each array of a layout is.

Takes: structures, value position and properties.  Gives: axis lengths as terms over parameters
(and calls such as ``indptr(N)``).
Invariant: a length is the largest subscript plus one; None where no term says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.properties import Equality, Increasing, Nondecreasing, Property
from sparsedsl.layouts.structure import Structure
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term
from sparsedsl.spf.parse import equation

Lengths: TypeAlias = "tuple[Term | None, ...]"


def axis_lengths(
    parameters: tuple[str, ...],
    parts: Sequence[Structure],
    value: UF,
    properties: Sequence[Property],
) -> dict[str, Lengths]:
    """Axis lengths of every array the layout calls; the value array too."""
    monotone = frozenset(
        item.function
        for item in properties
        if isinstance(item, Nondecreasing | Increasing) and item.within is None
    )
    found: dict[str, list[list[Term] | None]] = {}
    equal = [item for item in properties if isinstance(item, Equality)]
    facts = tuple(equation(t.subtract(item.left, item.right)) for item in equal)
    stated = t.all_ufs(side for item in equal for side in (item.left, item.right))
    for part in parts:
        bounds = Bounds((*part.scan, *facts), parameters, monotone)
        for call in dict.fromkeys((*_calls(part, value), *stated)):
            axes = found.setdefault(call.function, [[] for _ in call.arguments])
            for axis, argument in enumerate(call.arguments):
                tops = bounds.direct(argument, parameters)[:1]
                _grow(axes, axis, tops or bounds.cancelled(argument, parameters))
    return {name: tuple(map(_largest, axes)) for name, axes in found.items()}


def _calls(part: Structure, value: UF) -> Iterable[UF]:
    return (*part.calls, *t.all_ufs(value.arguments), value)


def _grow(axes: list[list[Term] | None], axis: int, tops: list[Term]) -> None:
    known = axes[axis]
    if known is not None:
        axes[axis] = [*known, _plainest(tops)] if tops else None


def _plainest(tops: list[Term]) -> Term:
    """The subscript's bound that says most: the one that reads an array, then the shortest."""
    return min(tops, key=_rank)


def _rank(top: Term) -> tuple[bool, int, int, int]:
    factors = sum(abs(c) for c, _ in top.parts)
    return not t.ufs(top), len(top.parts), factors, top.constant


def _largest(tops: list[Term] | None) -> Term | None:
    """The one term that is never below the others, plus one."""
    if not tops:
        return None
    for candidate in dict.fromkeys(tops):
        rest = (t.subtract(candidate, other) for other in tops)
        if all((not d.parts and d.constant >= 0) or _nonnegative(d) for d in rest):
            return t.add(candidate, t.ONE)
    return None


def _nonnegative(term: Term) -> bool:
    """Whether a difference of bounds is clearly not negative, parameters and calls being so."""
    return term.constant >= -1 and bool(term.parts) and all(c > 0 for c, _ in term.parts)


def size_in(length: Term | None, sizes: Iterable[str]) -> str | None:
    """The size parameter a length alone tells: it stands in it once, with factor 1."""
    if length is None:
        return None
    found = [name for name in sizes if name in t.variables(length)]
    return found[0] if len(found) == 1 and t.coefficient(length, found[0]) == 1 else None
