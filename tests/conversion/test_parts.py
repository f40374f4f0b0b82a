"""Intervals, layouts of several parts, mirrored parts and one value for all."""

import numpy as np
import pytest
from converted import agree, layout_of, matrix

from sparsedsl.conversion.mirrored import reflection
from sparsedsl.conversion.unions import alternatives
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.sizes import infer_sizes

RUNS = Layout(
    "column-runs",
    "[N, M] -> { [j, b, i] -> [i, j] : 0 <= j < M and ptr(j) <= b < ptr(j + 1) "
    "and top(b) <= i <= last(b) and 0 <= i < N }",
    value="data(at(b) + i - top(b))",
    properties=[
        *("ptr(0) = 0", "nondecreasing ptr", "at(0) = 0", "nondecreasing at"),
        "at(b + 1) = at(b) + last(b) - top(b) + 1",
    ],
)
"""Runs in columns, ends included, of which no property says that they are apart."""


SPANS = Layout(
    "row-spans",
    "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and lo(i) <= j < hi(i) and 0 <= j < M }",
    value="data(at(i) + j - lo(i))",
    properties=[
        *("range lo in [0, M + 1)", "range hi in [0, M + 1)", "at(0) = 0", "nondecreasing at"),
        "at(i + 1) = at(i) + hi(i) - lo(i)",
    ],
)
"""Each row from its first entry to its last."""


@pytest.mark.parametrize("target", [RUNS, SPANS, "skyline", "rle", "vbl"])
@pytest.mark.parametrize("source", ["csr", "csc", "coo_unsorted", "dense"])
def test_intervals_are_found(source, target, interpreted):
    """Rows without entries, gaps, runs of one value and values that differ by a sign alone."""
    start, to = resolve(source, 2), target if isinstance(target, Layout) else resolve(target, 2)
    for density in (0.3, 0.8):
        dense = np.tril(matrix((9, 7), 8, density))
        dense[3:5] = 0
        dense[6, :4] = dense[7, 2:5] = 2.0
        coords = np.array(np.nonzero(dense))
        values = dense[tuple(coords)]
        if source != "dense":
            values[3:9] = [0.0, 0.0, -0.0, np.nan, np.nan, np.inf]
        arrays = construct(start, dense.shape, coords, values)
        sizes = infer_sizes(start, dense.shape, arrays)
        made = interpreted(start, to, dense.shape, arrays, sizes=sizes)
        if target == "vbl" or isinstance(target, Layout):
            assert made is not None
        if made is not None:
            agree(start, to, dense.shape, arrays, made)


DIAGONAL = Layout(
    "diagonal-and-rows",
    "[N, M] -> { [i, p, q] -> [i, j] : 0 <= i < N and p = i and q = p and j = i and j < M; "
    "[i, p, q] -> [i, j] : 0 <= i < N and ptr(i) <= p < ptr(i + 1) and q = N + p "
    "and j = cols(p) and 0 <= j < M }",
    value="data(q)",
    properties=[
        *("ptr(0) = 0", "nondecreasing ptr"),
        "increasing cols within ptr(i) <= p < ptr(i + 1)",
    ],
)


CROWDED = Layout(
    "rows-then-columns-then-list",
    "[N, M, NNZ] -> { [u, v, q] -> [i, j] : 0 <= u < N and 0 <= v < 2 and v < nr(u) "
    "and q = 2*u + v and i = u and j = cols(u, v) and 0 <= j < M; "
    "[u, v, q] -> [i, j] : 0 <= u < M and 0 <= v < 3 and v < nc(u) and q = 2*N + 3*u + v "
    "and j = u and i = rows(u, v) and 0 <= i < N; "
    "[u, v, q] -> [i, j] : 0 <= u < NNZ and v = 0 and q = 2*N + 3*M + u and i = rest0(u) "
    "and j = rest1(u) and 0 <= i < N and 0 <= j < M }",
    value="data(q)",
    properties=[
        *("range nr in [0, 3)", "increasing cols within 0 <= v < nr(u)"),
        *("range nc in [0, 4)", "increasing rows within 0 <= v < nc(u)"),
        "lexicographic (rest0, rest1)",
    ],
)
"""Two entries of each row, up to three more of each column, the others as coordinates."""


