"""A dataflow graph as a picture: operators in layers, tensors on the edges."""

from __future__ import annotations

from pathlib import Path

from rdu.graph.graph import Graph
from rdu.graph.nodes import is_sparse, operands
from rdu.picture import Label, Line, Picture, Rectangle

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 170, 44, 30, 46


def draw_graph(graph: Graph, path: Path) -> Path:
    """Write ``graph``; operators stand below those they read from, inputs above their readers.

    The suffix chooses the format: ``.svg``, or with matplotlib ``.png`` and ``.pdf``.
    """
    place, columns, depth = _layers(graph)
    width = columns * (_WIDTH + _GAP_X) + _GAP_X
    picture = Picture(width, 20 + (depth + 1) * (_HEIGHT + _GAP_Y))
    maker = {operator.output.tensor: operator.name for operator in graph.operators}
    for operator in graph.operators:
        x, y = place[operator.name]
        for operand in operands(operator):
            a, b = place[maker.get(operand.tensor, f"input {operand.tensor}")]
            _arrow(picture, (a + _WIDTH / 2, b + _HEIGHT), (x + _WIDTH / 2, y))
    for name in graph.inputs:
        _box(picture, place[f"input {name}"], name, _shape(graph, name), "#f2efe6")
    for operator in graph.operators:
        tensor = operator.output.tensor
        colour = "#dcebdc" if is_sparse(operator) else "#dce6f2"
        label = f"{operator.name} ({type(operator).__name__})"
        _box(picture, place[operator.name], label, f"{tensor} {_shape(graph, tensor)}", colour)
    return picture.save(path)


def _layers(graph: Graph) -> tuple[dict[str, tuple[float, float]], int, int]:
    """Corner of every box; an input stands one layer above its first reader."""
    maker = {operator.output.tensor: operator.name for operator in graph.operators}
    layer: dict[str, int] = {}
    for operator in graph.operators:
        before = [layer[maker[o.tensor]] for o in operands(operator) if o.tensor in maker]
        layer[operator.name] = max(before, default=0) + 1
    for operator in graph.operators:
        for operand in operands(operator):
            key = f"input {operand.tensor}"
            if operand.tensor not in maker:
                layer[key] = min(layer.get(key, len(layer)), layer[operator.name] - 1)
    layer = {f"input {name}": 0 for name in graph.inputs} | layer
    rows: dict[int, list[str]] = {}
    for name, depth in layer.items():
        rows.setdefault(depth, []).append(name)
    columns = max((len(row) for row in rows.values()), default=1)
    place: dict[str, tuple[float, float]] = {}
    for depth, row in rows.items():
        start = _GAP_X + (columns - len(row)) * (_WIDTH + _GAP_X) / 2
        for n, name in enumerate(row):
            place[name] = (start + n * (_WIDTH + _GAP_X), 20 + depth * (_HEIGHT + _GAP_Y))
    return place, columns, max(rows, default=0)


def _arrow(picture: Picture, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x1, y1), (x2, y2) = start, end
    length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    left = (x2 - 7 * dx - 3 * dy, y2 - 7 * dy + 3 * dx)
    right = (x2 - 7 * dx + 3 * dy, y2 - 7 * dy - 3 * dx)
    picture.add(Line((start, end), "#8a8a8a"), Line((left, end, right), "#8a8a8a"))


def _shape(graph: Graph, name: str) -> str:
    return " x ".join(str(n) for n in graph.tensor(name).shape) or "scalar"


def _box(
    picture: Picture, corner: tuple[float, float], first: str, second: str, colour: str
) -> None:
    x, y = corner
    middle = x + _WIDTH / 2
    picture.add(
        Rectangle(x, y, _WIDTH, _HEIGHT, colour, "#888888"),
        Label(middle, y + 18, _short(first, 28), 11, "middle"),
        Label(middle, y + 35, _short(second, 28), 11, "middle", "#555555"),
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
