"""A program as SVG: for every kernel the mesh, its units and the load of its links."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from rdu.mapping.program import Kernel, Program
from rdu.specs import Chip

_CELL = 20
_COLOURS = [
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
]


def draw_program(program: Program, path: Path) -> Path:
    """Write the placement and link loads of all kernels to ``path`` as SVG.

    PCUs are squares, PMUs circles, a colour a stage; a link is the darker the more it carries.
    """
    chip = program.node.chip
    width = (chip.mesh_columns + 2) * _CELL + 240
    block = (chip.mesh_rows + 3) * _CELL
    height = block * len(program.kernels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for n, kernel in enumerate(program.kernels):
        parts += _kernel(chip, kernel, n * block)
    parts.append("</svg>")
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _kernel(chip: Chip, kernel: Kernel, top: int) -> list[str]:
    def centre(site: tuple[int, int]) -> tuple[float, float]:
        row, column = site
        return (column + 1.5) * _CELL, top + (row + 1.8) * _CELL

    parts = [f'<text x="8" y="{top + 14}" font-weight="bold">{escape(kernel.name)}</text>']
    most = max(kernel.routes.load.values(), default=1)
    for (a, b), load in kernel.routes.load.items():
        (x1, y1), (x2, y2) = centre(a), centre(b)
        grey = int(225 - 190 * load / most)
        parts.append(
            f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" '
            f'stroke="rgb({grey},{grey},{grey})" stroke-width="2"/>'
        )
    stage_of: dict[str, int] = {}
    for n, stage in enumerate(kernel.stages):
        stage_of[stage.name] = n
        for group in [stage.buffer(r) for r in range(len(stage.shape.reads))]:
            stage_of[group] = n
        stage_of[f"{stage.name}.sums"] = stage_of[f"{stage.name}.out"] = n
        x, y = (chip.mesh_columns + 2.5) * _CELL, top + (n + 2) * 16
        colour = _COLOURS[n % len(_COLOURS)]
        parts.append(f'<rect x="{x:.0f}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        label = f"{stage.name}: {stage.units.pcus} PCU, {stage.units.pmus} PMU"
        parts.append(f'<text x="{x + 15:.0f}" y="{y}">{escape(label)}</text>')
    for unit, site in zip(kernel.placement.units, kernel.placement.sites, strict=True):
        x, y = centre(site)
        colour = _COLOURS[stage_of[unit.group] % len(_COLOURS)]
        if unit.kind == "pcu":
            parts.append(
                f'<rect x="{x - 7:.0f}" y="{y - 4:.0f}" width="8" height="8" fill="{colour}"/>'
            )
        else:
            parts.append(f'<circle cx="{x + 5:.0f}" cy="{y:.0f}" r="4" fill="{colour}"/>')
    return parts
