"""A run as a picture: the ratios of every cell.

Takes: ``Run`` and a path.  Gives: a file, drawn by matplotlib.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsedsl.bench.run import Run
from sparsedsl.bench.summary import names, peer
from sparsedsl.errors import SparseDSLError


def drawable(path: Path) -> None:
    """Raise where ``plot`` cannot draw to this file.

    Raises
    ------
    SparseDSLError
        Without matplotlib, or for an ending that it does not know.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SparseDSLError(
            "--plot: expected matplotlib, found none",
            hint="pip install 'sparsedsl[plot]'",
        ) from None
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in known:
        raise SparseDSLError(
            f"--plot: expected a file name ending in {', '.join(f'.{e}' for e in known)}, "
            f"found {path}"
        )


def plot(run: Run, path: Path) -> None:
    """Draw the ratios of every cell on a logarithmic axis; see ``drawable`` for the file."""
    from matplotlib.figure import Figure

    cells = [c for c in run.cells if c.peers]
    figure = Figure(figsize=(8, 1.2 + 0.22 * len(cells)), layout="constrained")
    axes: Any = figure.subplots()
    for name in names(run):
        points = [(t, y) for y, c in enumerate(cells) if (t := peer(c, name)) is not None]
        middles = [t.ratio for t, _ in points]
        spreads = [t.spread for t, _ in points]
        # the median lies between the quartiles, but for rounding
        below = [max(m - s[0], 0.0) for m, s in zip(middles, spreads, strict=True)]
        above = [max(s[1] - m, 0.0) for m, s in zip(middles, spreads, strict=True)]
        heights = [y for _, y in points]
        axes.errorbar(middles, heights, xerr=[below, above], fmt="o", markersize=4, label=name)
    axes.axvline(1.0, color="0.6", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(cells)), [f"{c.kernel}  {c.input}" for c in cells], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("time over that of sparsedsl (above 1, sparsedsl is faster)")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)
