import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import convert, stored

SHAPES = ((7, 7), (4, 6), (1, 7), (7, 1), (0, 3), (3, 0))
"""Not divisible by the blocks, rectangular, one row, one column, empty."""


def test_every_ordered_pair_of_layouts(member, cases):
    """The same entries, in as many bytes as predicted, whatever the shape."""
    for target in cases.members(2):
        for shape in SHAPES:
            dense = cases.common(member, target, shape, seed=3)
            if dense is None:
                assert {"symmetric", "packed"} & {member.name, target.name}
                continue
            arrays = construct(member, shape, *cases.coordinates(dense))
            made = convert(member, target, shape, arrays)
            assert (cases.scatter(shape, *stored(target, shape, made)) == dense).all()
            size = sum(array.nbytes for array in made.values())
            assert size == cases.predicted(target, shape, np.count_nonzero(dense), made)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["coo", "csf", "dense", "morton", "bitmap", "coo_unsorted"]),
    st.sampled_from(["coo", "csf", "dense", "morton", "bitmap", "coo_unsorted"]),
)
def test_any_rank_and_mode_order(shape, seed, first, second):
    rng = np.random.default_rng(seed)
    rank = len(shape)
    dense = np.where(rng.random(shape) < 0.5, rng.integers(1, 9, shape), 0)
    source = resolve(first, rank, tuple(rng.permutation(rank).tolist()))
    target = resolve(second, rank, tuple(rng.permutation(rank).tolist()))
    coords = np.array(np.nonzero(dense)).reshape(rank, -1)
    arrays = construct(source, shape, coords, dense[tuple(coords)])
    made = convert(source, target, shape, arrays)
    validate(target, shape, made)
    back, values = stored(target, shape, made)
    again = np.zeros(shape, dense.dtype)
    np.add.at(again, tuple(back), values)
    assert (again == dense).all()


def test_explicit_zeros_stay_where_they_were_given_and_go_where_they_are_padding():
    coords = np.array([[0, 1], [0, 1]])
    values = np.array([0.0, 2.0])
    rows = construct(resolve("csr", 2), (4, 4), coords, values)
    columns = convert(resolve("csr", 2), resolve("csc", 2), (4, 4), rows)
    assert columns["data"].tolist() == [0.0, 2.0]
    blocks = _blocks()
    blocked = convert(resolve("csr", 2), blocks, (4, 4), rows)
    assert blocked["data"].size == 4
    again = convert(blocks, resolve("csr", 2), (4, 4), blocked)
    assert again["data"].tolist() == [2.0]


def _blocks():
    from sparsedsl.layouts.catalogue import layouts

    return layouts["bcsr"](2, 2)


@pytest.mark.parametrize(
    ("fill", "values", "kept"),
    [
        (0.0, [0.0, -0.0, np.nan, 1.0], 3),
        (np.nan, [0.0, np.nan, 1.0, np.nan], 2),
        (np.inf, [np.inf, -np.inf, 0.0, 1.0], 3),
        (0, [0j, complex(0.0, -0.0), 1j, complex(np.nan, 0)], 3),
    ],
)
def test_only_the_fill_itself_is_dropped(fill, values, kept):
    data = np.array([values])
    made = convert(resolve("dense", 2), resolve("csr", 2), (1, 4), {"data": data}, fill=fill)
    assert len(made["data"]) == kept


def test_wide_indices_stay_wide():
    rows = construct(
        resolve("csr", 2), (2, 2), np.array([[0], [1]]), np.ones(1), index_dtype="int64"
    )
    made = convert(resolve("csr", 2), resolve("coo", 2), (2, 2), rows)
    assert made["crd0"].dtype == np.int64
