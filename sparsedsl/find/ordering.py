"""How the entries of a workspace come into order, by what is proved and by cost.

Takes: a nest that gathers its last mode in a workspace, and the facts of its finds.  Gives:
the nest with the ordering of its assembly.  Invariant: orderings that tell touched entries by
their value are chosen only where untouched ones are the fill and are dropped with it.

| ordering | needs | a flush costs |
|---|---|---|
| range | a find of the last coordinate, sorted, in a range fixed outside | the range |
| word | a narrow mode | walking the bits of one word |
| run | few entries, counted before | nothing: each one is put in its place |
| list | entries counted before | sorting the touched coordinates |
| bitmap | nothing, any identity | walking the words of a bitmap |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from sparsedsl.contraction import algebra
from sparsedsl.contraction.operators import MONOIDS
from sparsedsl.find import site as si
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.counted import counted_steps, leading_lets
from sparsedsl.iteration.nodes import Chain, Find, Nest, Operand, Scan
from sparsedsl.iteration.search import expand
from sparsedsl.spf import terms

NARROW = 256.0
"""Extent up to which the touched coordinates of a flush are folded into one word."""


FEW = 8.0
"""Values gathered for one flush up to which each is put in its place at once."""


def turns(scan: Scan, operands: Mapping[str, Operand], sizes: Sizes) -> float:
    """Return how often a scan is expected to turn."""
    if scan.operand is None:
        return sizes.extent(scan.variable)
    return sizes.fanout(operands[scan.operand].dims, scan.variable)


def _visits(chain: Chain, sizes: Sizes) -> float:
    """Return how many values a chain is expected to deliver between two flushes."""
    operands = {o.name: o for o in chain.operands}
    return math.prod(turns(s, operands, sizes) for s in chain.steps if isinstance(s, Scan))


def ordered(
    nest: Nest, facts: tuple[Mapping[str, tuple[int, frozenset[str]]], ...], sizes: Sizes
) -> Nest:
    """Return ``nest`` with the ordering of its workspace.

    ``facts`` gives for each find of each chain the number of steps after which its range is
    fixed, and what was proved of it.
    """
    assembly = nest.assembly
    if assembly.kind != "workspace" or not _starts_from_fill(nest):
        return nest
    guide = _guide(nest, facts[0]) if len(nest.chains) == 1 else None
    if guide is not None:
        return replace(nest, assembly=replace(assembly, ordering="range", guide=guide))
    if sizes.extent(nest.coordinates[assembly.modes[-1]]) <= NARROW:
        return replace(nest, assembly=replace(assembly, ordering="word"))
    if all(counted_steps(nest, chain) is not None for chain in nest.chains):
        gathered = sum(_visits(chain, sizes) for chain in nest.chains)
        ordering = "run" if gathered <= FEW else "list"
        return replace(nest, assembly=replace(assembly, ordering=ordering))
    return nest


def _starts_from_fill(nest: Nest) -> bool:
    """Whether slots that nothing was added to hold the fill, and that compares equal."""
    fill = nest.output.fill
    identities = [MONOIDS[c.monoid].identity(nest.output.dtype) for c in nest.chains if c.monoid]
    same = all(algebra.same_value(identity, fill) for identity in identities)
    return same and fill == fill


def _guide(nest: Nest, facts: Mapping[str, tuple[int, frozenset[str]]]) -> str | None:
    """Return a find whose range, in order, holds every last coordinate that is delivered.

    The range is fixed between two flushes: nothing but definitions comes before it is.
    """
    (chain,) = nest.chains
    last = terms.var(nest.coordinates[nest.assembly.modes[-1]])
    steps = nest.prefix + chain.steps
    outside = len(nest.prefix) + len(leading_lets(chain))
    for step in chain.steps:
        if isinstance(step, Find) and len(step.keys) == 1:
            depth, proved = facts[step.variable]
            delivered = expand(steps, step.keys[0].value) == last
            if delivered and 0 <= depth <= outside and {si.SORTED, si.EXTENT} <= proved:
                return step.variable
    return None
