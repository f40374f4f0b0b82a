"""Kernels as a picture: for each of them the mesh, its units, its routes and their load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rdu.mapping.kernel import Kernel
from rdu.mapping.route import Link
from rdu.picture import Circle, Label, Line, Picture, Rectangle, colour_of
from rdu.specs import Chip

_CELL = 20
_Centre: TypeAlias = Callable[[tuple[int, int]], tuple[float, float]]


def draw_kernels(chip: Chip, kernels: Sequence[Kernel], path: Path) -> Path:
    """Write the placement and link loads of all kernels; the suffix chooses the format.

    PCUs are squares, PMUs circles, a colour a stage; a link is the redder and thicker the more
    of its bandwidth it uses while the kernel runs.
    """
    width = (chip.mesh_columns + 2) * _CELL + 330
    heights = [_height(chip, kernel) for kernel in kernels]
    picture = Picture(max(width, 560), sum(heights) + 8)
    top = 0.0
    for kernel, height in zip(kernels, heights, strict=True):
        _kernel(picture, chip, kernel, top)
        top += height
    return picture.save(path)


def _height(chip: Chip, kernel: Kernel) -> float:
    return max((chip.mesh_rows + 3) * _CELL, (len(kernel.stages) + 8) * 16)


def _kernel(picture: Picture, chip: Chip, kernel: Kernel, top: float) -> None:
    def centre(site: tuple[int, int]) -> tuple[float, float]:
        row, column = site
        return (column + 1.5) * _CELL, top + (row + 1.8) * _CELL

    shares = _shares(chip, kernel)
    most = max(shares.values(), default=0)
    title = (
        f"{kernel.name}: {kernel.pcus} of {chip.pcus} PCUs, {kernel.pmus} of {chip.pmus} PMUs, "
        f"busiest link {100 * most:.0f} %"
    )
    picture.add(Label(8, top + 15, title, 12, bold=True))
    left, upper = centre((0, 0))
    right, lower = centre((chip.mesh_rows - 1, chip.mesh_columns - 1))
    picture.add(Rectangle(left - 12, upper - 12, right - left + 24, lower - upper + 24, "#fafafa"))
    ports = range(min(chip.mesh_rows, -(-chip.agcus // 2)))
    for row in ports:
        for column in (-1, chip.mesh_columns):
            x, y = centre((row, column))
            picture.add(Rectangle(x - 4, y - 6, 8, 12, "#d8d8d8"))
    for (a, b), share in sorted(shares.items(), key=lambda entry: entry[1]):
        (x1, y1), (x2, y2) = centre(a), centre(b)
        # The two directions of a link side by side.
        dx, dy = (0.0, 2.2 if x2 > x1 else -2.2) if y1 == y2 else (2.2 if y2 > y1 else -2.2, 0.0)
        line = ((x1 + dx, y1 + dy), (x2 + dx, y2 + dy))
        picture.add(Line(line, _heat(share), 0.6 + 2.4 * min(share, 1)))
    _units(picture, kernel, centre)
    _legend(picture, chip, kernel, top)


def _shares(chip: Chip, kernel: Kernel) -> dict[Link, float]:
    """How much of its bandwidth every link uses, for vectors or for scalars."""
    cycles = kernel.interval * float(kernel.slowdown)
    shares: dict[Link, float] = {}
    for loads, rate in (
        (kernel.routes.load, chip.hop_bytes_per_cycle),
        (kernel.routes.scalar_load, chip.hop_scalar_bytes_per_cycle),
    ):
        for link, load in loads.items():
            shares[link] = max(shares.get(link, 0), load / (cycles * rate))
    return shares


def _units(picture: Picture, kernel: Kernel, centre: _Centre) -> None:
    stage_of: dict[str, int] = {}
    for n, stage in enumerate(kernel.stages):
        groups = [stage.buffer(r) for r in range(len(stage.shape.reads))]
        for group in (stage.name, *groups, f"{stage.name}.sums", f"{stage.name}.out"):
            stage_of[group] = n
    for unit, site in zip(kernel.placement.units, kernel.placement.sites, strict=True):
        x, y = centre(site)
        own = colour_of(stage_of[unit.group])
        if unit.kind == "pcu":
            picture.add(Rectangle(x - 7, y - 4, 8, 8, own))
        else:
            picture.add(Circle(x + 5, y, 3.6, own))


def _legend(picture: Picture, chip: Chip, kernel: Kernel, top: float) -> None:
    x = (chip.mesh_columns + 3) * _CELL
    for n, stage in enumerate(kernel.stages):
        y = top + (n + 2.4) * 16
        label = f"{stage.name}: {stage.units.pcus} PCU, {stage.units.pmus} PMU"
        picture.add(Rectangle(x, y - 9, 10, 10, colour_of(n)), Label(x + 15, y, label))
    y = top + (len(kernel.stages) + 3) * 16
    picture.add(
        Rectangle(x, y - 8, 8, 8, "#777777"),
        Label(x + 15, y, "PCU"),
        Circle(x + 55, y - 4, 3.6, "#777777"),
        Label(x + 64, y, "PMU"),
        Rectangle(x + 98, y - 10, 8, 12, "#d8d8d8"),
        Label(x + 111, y, "memory port"),
    )
    for n in range(20):
        picture.add(Rectangle(x + 5 * n, y + 10, 5, 8, _heat(n / 19)))
    picture.add(Label(x + 106, y + 18, "0 to 100 % of a link's bandwidth", 10))


def _heat(share: float) -> str:
    """Light grey for an idle link, over orange to dark red for a full one."""
    stops = ((222, 226, 230), (244, 162, 97), (155, 34, 38))
    part = min(max(share, 0.0), 1.0) * 2
    low, high = (stops[0], stops[1]) if part < 1 else (stops[1], stops[2])
    part = part if part < 1 else part - 1
    mixed = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
