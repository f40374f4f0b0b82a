import pytest

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.properties import functions_of, parse_property, property_text
from sparsedsl.spf.parse import parse_relation

RELATION = parse_relation(
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
    "and j = indices(p) and 0 <= j < M }"
)


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        ("nondecreasing indptr", ("indptr",)),
        (
            "increasing indices within indptr(i) <= p < indptr(i + 1)",
            ("indices", "indptr", "indptr"),
        ),
        ("injective indices", ("indices",)),
        ("injective (indices, indptr)", ("indices", "indptr")),
        ("permutation indices", ("indices",)),
        ("range indices in [0, M)", ("indices",)),
        ("lexicographic (indptr, indices) within 0 <= p < N", ("indptr", "indices")),
        ("morton (indptr, indices)", ("indptr", "indices")),
        ("indptr(0) = 0", ("indptr",)),
        ("indptr(i + 1) = indptr(i) + 2", ("indptr",)),
    ],
)
def test_properties_read_and_print_back(text, functions):
    item = parse_property(text, RELATION)
    assert property_text(item) == text
    assert functions_of(item) == functions
    assert parse_property(property_text(item), RELATION) == item


def test_ranges_may_be_written_with_either_comparison():
    closed = parse_property("increasing indices within indptr(i) - 1 < p <= N", RELATION)
    assert property_text(closed) == "increasing indices within indptr(i) <= p < N + 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a number, a name or a call"),
        ("increasing", "expected the name of an index array, found the end"),
        ("increasing nothing", "unknown index array 'nothing'; the layout calls indices, indptr"),
        ("increasing indices within p", "expected '<='"),
        ("increasing indices within 0 <= x < N", "unknown dimension 'x'"),
        ("increasing indices within 0 <= N < M", "unknown dimension 'N'; known are i, p"),
        ("increasing indices indices", "expected the end"),
        ("ascending indices", "unknown property 'ascending'; known are nondecreasing"),
        ("increasing indices within indptr(j) <= p < N", "'j' is a coordinate, found where dims"),
        ("range indices in [0, M", "expected ')', found the end"),
        ("indptr(0) <= 3", "expected '=' or a kind of property"),
        ("indptr(0) = other(1)", "unknown index array 'other'"),
        ("(((", "is never closed"),
        ("indptr(0, 1) = 0", "'indptr' has 1 axes, found 2 subscripts"),
        ("increasing indices within indptr(i) <= p < indptr(i, 1)", "found 2 subscripts"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(LayoutError) as caught:
        parse_property(text, RELATION)
    assert message in caught.value.message
    assert caught.value.span is not None


@pytest.mark.parametrize(
    "text",
    [
        "indptr(i + 1) = indptr(i) + nothing(i)",
        "nothing(0) = indptr(0)",
        "increasing indices within nothing(i) <= p < indptr(i + 1)",
        "increasing indices within indptr(i) <= p < indptr(nothing(i))",
        "range indices in [0, nothing(0))",
        "range nothing in [0, N)",
        "lexicographic (indices, nothing)",
    ],
)
def test_the_caret_points_at_the_array_that_is_unknown(text):
    with pytest.raises(LayoutError, match="unknown index array 'nothing'") as caught:
        parse_property(text, RELATION)
    start = text.index("nothing")
    span = caught.value.span
    assert span is not None
    assert (span.column, span.end_column) == (start, start + len("nothing"))
