"""Where an index stands in a kernel, and tensors cut along it.

Takes: a program and the name of an index.  Gives: the mode of each tensor that it cuts, the
bounds of blocks, the blocks.  Invariant: the blocks of a tensor hold every entry once, in the
tensor's own layout; blocks have about as many stored entries each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparsedsl.contraction.bindings import bound_indices
from sparsedsl.contraction.expressions import walk
from sparsedsl.contraction.nodes import Access, Assign, IndexValue, Program, Reduce, Stored
from sparsedsl.errors import PlanError
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.levels import total
from sparsedsl.runtime.tensor import Tensor, bound


@dataclass(frozen=True, slots=True)
class Split:
    """``modes``: the mode that each input is cut along.  ``joined``: the mode of the result
    along which its blocks are joined, or None where they are combined by ``monoid``.
    """

    index: str
    modes: Mapping[str, int]
    joined: int | None
    monoid: str


def split_of(program: Program, index: str) -> Split:
    """Return how a program of one statement is split along an index.

    Raises
    ------
    PlanError
        For several statements, an index that is not there, one read by value or in computed
        subscripts, or a sum that is not the outermost operation.
    """
    if len(program.statements) != 1:
        raise PlanError(
            f"expected a kernel of one statement, found {len(program.statements)}",
            hint="compute the statements one after the other",
        )
    (statement,) = program.statements
    left = [s.name for s in statement.subscripts]
    found = {*left, *bound_indices(statement.expression)}
    if index not in found:
        raise PlanError(
            f"expected split to be an index of the kernel, found '{index}'",
            span=statement.span,
            hint=f"it has {', '.join(sorted(n for n in found if n))}",
        )
    modes = _modes(statement, index)
    if index in left:
        return Split(index, modes, left.index(index), "add")
    body = statement.expression
    if not isinstance(body, Reduce) or index not in body.indices:
        raise PlanError(
            f"'{index}' is summed inside an expression, so that blocks of it cannot be combined",
            span=statement.span,
            hint="split along an index of the result, or make the sum the outermost operation",
        )
    return Split(index, modes, None, body.monoid)


def _modes(statement: Assign, index: str) -> dict[str, int]:
    modes: dict[str, set[int]] = {}
    for part in walk(statement.expression):
        if isinstance(part, IndexValue) and index in part.index.indices:
            raise _uncuttable(statement, index, "its value is read")
        if isinstance(part, Access | Stored):
            for subscript in part.subscripts:
                if index in subscript.indices and subscript.name != index:
                    raise _uncuttable(statement, index, f"it stands in '{subscript}'")
            here = {m for m, s in enumerate(part.subscripts) if s.name == index}
            modes.setdefault(part.tensor, here)
            if modes[part.tensor] != here:
                raise _uncuttable(statement, index, f"{part.tensor} is read in several ways")
    if any(len(here) > 1 for here in modes.values()):
        raise _uncuttable(statement, index, "it stands twice in one access")
    return {name: here.pop() for name, here in modes.items() if here}


def _uncuttable(statement: Assign, index: str, why: str) -> PlanError:
    return PlanError(
        f"the kernel cannot be split along '{index}': {why}",
        span=statement.span,
        hint="split along another index",
    )


def work(x: Tensor, mode: int) -> np.ndarray:
    """Return how many entries a tensor stores at each position of a mode."""
    if total(x.layout):
        return np.full(x.shape[mode], x.size // max(x.shape[mode], 1), np.int64)
    return np.bincount(x.coordinates()[0][mode], minlength=x.shape[mode])


def bounds(weights: np.ndarray, blocks: int) -> list[int]:
    """Return ``blocks + 1`` bounds at which cumulated work is divided evenly.

    >>> bounds(np.array([8, 1, 1, 1, 1, 4]), 2)
    [0, 2, 6]
    """
    reached = np.concatenate([[0], np.cumsum(weights + 1)])
    goals = reached[-1] * np.arange(1, blocks) / blocks
    inner = [int(np.abs(reached - goal).argmin()) for goal in goals]
    return sorted({0, *inner, len(weights)})


def cut(x: Tensor, mode: int, ends: Sequence[int]) -> list[Tensor]:
    """Return the blocks of a tensor between consecutive bounds along a mode."""
    wide = any(a.dtype.itemsize == 8 for n, a in x.arrays.items() if n in x.layout.functions)
    coords, values = x.coordinates()
    order = np.argsort(coords[mode], kind="stable")
    coords, values = coords[:, order], values[order]
    places = np.searchsorted(coords[mode], ends)
    found: list[Tensor] = []
    for n, (low, high) in enumerate(pairwise(ends)):
        mine = slice(places[n], places[n + 1])
        inside = coords[:, mine].copy()
        inside[mode] -= low
        shape = (*x.shape[:mode], high - low, *x.shape[mode + 1 :])
        ordered = np.lexsort(inside[::-1])
        arrays = construct(
            x.layout,
            shape,
            inside[:, ordered],
            values[mine][ordered],
            fill=x.fill_value,
            index_dtype="int64" if wide else None,
        )
        found.append(bound(x.layout, shape, arrays, x.fill_value))
    return found


def joined(blocks: Sequence[Tensor], mode: int) -> Tensor:
    """Return the tensor whose blocks along a mode these are."""
    first = blocks[0]
    starts = np.cumsum([0, *(b.shape[mode] for b in blocks)])
    coords: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for block, start in zip(blocks, starts, strict=False):
        where, what = block.coordinates()
        where = where.copy()
        where[mode] += start
        coords.append(where)
        values.append(what)
    shape = (*first.shape[:mode], int(starts[-1]), *first.shape[mode + 1 :])
    places, stored = np.concatenate(coords, axis=1), np.concatenate(values)
    order = np.lexsort(places[::-1])
    arrays = construct(first.layout, shape, places[:, order], stored[order], fill=first.fill_value)
    return bound(first.layout, shape, arrays, first.fill_value)
