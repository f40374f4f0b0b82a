"""Entries in any order, sorted by counting passes, where they lie, or by digits."""

import numpy as np
import pytest
import scipy.sparse as sp
from converted import agree, matrix

import sparsedsl as sd
from sparsedsl.conversion import run
from sparsedsl.conversion.kernels import program_of
from sparsedsl.conversion.request import request_of
from sparsedsl.conversion.target_from_layout import target_of
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.loops.nodes import Allocate, Resize


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("target", ["csr", "csc", "dcsr", "coo"])
def test_entries_come_in_any_order(target, short, interpreted):
    """Sorted, backwards, or shuffled."""
    dense = matrix((9, 13), 5, 0.8)
    coords = np.array(np.nonzero(dense))
    count = coords.shape[1]
    for order in (
        np.arange(count),
        np.arange(count)[::-1],
        np.random.default_rng(1).permutation(count),
    ):
        columns = np.ascontiguousarray(coords[:, order].astype(np.int32))
        values = dense[tuple(columns)]
        arrays = {"crd0": columns[0], "crd1": columns[1], "data": values}
        to = resolve(target, 2)
        made = interpreted(resolve("coo_unsorted", 2), to, dense.shape, arrays, short=short)
        agree(resolve("coo_unsorted", 2), to, dense.shape, arrays, made)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("target", ["csr", "csc", "coo", "dcsc", "csf"])
@pytest.mark.parametrize("shape", [(7, 300), (300, 7), (2, 600), (40, 1)], ids=str)
def test_groups_are_sorted_where_they_lie(target, shape, repeated, interpreted):
    """Short ones by ranks, long ones by digits; equal coordinates stay in turn and are added."""
    rng = np.random.default_rng(6)
    places = rng.permutation(shape[0] * shape[1])[: shape[0] * shape[1] // 2 + 1]
    if repeated:
        places = rng.permutation(np.concatenate([places, places[::3], places[::7]]))
    rows, columns = (x.astype(np.int32) for x in np.unravel_index(places, shape))
    arrays = {"crd0": rows, "crd1": columns, "data": rng.integers(1, 9, len(places)) * 1.0}
    source = resolve("coo_repeated" if repeated else "coo_unsorted", 2)
    to = resolve(target, 2)
    made = interpreted(source, to, shape, arrays, short=True)
    agree(source, to, shape, arrays, made)


@pytest.mark.parametrize("target", ["csr", "coo", "dcsr"])
@pytest.mark.parametrize("first", [0, 5, 49])
def test_keys_repeat_in_some_groups_alone(first, target, interpreted):
    """Groups after the first with equal keys move up, those before stay."""
    rng = np.random.default_rng(9)
    rows, columns = (rng.permutation(x.ravel()) for x in np.mgrid[:50, :3])
    rows = np.concatenate([rows, rng.integers(first, 50, 60)]).astype(np.int32)
    columns = np.concatenate([columns, rng.integers(0, 3, 60)]).astype(np.int32)
    arrays = {"crd0": rows, "crd1": columns, "data": rng.integers(1, 9, len(rows)) * 1.0}
    source, to = resolve("coo_repeated", 2), resolve(target, 2)
    made = interpreted(source, to, (50, 3), arrays, short=True)
    agree(source, to, (50, 3), arrays, made)


def test_equal_coordinates_are_added_in_the_order_they_come():
    """Sums of numbers far apart tell the order."""
    rng = np.random.default_rng(7)
    rows, columns = rng.integers(0, 2000, 30000), rng.integers(0, 12, 30000)
    values = 10.0 ** rng.integers(-9, 9, 30000)
    arrays = {"crd0": rows, "crd1": columns, "data": values}
    source, target = resolve("coo_repeated", 2), resolve("csr", 2)
    made = run.convert(source, target, (2000, 12), arrays)
    wanted: dict[tuple[int, int], float] = {}
    for place, value in zip(zip(rows.tolist(), columns.tolist(), strict=True), values, strict=True):
        wanted[place] = wanted[place] + value if place in wanted else value
    assert made["data"].tolist() == [wanted[place] for place in sorted(wanted)]


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "int16", "complex128"])
def test_groups_of_any_length_are_sorted_by_compiled_code(dtype, index):
    """By LLVM, and of complex numbers by Numba: in registers, in memory and by digits."""
    rng = np.random.default_rng(10)
    lengths = np.array([0, 1, 2, 15, 16, 17, 31, 32, 33, 64, 200, 256, 257, 400])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = np.concatenate([rng.permutation(500)[:n] for n in lengths])
    again = rng.integers(0, len(rows), 40)
    rows, columns = np.concatenate([rows, rows[again]]), np.concatenate([columns, columns[again]])
    order = rng.permutation(len(rows))
    rows, columns = rows[order].astype(index), columns[order].astype(index)
    values = rng.integers(1, 50, len(rows)).astype(dtype)
    arrays = {"crd0": rows, "crd1": columns, "data": values}
    shape = (len(lengths), 500)
    made = run.convert(resolve("coo_repeated", 2), resolve("csr", 2), shape, arrays)
    wanted = np.zeros(shape, dtype)
    np.add.at(wanted, (rows, columns), values)
    found = sp.csr_array((made["data"], made["indices"], made["indptr"]), shape=shape)
    assert found.has_canonical_format
    assert found.nnz == np.count_nonzero(wanted)
    np.testing.assert_array_equal(found.toarray(), wanted)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bool", "int8", "complex128"])
