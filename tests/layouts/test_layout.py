import copy
import pickle

import numpy as np
import pytest

from sparsedsl.errors import LayoutError
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.levels import exact, packed, total, unique
from sparsedsl.spf import terms as t

ROWS = (
    "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
    "and j = indices(p) and 0 <= j < M }"
)


def rows(**changes):
    given = {"relation": ROWS, "value": "data(p)", "properties": ["nondecreasing indptr"]}
    given.update(changes)
    return Layout("rows", **given)


def lengths(layout):
    return {
        name: [None if length is None else t.text(length) for length in axes]
        for name, axes in layout.lengths.items()
    }


def test_what_a_layout_tells():
    layout = rows()
    assert layout.rank == 2
    assert layout.extents == ("N", "M")
    assert layout.sizes == ()
    assert layout.blocks == ()
    assert dict(layout.functions) == {"indptr": 1, "indices": 1}
    assert layout.arrays == ("indptr", "indices", "data")
    assert lengths(layout) == {
        "indptr": ["N + 1"],
        "indices": ["indptr(N)"],
        "data": ["indptr(N)"],
    }
    (part,) = layout.structures
    assert t.text(part.definition("j")) == "indices(p)"
    assert len(part.scan) == 4
    assert len(part.invariants) == 2
    assert part.filters == ()


def test_lengths_of_blocks_diagonals_and_profiles():
    assert lengths(layouts["bcsr"](2, 3)) == {
        "indptr": ["floor((N + 1)/2) + 1"],
        "indices": ["indptr(floor((N + 1)/2))"],
        "data": ["indptr(floor((N + 1)/2))", "2", "3"],
    }
    assert lengths(resolve("dia", 2)) == {"offsets": ["ND"], "data": ["ND", "M"]}
    assert lengths(resolve("ragged", 2))["data"] == ["ptr(N)"]
    assert lengths(layouts["sell"](4))["cols"] == ["ptr(floor((N + 3)/4))"]
    assert lengths(resolve("csf", 3))["data"] == ["pos2(pos1(NNZ0))"]


def test_constraints_are_sorted_by_purpose(cases):
    padded = cases.own["padded"].structures[0]
    assert len(padded.filters) == 1
    assert len(padded.invariants) == 2
    blocks = layouts["bcsr"](2, 2).structures[0]
    assert blocks.invariants == ()
    diagonals = resolve("dia", 2).structures[0]
    assert diagonals.invariants == ()
    assert diagonals.filters == ()


def test_equal_specifications_are_equal_layouts():
    assert rows() == rows()
    assert hash(rows()) == hash(rows())
    assert rows() != rows(properties=[])
    assert layouts["bcsr"](2, 3) == layouts["bcsr"](2, 3)
    assert layouts["bcsr"](2, 3) != layouts["bcsr"](3, 2)
    for layout in (rows(), layouts["bcsr"](2, 3), resolve("csf", 3, (2, 0, 1))):
        assert pickle.loads(pickle.dumps(layout)) == layout
        assert copy.deepcopy(layout) == layout
    with pytest.raises(AttributeError):
        rows().name = "other"


def test_mode_orders_permute_extents_and_coordinates():
    columns = rows()(order=(1, 0))
    assert columns.extents == ("M", "N")
    assert columns.relation.outputs == ("j", "i")
    assert columns(order=(1, 0)).relation == rows().relation
    assert columns.order == (1, 0)
    turned = resolve("csf", 3)(order=(2, 0, 1))
    assert turned.signature == resolve("csf", 3, (2, 0, 1)).signature


@pytest.mark.parametrize("order", [(0, 0), (0,), (0, 1, 2), "ab", 3, (1.5, 0)])
def test_orders_that_are_no_permutation(order):
    with pytest.raises(LayoutError, match=r"permutation of 0\.\.1"):
        rows()(order=order)


