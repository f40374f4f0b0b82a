"""What a layout is, for people: its specification, arrays, bytes and a small example.

Takes: a layout.  Gives: text.  Invariant: everything is derived from the specification; the
example is built and drawn by the same code for every layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsedsl.errors import InvalidTensorError, LayoutError
from sparsedsl.layouts.build import Builder
from sparsedsl.layouts.construct import INT32_MAX, construct, magnitude
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import Level, Position, levels, packed
from sparsedsl.layouts.properties import property_text
from sparsedsl.spf import terms as t
from sparsedsl.spf.nodes import Atom, Term, Var

Counts = Mapping[str, int]


def storage_bytes(
    layout: Layout,
    shape: Sequence[int],
    nnz: int,
    counts: Counts | None = None,
    *,
    dtype: str = "float64",
    index_dtype: str | None = None,
) -> int:
    """The bytes all arrays of a tensor take, before it is built.

    Parameters
    ----------
    layout, shape:
        With block sizes bound, one extent per mode.
    nnz:
        Number of entries.
    counts:
        What the number of entries does not tell: values of parameters (``{"ND": 5}``) or first
        lengths of arrays (``{"indices": 7}``, the blocks of a blocked layout).
    dtype, index_dtype:
        Of values and of index arrays; by default int32 where extents and ``nnz`` fit.

    Raises
    ------
    LayoutError
        When a count is missing; the message names those that would do.

    Examples
    --------
    >>> from sparsedsl.layouts.catalogue import resolve
    >>> storage_bytes(resolve("csr", 2), (100, 50), 400)
    5204
    >>> storage_bytes(resolve("dia", 2), (100, 50), 400, {"ND": 3})
    1212
    """
    layout.require_bound()
    found, known = _lengths(layout, shape, nnz, dict(counts or {}))
    greatest = max((*shape, nnz, *map(magnitude, filter(np.size, known))), default=0)
    index = np.dtype(index_dtype or ("int32" if greatest <= INT32_MAX else "int64"))
    total = 0
    for name, lengths in found.items():
        item = np.dtype(dtype) if name == layout.value.function else index
        bytes_ = item.itemsize
        for length in lengths:
            bytes_ *= length
        total += bytes_
    return total


def _lengths(
    layout: Layout, shape: Sequence[int], nnz: int, counts: dict[str, int]
) -> tuple[dict[str, tuple[int, ...]], list[np.ndarray]]:
    """The lengths of every array, and the arrays that follow from them."""
    env = dict(zip(layout.extents, (int(n) for n in shape), strict=True))
    env |= {name: counts[name] for name in layout.sizes if name in counts}
    known: dict[Atom, int] = {}
    told = [
        (layout.lengths[name], count) for name, count in counts.items() if name in layout.lengths
    ]
    if packed(layout):
        told.append((layout.lengths[layout.value.function], nnz))
    for lengths, count in told:
        if not lengths or lengths[0] is None:
            continue
        parts = [(c, x) for c, x in lengths[0].parts if not isinstance(x, Var) or x.name not in env]
        if len(parts) == 1 and parts[0][0] > 0:
            ((factor, node),) = parts
            rest = t.subtract(lengths[0], t.atom(node, factor))
            known[node] = (count - int(t.evaluate(rest, env, {}))) // factor
    env |= {node.name: count for node, count in known.items() if isinstance(node, Var)}
    builder = Builder(layout, env)
    builder.defined()
    found: dict[str, tuple[int, ...]] = {}
    missing: list[str] = []
    for name, axes in layout.lengths.items():
        sizes: list[int] = []
        for length in axes:
            if length is None:
                # nothing but the count given for the array itself can tell
                sizes.append(counts.get(name, 0))
                missing += [] if name in counts else [name]
                continue
            term = t.replace(length, {node: t.const(count) for node, count in known.items()})
            calls = {call.function for call in t.ufs(term)} - set(builder.arrays)
            unknown = t.variables(term) - set(env)
            if calls or unknown:
                missing += [*sorted(unknown), *((name,) if calls else ())]
                continue
            sizes.append(max(int(t.evaluate(term, env, builder.arrays)), 0))
        found[name] = tuple(sizes)
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        raise LayoutError(
            f"the bytes of '{layout.label}' also depend on the lengths {names}",
            hint=f"give counts={{{missing[0]!r}: ...}}, --counts {missing[0]}=... on the command "
            "line: a parameter, or an array's first length; sparsedsl.storage_bytes(x, layout), "
            "--tensor FILE on the command line, counts them in a tensor",
        )
    return found, [*builder.arrays.values()]


def text(layout: Layout) -> str:
    """The specification and the arrays with lengths and dtypes, one per line."""
    lines = [f"{layout.label}", f"  relation    {layout.text}"]
    lines.append(f"  value       {t.text(t.atom(layout.value))}")
    for place, item in enumerate(layout.properties):
        lines.append(f"  {'properties' if not place else '':<12}{property_text(item)}")
    if layout.blocks:
        lines.append(f"  block sizes {', '.join(layout.blocks)} (bind them to see the arrays)")
        return "\n".join(lines)
    for place, name in enumerate(layout.arrays):
        axes = ", ".join(_shown(length) for length in layout.lengths[name])
        kind = "values" if name == layout.value.function else "int32 or int64"
        lines.append(f"  {'arrays' if not place else '':<12}{name}[{axes}] {kind}")
    lines.append(f"  {'bytes':<12}{bytes_text(layout)}")
    return "\n".join(lines)


def _shown(length: Term | None) -> str:
    return "any" if length is None else t.text(length)


def bytes_text(layout: Layout) -> str:
    """The bytes as a formula: the width of indices is ``w``, of values ``v``."""
    parts: list[str] = []
    for name in layout.arrays:
        width = "v" if name == layout.value.function else "w"
        factors = [_factor(length) for length in layout.lengths[name]]
        parts.append("*".join([width, *factors]))
    return " + ".join(parts)


def _factor(length: Term | None) -> str:
    shown = _shown(length)
    return f"({shown})" if " " in shown else shown


_CROWDED = [[5, 1, 0, 0, 0, 8], [0, 0, 2, 2, 0, 0], [0, 0, 0, 0, 0, 0], [6, 7, 0, 3, 4, 0]]
"""Rows too long for a table of two columns, equal neighbours, an entry far along a curve."""

_EXAMPLES = (
    [[5, 1, 0, 0, 0, 0], [0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 3, 4, 0]],
    [[1, 0, 0, 0], [2, 3, 0, 0], [0, 0, 4, 0], [0, 5, 0, 6]],
    [[1, 2, 0, 0], [2, 3, 0, 5], [0, 0, 4, 0], [0, 5, 0, 6]],
    [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]],
    [[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 5, 6], [0, 0, 0, 7]],
)
"""Small matrices; a layout shows the first it has a place for."""


def example(layout: Layout) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A small dense tensor and the arrays that hold it.

    Raises
    ------
    LayoutError
        When none of the examples fits.
    """
    matrices = (_CROWDED, *_EXAMPLES) if _crowds(layout) else _EXAMPLES
    shown = [_shaped(rows, layout.rank) for rows in matrices if layout.rank]
    for dense in shown:
        arrays = _stored(layout, dense)
        if arrays is not None:
            return dense, arrays
    for dense in shown:
        # what has a place by itself, such as every second column
        alone = (np.where(dense == value, dense, 0) for value in dense[dense > 0])
        held = sum((one for one in alone if _stored(layout, one)), np.zeros_like(dense))
        arrays = _stored(layout, held)
        if arrays is not None and held.any():
            return held, arrays
    raise LayoutError(
        f"no small example fits the layout '{layout.label}'",
        hint="store a matrix of your own with sd.convert and print its arrays",
    )


