"""How the entries of a workspace come into order, by what is proved and by cost.

Takes: a nest that gathers its last mode in a workspace, and the facts of its finds.  Gives:
the nest with the ordering of its assembly.  Invariant: orderings that tell touched entries by
their value are chosen only where untouched ones are the fill and are dropped with it.

| ordering | needs | a flush costs |
|---|---|---|
| range | a find of the last coordinate, sorted, in a range fixed outside | the range |
| word | a narrow mode | walking the bits of one word |
| whole | a narrow mode, rows that can be laid out, each coordinate once | the extent |
| run | few entries, counted before | nothing: each one is put in its place |
| list | entries counted before | sorting the touched coordinates |
| blocks | as list, one loop over rows | touched blocks of the extent, or as list |
| bitmap | nothing, any identity | walking the words of a bitmap |
| hash | coordinates that arrays hold, or counted before; any identity | sorting what was listed |

All but the last gather in an array over the mode, which is set up at each call and whose elements
are far apart where the mode is wide.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from sparsedsl.contraction.expressions import same_value
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.find import site as si
from sparsedsl.find.queries import Prover
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.counted import counted_steps, leading_lets, loaded_from
from sparsedsl.iteration.laid import Laid, laid_rows
from sparsedsl.iteration.nodes import Chain, Find, Merge, Nest, Scan, with_ordering
from sparsedsl.iteration.steps import expand
from sparsedsl.iteration.weights import all_turns, turns
from sparsedsl.spf import terms

NARROW = 256.0
"""Extent up to which the touched coordinates of a flush are folded into one word."""


FEW = 8.0
"""Values gathered for one flush up to which each is put in its place at once."""

SPARSE = 64.0
"""Coordinates for each value expected in a flush beyond which rows do not turn out to be full."""

FULL = 8
"""Coordinates for each value gathered up to which rows are full, on average: 1.1 to 2.5 times were
gained with up to 5, and twice the time lost with 50."""

BLOCK = 32
"""Coordinates of a block that is looked at whole where one of them was touched, a power of two."""

LONG = 16.0
"""Turns of a loop, as they are rounded, from which vectors pay."""

SHORT = 48.0
"""Values gathered for one flush up to which a hash table is expected to sort by insertion."""

ACCUMULATOR = 2.0**31
"""Extent above which there is no array over the mode: its values would take 16 GiB."""

CACHED = 2.0**21
"""Bytes of rows laid out whole that stay in near caches, told from sizes that are rounded up."""

NEAR = 2.0**19
"""Bytes of an array up to which its elements are as near as those of a hash table."""

TABLE = 2000.0
"""Estimated nanoseconds that the lists and the first slots of a hash table take to set up."""

SET_UP = 0.15
"""Estimated nanoseconds for each byte of an array over a mode, set up at each call.

