import importlib.util
import itertools
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import rdu
from rdu.errors import RDUError
from rdu.models.decoder_layer import LLAMA2_7B, decoder_layer
from rdu.models.experts import expert_layer
from rdu.models.monarch import monarch_fft
from rdu.picture import COLOURS, Circle, Label, Line, Picture, Rectangle, colour_of

SVG = "{http://www.w3.org/2000/svg}"


def test_shapes_become_elements_and_text_is_escaped():
    picture = Picture(40, 30)
    picture.add(
        Rectangle(1, 2, 3, 4, "#ff0000"),
        Circle(5, 5, 2, "#00ff00"),
        Line(((0, 0), (9, 9)), "#0000ff", 2),
        Label(3, 3, "a < b & c"),
    )
    root = ET.fromstring(picture.svg())
    assert [child.tag.removeprefix(SVG) for child in root] == [
        "rect", "rect", "circle", "polyline", "text",
    ]  # fmt: skip
    assert root[-1].text == "a < b & c"


def test_png_needs_matplotlib_and_says_so(tmp_path):
    picture = Picture(40, 30)
    picture.add(Rectangle(1, 2, 3, 4, "#ff0000"), Circle(5, 5, 2, "#00ff00"), Label(3, 3, "x"))
    picture.add(Line(((0, 0), (9, 9)), "#0000ff", 2))
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(RDUError, match="needs matplotlib"):
            picture.save(tmp_path / "p.png")
    else:
        assert picture.save(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(RDUError, match="suffix must be"):
        Picture(1, 1).save(tmp_path / "p.gif")


@pytest.mark.parametrize("graph", [monarch_fft(64, 16), expert_layer(8, 4, 16, 32)])
def test_graphs_and_programs_show_every_operator(graph, tmp_path):
    drawn = ET.fromstring(graph.draw(tmp_path / "g.svg").read_text())
    words = " ".join(text.text or "" for text in drawn.iter(f"{SVG}text"))
    program = rdu.compile(graph, rdu.sn40l_node(1))
    placed = ET.fromstring(program.draw(tmp_path / "p.svg").read_text())
    legend = " ".join(text.text or "" for text in placed.iter(f"{SVG}text"))
    for operator in graph.operators:
        assert f"{operator.name} (" in words
        assert f"{operator.name}: " in legend
    (kernel,) = program.kernels
    squares = [r for r in placed.iter(f"{SVG}rect") if r.get("width") == r.get("height") == "8.00"]
    assert len(squares) == kernel.pcus + 1
    circles = list(placed.iter(f"{SVG}circle"))
    assert len(circles) == kernel.pmus + 1
    links = list(placed.iter(f"{SVG}polyline"))
    assert len(links) == len({**kernel.routes.load, **kernel.routes.scalar_load})


def test_forty_things_have_colours_of_their_own():
    assert len({colour_of(n) for n in range(40)}) == 40
    assert [colour_of(n) for n in range(10)] == list(COLOURS)


def test_no_label_of_a_graph_is_cut(tmp_path):
    graph = decoder_layer(LLAMA2_7B)
    text = graph.draw(tmp_path / "g.svg").read_text()
    assert "..." not in text
    assert "1 x 32 x 1 x 4096" in text
    boxes = [e for e in ET.fromstring(text) if e.tag.endswith("rect") and e.get("stroke")]
    widths = {float(box.get("width")) for box in boxes}
    labels = [e.text for e in ET.fromstring(text).iter() if e.tag.endswith("text")]
    assert min(widths) >= 6 * max(map(len, labels))


def spans_of(trace, name):
    """Begin and end of the events of one row."""
    rows = [e for e in trace if e["ph"] == "X" and (e["pid"], e["tid"]) == name]
    return sorted((e["ts"], e["ts"] + e["dur"]) for e in rows)


@pytest.mark.parametrize("how", [{}, {"fusion": "none"}, {"split": "m"}, {"pipeline": True}])
def test_a_trace_has_a_name_for_every_row_and_no_event_over_another(how, tmp_path):
    graph = monarch_fft(64, 16)
    options = {key: value for key, value in how.items() if key != "split"}
    if "split" in how:
        options["split"] = next(axis for axis in graph.extents if graph.extents[axis] == 64)
    report = rdu.estimate(rdu.compile(graph, rdu.sn40l_node(2), moves=50, **options))
    trace = json.loads(report.chrome_trace(tmp_path / "t.json").read_text())["traceEvents"]
    named = {(e["pid"], e["tid"]) for e in trace if e["name"] == "thread_name"}
    rows = {(e["pid"], e["tid"]) for e in trace if e["ph"] == "X"}
    assert rows == named
    assert {e["pid"] for e in trace if e["name"] == "process_name"} == {pid for pid, _ in rows}
    end = report.seconds * 1e6
    for row in rows:
        spans = spans_of(trace, row)
        assert all(0 <= a <= b <= end * (1 + 1e-9) for a, b in spans)
        assert all(b <= c + 1e-9 for (_, b), (c, _) in itertools.pairwise(spans))


def test_a_kernel_without_operations_is_named_beside_the_roofs(tmp_path):
    report = rdu.estimate(rdu.compile(monarch_fft(64, 16), rdu.sn40l_node(1), fusion="none"))
    text = report.plot(tmp_path / "r.svg").read_text()
    assert "Transpose: no operations, " in text
    for name in ("Gemm0", "Mul", "Gemm1"):
        assert f":{name}: " in text


@pytest.mark.parametrize(
    "graph", [decoder_layer(LLAMA2_7B), expert_layer(8, 4, 16, 32), monarch_fft(64, 16)]
)
def test_no_edge_of_a_graph_passes_through_a_box(graph, tmp_path):
    drawn = ET.fromstring(graph.draw(tmp_path / "g.svg").read_text())
    boxes = []
    for e in drawn.iter(SVG + "rect"):
        if e.get("stroke") not in (None, "none"):
            x, y, w, h = (float(e.get(key)) for key in ("x", "y", "width", "height"))
            boxes.append((x + 1, y + 1, x + w - 1, y + h - 1))
    assert len(boxes) == len(graph.inputs) + len(graph.operators)
    for line in drawn.iter(SVG + "polyline"):
        points = [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            for part in np.linspace(0, 1, 41):
                x, y = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
                assert not any(a < x < c and b < y < d for a, b, c, d in boxes)
