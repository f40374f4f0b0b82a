"""Which index arrays hold no negative number, wherever one looks.

Takes: what a layout promises of its arrays.  Gives: names.  Invariant: of these alone it follows
for every place of an array, whether a loop over the layout comes there or not.
"""

from __future__ import annotations

from functools import lru_cache

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import Equality, Increasing, Nondecreasing, Range
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import UF, Term


@lru_cache(maxsize=256)
def natural_arrays(layout: Layout) -> frozenset[str]:
    """Return the arrays whose values lie above zero, or rise from there.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> sorted(natural_arrays(resolve("csr", 2))), sorted(natural_arrays(resolve("dia", 2)))
    (['indptr'], [])
    """
    bounded = {p.function for p in layout.properties if isinstance(p, Range) and _natural(p.low)}
    rising = {
        p.function
        for p in layout.properties
        if isinstance(p, Nondecreasing | Increasing) and p.within is None
    }
    begun = {
        call.function
        for p in layout.properties
        if isinstance(p, Equality)
        for first, value in ((p.left, p.right), (p.right, p.left))
        if (call := _first(first)) is not None and _natural(value)
    }
    return frozenset(bounded | (rising & begun))


def _natural(term: Term) -> bool:
    return not term.parts and term.constant >= 0


def _first(term: Term) -> UF | None:
    """Return the call of an array of one axis at its first place, if a term is that."""
    match term:
        case Term(((1, UF(_, (place,)) as call),), 0) if place == t.const(0):
            return call
        case _:
            return None
