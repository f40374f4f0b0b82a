"""In which order to multiply many sparse operands: a tree of pairs, chosen by expected entries.

Takes: each operand's indices and entry count, and the extents.  Gives: a nested pair of
operand numbers, or None where one loop nest over all of them costs no more.  Invariant: a
function of the counts alone; it ranks, and decides nothing about what is right.

An operand with indices of its own is summed over them first, where few entries are left of it.

Counts are expectations for entries spread evenly: operands that share an index of extent ``n``
meet with probability ``1 / n``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TypeAlias

Tree: TypeAlias = "int | tuple[Tree, Tree]"

MOST = 8
"""Operands up to which every tree is compared; more are joined pair by pair, cheapest first."""

GAIN = 2.0
"""Times that the products of one loop nest must outnumber those of a tree to split it."""


@dataclass(frozen=True, slots=True)
class Factor:
    """An operand: its indices, each once, and how many entries it stores."""

    indices: frozenset[str]
    entries: float


def summed_first(
    factors: Sequence[Factor], output: frozenset[str], extents: Mapping[str, int]
) -> frozenset[int]:
    """Return which operands to sum over their own indices before they are multiplied.

    >>> n = {"i": 1000, "k": 1000, "j": 1000}
    >>> summed_first([Factor(frozenset(p), 5e4) for p in ("ik", "kj")], frozenset("i"), n)
    frozenset({1})
    """
    found: set[int] = set()
    for place, factor in enumerate(factors):
        kept = _kept(factors, frozenset({place}), output)
        if kept < factor.indices and GAIN * _room(kept, extents) < factor.entries:
            found.add(place)
    return frozenset(found)


def _kept(
    factors: Sequence[Factor], group: frozenset[int], output: frozenset[str]
) -> frozenset[str]:
    """Return the indices of a group's product that something outside it needs."""
    inside = frozenset[str]().union(*(factors[k].indices for k in group))
    return inside & output.union(*(f.indices for k, f in enumerate(factors) if k not in group))


def _room(names: frozenset[str], extents: Mapping[str, int]) -> float:
    return math.prod(float(max(extents[n], 1)) for n in names)


def best_tree(
    factors: Sequence[Factor], output: frozenset[str], extents: Mapping[str, int]
) -> Tree | None:
    """Return the tree of pairs with the fewest expected products, if it is much better than none.

    >>> n = {"i": 1000, "j": 1000, "k": 1000, "l": 1000}
    >>> chain = [Factor(frozenset(pair), 5e4) for pair in ("ij", "jk", "kl")]
    >>> best_tree(chain, frozenset("il"), n)
    (0, (1, 2))
    >>> best_tree([Factor(frozenset("ij"), 50.0)] * 3, frozenset("ij"), n) is None
    True
    """
    meeting = _Meeting(factors, output, extents)
    tree, spent = meeting.cheapest() if len(factors) <= MOST else meeting.greedy()
    whole = meeting.points(frozenset(range(len(factors)))) * (len(factors) - 1)
    return tree if GAIN * spent < whole else None


class _Meeting:
    def __init__(
        self, factors: Sequence[Factor], output: frozenset[str], extents: Mapping[str, int]
    ) -> None:
        self.factors = factors
        self.output = output
        self.extents = extents
        self.first = summed_first(factors, output, extents)

    def points(self, group: frozenset[int]) -> float:
        """Return the expected number of index values at which all of a group are stored."""
        names = [n for k in group for n in self.factors[k].indices]
        found = math.prod(max(self.factors[k].entries, 1e-9) for k in group)
        for name in set(names):
            found /= float(max(self.extents[name], 1)) ** (names.count(name) - 1)
        return found

    def kept(self, group: frozenset[int]) -> frozenset[str]:
        """Return the indices of a group's product that something outside it needs."""
        return _kept(self.factors, group, self.output)

    def entries(self, group: frozenset[int]) -> float:
        """Return the expected entries of a group's product, summed over what nothing needs."""
        points = self.points(group)
        if len(group) == 1 and not group & self.first:
            return points
        return min(points, _room(self.kept(group), self.extents))

    def alone(self, place: int) -> float:
        """Return how many entries are read to sum an operand first; none where it is not."""
        return self.factors[place].entries if place in self.first else 0.0

    def products(self, left: frozenset[int], right: frozenset[int]) -> float:
        """Return the expected number of products when two groups' products are multiplied."""
        found = self.entries(left) * self.entries(right)
        for name in self.kept(left) & self.kept(right):
            found /= float(max(self.extents[name], 1))
        return found

    def cheapest(self) -> tuple[Tree, float]:
        """Compare every tree, group by group."""

        @cache
        def best(group: frozenset[int]) -> tuple[Tree, float]:
            first, *rest = sorted(group)
            if not rest:
                return first, self.alone(first)
            found: tuple[Tree, float] | None = None
            for size in range(len(rest)):
                for chosen in combinations(rest, size):
                    left = frozenset({first, *chosen})
                    right = group - left
                    (a, spent_a), (b, spent_b) = best(left), best(right)
                    spent = spent_a + spent_b + self.products(left, right)
                    if found is None or spent < found[1]:
                        found = ((a, b), spent)
            assert found is not None
            return found

        return best(frozenset(range(len(self.factors))))

    def greedy(self) -> tuple[Tree, float]:
        """Join the two groups that make the fewest products, until one is left."""
        groups: list[tuple[frozenset[int], Tree]] = [
            (frozenset({k}), k) for k in range(len(self.factors))
        ]
        spent = sum(map(self.alone, range(len(self.factors))))
        while len(groups) > 1:
            a, b = min(combinations(groups, 2), key=lambda ab: self.products(ab[0][0], ab[1][0]))
            spent += self.products(a[0], b[0])
            groups = [g for g in groups if g is not a and g is not b]
            groups.append((a[0] | b[0], (a[1], b[1])))
        return groups[0][1], spent
