"""Ranges of terms, from the least and greatest element of each array.

Takes: a structure, parameter values and index arrays.  Gives: whether every subscript stays
inside its array and every promise about coordinates holds, where that needs no walk.
Invariant: a yes is certain; a no only says that one has to look place by place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

import numpy as np

from sparsedsl.layouts.bounds import Bounds
from sparsedsl.layouts.structure import Structure
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Atom, FloorDiv, Mod, Product, Term, Var

Interval: TypeAlias = "tuple[int, int]"


@dataclass(slots=True)
class Intervals:
    """Intervals of terms at all places of ``structure``.

    ``monotone`` names the functions that do not decrease: only their ranges cannot overlap.
    """

    structure: Structure
    values: Mapping[str, int]
    arrays: Mapping[str, np.ndarray]
    monotone: frozenset[str]
    _extremes: dict[str, Interval | None] = field(default_factory=dict[str, "Interval | None"])

    def certain(self, value: UF) -> bool:
        """Whether all subscripts, those of ``value`` too, and all invariants are right."""
        part = self.structure
        bounding = t.all_ufs(c.term for c in part.scan)
        if not all(call.function in self.monotone for call in bounding):
            return False
        for call in (*part.calls, value):
            for axis, argument in enumerate(call.arguments):
                found = self.of(argument)
                if (
                    found is None
                    or found[0] < 0
                    or found[1] >= self.arrays[call.function].shape[axis]
                ):
                    return False
        for constraint in part.invariants:
            found = self.of(constraint.term)
            if found is None or found[0] < 0 or (constraint.equality and found != (0, 0)):
                return False
        return True

    def of(self, term: Term) -> Interval | None:
        """The range of a term, or None."""
        low = high = term.constant
        for factor, atom in term.parts:
            found = self._atom(atom)
            if found is None:
                return None
            ends = (factor * found[0], factor * found[1])
            low, high = low + min(ends), high + max(ends)
        return low, high

    def _atom(self, atom: Atom) -> Interval | None:
        match atom:
            case Var(name):
                return self._variable(name)
            case UF(function, _):
                return self._array(function)
            case FloorDiv(numerator, denominator):
                found, divisor = self.of(numerator), self.of(denominator)
                if found is None or divisor is None or divisor[0] != divisor[1] or divisor[0] <= 0:
                    return None
                return found[0] // divisor[0], found[1] // divisor[0]
            case Mod(_, denominator):
                divisor = self.of(denominator)
                return None if divisor is None or divisor[0] <= 0 else (0, divisor[1] - 1)
            case Product(left, right):
                sides = self.of(left), self.of(right)
                if sides[0] is None or sides[1] is None:
                    return None
                ends = [a * b for a, b in product(sides[0], sides[1])]
                return min(ends), max(ends)

    def _variable(self, name: str) -> Interval | None:
        if name in self.values:
            return self.values[name], self.values[name]
        dims = self.structure.dims
        if name not in dims:
            return None
        earlier = (*self.values, *dims[: dims.index(name)])
        bounds = Bounds(self.structure.scan, tuple(self.values))
        lows = [self.of(term) for term in bounds.lower(name, earlier)]
        highs = [self.of(term) for term in bounds.upper(name, earlier)]
        low = max((found[0] for found in lows if found is not None), default=None)
        high = min((found[1] for found in highs if found is not None), default=None)
        return None if low is None or high is None else (low, high)

    def _array(self, function: str) -> Interval | None:
        if function not in self._extremes:
            self._extremes[function] = _extremes(self.arrays[function])
        return self._extremes[function]


def _extremes(array: np.ndarray) -> Interval | None:
    """An interval that holds all elements: from 0 on where none is negative.

    >>> _extremes(np.array([3, 5])), _extremes(np.array([3, -5]))
    ((0, 5), (-5, 3))
    """
    if not array.size:
        return None
    # a negative number is a large one without its sign: one look at the elements, not two
    limit, high = np.iinfo(array.dtype).max, int(array.view(f"u{array.itemsize}").max())
    return (0, high) if high <= limit else (int(array.min()), int(array.max()))
