"""Which points of a small iteration space the loops of a kernel visit.

Takes: a kernel and small arguments.  Gives: SVG text.  Invariant: points are those of the whole
box of indices; visited are those where every scanned operand is stored, delivered those where
every required one is, as the plan says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from sparsedsl.contraction.extent import check_shapes
from sparsedsl.contraction.text import statement_text
from sparsedsl.errors import PlanError
from sparsedsl.interop import asarray
from sparsedsl.iteration.nodes import Chain, Let, Merge, Nest, Operand, Scan
from sparsedsl.kernel import Engine, Kernel
from sparsedsl.pictures.svg import EMPTY, MISSED, STORED, Page
from sparsedsl.runtime.tensor import Tensor

STEP = 22.0
LEFT = 40.0
MOST = 100_000


def space(kernel: Kernel, *args: Any) -> str:
    """Draw the points that the first result's loops visit, over its two outermost indices.

    A full circle is a point that delivers a value, a ring one that is visited in vain (a search
    misses there), a grey dot one that no loop comes to.  Where there are more than two indices a
    circle is as large as its share of the points behind it.

    Parameters
    ----------
    kernel, args:
        As for a call; the product of all extents is at most 100,000.

    Raises
    ------
    PlanError
        When the space is too large to draw.

    Examples
    --------
    >>> import sparsedsl as sd
    >>> @sd.kernel
    ... def product(A, x):
    ...     i, j = sd.indices("i j")
    ...     y = sd.output()
    ...     y[i] = A[i, j] * x[j]
    ...     return y
    >>> A = sd.convert(np.eye(3), "csr")
    >>> f'fill="{STORED}"' in space(product, A, np.ones(3))
    True
    """
    return visited(kernel.engine, [asarray(x) for x in args])


def visited(engine: Engine, tensors: list[Tensor]) -> str:
    """Draw what ``space`` draws, for a statement that is no kernel of its own."""
    unit = engine.lower(tensors).units[0].turn[0]
    program = engine.specialise(tensors).traced.program
    named = dict(zip((t.name for t in program.inputs), tensors, strict=True))
    extents = check_shapes(program, {name: x.shape for name, x in named.items()})
    page = Page()
    top = 18.0
    for chain in unit.nest.chains:
        order = _order(unit.nest, chain)
        if prod(extents[i] for i in order) > MOST:
            raise PlanError(
                f"expected at most {MOST} points to draw, found {prod(extents[i] for i in order)}",
                hint="draw smaller tensors of the same kind, with --shape on the command line",
            )
        points = _points(unit.nest, chain, order, extents, named)
        top = _drawn(page, top, unit.nest, chain, points) + 26
    page.text(8, top - 6, statement_text(program.statements[0]), size=12)
    _legend(page, top + 14)
    return page.svg()


@dataclass(frozen=True, slots=True)
class _Points:
    """Which points of a box are visited, and at which something is delivered."""

    order: tuple[str, ...]
    visited: np.ndarray
    delivered: np.ndarray


def _order(nest: Nest, chain: Chain) -> tuple[str, ...]:
    """The logical indices, in the order in which the loops bind them."""
    logical = {i for o in chain.operands for s in o.access.subscripts for i in s.indices}
    logical |= {i for s in chain.coordinates for i in s.indices}
    steps = (*nest.prefix, *chain.steps)
    bound = [s.variable for s in steps if isinstance(s, Scan | Let | Merge)]
    return tuple(dict.fromkeys(name for name in bound if name in logical))


def _points(
    nest: Nest,
    chain: Chain,
    order: tuple[str, ...],
    extents: Mapping[str, int],
    named: Mapping[str, Tensor],
) -> _Points:
    grid = np.indices([extents[i] for i in order])
    values = dict(zip(order, grid, strict=True))
    sources = {c.tensor.name: c.source for c in nest.conversions}
    scanned = {s.operand for s in (*nest.prefix, *chain.steps) if isinstance(s, Scan)}
    visited = np.ones(grid.shape[1:], dtype=bool)
    delivered = visited.copy()
    merged = [p.operand for s in chain.steps if isinstance(s, Merge) for p in s.parts]
    union = np.full(visited.shape, not merged)
    for operand in chain.operands:
        name = sources.get(operand.tensor.name, operand.tensor.name)
        if name not in named:
            continue
        if operand.name in merged:
            union |= _stored(named[name], operand, values)
        if operand.name not in chain.required:
            continue
        here = _stored(named[name], operand, values)
        delivered &= here
        if operand.name in scanned:
            visited &= here
    return _Points(order, visited & union, delivered & union)


def _stored(tensor: Tensor, operand: Operand, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where an operand is stored, at every point."""
    mask = np.zeros(tensor.shape, dtype=bool)
    mask[tuple(tensor.coordinates()[0])] = True
    shape = next(iter(values.values())).shape
    places: list[np.ndarray] = []
    inside = np.ones(shape, dtype=bool)
    for subscript, extent in zip(operand.access.subscripts, tensor.shape, strict=True):
        place = np.full(shape, subscript.constant)
        for name, factor in subscript.terms:
            place = place + factor * values[name]
        inside &= (place >= 0) & (place < extent)
        places.append(np.clip(place, 0, max(extent - 1, 0)))
    return inside & mask[tuple(places)] if mask.size else np.zeros(shape, dtype=bool)


