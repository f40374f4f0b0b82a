"""Compiled conversions against the interpreted ones, which know nothing of loops."""

import numpy as np
import pytest
import scipy.sparse as sp
from converted import SOURCES, TARGETS, agree, layout_of, matrix
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sparsedsl as sd
from sparsedsl.conversion import request as requests
from sparsedsl.conversion import run
from sparsedsl.conversion.kernels import program_of
from sparsedsl.conversion.request import request_of
from sparsedsl.conversion.target_from_layout import target_of
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.sizes import infer_sizes
from sparsedsl.loops.nodes import Prefetch
from sparsedsl.loops.walk import statements
from sparsedsl.runtime import conversions


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


@pytest.mark.parametrize(("least", "fetched"), [(3, True), (4, False)])
def test_places_of_many_entries_are_fetched_before_they_are_stored_to(monkeypatch, least, fetched):
    monkeypatch.setattr(requests, "FAR", least)
    shape, coords = (3, 4), np.array([[0, 1, 2], [3, 0, 1]])
    source = resolve("csr", 2)
    arrays = construct(source, shape, coords, np.ones(3))
    request = request_of(source, target_of(resolve("csc", 2)), shape, arrays, 0.0)
    kernel = program_of(request).fill
    assert any(isinstance(s, Prefetch) for s in statements(kernel.body)) == fetched


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