def _crowds(layout: Layout) -> bool:
    """Whether few entries would leave a part empty, or look like those of another layout."""
    numbered = (level for k in range(len(layout.structures)) for level in _levels(layout, k))
    if any(isinstance(x, Position) and (x.by_value or x.morton) for x in numbered):
        return True
    first, *more = ({call.function for call in part.calls} for part in layout.structures)
    return any(names - first for names in more)


def _levels(layout: Layout, place: int) -> tuple[Level, ...]:
    """The levels of an alternative, none where they cannot be told."""
    try:
        return levels(layout, place)
    except LayoutError:
        return ()


def _shaped(rows: Sequence[Sequence[int]], rank: int) -> np.ndarray:
    """An example with ``rank`` modes."""
    dense = np.array(rows)
    if rank == 1:
        return dense[0]
    if rank == 3:
        return dense[:, :4].reshape(2, 2, 4)
    return dense[:, :4].reshape((1,) * (rank - 4) + (2,) * 4) if rank > 3 else dense


def _stored(layout: Layout, dense: np.ndarray) -> dict[str, np.ndarray] | None:
    """The arrays that hold a tensor, None where the layout has no place for an entry."""
    coords = np.array(np.nonzero(dense)).reshape(dense.ndim, -1)
    try:
        return construct(layout, dense.shape, coords, dense[tuple(coords)])
    except InvalidTensorError:
        return None


def picture(layout: Layout) -> str:
    """A small example: the tensor, then every array as it is stored."""
    dense, arrays = example(layout)
    lines: list[str] = []
    for number, block in enumerate(
        dense.reshape(-1, *dense.shape[-2:]) if dense.ndim > 2 else [dense]
    ):
        if number:
            lines.append("")
        for row in np.atleast_2d(block):
            lines.append("  " + " ".join("." if not x else str(x) for x in row.tolist()))
    lines.append("")
    width = max(map(len, arrays))
    for name, array in arrays.items():
        rows = _rows(array)
        lines.append(f"  {name:<{width}}  {rows[0]}")
        lines += [f"  {'':<{width}}  {row}" for row in rows[1:]]
    total = sum(array.nbytes for array in arrays.values())
    plain = dense.size * dense.itemsize
    lines += ["", f"  {total} bytes, {plain} as a plain array"]
    return "\n".join(lines)


def _rows(array: np.ndarray) -> list[str]:
    """An array, one line per row; axes beyond two in brackets."""
    if array.ndim == 0:
        return [str(array.item())]
    if array.ndim == 1:
        return ["[" + " ".join(map(str, array.tolist())) + "]"]
    if not len(array):
        return ["[]"]
    if array.ndim == 2:
        width = max((len(str(x)) for x in array.ravel().tolist()), default=1)
        return ["[" + " ".join(f"{x!s:>{width}}" for x in row) + "]" for row in array.tolist()]
    return [" ".join("".join(_rows(part)) for part in np.atleast_2d(block)) for block in array]
