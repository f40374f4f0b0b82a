"""Which arrays are larger than the caches: read in rows that lie far apart, or from end to end.

Takes: a nest, its finds and the sizes of its operands.  Gives: names of arrays, so that the loops
fetch rows of them before they are read (``loops.fetch``), or entries (``loops.ahead``).
Invariant: a wrong guess costs time only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import numpy as np

from sparsedsl.find.costs import NEAR
from sparsedsl.iteration.cost import Sizes
from sparsedsl.iteration.nodes import Chain, Find, Let, Nest, Operand, Scan, Step
from sparsedsl.iteration.weights import all_turns
from sparsedsl.layouts.properties import Increasing
from sparsedsl.spf import terms

INDEX = 4
"""Bytes of an index, about: int64 ones are rare."""

FEW = 2
"""Part of a sparse operand up to which rows that are picked do not follow each other."""

FIRST = 1 << 15
"""Bytes that stay in the first cache."""

LONG = 16.0
"""Entries of rows from which on it pays to ask where another one begins."""

NEARBY = 16.0
"""How many times as near each other as by chance the rows are that are met again soon."""

SHORT = 32.0
"""Entries of rows up to which first ones may be computed before it is known how many there are."""

MANY = 2048.0
"""Rows of an operand from which on: how long fewer are a processor learns from call to call."""

POINTERS = 1 << 20
"""Bytes of pointers to rows from which on the second cache does not hold them, beside others."""

OFTEN = 64.0
"""Times that a dense matrix is read from which on a copy of it takes little beside that."""

STREAMED = 2.0**24
"""Bytes of an operand from which on its entries are fetched: caches hold less beside others."""


def streamed_arrays(nest: Nest, algorithms: Collection[str], sizes: Sizes) -> dict[str, float]:
    """Return the arrays of sparse operands that caches do not hold, and the elements of a row.

    None where entries are stored one by one, unless short rows are compared at once: what is waited
    for then is not what is read.
    """
    found: dict[str, float] = {}
    if nest.assembly.kind != "dense" and set(algorithms) != {"linear"}:
        return found
    for operand in (o for chain in nest.chains for o in chain.operands if not o.total and o.dims):
        entries = sizes.entries.get(operand.dims[-1], 1.0)
        if entries * width(operand) >= STREAMED:
            row = sizes.fanout(operand.dims, operand.dims[-1])
            arrays = (operand.value.function, *(name for _, name in operand.functions))
            found |= dict.fromkeys(arrays, row)
    return found


def short_rows(nest: Nest, sizes: Sizes) -> tuple[tuple[frozenset[str], float], ...]:
    """Return the arrays of each sparse operand whose rows have few entries, and how many."""
    found: list[tuple[frozenset[str], float]] = []
    for operand in (o for chain in nest.chains for o in chain.operands if not o.total and o.dims):
        row = sizes.fanout(operand.dims, operand.dims[-1])
        stored = sizes.entries.get(operand.dims[-1], 1.0)
        if row <= SHORT and stored >= row * MANY:
            arrays = operand.value.function, *(name for _, name in operand.functions)
            found.append((frozenset(arrays), row))
    return tuple(found)


def alike_rows(nest: Nest, sizes: Sizes) -> tuple[frozenset[str], ...]:
    """Return the arrays of each sparse operand whose rows often have the indices of the last."""
    operands = (o for chain in nest.chains for o in chain.operands if not o.total and o.dims)
    return tuple(
        frozenset((operand.value.function, *(name for _, name in operand.functions)))
        for operand in operands
        if sizes.unevenness(operand.dims[-1]).alike
    )


def near_rows(nest: Nest, sizes: Sizes) -> tuple[str, ...]:
    """Return the index arrays of lower triangles of bands, which rise along long rows."""
    found: list[str] = []
    for operand in (o for chain in nest.chains for o in chain.operands if not o.total and o.dims):
        dim = operand.dims[-1]
        lying, row = sizes.unevenness(dim), sizes.fanout(operand.dims, dim)
        if lying.lower and lying.near >= NEARBY and row >= LONG:
            rising = {p.function for p in operand.layout.properties if isinstance(p, Increasing)}
            found += [name for own, name in operand.functions if own in rising]
    return tuple(dict.fromkeys(found))


def large_arrays(nest: Nest, sizes: Sizes) -> tuple[str, ...]:
    """Return the arrays of dense vectors, given or made, that the second cache does not hold."""
    total = [o for chain in nest.chains for o in chain.operands if o.total]
    found = {
        o.value.function: (o.access.subscripts[0].indices, o.tensor.dtype)
        for o in total
        if len(o.access.subscripts) == 1
    }
    if nest.assembly.kind == "dense" and len(nest.coordinates) == 1:
        result = f"{nest.output.name}_{nest.layout.value.function}"
        found[result] = nest.coordinates, nest.output.dtype
    return tuple(
        name
        for name, (indices, dtype) in found.items()
        if _room(indices, sizes) * np.dtype(dtype).itemsize > NEAR
    )


def often_arrays(nest: Nest, sizes: Sizes) -> tuple[str, ...]:
    """Return the arrays of dense matrices that stay in the second cache and are read many times."""
    if nest.assembly.kind != "dense":
        return ()
    found: list[str] = []
    for chain in nest.chains:
        steps = nest.prefix + chain.steps
        read = all_turns(steps, {o.name: o for o in chain.operands}, sizes)
        for operand in chain.operands:
            indices = [i for s in operand.access.subscripts for i in s.indices]
            stored = _room(indices, sizes)
            near = FIRST < stored * width(operand) <= NEAR
            if operand.total and len(operand.access.subscripts) == 2 and near:
                found += [operand.value.function] * (read >= OFTEN * stored)
    return tuple(dict.fromkeys(found))


def _room(indices: Iterable[str], sizes: Sizes) -> float:
    """Return how many values some indices take together."""
    return math.prod(map(sizes.extent, indices))


def far_arrays(nest: Nest, algorithms: Collection[str], sizes: Sizes) -> dict[str, float]:
    """Return the arrays of operands whose rows are worth being fetched, and the elements of a row.

    Parameters
    ----------
    nest:
        The nest, its workspace put in order.
    algorithms:
        Those of its finds.
    sizes:
        Of the operands.

    Returns
    -------
    dict
        Of operands that are read at coordinates which other operands hold, are larger than the
        cache and read more than fills it.  Sparse ones only where every product is taken, to be
        gathered in a workspace or with values that are spread out: a search that finds little goes
        on to the rows after by itself.  Where products are added to a dense result, a few rows
        picked out of many are fetched from the second cache, too: each is short, and the next one
        is not foreseen.  Those that say where rows begin only where they do not stay in cache
        themselves, and rows are read in any order.
    """
    every = set(algorithms)
    sparse = every in ({"spread"}, {"linear"}) or (not every and nest.assembly.kind == "workspace")
    scattered = not every and nest.assembly.kind == "dense"
    far: dict[str, float] = {}
    for chain in nest.chains:
        steps = nest.prefix + chain.steps
        operands = {o.name: o for o in chain.operands}
        loads = [s for s in steps if isinstance(s, Let) and s.kind == "load"]
        loaded = {s.variable for s in loads}
        read = all_turns(steps, operands, sizes)
        for operand in chain.operands:
            told = {i for s in operand.access.subscripts[:-1] for i in s.indices} & loaded
            by_others = {s.variable for s in loads if s.operand != operand.name}
            picked = {i for s in operand.access.subscripts for i in s.indices} & by_others
            if len(operand.dims) < 2:
                continue
            stored = sizes.entries.get(operand.dims[-1], 1.0)
            size = min(stored, read) * width(operand)
            apart = sparse and not _near(told, chain, sizes)
            rows = bool(told) and (apart or operand.total) and size > NEAR
            few = bool(picked) and scattered and not operand.total and read <= stored / FEW
            if rows or (few and size > FIRST):
                row = sizes.fanout(operand.dims, operand.dims[-1])
                arrays = (operand.value.function, *(name for _, name in operand.functions))
                begun = INDEX * sizes.entries.get(operand.dims[-2], 1.0)
                near = set[str]() if rows and begun >= POINTERS else _pointers(operand, steps)
                far |= dict.fromkeys([array for array in arrays if array not in near], row)
    return far


def _pointers(operand: Operand, steps: tuple[Step, ...]) -> set[str]:
    """Return the arrays that say where rows of an operand begin."""
    ranges = (s for s in steps if isinstance(s, Scan | Find) and s.operand == operand.name)
    return {call.function for s in ranges for call in terms.all_ufs(s.lows)}


def _near(told: set[str], chain: Chain, sizes: Sizes) -> bool:
    """Whether operands that tell rows tell some near each other: those are met again soon."""
    tells = (o for o in chain.operands if not o.total and o.dims and told & _last(o))
    return any(sizes.unevenness(o.dims[-1]).near >= NEARBY for o in tells)


def _last(operand: Operand) -> set[str]:
    """Return the indices of an operand's last subscript."""
    return {index for subscript in operand.access.subscripts[-1:] for index in subscript.indices}


def width(operand: Operand) -> int:
    """Return the bytes of an entry."""
    value = np.dtype(operand.tensor.dtype).itemsize
    return value if operand.total else value + INDEX
