"""Data looked at by machine code: right data passes, wrong data is named as before."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.layouts.arithmetic import multiplies
from sparsedsl.layouts.catalogue import resolve
from sparsedsl.layouts.check import validate
from sparsedsl.runtime import checked


@pytest.fixture(autouse=True)
def machine_code_from_the_start(monkeypatch):
    monkeypatch.setattr(checked, "LOOK", 1e-9)
    monkeypatch.setattr(checked, "COMPILE", 1e-9)
    monkeypatch.setattr(checked, "_loops", {})


def matrix(seed=0, dtype=np.int32):
    A = sp.random_array((60, 40), density=0.1, format="csr", rng=np.random.default_rng(seed))
    A.sort_indices()
    return sp.csr_array((A.data, A.indices.astype(dtype), A.indptr.astype(dtype)), shape=A.shape)


def loops(name):
    (found,) = (x for x in checked._loops.values() if x.layout.name == name)
    return found


def outcome_of(check, *given):
    try:
        return check(*given)
    except sd.InvalidTensorError as error:
        return str(error)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("name", ["csr", "coo", "csc", "dcsr", "bcsr"])
def test_machine_code_finds_what_validate_finds(name, dtype):
    tensors = [sd.convert(matrix(seed, dtype), name) for seed in range(2)]
    layout = tensors[0].layout
    for tensor in tensors:
        assert checked.checked(layout, tensor.shape, tensor.arrays) == dict(tensor.sizes)
    assert loops(layout.name).function is not None
    refused = 0
    for array in layout.functions:
        for place in range(tensors[0].arrays[array].size):
            for wrong in (-1, 39, 1000, -(2**31)):
                changed = tensors[0].arrays[array].copy()
                changed[place] = wrong
                given = {**tensors[0].arrays, array: changed}
                outcome = outcome_of(validate, layout, tensors[0].shape, given)
                assert outcome_of(checked.checked, layout, tensors[0].shape, given) == outcome
                refused += isinstance(outcome, str)
    assert refused > 100


def test_unsorted_and_repeated_entries_are_put_right():
    A = matrix()
    sd.asarray(matrix(1))
    last = np.arange(A.nnz)
    for row in range(A.shape[0]):
        last[A.indptr[row] : A.indptr[row + 1]] = last[A.indptr[row] : A.indptr[row + 1]][::-1]
    turned = sp.csr_array((A.data[last], A.indices[last], A.indptr), shape=A.shape)
    assert checked.found_right(resolve("csr", 2), A.shape, vars_of(turned)) == (False, {})
    np.testing.assert_array_equal(sd.asarray(turned).to_scipy().indices, A.indices)
    np.testing.assert_array_equal(sd.asarray(turned).to_scipy().data, A.data)
    twice = sp.csr_array((A.data, np.zeros_like(A.indices), A.indptr), shape=A.shape)
    expected = np.zeros(A.shape)
    expected[:, 0] = A.sum(axis=1)
    np.testing.assert_allclose(sd.asarray(twice).to_numpy(), expected)


def vars_of(A):
    return {"indptr": A.indptr, "indices": A.indices, "data": A.data}


def test_many_unsorted_entries_are_sorted_and_summed_by_compiled_passes():
    rng = np.random.default_rng(0)
    count, n = 120_000, 500
    row, col = rng.integers(0, n, (2, count))
    data = rng.integers(1, 9, count).astype(float)
    order = np.argsort(row, kind="stable")
    indptr = np.searchsorted(row[order], np.arange(n + 1))
    for _ in range(2):  # the passes are compiled when they are met again
        A = sp.csr_array((data[order], col[order], indptr), shape=(n, n))
        C = sp.coo_array((data, (row, col)), shape=(n, n))
        for given in (A, C):
            found = sd.asarray(given).to_scipy().tocsr()
            expected = C.tocsr()
            expected.sum_duplicates()
            assert abs(found - expected).max() == 0
            assert found.nnz == expected.nnz


def test_layouts_that_multiply_sizes_are_told_apart():
    layout = resolve("csr", 2)
    rows = sd.Layout(
        "row-major",
        "[N, M] -> { [i, j] -> [i, j] : 0 <= i < N and 0 <= j < M }",
        value="data(M*i + j)",
    )
    assert multiplies(rows)
    assert not multiplies(layout)
