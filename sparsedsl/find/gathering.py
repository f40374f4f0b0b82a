"""What a workspace takes that gathers the values of rows, counted thing by thing.

Takes: a nest, how many values come, in how many rows.  Gives: counts, added to ``Spent``.
Invariant: more values never make less of anything.
"""

from __future__ import annotations

import math

from sparsedsl.find.known import INDEX, Known
from sparsedsl.find.ordering import BLOCK, FULL
from sparsedsl.find.rates import LANES, LINE, Spent
from sparsedsl.find.together import Rows

SOONER = 8
"""How many times as many columns for each value touched blocks pay with, where they are listed once
for several rows (``loops.grouped``)."""

UNFORESEEN = 0.7
"""How often it is guessed wrongly where a value of a row comes among the others, or how many of
them a part of the coordinates has."""


def workspace(of: Known, spent: Spent, total: float, rows: float, taken: Rows) -> None:
    """Count what gathers so many values in so many rows, and takes them out in order."""
    assembly = of.nest.assembly
    extent = of.sizes.extent(of.nest.coordinates[assembly.modes[-1]])
    lying = of.sizes.uneven.values()
    near = max((u.near for u in lying), default=1.0)
    crowd = max((u.crowd for u in lying), default=1.0)
    # rows that are banded, or crowded, give sums that are, so that more values meet
    reach = max(extent * min(2.0 / near, 1.0) / math.sqrt(crowd), 1.0)
    each = total / rows
    kept = -math.expm1(-each / reach) * reach
    _gathered(of, spent, total, rows, kept, near, taken)
    spent.add("row", rows)
    spent.guess(rows, 1.0)
    made = rows * kept * (of.width + INDEX)
    spent.stream(made, of.touched + made)


def _gathered(
    of: Known, spent: Spent, total: float, rows: float, kept: float, near: float, taken: Rows
) -> None:
    """Count what brings the values of rows together, ``kept`` in each, and takes them out."""
    ordering = of.nest.assembly.ordering
    extent = of.sizes.extent(of.nest.coordinates[of.nest.assembly.modes[-1]])
    each, sorting = total / rows, kept * math.log2(1.0 + kept)
    full = FULL * SOONER if taken.at_once > 1.0 else FULL
    if ordering == "blocks" and each * full < extent:
        ordering = "list"
    if ordering != "blocks":
        spent.add("flushed", rows * kept)
    if ordering == "run":
        spent.add("insert", total * (1.0 + each / LANES))
        spent.guess(total, 0.5 / math.sqrt(near))
    elif ordering == "hash":
        spent.add("hashed", total)
        spent.add("sorted", rows * sorting)
    elif ordering == "whole":
        spent.add("vector", rows * extent / LANES)
    else:
        added = total / taken.at_once / taken.abreast
        spent.add("gathered", added)
        room = min(extent * of.width, each * LINE) * taken.at_once
        spent.jump(added * (ordering != "word"), room)
    if ordering == "list":
        compared = min(sorting, kept + extent / LINE)
        spent.add("sorted", rows * compared)
        told = UNFORESEEN * min(kept, extent / LINE) / max(compared, 1e-9)
        spent.guess(rows * compared, told / math.sqrt(near))
        new = kept / max(each, 1e-9)  # the part that is the first of its coordinate
        spent.guess(total, max(min(new, 1.0 - new), 0.0) / math.sqrt(near))
    elif ordering == "blocks":
        spent.add("packed", rows * min(kept * BLOCK, extent) / LANES)
        spent.guess(rows * min(kept, extent / BLOCK), UNFORESEEN / math.sqrt(near))
    elif ordering == "bitmap":
        spent.add("sorted", rows * (kept + extent / LINE / LANES))