def test_sums_of_equal_coordinates_are_those_of_their_dtype(dtype, repeated, interpreted):
    """Also where one value stands alone, which is kept as it is: the sign of a zero, too."""
    rng = np.random.default_rng(8)
    places = rng.permutation(60)[:40]
    if repeated:
        places = rng.permutation(np.concatenate([places, places[::4], places[::4]]))
    rows, columns = (x.astype(np.int32) for x in np.unravel_index(places, (3, 20)))
    values = rng.integers(-60, 60, len(places)).astype(dtype)
    if dtype == "float32":
        values[::5] = -0.0
    arrays = {"crd0": rows, "crd1": columns, "data": values}
    source, to = resolve("coo_repeated", 2), resolve("csr", 2)
    made = interpreted(source, to, (3, 20), arrays, short=True)
    agree(source, to, (3, 20), arrays, made)
    assert made["data"].dtype == dtype
    if not repeated and dtype == "float32":
        kept = np.lexsort((columns, rows))
        assert (np.signbit(made["data"]) == np.signbit(values[kept])).all()


@pytest.mark.parametrize("target", ["csr", "coo", "csf", "dcsc"])
def test_terms_of_many_values_are_sorted_by_digits(target, interpreted):
    """Tables as long as the numbers of columns would not be worth it: a pass for each digit."""
    rng = np.random.default_rng(3)
    shape = (9, 2**33)
    coords = np.unique(np.array([rng.integers(0, n, 40) for n in shape]), axis=1)
    coords = coords[:, rng.permutation(coords.shape[1])]
    arrays = {"crd0": coords[0], "crd1": coords[1], "data": rng.random(coords.shape[1])}
    start, to = resolve("coo_unsorted", 2), resolve(target, 2)
    made = interpreted(start, to, shape, arrays, room=1 << 12)
    agree(start, to, shape, arrays, made)


def test_terms_of_many_values_are_sorted_by_compiled_passes():
    rng = np.random.default_rng(4)
    rows, columns = rng.integers(0, 1000, 30000), rng.integers(0, 2**40, 30000)
    values = np.arange(30000.0)
    start = resolve("coo_unsorted", 2)
    entries = {"crd0": rows, "crd1": columns, "data": values}
    made = sd.from_arrays(start, (1000, 2**40), entries).convert("coo")
    order = np.lexsort((columns, rows))
    for found, wanted in zip(("crd0", "crd1", "data"), (rows, columns, values), strict=True):
        np.testing.assert_array_equal(made.arrays[found], wanted[order])


@pytest.mark.parametrize("shape", [(2**30, 3), (5, 2**40), (2**20, 2**20)])
def test_far_coordinates_along_the_morton_curve(shape, interpreted):
    """As many passes as the numbers need; where their bits exceed a word, none."""
    rng = np.random.default_rng(2)
    coords = np.unique(np.array([rng.integers(0, n, 30) for n in shape]), axis=1)
    start, to = resolve("coo", 2), resolve("morton", 2)
    arrays = construct(start, shape, coords, np.arange(1.0, coords.shape[1] + 1))
    made = interpreted(start, to, shape, arrays)
    if max(shape) > 2**31:
        assert made is None
    else:
        agree(start, to, shape, arrays, made)


def test_lists_that_were_read_are_given_back():
    """However many passes sort, two lists of entries have room at a time."""
    shape, coords = (2**20, 2**20), np.array([[1, 5, 2**19], [7, 2**18, 3]])
    source = resolve("coo", 2)
    arrays = construct(source, shape, coords, np.ones(3))
    request = request_of(source, target_of(resolve("morton", 2)), shape, arrays, 0.0)
    assert len(request.plan.sorts) > 3
    held, most = set(), 0
    for statement in program_of(request).fill.body:
        match statement:
            case Allocate(array) if array.startswith("list") and array.endswith("_v"):
                held.add(array)
            case Resize(array):
                held.discard(array)
            case _:
                pass
        most = max(most, len(held))
    assert most == 2