@pytest.mark.parametrize("target", [DIAGONAL, CROWDED], ids=lambda layout: layout.name)
@pytest.mark.parametrize("source", ["csr", "csc", "coo_unsorted", "dense", "hyb(2)"])
def test_each_entry_is_in_the_first_part_with_room(source, target, interpreted):
    start = layout_of(source)
    for shape in ((5, 8), (8, 5), (1, 1)):
        dense = matrix(shape, 6, 0.7)
        dense[0, 0] = 3.0
        coords = np.array(np.nonzero(dense))
        arrays = construct(start, shape, coords, dense[tuple(coords)])
        sizes = infer_sizes(start, shape, arrays)
        made = interpreted(start, target, shape, arrays, sizes=sizes)
        assert made is not None
        agree(start, target, shape, arrays, made)


def test_entries_off_the_diagonal_have_no_place_on_it(interpreted):
    """Coordinates that depend on each other are constraints, though no dim is constrained."""
    alone = Layout(
        "diagonal",
        "[N, M] -> { [i] -> [i, j] : 0 <= i < N and j = i and j < M }",
        value="data(i)",
    )
    start = resolve("csr", 2)
    for column in (1, 2):
        coords = np.array([[0, 1], [0, column]])
        rows = construct(start, (3, 3), coords, np.ones(2))
        made = interpreted(start, alone, (3, 3), rows)
        assert (made is None) == (column == 2)


def test_parts_whose_places_may_coincide_are_left_alone():
    text = DIAGONAL.text.replace("q = N + p", "q = 2 + p")
    assert text != DIAGONAL.text
    assert alternatives(DIAGONAL)
    together = Layout("together", text, value="data(q)", properties=["nondecreasing ptr"])
    assert not alternatives(together)


def test_mirror_images_are_proved():
    """Every coordinate in one part, the image of each of the other's in the first."""
    assert reflection(resolve("symmetric", 2)) == (1, 0)
    assert reflection(layouts["hyb"](2)) is None
    half = (
        "[N, M] -> { [q, p] -> [q, j] : 0 <= q < N and ptr(q) <= p < ptr(q + 1) and j = cols(p) "
        "and 0 <= j CHECK and j < M; [q, p] -> [i, q] : 0 <= q < N and q < M "
        "and ptr(q) <= p < ptr(q + 1) and i = cols(p) and cols(p) < q and 0 <= i }"
    )
    properties = ["ptr(0) = 0", "nondecreasing ptr"]
    for check, order in (("<= q", (1, 0)), ("< q", None), ("<= q + 1", None)):
        text = half.replace("CHECK", check)
        assert reflection(Layout("half", text, value="data(p)", properties=properties)) == order


@pytest.mark.parametrize("name", ["csr", "csc", "coo_unsorted", "dense"])
def test_a_mirrored_part_is_read_back(name, interpreted):
    """Symmetric entries are stored once; any others are left to the conversion that says so."""
    start, to = resolve(name, 2), resolve("symmetric", 2)
    lower = np.tril(matrix((7, 7), 3, 0.6))
    dense = lower + np.tril(lower, -1).T
    coords = np.array(np.nonzero(dense))
    arrays = construct(start, dense.shape, coords, dense[tuple(coords)])
    agree(start, to, dense.shape, arrays, interpreted(start, to, dense.shape, arrays))
    for place in ((2, 5), (5, 2), (0, 6)):
        other = dense.copy()
        other[place] += 17.0
        coords = np.array(np.nonzero(other))
        arrays = construct(start, other.shape, coords, other[tuple(coords)])
        assert interpreted(start, to, other.shape, arrays) is None


@pytest.mark.parametrize("name", ["csr", "csc", "coo", "coo_unsorted", "dense"])
def test_one_value_for_all_entries(name, interpreted):
    """It is stored once; where values differ, that is left to the conversion that says so."""
    start, to = resolve(name, 2), resolve("pattern", 2)
    dense = np.where(matrix((5, 7), 6) > 0, 3.0, 0.0)
    for wanted in (dense, np.where(np.arange(35).reshape(5, 7) == 34, 4.0, dense)):
        coords = np.array(np.nonzero(wanted))
        arrays = construct(start, wanted.shape, coords, wanted[tuple(coords)])
        made = interpreted(start, to, wanted.shape, arrays)
        if wanted is dense:
            agree(start, to, wanted.shape, arrays, made)
        else:
            assert made is None