def _drawn(page: Page, top: float, nest: Nest, chain: Chain, points: _Points) -> float:
    """The first two indices as rows and columns; where the picture ends."""
    behind = tuple(range(2, len(points.order)))
    visited = points.visited.sum(axis=behind) if behind else points.visited.astype(int)
    delivered = points.delivered.sum(axis=behind) if behind else points.delivered.astype(int)
    visited, delivered = (np.atleast_2d(x.T).T if x.ndim < 2 else x for x in (visited, delivered))
    depth = max(int(visited.max(initial=1)), 1)
    rows, columns = visited.shape
    names = (*points.order, "", "")
    left, first = LEFT - 12, top + 28
    page.text(LEFT + (columns - 1) * STEP / 2, top, names[1], anchor="middle")
    page.text(14, first + 4 + (rows - 1) * STEP / 2, names[0], anchor="middle")
    for column in range(columns) if names[1] else ():
        page.text(LEFT + column * STEP, top + 13, str(column), size=9, anchor="middle")
    for row in range(rows):
        page.text(left, first + 3 + row * STEP, str(row), size=9, anchor="end")
        for column in range(columns):
            x, y = LEFT + column * STEP, first + row * STEP
            _point(page, x, y, int(visited[row, column]), int(delivered[row, column]), depth)
    bottom = first + 10 + rows * STEP
    total = points.visited.size
    page.text(
        8,
        bottom,
        f"{int(points.visited.sum())} of {total} points visited, "
        f"{int((points.visited & points.delivered).sum())} delivered; loops: "
        f"{', '.join(_loops((*nest.prefix, *chain.steps)))}",
        size=10,
    )
    return bottom


def _point(page: Page, x: float, y: float, visited: int, delivered: int, depth: int) -> None:
    if visited > delivered:
        page.circle(x, y, 3 + 5 * (visited / depth) ** 0.5, fill="none", edge=MISSED)
    if delivered:
        page.circle(x, y, 3 + 5 * (delivered / depth) ** 0.5, fill=STORED)
    if not visited:
        page.circle(x, y, 1.5, fill=EMPTY)


def _legend(page: Page, y: float) -> None:
    """What the marks mean, on one line."""
    page.circle(14, y, 5, fill=STORED)
    page.text(24, y + 3, "delivers", size=10)
    page.circle(84, y, 5, fill="none", edge=MISSED)
    page.text(94, y + 3, "visited in vain", size=10)
    page.circle(184, y, 1.5, fill=EMPTY)
    page.text(192, y + 3, "not visited", size=10)


def _loops(steps: Sequence[object]) -> list[str]:
    found: list[str] = []
    for step in steps:
        match step:
            case Scan(variable, _, _, None):
                found.append(variable)
            case Scan(variable, _, _, operand):
                found.append(f"{variable} (entries of {operand})")
            case Merge(variable):
                found.append(f"{variable} (merged)")
            case _:
                pass
    return found
