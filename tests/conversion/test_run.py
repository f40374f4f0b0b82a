"""Compiled conversions against the interpreted ones, which know nothing of loops."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sparsedsl as sd
from sparsedsl.conversion import request as requests
from sparsedsl.conversion import run
from sparsedsl.conversion.kernels import program_of
from sparsedsl.conversion.mirrored import reflection
from sparsedsl.conversion.request import request_of
from sparsedsl.conversion.target_from_layout import target_of
from sparsedsl.conversion.unions import alternatives
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.check import validate
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.convert import convert as plainly
from sparsedsl.layouts.layout import Layout
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.loops.nodes import Allocate, Prefetch, Resize
from sparsedsl.loops.walk import statements
from sparsedsl.runtime import conversions

SOURCES = (
    *("dense", "coo", "coo_unsorted", "csr", "csc", "dcsr", "csf", "dia", "ell", "bitmap"),
    *("bcsr(2, 3)", "bcsc(3, 2)", "sell(3)", "csb(2)", "nm(2, 3)", "banded(6, 6)", "vbl", "jad"),
    "hyb(2)",
)
TARGETS = (*SOURCES, "sell_sigma(2, 4)", "morton", "hicoo(2)", "hash(5)", "rle", "ragged")


def layout_of(name, rank=2):
    stem, _, sizes = name.partition("(")
    if sizes:
        return resolve(layouts[stem](*map(int, sizes.rstrip(")").split(","))), rank)
    return resolve(stem, rank)


def matrix(shape, seed, density=0.5):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.integers(1, 9, shape), 0).astype(float)


def agree(source, target, shape, arrays, made, fill=0.0):
    """Whether two conversions gave the same arrays."""
    wanted = plainly(source, target, shape, arrays, fill=fill)
    validate(target, shape, made)
    for name, array in wanted.items():
        assert made[name].dtype == array.dtype, name
        np.testing.assert_array_equal(made[name], array, err_msg=name)


@pytest.mark.parametrize("rankable", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_every_pair(target, rankable, interpreted):
    to = layout_of(target)
    for source in SOURCES:
        start = layout_of(source)
        if start == to:
            continue
        for shape, density in (((5, 7), 0.4), ((6, 6), 1.0), ((1, 1), 1.0), ((4, 1), 0.7)):
            dense = matrix(shape, 3, density)
            for group in range(0, shape[1], 3) if "nm" in source + target else ():
                dense[:, group + 2 :] = 0
            coords = np.array(np.nonzero(dense))
            arrays = construct(start, shape, coords, dense[tuple(coords)])
            if not arrays[start.value.function].size:
                continue
            sizes = infer_sizes(start, shape, arrays)
            made = interpreted(start, to, shape, arrays, sizes=sizes, rankable=rankable)
            assert made is not None
            agree(start, to, shape, arrays, made)


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


@pytest.mark.parametrize(("source", "target"), [("csr", "dcsc"), ("csc", "csf"), ("dia", "dcsr")])
def test_groups_with_entries_are_listed(source, target, interpreted):
    """Rows and columns that are empty leave no trace, at the edges or between."""
    dense = matrix((8, 9), 2, 0.4)
    dense[[0, 3, 4]], dense[:, [2, 8]] = 0, 0
    start, to = resolve(source, 2), resolve(target, 2)
    coords = np.array(np.nonzero(dense))
    arrays = construct(start, dense.shape, coords, dense[tuple(coords)])
    made = interpreted(start, to, dense.shape, arrays, short=True)
    agree(start, to, dense.shape, arrays, made)


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


def test_arrays_that_are_the_same_in_both_layouts_are_shared(interpreted):
    dense = matrix((4, 6), 0)
    coords = np.array(np.nonzero(dense))
    entries = construct(resolve("coo", 2), dense.shape, coords, dense[tuple(coords)])
    made = interpreted(resolve("coo", 2), resolve("csr", 2), dense.shape, entries)
    assert made["indices"] is entries["crd1"]
    assert made["data"] is entries["data"]
    wide = {**entries, "crd0": entries["crd0"].astype(np.int64)}
    made = interpreted(resolve("coo", 2), resolve("csr", 2), dense.shape, wide)
    assert made["indices"].dtype == np.int64
    columns = interpreted(resolve("coo", 2), resolve("csc", 2), dense.shape, entries)
    assert columns["data"] is not entries["data"]


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["coo", "csf", "dense", "coo_unsorted"]),
    st.sampled_from(["coo", "csf", "dense", "morton", "bitmap"]),
)
def test_any_rank_and_mode_order(interpreted, shape, seed, first, second):
    rng = np.random.default_rng(seed)
    rank = len(shape)
    dense = matrix(shape, seed)
    source = resolve(first, rank, tuple(rng.permutation(rank).tolist()))
    target = resolve(second, rank, tuple(rng.permutation(rank).tolist()))
    coords = np.array(np.nonzero(dense)).reshape(rank, -1)
    arrays = construct(source, shape, coords, dense[tuple(coords)])
    if source == target or not arrays[source.value.function].size:
        return
    sizes = infer_sizes(source, shape, arrays)
    made = interpreted(source, target, shape, arrays, sizes=sizes)
    agree(source, target, shape, arrays, made)


@pytest.mark.parametrize(
    ("fill", "values"),
    [
        (0.0, [0.0, -0.0, np.nan, 1.0]),
        (-0.0, [0.0, -0.0, np.nan, 1.0]),
        (np.nan, [0.0, np.nan, 1.0, np.nan]),
        (np.inf, [np.inf, -np.inf, 0.0, 1.0]),
    ],
)
def test_only_the_fill_itself_is_dropped(fill, values, interpreted):
    arrays = {"data": np.array([values])}
    source, target = resolve("dense", 2), resolve("csr", 2)
    sizes = infer_sizes(source, (1, 4), arrays)
    made = interpreted(source, target, (1, 4), arrays, fill=fill, sizes=sizes)
    agree(source, target, (1, 4), arrays, made, fill)


@pytest.mark.parametrize("dtype", ["float32", "bool", "int8", "uint64", "complex128"])
def test_values_keep_their_dtype(dtype, interpreted):
    coords = np.array([[0, 1, 2], [2, 0, 2]])
    arrays = construct(resolve("csr", 2), (3, 3), coords, np.ones(3, dtype))
    made = interpreted(resolve("csr", 2), resolve("csc", 2), (3, 3), arrays)
    agree(resolve("csr", 2), resolve("csc", 2), (3, 3), arrays, made)
    assert made["data"].dtype == dtype


def test_wide_indices_stay_wide(interpreted):
    coords = np.array([[0, 1], [1, 0]])
    rows = construct(resolve("csr", 2), (2, 2), coords, np.ones(2), index_dtype="int64")
    made = interpreted(resolve("csr", 2), resolve("csc", 2), (2, 2), rows)
    assert made["indices"].dtype == np.int64


def test_an_entry_without_a_place_is_left_to_the_conversion_that_names_it(interpreted):
    coords = np.array([[0, 0], [0, 5]])
    rows = construct(resolve("csr", 2), (6, 6), coords, np.ones(2))
    assert interpreted(resolve("csr", 2), layouts["banded"](1, 1), (6, 6), rows) is None
    crowded = construct(resolve("csr", 2), (1, 4), np.array([[0] * 3, [0, 1, 2]]), np.ones(3))
    assert interpreted(resolve("csr", 2), layouts["nm"](2, 4), (1, 4), crowded) is None


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


@pytest.mark.parametrize(("least", "fetched"), [(3, True), (4, False)])
def test_places_of_many_entries_are_fetched_before_they_are_stored_to(monkeypatch, least, fetched):
    monkeypatch.setattr(requests, "FAR", least)
    shape, coords = (3, 4), np.array([[0, 1, 2], [3, 0, 1]])
    source = resolve("csr", 2)
    arrays = construct(source, shape, coords, np.ones(3))
    request = request_of(source, target_of(resolve("csc", 2)), shape, arrays, 0.0)
    kernel = program_of(request).fill
    assert any(isinstance(s, Prefetch) for s in statements(kernel.body)) == fetched


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


def test_large_tensors_are_converted_by_compiled_code(monkeypatch):
    """The whole path: kernels cached, compiled, called; small tensors never reach it."""
    rows = sp.random_array((300, 400), density=0.9, rng=np.random.default_rng(0), format="csr")
    monkeypatch.setattr(conversions, "_asked", {})  # of small ones that tests before converted
    called = []
    inner = run.Run.store
    monkeypatch.setattr(run.Run, "store", lambda self: called.append(1) or inner(self))
    tensor = sd.asarray(rows)
    made = tensor.convert("csc")
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(made.arrays[name], getattr(rows.tocsc(), name))
    assert called == [1]
    sd.asarray(rows[:5]).convert("csc")
    assert called == [1]
