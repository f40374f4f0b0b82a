"""A dataflow graph as a picture: operators in layers, tensors on the edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rdu.graph.nodes import Operator, is_sparse, operands
from rdu.picture import Label, Line, Picture, Rectangle

_LEAST, _HEIGHT, _GAP_X, _GAP_Y = 170, 44, 30, 46
# Width of a letter of the labels, and what is free beside them.
_LETTER, _BESIDE = 6.2, 16


def draw_graph(
    operators: Sequence[Operator],
    inputs: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
) -> Path:
    """Write a graph; operators stand below those they read from, inputs above their readers.

    The suffix chooses the format: ``.svg``, or with matplotlib ``.png`` and ``.pdf``.
    """
    labels = _labels(operators, inputs, shapes)
    longest = max((len(line) for lines in labels.values() for line in lines), default=0)
    box = max(_LEAST, _LETTER * longest + _BESIDE)
    place, columns, depth = _layers(operators, inputs, box)
    width = columns * (box + _GAP_X) + _GAP_X
    picture = Picture(width, 20 + (depth + 1) * (_HEIGHT + _GAP_Y))
    maker = {operator.output.tensor: operator.name for operator in operators}
    for operator in operators:
        x, y = place[operator.name]
        for operand in operands(operator):
            a, b = place[maker.get(operand.tensor, f"input {operand.tensor}")]
            _arrow(picture, (a + box / 2, b + _HEIGHT), (x + box / 2, y))
    sparse = {operator.name for operator in operators if is_sparse(operator)}
    for name, lines in labels.items():
        paint = (
            "#f2efe6" if name.startswith("input ") else "#dcebdc" if name in sparse else "#dce6f2"
        )
        _box(picture, place[name], box, lines, paint)
    return picture.save(path)


def _labels(
    operators: Sequence[Operator], inputs: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, str]]:
    """Two lines of every box: an input and its shape, or an operator and what it makes."""
    found = {f"input {name}": (name, _size(shapes[name])) for name in inputs}
    for operator in operators:
        tensor = operator.output.tensor
        made = "" if tensor == operator.name else f"{tensor} "
        head = f"{operator.name} ({type(operator).__name__})"
        found[operator.name] = (head, f"{made}{_size(shapes[tensor])}")
    return found


def _layers(
    operators: Sequence[Operator], inputs: Sequence[str], box: float
) -> tuple[dict[str, tuple[float, float]], int, int]:
    """Corner of every box; an input stands one layer above its first reader."""
    maker = {operator.output.tensor: operator.name for operator in operators}
    layer: dict[str, int] = {}
    for operator in operators:
        before = [layer[maker[o.tensor]] for o in operands(operator) if o.tensor in maker]
        layer[operator.name] = max(before, default=0) + 1
    for operator in operators:
        for operand in operands(operator):
            key = f"input {operand.tensor}"
            if operand.tensor not in maker:
                layer[key] = min(layer.get(key, len(layer)), layer[operator.name] - 1)
    layer = {f"input {name}": 0 for name in inputs} | layer
    rows: dict[int, list[str]] = {}
    for name, depth in layer.items():
        rows.setdefault(depth, []).append(name)
    columns = max((len(row) for row in rows.values()), default=1)
    place: dict[str, tuple[float, float]] = {}
    for depth, row in rows.items():
        start = _GAP_X + (columns - len(row)) * (box + _GAP_X) / 2
        for n, name in enumerate(row):
            place[name] = (start + n * (box + _GAP_X), 20 + depth * (_HEIGHT + _GAP_Y))
    return place, columns, max(rows, default=0)


def _arrow(picture: Picture, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x1, y1), (x2, y2) = start, end
    length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    left = (x2 - 7 * dx - 3 * dy, y2 - 7 * dy + 3 * dx)
    right = (x2 - 7 * dx + 3 * dy, y2 - 7 * dy - 3 * dx)
    picture.add(Line((start, end), "#8a8a8a"), Line((left, end, right), "#8a8a8a"))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _box(
    picture: Picture, corner: tuple[float, float], width: float, lines: tuple[str, str], paint: str
) -> None:
    x, y = corner
    middle = x + width / 2
    picture.add(
        Rectangle(x, y, width, _HEIGHT, paint, "#888888"),
        Label(middle, y + 18, lines[0], 11, "middle"),
        Label(middle, y + 35, lines[1], 11, "middle", "#555555"),
    )
