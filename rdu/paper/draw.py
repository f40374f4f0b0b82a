"""The figures drawn, the paper's values beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdu.errors import SpecError
from rdu.paper.rows import Row

_BARS = {
    10: ("speedup software", "speedup hardware"),
    11: ("kernel ratio",),
}
_LINES = {12: "latency ms", 13: "nodes"}


def draw_figure(number: int, rows: Sequence[Row], path: str | Path) -> None:
    """Draw figure 1, 10, 11, 12 or 13 from its rows; the suffix of ``path`` chooses the format.

    Raises
    ------
    SpecError
        Where matplotlib is not installed or does not know the suffix.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SpecError(
            "drawing needs matplotlib, which is not installed", hint="pip install 'sparsedsl[plot]'"
        ) from None
    if number in _LINES:
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        _lines(figure.subplots(), [row for row in rows if row.quantity == _LINES[number]])
    else:
        quantities = _BARS.get(number) or tuple(dict.fromkeys(row.quantity for row in rows))
        figure = Figure(figsize=(10, 3.4 * len(quantities) + 0.6), layout="constrained")
        for axes, quantity in zip(
            figure.subplots(len(quantities), 1, squeeze=False)[:, 0], quantities, strict=True
        ):
            _bars(axes, quantity, [row for row in rows if row.quantity == quantity])
    figure.suptitle(f"figure {number}")
    try:
        figure.savefig(path)
    except ValueError as error:
        raise SpecError(f"cannot draw to {path}: {error}") from None


def _bars(axes: Any, quantity: str, rows: Sequence[Row]) -> None:
    """Two bars a row, the paper's missing where it is not public."""
    places = range(len(rows))
    paper = [row.paper if row.paper is not None else float("nan") for row in rows]
    ours = [row.ours for row in rows]
    for offset, values, label, colour in (
        (-0.2, paper, "paper", "tab:gray"),
        (0.2, ours, "here", "tab:blue"),
    ):
        bars = axes.bar([n + offset for n in places], values, 0.4, label=label, color=colour)
        texts = [f"{value:.2g}" if value < 1 else f"{value:.3g}" for value in values]
        axes.bar_label(bars, [text if text != "nan" else "" for text in texts], size=6)
    axes.set_axisbelow(True)
    axes.set_xticks(list(places), [row.name for row in rows], rotation=30, ha="right", size=8)
    axes.set_ylabel(quantity)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")


def _lines(axes: Any, rows: Sequence[Row]) -> None:
    """One line a platform and batch over the number of experts; the paper's points on it."""
    lines: dict[str, list[tuple[int, Row]]] = {}
    for row in rows:
        label, _, count = row.name.removesuffix(" experts").rpartition(" ")
        lines.setdefault(label, []).append((int(count), row))
    for label, points in lines.items():
        counts = [count for count, _ in points]
        # What holds for a number of experts holds until the next.
        ours = [row.ours for _, row in points]
        (line,) = axes.plot(counts, ours, label=label, drawstyle="steps-post")
        known = [(count, row.paper) for count, row in points if row.paper is not None]
        axes.plot(*zip(*known, strict=True), ".", color=line.get_color())
    axes.plot([], [], ".", color="black", label="paper")
    axes.set_xlabel("experts")
    axes.set_ylabel(rows[0].quantity)
    if rows[0].quantity == _LINES[12]:
        ticks = [150, 300, 600, 1200, 2400, 4800]
        axes.set_yscale("log")
        axes.set_yticks([], minor=True)
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
