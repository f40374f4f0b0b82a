"""A dataflow graph as a picture: operators in layers, tensors on the edges."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from rdu.graph.nodes import Operator, is_sparse, operands
from rdu.picture import Label, Line, Picture, Rectangle

_LEAST, _HEIGHT, _GAP_X, _GAP_Y = 170, 44, 30, 46
# Width of a letter of the labels, what is free beside them, and of an edge between boxes.
_LETTER, _BESIDE, _LANE = 6.2, 16, 2

Edge: TypeAlias = tuple[str, str]
Item: TypeAlias = str | Edge
# A box, or an edge in one of the rows that it passes.
Stop: TypeAlias = "str | tuple[Edge, int]"
Point: TypeAlias = tuple[float, float]


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
    edges = _edges(operators)
    rows = _rows(list(labels), edges)
    places, width = _places(rows, box)
    picture = Picture(width, 20 + len(rows) * (_HEIGHT + _GAP_Y))
    for edge in edges:
        _arrow(picture, [places[stop] for stop in _stops(edge, rows)])
    paints = {o.name: "#dcebdc" if is_sparse(o) else "#dce6f2" for o in operators}
    for name, lines in labels.items():
        _box(picture, places[name], box, lines, paints.get(name, "#f2efe6"))
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


def _edges(operators: Sequence[Operator]) -> list[Edge]:
    """Who makes what an operator reads, and the operator; each pair once."""
    maker = {operator.output.tensor: operator.name for operator in operators}
    return list(
        dict.fromkeys(
            (maker.get(operand.tensor, f"input {operand.tensor}"), operator.name)
            for operator in operators
            for operand in operands(operator)
        )
    )


def _rows(names: Sequence[str], edges: Sequence[Edge]) -> list[list[Item]]:
    """Lay boxes in rows; an edge that passes a row has a place of its own in it.

    An operator is below all it reads, an input a row above its first reader. In every row things
    stand in the order of what is above them.
    """
    row = dict.fromkeys(names, 0)
    for source, target in edges:
        row[target] = max(row[target], row[source] + 1)
    for name in names:
        if name.startswith("input "):
            row[name] = min((row[t] for s, t in edges if s == name), default=1) - 1
    rows: list[list[Item]] = [[] for _ in range(max(row.values(), default=0) + 1)]
    above: dict[tuple[int, Item], list[Item]] = {}
    for name in names:
        rows[row[name]].append(name)
    for edge in edges:
        way: list[Item] = [edge[0], *[edge] * (row[edge[1]] - row[edge[0]] - 1), edge[1]]
        for n, (before, item) in enumerate(itertools.pairwise(way), row[edge[0]] + 1):
            above.setdefault((n, item), []).append(before)
            if item == edge:
                rows[n].append(item)
    for n in range(1, len(rows)):
        where = {item: place / len(rows[n - 1]) for place, item in enumerate(rows[n - 1])}
        middle: dict[Item, float] = {}
        for place, item in enumerate(rows[n]):
            up = [where[other] for other in above.get((n, item), ())]
            middle[item] = sum(up) / len(up) if up else place / len(rows[n])
        rows[n].sort(key=middle.__getitem__)
    return rows


def _places(rows: Sequence[Sequence[Item]], box: float) -> tuple[dict[Stop, Point], float]:
    """Upper middle of every box, and of every edge in the rows that it passes; the width."""
    wide = [[box if isinstance(item, str) else _LANE for item in row] for row in rows]
    width = max((sum(row) + _GAP_X * (len(row) + 1) for row in wide), default=0)
    places: dict[Stop, Point] = {}
    for n, (row, sizes) in enumerate(zip(rows, wide, strict=True)):
        x = (width - sum(sizes) - _GAP_X * (len(row) - 1)) / 2
        for item, size in zip(row, sizes, strict=True):
            stop = item if isinstance(item, str) else (item, n)
            places[stop] = (x + size / 2, 20 + n * (_HEIGHT + _GAP_Y))
            x += size + _GAP_X
    return places, width


def _stops(edge: Edge, rows: Sequence[Sequence[Item]]) -> list[Stop]:
    """Where an edge begins, which rows it passes, and where it ends."""
    return [edge[0], *((edge, n) for n, row in enumerate(rows) if edge in row), edge[1]]


def _arrow(picture: Picture, stops: Sequence[Point]) -> None:
    """Draw an edge from below the first stop, down past the others, to the last one."""
    points = [(stops[0][0], stops[0][1] + _HEIGHT)]
    for x, y in stops[1:-1]:
        points += [(x, y), (x, y + _HEIGHT)]
    x, y = stops[-1]
    points += [(x, y - 10), (x, y)]
    head = ((x - 3, y - 7), (x, y), (x + 3, y - 7))
    picture.add(Line(tuple(points), "#8a8a8a"), Line(head, "#8a8a8a"))


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _box(picture: Picture, top: Point, width: float, lines: tuple[str, str], paint: str) -> None:
    middle, y = top
    picture.add(
        Rectangle(middle - width / 2, y, width, _HEIGHT, paint, "#888888"),
        Label(middle, y + 18, lines[0], 11, "middle"),
        Label(middle, y + 35, lines[1], 11, "middle", "#555555"),
    )
