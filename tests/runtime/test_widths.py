"""Counts beyond 32 bits, simulated by a limit that small tensors exceed."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.conversion import request, run
from sparsedsl.layouts import construct
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.runtime import execute, outputs

FEW = 50


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(construct, "INT32_MAX", FEW)
    monkeypatch.setattr(request, "INT32_MAX", FEW)
    monkeypatch.setattr(outputs, "INT32_ENTRIES", FEW)
    monkeypatch.setattr(execute, "INT32_ENTRIES", FEW)


def matrix(index):
    made = sp.random_array((20, 20), density=0.3, format="csr", rng=np.random.default_rng(1))
    made.indices, made.indptr = made.indices.astype(index), made.indptr.astype(index)
    assert made.nnz > FEW
    return made


@pytest.mark.parametrize("name", ["csr", "csc", "csf", "dcsr", "sell", "vbl", "jad"])
def test_arrays_are_wide_where_they_hold_counts(small_limit, name):
    layout = resolve(sd.layouts[name](4) if name == "sell" else name, 2)
    dense = matrix("int32").toarray()
    made = sd.convert(dense, layout)
    assert {made.arrays[array].dtype for array in layout.functions} == {np.dtype("int64")}
    coordinates = sd.convert(dense, "coo").convert("coo_unsorted")
    arrays = run.convert(coordinates.layout, layout, dense.shape, coordinates.arrays)
    if arrays is not None:
        assert {arrays[array].dtype for array in layout.functions} == {np.dtype("int64")}
    assert (made.to_numpy() == dense).all()


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = A[i, k] * B[k, j]
    return C


def test_results_with_more_entries_than_indices_count_are_refused(small_limit):
    with pytest.raises(sd.PlanError, match="more than int32 indices count") as caught:
        product(matrix("int32"), matrix("int32"))
    assert "int64 indices" in str(caught.value)


def test_wide_operands_give_wide_results(small_limit):
    wide, narrow = matrix("int64"), matrix("int32")
    found = product(wide, narrow)
    assert found.indices.dtype == found.indptr.dtype == np.dtype("int64")
    assert abs(found - wide @ narrow).max() < 1e-12


def test_what_is_reduced_over_nothing_is_as_wide_as_what_reads_it_expects():
    def least(A):
        i, k = sd.indices("i k")
        T, y = sd.output("csf"), sd.output()
        T[k] = sd.min(A[i, k] / sd.sum(A[i, k], over=i), over=i)
        y[()] = sd.sum(T[k], over=k)
        return T, y

    empty = sp.csr_array((0, 3))
    empty.indices, empty.indptr = empty.indices.astype("int64"), empty.indptr.astype("int64")
    T, y = sd.kernel(least)(empty)
    assert T.arrays["crd0"].dtype == np.int64
    assert list(T.arrays["crd0"]) == [0, 1, 2]
    assert y == np.inf