So are those that follow, for each value: added to the array, for each doubling of its length
beyond ``NEAR``, and taken from it; put in its place; gathered by position in a range; added to a
hash table, taken from it and sorted by insertion; where rows are long, for one sort by digits
and for each bit that it looks at; and, for each coordinate of rows laid out whole, added with a
row, looked at by a flush, and laid out."""

LISTED, FARTHER, PLACED, RANGED = 8.0, 6.0, 12.0, 4.0
LAID, WALKED, STORED = 0.25, 0.5, 1.5
HASHED, DIGITS, MOVED = 22.0, 1000.0, 0.4


def long_loops(nest: Nest, sizes: Sizes) -> frozenset[str]:
    """Return the variables of scans that are expected to turn so often that vectors pay."""
    found: set[str] = set()
    for chain in nest.chains:
        operands = {o.name: o for o in chain.operands}
        steps = nest.prefix + chain.steps
        for place, step in enumerate(steps):
            if isinstance(step, Scan) and turns(steps, place, operands, sizes) >= LONG:
                found.add(step.variable)
    return frozenset(found)


def _visits(nest: Nest, chain: Chain, sizes: Sizes) -> float:
    """Return how many values a chain is expected to deliver between two flushes."""
    operands = {o.name: o for o in chain.operands}
    return all_turns(nest.prefix + chain.steps, operands, sizes, len(nest.prefix))


def _flushes(nest: Nest, sizes: Sizes) -> float:
    """Return how often a workspace is expected to be flushed."""
    operands = {o.name: o for chain in nest.chains for o in chain.operands}
    return max(all_turns(nest.prefix, operands, sizes), 1.0)


def ordered(
    nest: Nest,
    facts: tuple[Mapping[str, tuple[int, frozenset[str]]], ...],
    sizes: Sizes,
    workspace: str,
    prover: Prover,
    spread: Collection[str] = (),
) -> Nest:
    """Return ``nest`` with the ordering of its workspace.

    ``facts`` gives for each find of each chain the number of steps after which its range is
    fixed, and what was proved of it; ``spread`` are those whose values are laid out by key.
    """
    if nest.assembly.kind != "workspace":
        return nest
    hashed = with_ordering(nest, "hash")
    if workspace == "hash":
        return hashed
    dense = _dense(nest, facts, sizes, prover, spread)
    if workspace != "auto" or dense.assembly.ordering in ("word", "whole"):
        return dense
    counted = all(counted_steps(nest, chain) is not None for chain in nest.chains)
    if counted or loaded_from(nest):
        return hashed if _hash_pays(dense, sizes) else dense
    extent = sizes.extent(nest.coordinates[nest.assembly.modes[-1]])
    return streamed(nest) if extent > ACCUMULATOR else dense


def streamed(nest: Nest) -> Nest:
    """Return ``nest`` with its entries delivered in any order, to be sorted."""
    stream = replace(nest.assembly, kind="stream")
    chains = tuple(replace(c, steps=nest.prefix + c.steps) for c in nest.chains)
    return replace(nest, assembly=stream, prefix=(), chains=chains)


def _dense(
    nest: Nest,
    facts: tuple[Mapping[str, tuple[int, frozenset[str]]], ...],
    sizes: Sizes,
    prover: Prover,
    spread: Collection[str],
) -> Nest:
    """Return ``nest`` with the best ordering of an array over the last mode."""
    assembly = nest.assembly
    if not _starts_from_fill(nest):
        return nest
    guide = _guide(nest, facts[0], spread) if len(nest.chains) == 1 else None
    if guide is not None:
        return replace(nest, assembly=replace(assembly, ordering="range", guide=guide))
    if sizes.extent(nest.coordinates[assembly.modes[-1]]) <= NARROW:
        laid = laid_rows(nest)
        ordering = "word"
        met = laid is not None and set(laid.finds) <= set(spread)
        if laid is not None and met and _laying_pays(nest, laid, sizes):
            once = prover.one_place(laid.operand, "rows laid out whole")
            ordering = "whole" if once else "word"
        return with_ordering(nest, ordering)
    if all(counted_steps(nest, chain) is not None for chain in nest.chains):
        return with_ordering(nest, _as_counted(nest, sizes))
    return nest


def _as_counted(nest: Nest, sizes: Sizes) -> str:
    """Return the best ordering of entries that are counted before.

    Whether rows are full depends on where entries lie, and is seen once they are counted.
    """
    gathered = _gathered(nest, sizes)
    if gathered <= FEW:
        return "run"
    loops = [step for step in nest.prefix if isinstance(step, Scan | Merge)]
    extent = sizes.extent(nest.coordinates[nest.assembly.modes[-1]])
    by_rows = len(loops) == 1 and isinstance(loops[0], Scan)
    return "blocks" if by_rows and extent <= SPARSE * gathered else "list"


def _laying_pays(nest: Nest, laid: Laid, sizes: Sizes) -> bool:
    """Whether to add whole rows is estimated to be faster than to add their entries."""
    extent = sizes.extent(nest.coordinates[nest.assembly.modes[-1]])
    dims = laid.operand.dims
    place = dims.index(laid.scan.variable)
    held = (sizes.entries.get(dims[place - 1], 1.0) if place else 1.0) * extent
    if held * np.dtype(nest.output.dtype).itemsize > CACHED:
        return False
    gathered = _gathered(nest, sizes)
    rows = gathered / max(sizes.fanout(dims, laid.scan.variable), 1.0)
    whole = extent * (rows * LAID + WALKED) + held * STORED / _flushes(nest, sizes)
    return whole < gathered * LISTED


def _hash_pays(dense: Nest, sizes: Sizes) -> bool:
    """Whether a hash table is estimated to be faster than an array over the last mode."""
    extent = sizes.extent(dense.coordinates[dense.assembly.modes[-1]])
    gathered = max(_gathered(dense, sizes), 1.0)
    values = gathered * _flushes(dense, sizes)
    width = np.dtype(dense.output.dtype).itemsize
    far = FARTHER * max(math.log2(extent * width / NEAR), 0.0)
    each = {"range": RANGED, "run": PLACED, "list": LISTED + far}
    array = each.get(dense.assembly.ordering, LISTED + far) + SET_UP * extent * width / values
    long = gathered > SHORT
    table = (
        TABLE / values + HASHED + (DIGITS / gathered + MOVED * math.log2(extent) if long else 0.0)
    )
    return table < array


def _gathered(nest: Nest, sizes: Sizes) -> float:
    """Return how many values are expected to be delivered between two flushes."""
    return sum(_visits(nest, chain, sizes) for chain in nest.chains)


def _starts_from_fill(nest: Nest) -> bool:
    """Whether slots that nothing was added to hold the fill, and that compares equal."""
    fill = nest.output.fill
    identities = [MONOIDS[c.monoid].identity(nest.output.dtype) for c in nest.chains if c.monoid]
    same = all(same_value(identity, fill) for identity in identities)
    return same and fill == fill


def _guide(
    nest: Nest, facts: Mapping[str, tuple[int, frozenset[str]]], spread: Collection[str]
) -> str | None:
    """Return a find whose range, in order, holds every last coordinate that is delivered.

    The range is fixed between two flushes: nothing but definitions comes before it is.  What is
    ``spread`` gives values, and no positions.
    """
    (chain,) = nest.chains
    last = terms.var(nest.coordinates[nest.assembly.modes[-1]])
    steps = nest.prefix + chain.steps
    outside = len(nest.prefix) + len(leading_lets(chain))
    for step in chain.steps:
        if isinstance(step, Find) and len(step.keys) == 1 and step.variable not in spread:
            depth, proved = facts[step.variable]
            delivered = expand(steps, step.keys[0].value) == last
            if delivered and 0 <= depth <= outside and {si.SORTED, si.EXTENT} <= proved:
                return step.variable
    return None
