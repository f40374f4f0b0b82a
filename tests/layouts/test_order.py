import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsedsl.layouts import order

COLUMN = st.integers(0, 12).flatmap(lambda n: arrays(np.int64, n, elements=st.integers(0, 5)))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_first_unordered_agrees_with_tuples(data):
    first = data.draw(COLUMN)
    second = data.draw(arrays(np.int64, len(first), elements=st.integers(0, 3)))
    inner = st.integers(0, max(len(first) - 1, 0))
    starts = sorted({0, *data.draw(st.lists(inner, max_size=3))})
    tuples = list(zip(first.tolist(), second.tolist(), strict=True))
    for strict in (True, False):
        bad = [
            (k, k + 1)
            for k in range(len(tuples) - 1)
            if k + 1 not in starts
            and (tuples[k] >= tuples[k + 1] if strict else tuples[k] > tuples[k + 1])
        ]
        found = order.first_unordered([first, second], np.array(starts), strict=strict)
        assert found == (bad[0] if bad else None)


@settings(deadline=None, max_examples=60)
@given(COLUMN)
def test_duplicates_are_found(column):
    found = order.first_duplicate([column], np.zeros(1, np.int64))
    assert (found is None) == (len(set(column.tolist())) == len(column))
    if found is not None:
        first, second = found
        assert first < second
        assert column[first] == column[second]


def test_duplicates_in_different_ranges_do_not_count():
    column = np.array([1, 2, 2, 1])
    assert order.first_duplicate([column], np.array([0, 2])) is None
    assert order.first_duplicate([column], np.array([0])) is not None


@pytest.mark.parametrize("count", [0, 1, 7, 3000])
@pytest.mark.parametrize("width", [1, 50, 10**12])
def test_sorting_is_stable_and_lexicographic(count, width):
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 4, count), rng.integers(-width, width, count)]
    expected = np.lexsort((columns[1], columns[0]))
    assert (order.lexsort(columns) == expected).all()
    assert (order.sorted_order(columns) == expected).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12, unique=True))
def test_morton_order_is_that_of_interleaved_bits(points):
    def key(point):
        x, y = point
        return sum(((x >> b & 1) << (2 * b + 1)) | ((y >> b & 1) << (2 * b)) for b in range(7))

    columns = [np.array([p[axis] for p in points], np.int64) for axis in (0, 1)]
    found = [points[k] for k in order.morton_sort(columns)]
    assert found == sorted(points, key=key)
    ordered = sorted(points, key=key) == points
    whole = np.zeros(1, np.int64)
    assert (order.first_unordered_morton(columns, whole) is None) == ordered


def test_locate_finds_rows_of_a_table():
    rows = [np.array([3, 1, 9]), np.array([0, 2, 0])]
    table = [np.array([1, 3]), np.array([2, 0])]
    places, found = order.locate(rows, table, 3)
    assert found.tolist() == [True, True, False]
    assert places[:2].tolist() == [1, 0]
    places, found = order.locate([], [], 4)
    assert places.tolist() == [0, 0, 0, 0]
    assert found.all()


@given(
    st.lists(st.tuples(*[st.integers(-3, 6)] * 3), unique=True, max_size=20),
    st.lists(st.tuples(*[st.integers(-4, 7)] * 3), max_size=20),
    st.sampled_from([1, 1 << 19, 1 << 30]),
)
def test_locate_agrees_with_a_dictionary(table, rows, stretch):
    """Small ranges are indexed, wide ones searched, those beyond a word ranked first."""
    places = {row: place for place, row in enumerate(table)}
    columns = [np.array(c, int) * stretch for c in zip(*table, strict=True)] or [
        np.zeros(0, int)
    ] * 3
    wanted = [np.array(c, int) * stretch for c in zip(*rows, strict=True)] or [np.zeros(0, int)] * 3
    found, hits = order.locate(wanted, columns, len(rows))
    assert hits.tolist() == [row in places for row in rows]
    assert found[hits].tolist() == [places[row] for row in rows if row in places]


@pytest.mark.parametrize("top", [1, 255, 70_000, 2**40])
@pytest.mark.parametrize("rank", [1, 2, 3, 9])
def test_morton_order_of_wide_coordinates(top, rank):
    points = np.random.default_rng(rank).integers(0, top + 1, (50, rank))

    def interleaved(point):
        width = top.bit_length()
        return [(x >> bit) & 1 for bit in range(width - 1, -1, -1) for x in point]

    found = points[order.morton_sort(list(points.T))].tolist()
    assert found == sorted(points.tolist(), key=interleaved)
