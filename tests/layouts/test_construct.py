"""Building, checking and reading back every layout of the catalogue and the tests' own."""

import numpy as np
import pytest

from sparsedsl.errors import InvalidTensorError, LayoutError
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import stored
from sparsedsl.layouts.layout import Layout

SHAPES = [(0, 0), (1, 1), (3, 0), (0, 4), (5, 7), (6, 6), (9, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_built_is_valid_and_reads_back(member, shape, cases, shuffle):
    for dense in cases.matrices(shape):
        coords, values = shuffle(*cases.coordinates(dense))
        if not cases.holdable(member, dense):
            if member.name not in ("symmetric", "packed") or shape[0] == shape[1]:
                with pytest.raises(InvalidTensorError):
                    construct(member, shape, coords, values)
            continue
        arrays = construct(member, shape, coords, values)
        validate(member, shape, arrays)
        assert (cases.scatter(shape, *stored(member, shape, arrays)) == dense).all()


def test_every_rank(any_member, cases, shuffle):
    shapes = {0: [()], 1: [(0,), (1,), (6,)], 3: [(2, 3, 4), (0, 1, 2), (1, 1, 1)]}
    for shape in shapes[any_member.rank]:
        for dense in cases.matrices(shape):
            coords, values = shuffle(*cases.coordinates(dense))
            arrays = construct(any_member, shape, coords, values)
            validate(any_member, shape, arrays)
            read = cases.scatter(shape, *stored(any_member, shape, arrays))
            assert (read == dense).all()


def test_the_arrays_are_the_textbook_ones():
    coords = np.array([[0, 2, 2, 0], [2, 1, 0, 0]])
    values = np.array([1.0, 2.0, 3.0, 4.0])
    arrays = construct(resolve("csr", 2), (3, 3), coords, values)
    assert arrays["indptr"].tolist() == [0, 2, 2, 4]
    assert arrays["indices"].tolist() == [0, 2, 0, 1]
    assert arrays["data"].tolist() == [4.0, 1.0, 3.0, 2.0]
    arrays = construct(resolve("dcsr", 2), (3, 3), coords, values)
    assert arrays["rows"].tolist() == [0, 2]
    assert arrays["indptr"].tolist() == [0, 2, 4]
    arrays = construct(resolve("dia", 2), (3, 3), coords, values)
    assert arrays["offsets"].tolist() == [-2, -1, 0, 2]
    assert arrays["data"].tolist() == [[3, 0, 0], [0, 2, 0], [4, 0, 0], [0, 0, 1]]
    arrays = construct(resolve("ell", 2), (3, 3), coords, values)
    assert arrays["counts"].tolist() == [2, 0, 2]
    assert arrays["cols"].shape == (3, 2)


def test_runs_are_found():
    dense = np.array([[1.0, 1.0, 2.0, 0.0, 2.0], [0.0] * 5, [0.0, 3.0, 3.0, 3.0, 0.0]])
    coords = np.array(np.nonzero(dense))
    values = dense[tuple(coords)]
    blocks = construct(resolve("vbl", 2), dense.shape, coords, values)
    assert blocks["indptr"].tolist() == [0, 2, 2, 3]
    assert blocks["start"].tolist() == [0, 4, 1]
    assert blocks["stop"].tolist() == [3, 5, 4]
    runs = construct(resolve("rle", 2), dense.shape, coords, values)
    assert runs["start"].tolist() == [0, 2, 4, 1]
    assert runs["data"].tolist() == [1.0, 2.0, 2.0, 3.0]


def test_morton_order_interleaves_bits():
    coords = np.array([[0, 1, 1, 0, 2, 3], [1, 0, 1, 0, 0, 1]])
    arrays = construct(resolve("morton", 2), (4, 4), coords, np.arange(6.0))
    keys = [
        sum(((r >> b & 1) << (2 * b + 1)) | ((c >> b & 1) << (2 * b)) for b in range(4))
        for r, c in zip(arrays["crd0"].tolist(), arrays["crd1"].tolist(), strict=True)
    ]
    assert keys == sorted(keys)


def test_slots_without_an_entry_hold_the_fill():
    coords = np.array([[0], [1]])
    arrays = construct(resolve("dense", 2), (2, 2), coords, np.array([5.0]), fill=np.inf)
    assert arrays["data"].tolist() == [[np.inf, 5.0], [np.inf, np.inf]]


def test_a_padded_layout_marks_its_padding(cases):
    coords = np.array([[0, 0, 2], [1, 3, 0]])
    arrays = construct(cases.own["padded"], (3, 4), coords, np.ones(3))
    assert arrays["cols"].tolist() == [[1, 3], [-1, -1], [0, -1]]


@pytest.mark.parametrize("dtype", ["float32", "complex128", "bool", "int8", "uint64"])
def test_values_keep_their_dtype(dtype):
    values = np.ones(2, dtype)
    arrays = construct(resolve("csr", 2), (2, 2), np.array([[0, 1], [1, 0]]), values)
    assert arrays["data"].dtype == dtype


def test_nan_and_negative_zero_survive():
    values = np.array([np.nan, -0.0])
    arrays = construct(resolve("csr", 2), (1, 2), np.array([[0, 0], [0, 1]]), values)
    assert np.isnan(arrays["data"][0])
    assert np.signbit(arrays["data"][1])


def test_index_width_follows_need():
    coords = np.array([[0], [2**40]])
    layout = resolve("coo", 2)
    assert construct(layout, (4, 4), coords % 4, np.ones(1))["crd1"].dtype == np.int32
    assert construct(layout, (4, 2**41), coords, np.ones(1))["crd1"].dtype == np.int64
    wide = construct(layout, (4, 4), coords % 4, np.ones(1), index_dtype="int64")
    assert wide["crd0"].dtype == np.int64
    with pytest.raises(InvalidTensorError, match="crd1 does not fit int32"):
        construct(layout, (4, 2**41), coords, np.ones(1), index_dtype="int32")


def test_shapes_beyond_all_integers():
    shape = (10**6,) * 4
    coords = np.array([[5, 999_999], [0, 999_998], [7, 0], [10, 999_997]])
    for name in ("coo", "csf"):
        layout = resolve(name, 4)
        arrays = construct(layout, shape, coords, np.array([1.0, 2.0]))
        validate(layout, shape, arrays)
        read, values = stored(layout, shape, arrays)
        assert read.tolist() == coords.tolist()
        assert values.tolist() == [1.0, 2.0]


def test_what_does_not_fit_names_the_entry():
    with pytest.raises(InvalidTensorError, match=r"no place for the entry at \(0, 3\)"):
        construct(resolve("triangular", 2), (4, 4), np.array([[0], [3]]), np.ones(1))
    full = np.array([[0, 0, 0], [0, 1, 2]])
    with pytest.raises(InvalidTensorError, match="no place for the entry at"):
        construct(resolve(_two_of_four(), 2), (1, 4), full, np.ones(3))
    with pytest.raises(InvalidTensorError, match="values differ at"):
        construct(resolve("pattern", 2), (1, 4), full, np.array([1.0, 2.0, 1.0]))
    with pytest.raises(InvalidTensorError, match="cannot hold these entries"):
        construct(resolve("symmetric", 2), (3, 3), np.array([[0], [2]]), np.ones(1))


def _two_of_four():
    from sparsedsl.layouts.catalogue import layouts

    return layouts["nm"](2, 4)


def test_a_specification_that_says_too_little_is_refused():
    layout = Layout(
        "opaque",
        "[N, M, K] -> { [p] -> [i, j] : 0 <= p < K and i = f(g(p)) and j = h(p) "
        "and 0 <= i < N and 0 <= j < M }",
        value="data(p)",
    )
    with pytest.raises(LayoutError, match="cannot be built: nothing tells what"):
        construct(layout, (2, 2), np.array([[0], [1]]), np.ones(1))


def test_rows_of_rows_of_different_lengths():
    """Where a row begins follows from the rows before it, and its entries from that."""
    nested = Layout(
        "nested-rows",
        "[A, B, C] -> { [a, b, r, c] -> [a, b, c] : 0 <= a < A and 0 <= b < rows(a) and b < B "
        "and r = first(a) + b and 0 <= c < lengths(r) and c < C }",
        value="data(ptr(r) + c)",
        properties=[
            *("first(0) = 0", "nondecreasing first", "first(a + 1) = first(a) + rows(a)"),
            *("ptr(0) = 0", "nondecreasing ptr", "ptr(r + 1) = ptr(r) + lengths(r)"),
            *("range rows in [0, B + 1)", "range lengths in [0, C + 1)"),
        ],
    )
    rng = np.random.default_rng(2)
    for shape in ((4, 5, 6), (1, 1, 1), (3, 2, 7)):
        dense = np.where(rng.random(shape) < 0.4, rng.integers(1, 9, shape), 0)
        coords = np.array(np.nonzero(dense))
        arrays = construct(nested, shape, coords, dense[tuple(coords)])
        validate(nested, shape, arrays)
        back, values = stored(nested, shape, arrays)
        again = np.zeros(shape, dense.dtype)
        again[tuple(back)] = values
        assert (again == dense).all()
    nothing = Layout(
        "nothing-tells",
        "[A, B] -> { [a, b, r] -> [a, b] : 0 <= a < A and 0 <= b < B and r = first(a) + b }",
        value="data(r)",
    )
    with pytest.raises(LayoutError, match="nothing tells by then what first holds"):
        construct(nothing, (2, 2), np.array([[0], [1]]), np.ones(1))


@pytest.mark.parametrize("mirrored", [False, True])
def test_values_are_as_long_as_a_scan_where_no_property_tells(mirrored):
    """The last places hold no entry; the pointer is not said to rise."""
    mirror = "; [i, j] -> [j, i] : 0 <= i < N and i < M and 0 <= j < i }" if mirrored else "}"
    layout = Layout(
        "packed",
        f"[N, M] -> {{ [i, j] -> [i, j] : 0 <= i < N and 0 <= j <= i and j < M {mirror}",
        value="data(start(i) + j)",
        properties=["start(0) = 0", "start(i + 1) = start(i) + i + 1"],
    )
    dense = np.diag([1.0, 2.0, 3.0, 0.0]) + np.eye(4, k=-1) * [4, 0, 0, 0]
    dense = dense + np.tril(dense, -1).T * mirrored
    coords = np.array(np.nonzero(dense))
    arrays = construct(layout, (4, 4), coords, dense[tuple(coords)])
    assert len(arrays["data"]) == 10
    validate(layout, (4, 4), arrays)
    back, values = stored(layout, (4, 4), arrays)
    found = np.zeros((4, 4))
    found[tuple(back)] = values
    assert (found == dense).all()
