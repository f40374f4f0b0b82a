"""Pictures show what is there: every entry, every place, every visited point."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl import pictures
from sparsedsl.layouts.catalogue import Family, layouts, resolve
from sparsedsl.layouts.describe import example
from sparsedsl.pictures.spy import SHADES
from sparsedsl.pictures.svg import EMPTY, MISSED, PALE, STORED

PAGE = runpy.run_path(str(Path(__file__).with_name("page.py")))
SIZES = {"sell": (4,), "sell_sigma": (2, 4), "hyb": (2,), "hash": (3,), "nm": (2, 4), "csb": (2,)}
SIZES |= {"bcsr": (2, 3), "bcsc": (3, 2), "banded": (2, 1), "hicoo": (2,)}
SPACE = "{http://www.w3.org/2000/svg}"


def shapes(text, tag):
    return list(ElementTree.fromstring(text).iter(f"{SPACE}{tag}"))


def member(name):
    chosen = layouts[name](*SIZES[name]) if name in SIZES else layouts[name]
    return chosen.of(2) if isinstance(chosen, Family) else chosen


@pytest.mark.parametrize("name", list(layouts))
def test_every_place_of_every_array_is_drawn(name):
    layout = member(name)
    dense, arrays = example(layout)
    text = pictures.storage(layout)
    boxes = [box.get("fill") for box in shapes(text, "rect")]
    assert len(boxes) == 1 + dense.size + sum(array.size for array in arrays.values())
    places = set(boxes) - {"white", PALE, "none"}
    tensor = sd.from_arrays(layout, dense.shape, arrays)
    coords, values = tensor.coordinates()
    drawn = [fill for fill in boxes[1 : 1 + dense.size] if fill in places]
    assert len(drawn) == len(np.unique(coords, axis=1).T)
    padding = tensor.values.size - sum(
        fill in places for fill in boxes[len(boxes) - tensor.values.size :]
    )
    assert boxes.count(PALE) == padding
    assert len(places) <= len(values)


def test_the_pattern_of_a_matrix():
    dense = np.tri(5, 7)
    text = pictures.spy(dense)
    filled = [box for box in shapes(text, "rect") if box.get("fill") in SHADES]
    assert len(filled) == 15
    assert "5 x 7, 15 entries, dense" in text


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3000, 2), (2, 3000), (1000, 1000)])
def test_boxes_hold_all_entries_and_nothing_else(shape):
    matrix = sp.random_array(shape, density=0.01, rng=0, format="csr")
    text = pictures.spy(matrix)
    step = -(-max(*shape, 1) // 120)
    rows, columns = matrix.tocoo().coords
    wanted = set(zip((rows // step).tolist(), (columns // step).tolist(), strict=True))
    assert sum(box.get("fill") in SHADES for box in shapes(text, "rect")) == len(wanted)
    assert (f"boxes of {step} x {step}" in text) == (step > 1)


def test_vectors_are_rows_and_other_modes_are_refused():
    assert "4, 2 entries" in pictures.spy(np.array([0, 1, 0, 2]))
    with pytest.raises(sd.InvalidTensorError, match="matrix or a vector"):
        pictures.spy(np.ones((2, 2, 2)))


def circles(text, colour):
    """Points of a colour, without the one of the legend."""
    rings = [c for c in shapes(text, "circle") if c.get("stroke") == colour]
    return len(rings) + len([c for c in shapes(text, "circle") if c.get("fill") == colour]) - 1


def test_points_of_an_elementwise_product():
    first, second = PAGE["spotted"](0, 0.3), PAGE["spotted"](1, 0.4)
    a, b = first.to_numpy() != 0, second.to_numpy() != 0
    text = pictures.space(PAGE["elementwise"], first, second)
    assert circles(text, STORED) == (a & b).sum()
    scanned = a if "entries of A" in text else b
    assert circles(text, MISSED) == (scanned & ~(a & b)).sum()
    assert circles(text, EMPTY) == (~scanned).sum()
    assert f"{scanned.sum()} of {a.size} points visited, {(a & b).sum()} delivered" in text


def test_points_behind_each_other_are_counted():
    first, second = PAGE["spotted"](0, 0.3), PAGE["spotted"](1, 0.4).T
    a, b = first.to_numpy() != 0, second.to_numpy() != 0
    text = pictures.space(PAGE["product"], first, second)
    delivered = int((a[:, :, None] & b[None, :, :]).sum())
    assert re.search(rf"visited, {delivered} delivered", text)


def test_points_of_a_sum_are_those_of_either():
    @sd.kernel
    def total(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] + B[i, j]
        return C

    first, second = PAGE["spotted"](0, 0.3), PAGE["spotted"](1, 0.4)
    union = ((first.to_numpy() != 0) | (second.to_numpy() != 0)).sum()
    text = pictures.space(total, first, second)
    assert "merged" in text
    assert circles(text, STORED) == union


def test_large_spaces_are_refused():
    with pytest.raises(sd.PlanError, match="at most 100000 points"):
        pictures.space(PAGE["elementwise"], sp.eye_array(1000), sp.eye_array(1000))


def test_the_pictures_of_the_docs_are_current():
    for name, text in PAGE["drawn"]().items():
        assert (PAGE["FOLDER"] / name).read_text() == text, "run python tests/pictures/page.py"


def test_pictures_from_the_command_line(tmp_path):
    from typer.testing import CliRunner

    from sparsedsl.cli.app import app

    runner = CliRunner()
    drawn = tmp_path / "csr.svg"
    assert runner.invoke(app, ["layouts", "csr", "--svg", str(drawn)]).exit_code == 0
    assert drawn.read_text() == pictures.storage(member("csr"))
    assert runner.invoke(app, ["layouts", "--svg", str(drawn)]).exit_code == 2
    matrix, pattern = tmp_path / "eye.mtx", tmp_path / "eye.svg"
    sd.write(matrix, sp.eye_array(4, format="csr"))
    assert runner.invoke(app, ["spy", str(matrix), str(pattern)]).exit_code == 0
    assert "4 x 4, 4 entries" in pattern.read_text()
    points = tmp_path / "space.svg"
    statement = "C[i,j] = A[i,j] * B[i,j]"
    chosen = ["--layouts", "A=csr,B=csr", "--shape", "i=5,j=6", "--svg", str(points)]
    assert runner.invoke(app, ["explain", statement, *chosen]).exit_code == 0
    assert "of 30 points visited" in points.read_text()


@pytest.mark.parametrize("order", [1, 4, 5])
def test_tensors_of_any_order_are_drawn(order):
    dense, _ = example(resolve("coo", order))
    shown = pictures.storage(resolve("coo", order))
    cells = shown.count("<rect") - shown.count('fill="none"')
    assert cells >= dense.size + order * np.count_nonzero(dense)


def test_colours_are_in_the_form_that_every_viewer_reads():
    """SVG 1.1 knows names and hexadecimal numbers; ``hsl()`` is black in many viewers."""
    for name in ("csr", "csf", "symmetric"):
        colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', pictures.storage(resolve(name, 2))))
        assert all(re.fullmatch(r"#[0-9a-f]{6}|[a-z]+", colour) for colour in colours)
        assert len(colours) > 4
