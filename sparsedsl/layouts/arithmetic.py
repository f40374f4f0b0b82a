"""What arithmetic the terms of a layout do.

Takes: a layout.  Gives: whether it may leave what machine arithmetic holds.
Invariant: reads the specification alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.properties import terms_of
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import FloorDiv, Mod, Product, Term


def divides(layout: Layout) -> bool:
    """Whether whatever the arrays hold, no term divides by zero."""
    return all(
        node.denominator.parts == () and node.denominator.constant > 0
        for term in _terms(layout)
        for node in t.atoms(term)
        if isinstance(node, FloorDiv | Mod)
    )


def multiplies(layout: Layout) -> bool:
    """Whether a term multiplies what is not known before arrays are given."""
    atoms = (node for term in _terms(layout) for node in t.atoms(term))
    return any(isinstance(node, Product) for node in atoms)


def _terms(layout: Layout) -> Iterator[Term]:
    """Yield every term that a check may evaluate."""
    for part in layout.structures:
        yield from (c.term for c in (*part.scan, *part.filters, *part.invariants))
        yield from (term for _, term in part.definitions)
    yield from (length for axes in layout.lengths.values() for length in axes if length)
    yield from layout.value.arguments
    for item in layout.properties:
        yield from terms_of(item)
