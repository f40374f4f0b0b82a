"""How a layout stores a small tensor: the tensor beside its arrays, values in one colour.

Takes: a layout.  Gives: SVG text.  Invariant: places come from the layout's own scan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsedsl.layouts.describe import example
from sparsedsl.layouts.enumerate import entries
from sparsedsl.layouts.layout import Layout
from sparsedsl.pictures.svg import PALE, Page, tint

CELL = 24.0
MARGIN = 12.0
WRAP = 96


def storage(layout: Layout) -> str:
    """Draw a small tensor as coordinates on the left, as arrays on the right.

    A coordinate has the colour of the place that holds its value; colours run from blue to red in
    the order of the value array.  Grey places are padding.

    Parameters
    ----------
    layout:
        With block sizes bound, of one to three modes.

    Raises
    ------
    LayoutError
        When none of the small examples fits the layout.

    Examples
    --------
    >>> from sparsedsl.layouts.catalogue import resolve
    >>> storage(resolve("csr", 2)).count("<rect") > 24
    True
    """
    dense, arrays = example(layout)
    coords, positions = entries(layout, dense.shape, arrays)
    values = arrays[layout.value.function]
    count = coords.shape[1]
    held = np.ravel_multi_index(positions, values.shape) if positions else np.zeros(count, int)
    used = {int(place): number for number, place in enumerate(np.unique(held))}
    colours = {place: tint(number, len(used)) for place, number in used.items()}
    page = Page()
    top = _heading(page, layout)
    places = dict(zip(map(tuple, coords.T.tolist()), held.tolist(), strict=True))
    right = _tensor(page, top, dense, {at: colours[place] for at, place in places.items()})
    for name, array in arrays.items():
        own = colours if name == layout.value.function else None
        top = _array(page, right + 2 * MARGIN, top, name, array, own)
    return page.svg()


def _heading(page: Page, layout: Layout) -> float:
    page.text(MARGIN, MARGIN + 10, layout.label, size=15)
    top = MARGIN + 28
    words, line = layout.text.split(" "), ""
    for word in words:
        if len(line) + len(word) > WRAP:
            page.text(MARGIN, top, line, size=10)
            top, line = top + 14, "   "
        line = f"{line} {word}".lstrip() if line.strip() else line + word
    page.text(MARGIN, top, line, size=10)
    return top + MARGIN


def _tensor(
    page: Page, top: float, dense: np.ndarray, colours: dict[tuple[int, ...], str]
) -> float:
    """The tensor by coordinates, matrix after matrix; where it ends on the right."""
    shaped = dense.reshape(-1, *((1,) * (2 - dense.ndim) + dense.shape)[-2:])
    for at, value in np.ndenumerate(dense):
        block, row, column = np.unravel_index(np.ravel_multi_index(at, dense.shape), shaped.shape)
        y = top + (block * (shaped.shape[1] + 0.5) + row) * CELL
        shown = "" if at not in colours else str(value)
        page.cell(MARGIN + column * CELL, y, CELL, fill=colours.get(at, "white"), text=shown)
    return MARGIN + shaped.shape[2] * CELL


def _array(
    page: Page,
    left: float,
    top: float,
    name: str,
    array: np.ndarray,
    colours: dict[int, str] | None,
) -> float:
    """One array under its name, an axis wrapped over lines; where the next one begins."""
    shape = "" if array.ndim == 1 else f"  {' x '.join(map(str, array.shape))}"
    page.text(left, top + 10, name + shape)
    top += 16
    rows: Sequence[np.ndarray] = [array.reshape(-1)] if array.ndim < 2 else _rows(array)
    wide = max(len(str(value)) for value in array.reshape(-1).tolist() or [""])
    width = max(CELL, 8.0 * wide + 8)
    number = 0
    if not array.size:
        page.text(left, top + 14, "no elements", size=10)
        return top + CELL + MARGIN
    for row in rows:
        for column, value in enumerate(row.tolist()):
            fill = "white" if colours is None else colours.get(number, PALE)
            page.cell(left + column * width, top, CELL, fill=fill, text=str(value), width=width)
            number += 1
        top += CELL
    return top + MARGIN


def _rows(array: np.ndarray) -> list[np.ndarray]:
    return list(array.reshape(-1, array.shape[-1]))
