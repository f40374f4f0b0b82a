"""A dataflow graph as SVG: operators in layers, tensors on the edges."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from rdu.graph.graph import Graph
from rdu.graph.nodes import is_sparse, operands

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 150, 44, 40, 56


def draw_graph(graph: Graph, path: Path) -> Path:
    """Write ``graph`` to ``path`` as SVG; operators stand below those they read from."""
    maker = {operator.output.tensor: operator.name for operator in graph.operators}
    layer: dict[str, int] = {}
    for operator in graph.operators:
        before = [layer[maker[o.tensor]] for o in operands(operator) if o.tensor in maker]
        layer[operator.name] = max(before, default=0) + 1
    rows: dict[int, list[str]] = {0: list(graph.inputs)}
    for name, depth in layer.items():
        rows.setdefault(depth, []).append(name)
    place: dict[str, tuple[float, float]] = {}
    widest = max(len(row) for row in rows.values())
    total = widest * (_WIDTH + _GAP_X) + _GAP_X
    for depth, row in sorted(rows.items()):
        start = (total - len(row) * (_WIDTH + _GAP_X) + _GAP_X) / 2
        for n, name in enumerate(row):
            key = f"input {name}" if depth == 0 else name
            place[key] = (start + n * (_WIDTH + _GAP_X), 20 + depth * (_HEIGHT + _GAP_Y))
    height = 20 + (max(rows) + 1) * (_HEIGHT + _GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{total:.0f}" height="{height}" fill="white"/>',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
    ]
    for operator in graph.operators:
        x, y = place[operator.name]
        for operand in operands(operator):
            a, b = place[maker.get(operand.tensor, f"input {operand.tensor}")]
            parts.append(
                f'<line x1="{a + _WIDTH / 2:.0f}" y1="{b + _HEIGHT}" x2="{x + _WIDTH / 2:.0f}" '
                f'y2="{y}" stroke="#666" marker-end="url(#a)"/>'
            )
    for name in graph.inputs:
        parts += _box(place[f"input {name}"], name, _shape(graph, name), "#f2efe6")
    for operator in graph.operators:
        tensor = operator.output.tensor
        colour = "#dcebdc" if is_sparse(operator) else "#dce6f2"
        label = f"{operator.name} ({type(operator).__name__})"
        parts += _box(place[operator.name], label, f"{tensor} {_shape(graph, tensor)}", colour)
    parts.append("</svg>")
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _shape(graph: Graph, name: str) -> str:
    return " x ".join(str(n) for n in graph.tensor(name).shape) or "scalar"


def _box(corner: tuple[float, float], first: str, second: str, colour: str) -> list[str]:
    x, y = corner
    middle = x + _WIDTH / 2
    return [
        f'<rect x="{x:.0f}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" fill="{colour}" '
        'stroke="#888"/>',
        f'<text x="{middle:.0f}" y="{y + 18}" text-anchor="middle">{escape(first)}</text>',
        f'<text x="{middle:.0f}" y="{y + 35}" text-anchor="middle" fill="#555">'
        f"{escape(second)}</text>",
    ]
