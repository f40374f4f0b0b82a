"""Bounds of a dimension, given the ones before it.

Takes: constraints over dims and parameters.  Gives: terms below and above a dim, unknown dims
eliminated by their own bounds.  Invariant: every bound holds for every solution; a bound from
a constraint without unknown dims is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Atom, Constraint, FloorDiv, Mod, Product, Term, Var

# Alternatives kept at each step of an elimination: bounds beyond are correct but redundant.
WIDTH = 4
# Sums looked at when parts are cancelled against constraints.
STATES = 60


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds under ``constraints``; ``parameters`` (extents and lengths) are not negative.

    ``nondecreasing`` names functions of one argument that may be bounded through it.
    """

    constraints: tuple[Constraint, ...]
    parameters: tuple[str, ...]
    nondecreasing: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        """Hash without the terms: cheap, and few bounds share the rest."""
        return hash((self.parameters, len(self.constraints)))

    def lower(self, name: str, known: Collection[str]) -> list[Term]:
        """Terms over ``known`` that ``name`` is not below."""
        return list(_kept(self, name, 1, frozenset(known)))

    def upper(self, name: str, known: Collection[str]) -> list[Term]:
        """Terms over ``known`` that ``name`` is not above."""
        return list(_kept(self, name, -1, frozenset(known)))

    def maximum(self, term: Term, known: Collection[str]) -> list[Term]:
        """Terms over ``known`` that ``term`` is not above."""
        return self._maximum(term, frozenset(known), frozenset())

    def minimum(self, term: Term, known: Collection[str]) -> list[Term]:
        """Terms over ``known`` that ``term`` is not below."""
        return [t.scale(-1, top) for top in self.maximum(t.scale(-1, term), known)]

    def bounds(
        self, name: str, side: int, known: frozenset[str], visiting: frozenset[str]
    ) -> list[Term]:
        """Terms not above (side 1) or not below (-1) ``name``, none by way of ``visiting``."""
        if name in visiting:
            return []
        found: list[Term] = []
        for constraint in self.constraints:
            for term in _linear(constraint, name):
                factor = t.coefficient(term, name)
                if factor * side <= 0:
                    continue
                rest = t.subtract(term, t.scale(factor, t.var(name)))
                if name in t.variables(rest):
                    continue
                for top in self._maximum(rest, known, visiting | {name}):
                    bound = t.floordiv(top, abs(factor))
                    found.append(t.scale(-1, bound) if factor > 0 else bound)
        return list(dict.fromkeys(found))

    def _maximum(self, term: Term, known: frozenset[str], visiting: frozenset[str]) -> list[Term]:
        if t.variables(term) <= known:
            return [term]
        choices: list[list[Term]] = []
        for factor, node in term.parts:
            single = t.atom(node, factor)
            if t.variables(single) <= known:
                choices.append([single])
                continue
            match node:
                case Var(name):
                    tops = self.bounds(name, -1 if factor > 0 else 1, known, visiting)
                case UF(function, (argument,)) if function in self.nondecreasing:
                    inner = self._extreme(argument, factor, known, visiting)
                    tops = [t.uf(function, bound) for bound in inner]
                case FloorDiv(numerator, denominator) if t.variables(denominator) <= known:
                    inner = self._extreme(numerator, factor, known, visiting)
                    tops = [t.floordiv(bound, denominator) for bound in inner]
                case Mod(_, denominator) if t.variables(denominator) <= known:
                    tops = [t.subtract(denominator, t.ONE) if factor > 0 else t.ZERO]
                case Product(left, right) if t.variables(left) <= set(self.parameters):
                    inner = self._extreme(right, factor, known, visiting)
                    tops = [t.multiply(left, bound) for bound in inner]
                case Product(left, right) if t.variables(right) <= set(self.parameters):
                    inner = self._extreme(left, factor, known, visiting)
                    tops = [t.multiply(right, bound) for bound in inner]
                case _:
                    tops = []
            choices.append([t.scale(factor, top) for top in tops[:WIDTH]])
        sums = (t.add(t.const(term.constant), *picked) for picked in product(*choices))
        return list(dict.fromkeys(islice(sums, WIDTH * WIDTH)))

    def direct(self, term: Term, known: Collection[str]) -> list[Term]:
        """Terms not below ``term`` that one constraint alone states."""
        names = frozenset(known)
        wanted = _unknown_parts(term, names)
        found = [] if wanted else [term]
        for constraint in self.constraints:
            for sign in (1, -1) if constraint.equality else (1,):
                given = _unknown_parts(t.scale(-sign, constraint.term), names)
                # given = factor * wanted, and given <= rest: wanted <= floor(rest / factor).
                factor = next(iter(given.values()), 0) // next(iter(wanted.values()), 1)
                if factor > 0 and given == {node: factor * c for node, c in wanted.items()}:
                    unknown = Term(tuple((c, node) for node, c in wanted.items()))
                    rest = t.add(t.scale(sign, constraint.term), t.scale(factor, unknown))
                    whole = t.floordiv(rest, factor)
                    found.append(t.add(t.subtract(term, unknown), whole))
        return list(dict.fromkeys(found))

    def cancelled(self, term: Term, known: Collection[str]) -> list[Term]:
        """``maximum``, also by adding constraints to the sum that cancel unknown parts.

        ``ptr(i) + j`` with ``j < length(i)`` and ``ptr(i + 1) = ptr(i) + length(i)`` becomes
        ``ptr(i + 1) - 1``, which a bound on ``i`` then bounds.
        """
        names = frozenset(known)
        seen, waiting = {term}, [term]
        found = self.maximum(term, names)
        while waiting and len(seen) < STATES:
            current = waiting.pop(0)
            for above in self._cancelling(current, names):
                if above not in seen:
                    seen.add(above)
                    waiting.append(above)
                    found += self.maximum(above, names)
        return list(dict.fromkeys(found))

    def _cancelling(self, term: Term, known: frozenset[str]) -> Iterable[Term]:
        """Terms not below ``term``, one of its unknown parts exchanged for others."""
        limit = _unknown(term, known)
        for factor, node in term.parts:
            if t.variables(t.atom(node)) <= known:
                continue
            for constraint in self.constraints:
                inside = next((c for c, other in constraint.term.parts if other == node), 0)
                if (
                    not inside
                    or factor % inside
                    or (inside * factor > 0 and not constraint.equality)
                ):
                    continue
                above = t.add(term, t.scale(-(factor // inside), constraint.term))
                if _unknown(above, known) <= limit:
                    yield above

    def _extreme(
        self, term: Term, factor: int, known: frozenset[str], visiting: frozenset[str]
    ) -> list[Term]:
        """Upper bounds of ``term`` for a positive ``factor``, lower ones for a negative."""
        if factor > 0:
            return self._maximum(term, known, visiting)
        return [t.scale(-1, top) for top in self._maximum(t.scale(-1, term), known, visiting)]


@lru_cache(maxsize=4096)
def _kept(under: Bounds, name: str, side: int, known: frozenset[str]) -> tuple[Term, ...]:
    return tuple(under.bounds(name, side, known, frozenset()))


def _linear(constraint: Constraint, name: str) -> Iterable[Term]:
    """Inequalities ``term >= 0`` in which ``name`` stands alone, outside a division."""
    terms = [constraint.term]
    if constraint.equality:
        terms.append(t.scale(-1, constraint.term))
    for term in terms:
        yield term
        for factor, node in term.parts:
            if not isinstance(node, FloorDiv) or node.denominator.parts or abs(factor) != 1:
                continue
            if name not in t.variables(node.numerator):
                continue
            # floor(e/d) >= a iff e >= d*a;  floor(e/d) <= a iff e <= d*a + d - 1.
            rest = t.scale(node.denominator.constant, t.subtract(term, t.atom(node, factor)))
            slack = node.denominator.constant - 1 if factor < 0 else 0
            yield t.add(t.scale(factor, node.numerator), rest, t.const(slack))


def _unknown_parts(term: Term, known: frozenset[str]) -> dict[Atom, int]:
    """The parts of a sum that are not known."""
    return {node: c for c, node in term.parts if not t.variables(t.atom(node)) <= known}


def _unknown(term: Term, known: frozenset[str]) -> int:
    return len(_unknown_parts(term, known))
