"""Orders that arrays keep though their layout does not promise them.

Takes: a layout and arrays that were checked.  Gives: the layout, with a stronger property where the
arrays have it.  Invariant: a look at the arrays costs less than the sort that the order saves;
where they are out of order it ends early.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.order import first_unordered
from sparsedsl.layouts.properties import Injective, Lexicographic, Property, Repeated


def with_kept_order(layout: Layout, arrays: Mapping[str, np.ndarray]) -> Layout:
    """Say of tuples that differ, or may repeat, that they increase, where these do.

    >>> from sparsedsl.layouts.catalogue import resolve
    >>> offsets = {"offsets": np.array([-1, 0, 2])}
    >>> with_kept_order(resolve("dia", 2), offsets).properties
    (Lexicographic(functions=('offsets',), within=None),)
    """
    found = tuple(
        item
        for item in layout.properties
        if (names := _loose(layout, item)) and _increase([arrays[name] for name in names])
    )
    return _stronger(layout, found) if found else layout


def _loose(layout: Layout, item: Property) -> tuple[str, ...]:
    """The arrays whose tuples, side by side, a property allows in any order."""
    match item:
        case Injective(functions, None) | Repeated(functions):
            return functions if all(layout.functions[name] == 1 for name in functions) else ()
        case _:
            return ()


def _increase(columns: list[np.ndarray]) -> bool:
    return first_unordered(columns, np.zeros(1, np.int64), strict=True) is None


@lru_cache(maxsize=128)
def _stronger(layout: Layout, kept: tuple[Property, ...]) -> Layout:
    changed = (Lexicographic(_loose(layout, x)) if x in kept else x for x in layout.properties)
    return layout.with_properties(changed)
