"""Where the entries of a tensor lie.

Takes: a matrix in any layout, or what becomes one.  Gives: SVG text.  Invariant: every entry is
in some drawn box, and every box that is not white holds one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedsl.errors import InvalidTensorError
from sparsedsl.interop import asarray
from sparsedsl.layouts.enumerate import differs
from sparsedsl.pictures.svg import Page

SIDE = 360.0
BOXES = 120
SHADES = ("#c6d6e6", "#8fb0cf", "#4878a8", "#2a4d73")


def spy(x: Any) -> str:
    """Draw the pattern of a matrix; vectors are drawn as one row.

    Large matrices are drawn in boxes, darker where a greater part of a box is stored.  Padding
    that a layout stores is not drawn.

    Parameters
    ----------
    x:
        A tensor of one or two modes, or what ``sd.asarray`` takes.

    Raises
    ------
    InvalidTensorError
        For a tensor of other modes.

    Examples
    --------
    >>> spy(np.eye(3)).count("<rect")
    5
    """
    tensor = asarray(x)
    if tensor.ndim not in (1, 2):
        raise InvalidTensorError(
            f"expected a matrix or a vector to draw, found {tensor.ndim} modes",
            hint="reduce the tensor to two modes first, as sd.einsum('ijk->ij', x) does",
        )
    coords, values = tensor.coordinates()
    coords = coords[:, differs(values, tensor.fill_value)]
    shape = tensor.shape if tensor.ndim == 2 else (1, *tensor.shape)
    rows = coords[0] if tensor.ndim == 2 else np.zeros(coords.shape[1], np.int64)
    page = Page()
    caption = " x ".join(map(str, tensor.shape))
    page.text(8, 16, f"{caption}, {coords.shape[1]} entries, {tensor.layout.label}")
    step = -(-max(*shape, 1) // BOXES)
    bottom = _boxes(page, shape, rows, coords[-1], step)
    if step > 1:
        _legend(page, bottom + 18, step)
    return page.svg()


def _boxes(
    page: Page, shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, step: int
) -> float:
    """Boxes of ``step`` rows and columns; where they end."""
    counts = [-(-extent // step) for extent in shape]
    scale = min(SIDE / max(max(shape) / step, 1), 24.0)
    width, height = shape[1] / step * scale, shape[0] / step * scale
    page.cell(8, 24, max(height, 1), edge="#808080", width=max(width, 1))
    found = np.zeros(counts[0] * counts[1], np.int64)
    np.add.at(found, rows // step * counts[1] + columns // step, 1)
    for place in np.flatnonzero(found).tolist():
        row, column = divmod(place, counts[1])
        high, wide = min(step, shape[0] - row * step), min(step, shape[1] - column * step)
        fill = SHADES[_shade(int(found[place]) / (high * wide))]
        page.cell(
            8 + column * scale,
            24 + row * scale,
            high / step * scale,
            fill=fill,
            edge=fill,
            width=wide / step * scale,
        )
    return 24 + height


def _legend(page: Page, y: float, step: int) -> None:
    """How large a box is, and what share of one each shade stands for."""
    page.text(8, y, f"boxes of {step} x {step}; stored:", size=10)
    x = 24 + 6 * len(f"boxes of {step} x {step}; stored:")
    for shade, text in zip(SHADES, ("below 1 %", "10 %", "50 %", "more"), strict=True):
        page.circle(x, y - 3, 4, fill=shade)
        page.text(x + 8, y, text, size=10)
        x += 22 + 6 * len(text)


def _shade(share: float) -> int:
    """0 below one in a hundred, 3 where most of a box is stored."""
    return int(np.searchsorted([0.01, 0.1, 0.5], share, side="right"))
