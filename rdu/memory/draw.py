"""A memory map as a picture: steps to the right, addresses upwards, a panel for each tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdu.picture import Label, Line, Picture, Rectangle, colour_of

_WIDTH, _HEIGHT, _TOP, _LEFT, _GAP, _LEGEND = 420, 320, 50, 74, 84, 190
_MOST_KINDS = 18
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))


@dataclass(frozen=True, slots=True)
class Region:
    """``size`` bytes at ``offset`` of ``tier``, taken in ``start <= step < stop``."""

    name: str
    tier: str
    offset: int
    size: int
    start: int
    stop: int

    @property
    def kind(self) -> str:
        """What it is coloured by: the first part of its name."""
        return self.name.split(".")[0]


def draw_map(regions: Sequence[Region], capacities: Mapping[str, float], path: Path) -> Path:
    """Draw every tier of ``capacities`` (bytes) that holds something, or the first.

    Raises
    ------
    RDUError
        On another format than ``.svg``, ``.png`` and ``.pdf``, or without matplotlib for the
        last two.
    """
    held = [tier for tier in capacities if any(r.tier == tier for r in regions)]
    held = held or list(capacities)[:1]
    kinds = list(dict.fromkeys(region.kind for region in regions))
    colours = {kind: colour_of(n) for n, kind in enumerate(kinds)}
    steps = max((region.stop for region in regions), default=1)
    picture = Picture(
        len(held) * (_WIDTH + _GAP) + _LEFT + _LEGEND,
        max(_TOP + _HEIGHT + 50, _TOP + 17 * (min(len(kinds), _MOST_KINDS) + 2)),
    )
    for n, tier in enumerate(held):
        here = [region for region in regions if region.tier == tier]
        _panel(picture, here, (tier, capacities[tier]), steps, _LEFT + n * (_WIDTH + _GAP), colours)
    _legend(picture, colours, _LEFT + len(held) * (_WIDTH + _GAP) - _GAP + 24)
    return picture.save(path)


def _panel(
    picture: Picture,
    regions: Sequence[Region],
    tier: tuple[str, float],
    steps: int,
    left: float,
    colours: Mapping[str, str],
) -> None:
    name, capacity = tier
    top = max((r.offset + r.size for r in regions), default=0)
    unit, scale = _unit(top)
    title = f"{name}: {_amount(top)} of {_amount(capacity)} ({top / capacity:.1%})"
    bottom, height = _TOP + _HEIGHT, _HEIGHT / max(top, 1)
    width = _WIDTH / steps
    picture.add(Label(left, _TOP - 18, title, 12, bold=True))
    picture.add(Rectangle(left, _TOP, _WIDTH, _HEIGHT, "#f4f4f4"))
    for region in sorted(regions, key=lambda r: (r.offset, r.start)):
        x, wide = left + region.start * width, (region.stop - region.start) * width
        tall = region.size * height
        y = bottom - region.offset * height - tall
        # An edge would hide what is thin.
        edge = "#ffffff" if tall > 5 else "none"
        picture.add(Rectangle(x, y, wide, max(tall, 0.4), colours[region.kind], edge))
        if tall >= 13 and wide >= 6.5 * len(region.name):
            middle = (x + wide / 2, y + tall / 2 + 4)
            picture.add(Label(*middle, region.name, 10, "middle", "#ffffff"))
    every = -(-steps // 12)
    for step in range(0, steps + 1, every):
        x = left + step * width
        picture.add(Line(((x, bottom), (x, bottom + 4)), "#555555"))
        picture.add(Label(x, bottom + 16, str(step), 10, "middle", "#555555"))
    picture.add(Label(left + _WIDTH / 2, bottom + 34, "step (a kernel each)", 10, "middle"))
    for part in range(5):
        y = bottom - part * _HEIGHT / 4
        picture.add(Line(((left - 4, y), (left, y)), "#555555"))
        picture.add(Label(left - 7, y + 4, f"{part * top / 4 / scale:.3g}", 10, "end", "#555555"))
    picture.add(Label(left - 7, _TOP - 12, unit, 10, "end", "#555555"))


def _unit(count: float) -> tuple[str, float]:
    return next((unit for unit in _UNITS if count >= unit[1]), _UNITS[-1])


def _amount(count: float) -> str:
    name, scale = _unit(count)
    return f"{count / scale:,.4g} {name}"


def _legend(picture: Picture, colours: Mapping[str, str], left: float) -> None:
    for n, (kind, colour) in enumerate(list(colours.items())[:_MOST_KINDS]):
        y = _TOP + 10 + 17 * n
        text = kind if len(kind) <= 24 else kind[:21] + "..."
        picture.add(Rectangle(left, y - 9, 10, 10, colour), Label(left + 15, y, text, 10))
    if len(colours) > _MOST_KINDS:
        y = _TOP + 10 + 17 * _MOST_KINDS
        picture.add(Label(left + 15, y, f"and {len(colours) - _MOST_KINDS} more", 10))
