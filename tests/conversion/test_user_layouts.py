"""Users' layouts, whose arrays differ from those of the catalogue."""

import numpy as np
import pytest
from converted import agree, matrix

from sparsedsl.conversion.target_from_layout import target_of
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import convert as plainly
from sparsedsl.layouts.layout import Layout


def test_places_that_equalities_give_are_computed(interpreted):
    dense = np.tril(matrix((6, 6), 4))
    coords = np.array(np.nonzero(dense))
    arrays = construct(resolve("csc", 2), dense.shape, coords, dense[tuple(coords)])
    to = resolve("triangular", 2)
    agree(
        resolve("csc", 2),
        to,
        dense.shape,
        arrays,
        interpreted(resolve("csc", 2), to, dense.shape, arrays),
    )
    whole = construct(resolve("csc", 2), (6, 6), np.array([[0, 3], [1, 2]]), np.ones(2))
    assert interpreted(resolve("csc", 2), to, (6, 6), whole) is None


def test_layouts_that_counting_does_not_fill_are_left_alone():
    listed = Layout(
        "listed-runs",
        "[N, M, NB] -> { [b, j] -> [i, j] : 0 <= b < NB and i = rows(b) and 0 <= i < N "
        "and start(b) <= j < stop(b) and 0 <= j < M }",
        value="data(at(b) + j - start(b))",
        properties=["at(0) = 0", "nondecreasing at", "at(b + 1) = at(b) + stop(b) - start(b)"],
    )
    assert target_of(listed) is None


LENGTHS = {
    "two numbers an entry": (
        "[N, M, NNZ] -> { [p] -> [i, j] : 0 <= p < NNZ and i = pair(2*p) and j = pair(2*p + 1) "
        "and 0 <= i < N and 0 <= j < M }",
        "data(p)",
        [],
    ),
    "one place before the first": (
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and ptr(i) <= p < ptr(i + 1) "
        "and j = cols(p + 1) and 0 <= j < M }",
        "data(p + 1)",
        ["ptr(0) = 0", "nondecreasing ptr"],
    ),
    "a width that nothing names": (
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and 0 <= p < len(i) and j = cols(i, p) "
        "and 0 <= j < M }",
        "data(i, p)",
        ["increasing cols within 0 <= p < len(i)"],
    ),
    "three pointers a block": (
        "[N, M] -> { [u, q, r, p] -> [i, j] : 0 <= 3*u < N and first(u) <= q < first(u + 1) "
        "and i = 3*u + r and 0 <= r < 3 and 0 <= i < N and ptr(3*q + r) <= p < ptr(3*q + r + 1) "
        "and j = 3*tile(q) + offs(p) and 0 <= offs(p) < 3 and 0 <= j < M }",
        "data(p)",
        ["first(0) = 0", "nondecreasing first", "ptr(0) = 0", "nondecreasing ptr"],
    ),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_arrays_are_not_as_long_as_there_are_entries(name, interpreted):
    """Passes write within arrays, or leave a layout alone (the interpreter checks subscripts)."""
    relation, value, properties = LENGTHS[name]
    layout, rows = Layout(name, relation, value=value, properties=properties), resolve("csr", 2)
    dense = matrix((7, 5), 1)
    coords = np.array(np.nonzero(dense))
    arrays = construct(rows, dense.shape, coords, dense[tuple(coords)])
    made = interpreted(rows, layout, dense.shape, arrays)
    if made is not None:
        agree(rows, layout, dense.shape, arrays, made)
    there = plainly(rows, layout, dense.shape, arrays)
    validate(layout, dense.shape, there)
    back = interpreted(layout, rows, dense.shape, there)
    assert back is not None
    agree(layout, rows, dense.shape, there, back)


@pytest.mark.parametrize("first", [1, 5, -2])
def test_pointers_may_begin_with_any_number(first, interpreted):
    """Rows as Fortran has them, for one: all that is counted is moved by as much."""
    within = f"ptr(i) - {first} <= p < ptr(i + 1) - {first}"
    counted = Layout(
        "counted",
        f"[N, M] -> {{ [i, p] -> [i, j] : 0 <= i < N and {within} and j = cols(p) - {first} "
        "and 0 <= j < M }",
        value="data(p)",
        properties=[f"ptr(0) = {first}", "nondecreasing ptr", f"increasing cols within {within}"],
    )
    for shape in ((7, 5), (1, 4), (4, 1)):
        dense = matrix(shape, 1, 0.8)
        coords = np.array(np.nonzero(dense))
        for name in ("csr", "csc", "coo_unsorted"):
            start = resolve(name, 2)
            arrays = construct(start, shape, coords, dense[tuple(coords)])
            made = interpreted(start, counted, shape, arrays)
            assert made is not None
            agree(start, counted, shape, arrays, made)
            assert made["ptr"][0] == first
            back = interpreted(counted, start, shape, made)
            assert back is not None
            agree(counted, start, shape, made, back)


def test_a_users_layout_is_compiled_without_any_change(interpreted):
    tiled = Layout(
        "tiles-by-columns",
        "[N, M, NT] -> { [q, c, r] -> [i, j] : 0 <= q < NT and i = 2*rows(q) + r "
        "and j = 2*cols(q) + c and 0 <= r < 2 and 0 <= c < 2 and 0 <= i < N and 0 <= j < M }",
        value="data(q, c, r)",
        properties=[
            "lexicographic (cols, rows)",
            "range rows in [0, (N + 1) // 2)",
            "range cols in [0, (M + 1) // 2)",
        ],
    )
    dense = matrix((5, 7), 1)
    coords = np.array(np.nonzero(dense))
    for name in ("csr", "csc", "coo_unsorted"):
        start = resolve(name, 2)
        arrays = construct(start, dense.shape, coords, dense[tuple(coords)])
        made = interpreted(start, tiled, dense.shape, arrays)
        agree(start, tiled, dense.shape, arrays, made)
