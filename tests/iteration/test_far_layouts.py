"""Operands whose entries come in no order of a result: copied or sorted, not searched."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check_result, interpreting

import sparsedsl as sd
from sparsedsl.calls.sources import entries_of
from sparsedsl.runtime import conversions
from sparsedsl.runtime.streams import from_stream

N = 300


def gathered(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, k] = A[i, j] * B[j, k]
    return C


product = sd.kernel(gathered, out="csr")


@sd.kernel
def inner(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, k] = A[i, j] * B[k, j]
    return C


@sd.kernel
def turned(A):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[j, i] = A[i, j]
    return C


@sd.kernel
def doubled(A):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = 2 * A[i, j]
    return C


def matrix(seed, size=N, density=0.03):
    rng, shape = np.random.default_rng(seed), (size, size)
    return np.where(rng.random(shape) < density, rng.integers(1, 9, shape), 0).astype(float)


def operands(kernel, layout, size):
    """The first operand stored as that and by rows, and the others."""
    dense = matrix(0, size, 0.1 if size < N else 0.03)
    if layout == "dia":
        dense = np.triu(np.tril(dense + 1, 3), -3)
    others = () if kernel in (turned, doubled) else (sd.convert(matrix(1, size, 0.1), "csr"),)
    return sd.convert(dense, layout), sd.convert(dense, "csr"), others


CASES = [
    (product, "coo"),
    (inner, "vbl"),
    (inner, "jad"),
    (turned, "sell"),
    (doubled, "dia"),
    (doubled, "bcsc"),
]


@pytest.mark.parametrize(("kernel", "layout"), CASES)
def test_plans_cost_little_more_than_those_of_rows(kernel, layout):
    """No row is searched for each column, and nothing is visited more than once."""
    A, rows, others = operands(kernel, layout, N)
    stored = A.values.size + sum(x.values.size for x in others)
    limit = 3 * kernel.lower(rows, *others).cost + 100.0 * stored
    assert kernel.lower(A, *others).cost < limit


@pytest.mark.parametrize(("kernel", "layout"), CASES)
def test_results_are_those_of_rows(kernel, layout):
    A, rows, others = operands(kernel, layout, 24)
    a, *b = (x.to_numpy() for x in (rows, *others))
    wanted = {product: lambda: a @ b[0], inner: lambda: a @ b[0].T}
    wanted |= {turned: lambda: a.T, doubled: lambda: 2 * a}
    with interpreting():
        check_result(kernel(A, *others), wanted[kernel]())


@pytest.mark.parametrize("layout", ["csr", "dia", "vbl", "sell", "jad", "bcsr", "hicoo", "csf"])
def test_there_are_as_many_tuples_as_values(layout):
    A = sd.convert(matrix(2, 40), layout)
    counts = [*entries_of(A).values()]
    assert counts[-1] == A.values.size
    assert max(counts) == counts[-1]


def test_blocks_that_only_sizes_tell_are_counted():
    rng = np.random.default_rng(0)
    rows = sd.asarray(sp.random_array((2000, 2000), density=0.002, format="csr", rng=rng))
    blocks = sd.convert(rows, sd.layouts["csb"](32))
    assert [*entries_of(blocks).values()] == [63, 63 * 63, rows.nnz]
    # not all rows in each block: each of 63 * 63 would be gone through 2000 times
    sought = sd.kernel(both).lower(blocks, rows)
    assert sought.cost < 63 * 63 * 2000 / 2
    found = sd.kernel(both)(blocks, rows)
    np.testing.assert_array_equal(found.to_numpy(), (rows * rows).to_numpy())


def both(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@pytest.mark.parametrize(("dtype", "out"), [("float64", "csr"), ("int64", "dcsr")])
def test_sums_out_of_order_are_sorted_by_passes_as_without(dtype, out, monkeypatch):
    rng = np.random.default_rng(3)
    count, shape = 30_000, (200, 150)
    places = [rng.integers(0, n, count) for n in shape]
    values = rng.integers(-2, 3, count).astype(dtype)
    A = sd.convert(np.ones((3, 3), dtype), "csr")
    (unit,) = sd.kernel(gathered, out=out, workspace="sort").lower(A, A).units
    assert unit.nest.assembly.kind == "stream"
    given = unit.recipe, sd.layouts[out], [*places, values], shape
    monkeypatch.setattr(conversions, "MANY", count // 2)
    by_passes = from_stream(*given)
    monkeypatch.setattr(conversions, "by_passes", lambda *_, **__: None)
    without = from_stream(*given)
    expected = sp.coo_array((values, (*places,)), shape=shape).toarray()
    assert 0 < by_passes.nnz == np.count_nonzero(expected) < expected.size
    np.testing.assert_array_equal(by_passes.to_numpy(), expected)
    for name in by_passes.layout.arrays:
        np.testing.assert_array_equal(by_passes.arrays[name], without.arrays[name])
        assert by_passes.arrays[name].dtype == without.arrays[name].dtype
