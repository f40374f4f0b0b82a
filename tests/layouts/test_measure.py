"""The bytes a tensor would take are those that it takes."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.layouts.construct import construct
from sparsedsl.layouts.measure import measured_bytes


def taken(x, layout):
    return sum(array.nbytes for array in sd.convert(x, layout).arrays.values())


@pytest.mark.parametrize("shape", [(7, 9), (1, 4), (4, 1), (6, 6), (0, 3), (3, 0)], ids=str)
def test_entries_of_a_matrix(member, shape, cases):
    """Every layout of the catalogue and users' own, from scipy's, plain and padded arrays."""
    for dense in cases.matrices(shape, seed=5):
        if not cases.holdable(member, dense):
            continue
        wide = sp.csr_array(dense)
        wide.indices, wide.indptr = (x.astype(np.int64) for x in (wide.indices, wide.indptr))
        for x in (dense, sp.csr_array(dense), sp.coo_array(dense), sp.dia_array(dense), wide):
            assert sd.storage_bytes(x, member) == taken(x, member)


def test_entries_of_any_rank(any_member, cases):
    shape = (3, 4, 5)[: any_member.rank]
    for dense in cases.matrices(shape, seed=6):
        assert sd.storage_bytes(dense, any_member) == taken(dense, any_member)


@pytest.mark.parametrize("name", ["one-based", "padded", "columns-outside", "spans", "row-major"])
def test_users_layouts(name, cases):
    own = cases.own[name]
    for dense in cases.matrices((6, 8), seed=7):
        assert sd.storage_bytes(dense.astype("float32"), own) == taken(dense.astype("float32"), own)


def test_padding_takes_no_memory_while_it_is_measured():
    """One long row: a plain table would have 4e12 elements."""
    n = 2_000_000
    rows = np.concatenate([np.zeros(n, np.int32), np.arange(1000, dtype=np.int32)])
    columns = np.concatenate([np.arange(n, dtype=np.int32), np.zeros(1000, np.int32)])
    crowded = sp.coo_array((np.ones(n + 1000), (rows, columns)), (n, n)).tocsr()
    tracemalloc.start()
    found = sd.storage_bytes(crowded, "ell")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 4 * n + 12 * n * n
    assert peak < 1e9
    coords = np.array(crowded.nonzero())
    assert sd.storage_bytes(crowded, "jad") > 12 * coords.shape[1]


def test_wide_contents_need_wide_indices():
    """Numbers in the arrays that extents and lengths do not tell."""
    squares = resolve("triangular", 2)
    coords, n = np.array([[0], [0]]), 70_000
    assert measured_bytes(squares, (n, n), coords, np.ones(1)) == 8 * (n + 1) + 4 * n * (n + 1)


def test_what_cannot_be_built_cannot_be_measured():
    alone = sd.Layout(
        "alone",
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j < M and wanted(i) = 1 }",
        value="data(at(i), j)",
    )
    with pytest.raises(sd.LayoutError, match="cannot be built"):
        construct(alone, (2, 2), np.array([[0], [1]]), np.ones(1))
    with pytest.raises(sd.LayoutError, match="cannot be built"):
        sd.storage_bytes(np.eye(2), alone)
    with pytest.raises(sd.LayoutError, match="block sizes"):
        measured_bytes(layouts["bcsr"], (2, 2), np.array([[0], [1]]), np.ones(1))
