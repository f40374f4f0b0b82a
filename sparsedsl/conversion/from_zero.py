"""Pointers that begin with another number than 0, such as those of arrays that count from 1.

Takes: a layout.  Gives: the same with pointers that begin with 0, and what is to be added to each.
Invariant: the arrays of both are equal but for these numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.patterns import first_value
from sparsedsl.layouts.properties import Equality, Increasing, Nondecreasing, property_text
from sparsedsl.spf import terms as t


@lru_cache(maxsize=128)
def from_zero(layout: Layout) -> tuple[Layout, Mapping[str, int]] | None:
    """Return a layout whose pointers begin with 0, and the first numbers of those of ``layout``.

    None where all begin with 0, or are said more of than that they rise.
    """
    firsts = {name: first for name in layout.functions if (first := _first(layout, name))}
    if not firsts:
        return None
    properties = [x for x in layout.properties if not any(first_value(x, f) for f in firsts)]
    if not all(isinstance(x, Nondecreasing | Increasing | Equality) for x in properties):
        return None
    texts = [layout.text, t.text(t.atom(layout.value)), *map(property_text, properties)]
    for name, first in firsts.items():
        call = re.compile(rf"\b{name}\(([^()]*)\)")
        if any(len(call.findall(x)) < len(re.findall(rf"\b{name}\(", x)) for x in texts):
            return None
        texts = [call.sub(rf"({name}(\1) + {first})", x) for x in texts]
    relation, value, *rest = texts
    rest += [f"{name}(0) = 0" for name in firsts]
    return Layout(f"{layout.label} from 0", relation, value=value, properties=rest), firsts


def _first(layout: Layout, function: str) -> int:
    """The number that an array begins with, if an equality says it; else 0."""
    told = (first_value(item, function) for item in layout.properties)
    return next((x.constant for x in told if x is not None and not x.parts), 0)
