"""Pictures of rectangles, lines, circles and text, written as SVG, or as PNG or PDF.

SVG needs nothing; other formats need matplotlib.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, assert_never
from xml.sax.saxutils import escape

from rdu.errors import RDUError

COLOURS = (
    "#4878a8",
    "#d98c4a",
    "#6aa56a",
    "#b85c5c",
    "#8a76b0",
    "#8c7361",
    "#cf8fb5",
    "#7d7d7d",
    "#a9a94a",
    "#59a9b5",
)
# Parts of black or white that the second, third and fourth ten of colours are mixed with.
_SHADES = ((0, 0.0), (0, 0.4), (255, 0.4), (255, 0.65))


def colour_of(number: int) -> str:
    """Return a colour for each of up to forty things; then they come again.

    >>> colour_of(0), colour_of(10), colour_of(40)
    ('#4878a8', '#2b4864', '#4878a8')
    """
    base = COLOURS[number % len(COLOURS)]
    end, part = _SHADES[number // len(COLOURS) % len(_SHADES)]
    mixed = (int(base[n : n + 2], 16) * (1 - part) + end * part for n in (1, 3, 5))
    return "#" + "".join(f"{int(value):02x}" for value in mixed)


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A filled rectangle from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str = "none"


@dataclass(frozen=True, slots=True)
class Circle:
    """A filled circle."""

    x: float
    y: float
    radius: float
    fill: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through several points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Label:
    """Text on a base line; ``anchor`` is ``"start"``, ``"middle"`` or ``"end"``."""

    x: float
    y: float
    text: str
    size: float = 11.0
    anchor: str = "start"
    colour: str = "#222222"
    bold: bool = False


Shape: TypeAlias = Rectangle | Circle | Line | Label


@dataclass(slots=True)
class Picture:
    """Shapes on a white page; y grows downwards, units are pixels.

    >>> picture = Picture(20, 10)
    >>> picture.add(Circle(5, 5, 2, "#000000"))
    >>> picture.svg().count("<circle")
    1
    """

    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list[Shape])

    def add(self, *shapes: Shape) -> None:
        """Draw shapes over those that are there."""
        self.shapes += shapes

    def svg(self) -> str:
        """Return the picture as SVG text."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" '
            f'height="{self.height:.0f}" font-family="sans-serif">'
        )
        back = f'<rect width="{self.width:.0f}" height="{self.height:.0f}" fill="white"/>'
        return "\n".join([head, back, *(_svg(shape) for shape in self.shapes), "</svg>"])

    def save(self, path: str | Path) -> Path:
        """Write the picture; the suffix chooses the format.

        Raises
        ------
        RDUError
            On another format than ``.svg``, ``.png`` and ``.pdf``, or without matplotlib.
        """
        path = Path(path)
        if path.suffix == ".svg":
            path.write_text(self.svg(), encoding="utf-8")
            return path
        if path.suffix not in (".png", ".pdf"):
            raise RDUError(f"cannot draw to {path.name!r}: the suffix must be .svg, .png or .pdf")
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise RDUError(
                f"drawing {path.suffix} needs matplotlib, which is not installed",
                hint="pip install 'sparsedsl[plot]', or write .svg",
            ) from None
        figure = Figure(figsize=(self.width / 100, self.height / 100), dpi=150)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.axis("off")
        for order, shape in enumerate(self.shapes):
            _matplotlib(axes, shape, order)
        figure.savefig(path)
        return path


def _svg(shape: Shape) -> str:
    match shape:
        case Rectangle(x=x, y=y, width=width, height=height, fill=fill, edge=edge):
            return (
                f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
                f'fill="{fill}" stroke="{edge}"/>'
            )
        case Circle(x=x, y=y, radius=radius, fill=fill):
            return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.2f}" fill="{fill}"/>'
        case Line(points=points, colour=colour, width=width):
            path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
            return (
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
            )
        case Label(x=x, y=y, text=text, size=size, anchor=anchor, colour=colour, bold=bold):
            weight = ' font-weight="bold"' if bold else ""
            return (
                f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="{colour}"{weight}>{escape(text)}</text>'
            )
        case _:
            assert_never(shape)


def _matplotlib(axes: Any, shape: Shape, order: int) -> None:
    from matplotlib import patches

    match shape:
        case Rectangle(x=x, y=y, width=width, height=height, fill=fill, edge=edge):
            patch = patches.Rectangle((x, y), width, height, fc=fill, ec=edge, lw=0.6, zorder=order)
            axes.add_patch(patch)
        case Circle(x=x, y=y, radius=radius, fill=fill):
            axes.add_patch(patches.Circle((x, y), radius, fc=fill, ec="none", zorder=order))
        case Line(points=points, colour=colour, width=width):
            xs, ys = zip(*points, strict=True)
            # A point of matplotlib is 1/72 inch, a pixel here 1/100.
            axes.plot(xs, ys, color=colour, lw=0.72 * width, zorder=order)
        case Label(x=x, y=y, text=text, size=size, anchor=anchor, colour=colour, bold=bold):
            style = {
                "size": 0.72 * size,
                "ha": {"start": "left", "middle": "center", "end": "right"}[anchor],
                "color": colour,
                "weight": "bold" if bold else "normal",
            }
            axes.text(x, y, text, va="baseline", zorder=order, **style)
        case _:
            assert_never(shape)
