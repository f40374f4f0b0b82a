"""A page of rectangles, circles and text, as SVG.

Takes: shapes in pixels, y downwards.  Gives: text.  Invariant: text is escaped.
"""

from __future__ import annotations

from colorsys import hls_to_rgb
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

INK = "#222222"
PALE = "#e6e6e6"
EMPTY = "#b8b8b8"
STORED = "#4878a8"
MISSED = "#d98c4a"


@dataclass(slots=True)
class Page:
    """Shapes on white; the page grows to hold them.

    >>> page = Page()
    >>> page.cell(0, 0, 10, fill=PALE, text="<")
    >>> "&lt;" in page.svg(), page.width
    (True, 14)
    """

    width: float = 0.0
    height: float = 0.0
    shapes: list[str] = field(default_factory=list[str])

    def cell(
        self,
        x: float,
        y: float,
        size: float,
        *,
        fill: str = "white",
        edge: str = "#b0b0b0",
        text: str = "",
        width: float | None = None,
    ) -> None:
        """A box, with text in its middle."""
        across = size if width is None else width
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{across:.1f}" height="{size:.1f}" '
            f'fill="{fill}" stroke="{edge}" stroke-width="0.6"/>'
        )
        self._reach(x + across, y + size)
        if text:
            self.text(x + across / 2, y + size / 2 + 4, text, anchor="middle")

    def circle(self, x: float, y: float, radius: float, *, fill: str, edge: str = "none") -> None:
        """A circle around a point."""
        self.shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" stroke="{edge}" '
            'stroke-width="1.6"/>'
        )
        self._reach(x + radius, y + radius)

    def text(
        self, x: float, y: float, text: str, *, size: float = 11, anchor: str = "start"
    ) -> None:
        """Text on a base line; ``anchor`` is ``"start"``, ``"middle"`` or ``"end"``."""
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" '
            f'fill="{INK}">{escape(text)}</text>'
        )
        share = {"start": 1.0, "middle": 0.5, "end": 0.0}[anchor]
        self._reach(x + share * 0.6 * size * len(text), y + 3)

    def _reach(self, x: float, y: float) -> None:
        self.width, self.height = max(self.width, x + 4), max(self.height, y + 4)

    def svg(self) -> str:
        """The page as the text of a file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" '
            f'height="{self.height:.0f}" font-family="sans-serif">'
        )
        back = f'<rect width="{self.width:.0f}" height="{self.height:.0f}" fill="white"/>'
        return "\n".join([head, back, *self.shapes, "</svg>"]) + "\n"


def tint(place: int, count: int) -> str:
    """A light colour for one of ``count`` places, from blue over green to red.

    Written as hexadecimal numbers: SVG 1.1 has no other form that every viewer reads.

    >>> tint(0, 3), tint(2, 3)
    ('#a8c0f0', '#f0a8a8')
    """
    share = place / max(count - 1, 1)
    red, green, blue = hls_to_rgb(220 / 360 * (1 - share), 0.8, 0.7)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