def test_block_sizes():
    blocked = layouts["bcsr"]
    assert blocked.blocks == ("R", "C")
    assert blocked(2, 3).blocks == ()
    assert blocked(2, 3).label == "bcsr(2, 3)"
    assert layouts["banded"].blocks == ("KL", "KU")
    for sizes in [(), (2,), (2, 3, 4)]:
        with pytest.raises(LayoutError, match="expected 2 block sizes"):
            blocked(*sizes)
    for size in (0, -1, 2.5, "2", True, None, 2**40):
        with pytest.raises(LayoutError, match="block size R"):
            blocked(size, 2)
    with pytest.raises(LayoutError, match=r"needs block sizes \(R, C\)"):
        blocked.require_bound()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relation": "{ [i] -> [j] : j = q }"}, "unknown name 'q'"),
        ({"relation": 5}, "a layout's relation is text, found int"),
        ({"value": "p"}, "expected value= to be a position in one array"),
        ({"value": "data(p) + 1"}, "expected value= to be a position in one array"),
        ({"value": "indptr(p)"}, "'indptr' is an index array and cannot hold the values"),
        ({"value": "data(q)"}, "unknown name 'q'"),
        ({"properties": ["sorted indptr"]}, "unknown property 'sorted'"),
        ({"properties": ["nondecreasing x"]}, "unknown index array 'x'; the layout calls"),
        ({"properties": ["increasing indices within 0 <= q < N"]}, "unknown dimension 'q'"),
        ({"properties": ["N = M"]}, "speaks about an index array, found none"),
        ({"properties": [3]}, "a property is text, found int"),
        ({"properties": ["range indices in (0, M)"]}, "expected '[', found '('"),
        (
            {"relation": "[N] -> { [i, p] -> [i, j] : j = p }", "properties": []},
            "one extent per logical mode",
        ),
        (
            {
                "relation": "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and 0 <= p < M }",
                "properties": [],
            },
            "'j' is not",
        ),
        (
            {"relation": "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and j = p }", "properties": []},
            "no lower bound",
        ),
        (
            {
                "relation": "[N, M] -> { [i, p] -> [i, j] : 0 <= i, p and i < N and j = p }",
                "properties": [],
            },
            "no upper bound",
        ),
        (
            {
                "relation": "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and f(i) <= p < f(i, i) "
                "and j = p }",
                "properties": [],
            },
            "'f' is called with 1 and with 2",
        ),
    ],
)
def test_wrong_specifications_are_explained(changes, message):
    with pytest.raises(LayoutError) as caught:
        rows(**changes)
    text = str(caught.value)
    assert message in text
    assert "\nhint: " in text
    assert "^" in text or message.startswith(("a layout's", "a property is", "one extent"))


@pytest.mark.parametrize(
    ("relation", "marked"),
    [
        ("[N] -> { [i] -> [j] : 0 <= i < N }", "j"),
        ("[N] -> { [i, p] -> [i] : 0 <= i < N and g(i) = 0 }", "p"),
        ("[N] -> { [i] -> [i] : 0 <= i < N and f(i) < f(i, i) }", "f"),
        ("[N] -> { [i] -> [i] : 0 <= i < N and i % 0 = 0 }", "0"),
        ("[N] -> { [i] -> [i] : 0 <= i < N ", " "),
    ],
)
def test_the_caret_points_at_what_is_wrong(relation, marked):
    with pytest.raises(LayoutError) as caught:
        Layout("mine", relation, value="data(i)")
    span = caught.value.span
    assert span is not None
    assert (span.text + " ")[span.column : span.end_column] == marked
    assert caught.value.hint


def test_facts_that_follow_from_the_specification():
    kinds = {
        name: (unique(resolve(name, 2)), exact(resolve(name, 2)), packed(resolve(name, 2)))
        for name in ("csr", "csc", "coo", "csf", "dcsr", "dia", "dense", "ell", "rle")
    }
    assert kinds == {
        "csr": (True, True, True),
        "csc": (True, True, True),
        "coo": (True, True, True),
        "csf": (True, True, True),
        "dcsr": (True, True, True),
        "dia": (True, False, False),
        "dense": (True, False, False),
        "ell": (True, True, False),
        "rle": (True, True, False),
    }
    assert total(resolve("dense", 3, (2, 0, 1)))
    assert not total(layouts["banded"](1, 1))
    assert not total(resolve("triangular", 2))
    blocked = Layout(
        "tiles",
        "[N, M] -> { [a, b, r, c] -> [i, j] : i = 4*a + r and j = 4*b + c and 0 <= r < 4 "
        "and 0 <= c < 4 and 0 <= i < N and 0 <= j < M }",
        value="data(a, b, r, c)",
    )
    assert total(blocked)
    assert not unique(Layout("any", ROWS, value="data(p)"))


def test_an_index_array_may_be_shared_and_nested():
    layout = Layout(
        "table",
        "[N, M, K] -> { [p] -> [i, j] : 0 <= p < K and i = key(slot(p), 0) and j = key(slot(p), 1) "
        "and 0 <= i < N and 0 <= j < M }",
        value="data(slot(p))",
        properties=["permutation slot"],
    )
    from sparsedsl.layouts.check import validate
    from sparsedsl.layouts.convert import stored

    arrays = {
        "slot": np.array([2, 0, 1]),
        "key": np.array([[0, 1], [1, 0], [2, 2]]),
        "data": np.array([1.0, 2.0, 3.0]),
    }
    validate(layout, (3, 3), arrays)
    coords, values = stored(layout, (3, 3), arrays)
    assert coords.tolist() == [[2, 0, 1], [2, 1, 0]]
    assert values.tolist() == [3.0, 1.0, 2.0]
