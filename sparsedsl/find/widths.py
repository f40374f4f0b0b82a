"""How large index arithmetic can become: the certificate that 64 bits hold it.

Takes: the chains of a nest, the largest extents its kernel is used for, and the dtypes of
index arrays.  Gives: the greatest magnitude of any index value the kernel computes.
Invariant: it is never below what the kernel can compute on data that passed validation, which
bounds coordinates by extents and whatever else an index array holds by the memory there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from sparsedsl.iteration.nodes import Find, Guard, Let, Merge, Nest, Probe, Scan, Step
from sparsedsl.iteration.space import extent_name, subscript_term
from sparsedsl.layouts.given import MEMORY
from sparsedsl.spf.nodes import UF, Atom, FloorDiv, Mod, Product, Term, Var


def widest(nest: Nest, extents: Mapping[str, int], index_dtypes: Mapping[str, str]) -> int:
    """Return a bound on the magnitude of every index value computed by the nest.

    Parameters
    ----------
    extents:
        The largest extent of each logical index that the kernel is used for.
    index_dtypes:
        The dtype of each index array, by its name in the plan.
    """
    known = {extent_name(i): n for i, n in extents.items()} | dict(extents)
    largest = max((*extents.values(), MEMORY))
    size = _Size(known, largest, index_dtypes)
    for chain in nest.chains:
        size.steps(nest.prefix + chain.steps)
        for operand in chain.operands:
            size.all(operand.value.arguments)
        size.all(subscript_term(c) for c in chain.coordinates)
    return size.most


class _Size:
    """Magnitudes of terms, and the greatest met so far."""

    def __init__(
        self, known: dict[str, int], largest: int, index_dtypes: Mapping[str, str]
    ) -> None:
        self.known = known
        self.largest = largest
        self.index_dtypes = index_dtypes
        self.most = 0

    def steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step:
                case Scan(variable, lows, highs, _):
                    # a turn is not below any end, nor above any: the tightest of each side counts
                    ends = [min(self.all((t,)) for t in side) for side in (lows, highs)]
                    self.known[variable] = max(self.known.get(variable, 0), *ends)
                case Let(variable, value, _, _):
                    self._bind(variable, (value,))
                case Guard(constraint, _):
                    self.all((constraint.term,))
                case Find(variable, lows, highs, keys, _):
                    self._bind(variable, (*lows, *highs))
                    self.all(k.value for k in keys)
                case Merge(variable, parts):
                    for part in parts:
                        self._bind(part.variable, (*part.lows, *part.highs))
                    self._bind(variable, [part.key for part in parts])
                case Probe(_, inner):
                    self.steps(inner)
                case _:
                    pass

    def _bind(self, variable: str, values: Iterable[Term]) -> None:
        self.known[variable] = max(self.known.get(variable, 0), self.all(values))

    def all(self, values: Iterable[Term]) -> int:
        """Note the size of some terms, and return the greatest."""
        most = max((self._term(v) for v in values), default=0)
        self.most = max(self.most, most)
        return most

    def _term(self, term: Term) -> int:
        return abs(term.constant) + sum(abs(c) * self._atom(a) for c, a in term.parts)

    def _atom(self, atom: Atom) -> int:
        match atom:
            case Var(name):
                return self.known.get(name, self.largest)
            case UF(function, arguments):
                self.all(arguments)
                narrow = self.index_dtypes.get(function) == "int32"
                return min(self.largest, 2**31) if narrow else self.largest
            case FloorDiv(numerator, denominator):
                self.all((denominator,))
                return self.all((numerator,)) + 1
            case Mod(numerator, denominator):
                self.all((numerator,))
                return self.all((denominator,))
            case Product(left, right):
                return self.all((left,)) * self.all((right,))
            case _:
                assert_never(atom)
