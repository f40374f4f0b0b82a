"""Entries delivered in any order: combined one after the other, whatever puts them in order."""

import functools
import operator

import numpy as np
import pytest

import sparsedsl as sd
from sparsedsl.conversion import convert as by_passes
from sparsedsl.layouts.catalogue import coordinates, terms_of_sums
from sparsedsl.layouts.convert import summed
from sparsedsl.runtime.tensor import bound

TABLE = np.random.default_rng(0).integers(0, 4, (2, 300))
VALUES = np.random.default_rng(1).standard_normal(300)


def one_by_one(values, places, combine):
    """The values of each coordinate combined in the order they come in."""
    found = {}
    for place, value in zip(places, values, strict=True):
        found.setdefault(place, []).append(value)
    return [functools.reduce(combine, found[place]) for place in sorted(found)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
def test_sums_are_the_same_bits_by_either_way(dtype):
    # sums of such values depend on their order
    values = (VALUES * 10.0 ** np.random.default_rng(2).integers(-3, 4, 300)).astype(dtype)
    coords, totals = summed(TABLE, values)
    expected = one_by_one(values, list(zip(*TABLE.tolist(), strict=True)), operator.add)
    assert totals.tobytes() == np.array(expected, dtype).tobytes()
    source, target = terms_of_sums(2), coordinates(2)
    arrays = dict(zip(source.arrays, (*TABLE, values), strict=True))
    made = by_passes(source, target, (4, 4), arrays)
    for name, column in zip(target.arrays, (*coords, totals), strict=True):
        assert np.array_equal(made[name], column)
    assert made["data"].tobytes() == totals.tobytes()


def test_other_operators_and_nothing_at_all():
    coords, most = summed(TABLE, VALUES, np.maximum)
    assert most.tolist() == one_by_one(VALUES, list(zip(*TABLE.tolist(), strict=True)), max)
    coords, none = summed(np.zeros((2, 0), np.int64), np.zeros(0))
    assert coords.shape == (2, 0)
    assert none.size == 0
    coords, total = summed(np.zeros((0, 3), np.int64), np.array([1, 2, 3]))
    assert coords.shape == (0, 1)
    assert total.tolist() == [6]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_each_column_of_summed_entries_lies_in_one_piece(rank):
    table = np.random.default_rng(3).integers(0, 4, (rank, 40)).astype(np.int32)
    coords, values = summed(table, np.ones(40))
    arrays = dict(zip(coordinates(rank).arrays, [*coords, values], strict=True))
    tensor = bound(coordinates(rank), (4,) * rank, arrays, 0.0)
    tensor.validate()
    assert values.sum() == 40


@pytest.mark.parametrize("dtype", ["complex128", "complex64", "float64"])
def test_whatever_is_nan_is_a_fill_of_nan(dtype):
    @sd.kernel(order="i j")
    def turned(A):
        i, j = sd.indices("i j")
        R = sd.output("csr", fill_value=np.nan)
        R[j, i] = A[i, j] * 2
        return R

    dense = np.ones((2, 3), dtype)
    dense[0, 1] = np.nan
    if dtype != "float64":
        dense[1, 0] = complex(np.nan, np.nan)
        dense[1, 2] = complex(0, np.nan)
    given = sd.asarray(dense, layout="csr")
    assert "append unordered" in turned.lower(given).explain()
    found = turned(given)
    assert found.nnz == np.count_nonzero(~np.isnan(dense))
    np.testing.assert_array_equal(found.to_numpy(), dense.T * 2)
