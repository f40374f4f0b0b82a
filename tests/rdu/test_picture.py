import importlib.util
import xml.etree.ElementTree as ET

import pytest

import rdu
from rdu.errors import RDUError
from rdu.models.experts import expert_layer
from rdu.models.monarch import monarch_fft
from rdu.picture import Circle, Label, Line, Picture, Rectangle

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
