"""What is known of values and index arrays, and when it is looked at again."""

import gc
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from kernels_called import dense_product, matrix, product, spmv

import sparsedsl as sd
from sparsedsl.interop import recall
from sparsedsl.runtime import unchanged
from sparsedsl.runtime.unchanged import WHOLE, still_holds
from sparsedsl.runtime.values import CHUNK, all_finite

SPECIAL = [0.0, -0.0, 1.0, 5e-324, 1.7e308, -1.7e308, np.inf, -np.inf, np.nan]


@given(
    st.sampled_from(["float32", "float64", "complex64", "complex128"]).flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
            elements=st.sampled_from([x for x in SPECIAL if abs(x) < 1e38 or not np.isfinite(x)])
            if dtype in ("float32", "complex64")
            else st.sampled_from(SPECIAL),
        )
    )
)
@example(np.full(3, 1.7e308))
def test_all_finite_is_exact_and_silent(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = all_finite(values)
    assert found == np.isfinite(values).all()


@given(arrays("float64", st.integers(0, 3), elements=st.sampled_from(SPECIAL)), st.integers(0, 2))
def test_same_bits_tells_zeros_apart_and_not_nans(values, place):
    other = values.copy()
    assert unchanged.same_bits(values, other)
    other[place : place + 1] = -np.abs(other[place : place + 1])
    same = np.array_equal(values, other, equal_nan=True)
    assert unchanged.same_bits(values, other) == (
        same and (np.signbit(values) == np.signbit(other)).all()
    )
    assert not unchanged.same_bits(values, np.zeros(len(values), "float32"))
    assert not unchanged.same_bits(values, values.view("int64"))


@pytest.mark.parametrize("dtype", ["bool", "int16", "float32", "complex64", "complex128"])
def test_same_bits_looks_at_every_element(dtype):
    values = np.ones((unchanged.CHUNK + 1, 2), dtype)
    other = values.copy()
    assert unchanged.same_bits(values, other)
    for place in (0, -1):
        other[place, -1] = 0
        assert not unchanged.same_bits(values, other)
        other[place, -1] = 1


@pytest.mark.parametrize("place", [0, CHUNK - 1, CHUNK, 3 * CHUNK])
def test_all_finite_looks_at_every_chunk(place):
    values = np.ones(3 * CHUNK + 1)
    assert all_finite(values)
    values[place] = np.nan
    assert not all_finite(values)


def test_values_of_plain_and_scipy_arguments_are_looked_at_in_every_call():
    A, x = matrix(), np.ones(5)
    for value in (1.0, np.inf, 2.0, np.nan, 3.0):
        x[2] = value
        np.testing.assert_array_equal(spmv(A, x), dense_product(A, x))
    B = matrix(1)
    for value in (1.0, np.inf, 2.0):
        A.data[0] = value
        with np.errstate(invalid="ignore"):
            expected = A.toarray() * B.toarray()
        np.testing.assert_array_equal(product(A, B).toarray(), expected)


def _unsampled(count):
    return next(k for k in range(4, count) if k not in unchanged._places(count))


def test_long_arrays_are_looked_at_again_where_a_sample_changed():
    values = np.ones(WHOLE + 1)
    unsampled = _unsampled(len(values))
    with sd.options(track_writes=False):
        assert still_holds("finite", values)
        for place in (0, len(values) - 1, int(unchanged._places(len(values))[7])):
            values[place], values[unsampled] = 2.0, np.nan
            assert not still_holds("finite", values)
            values[unsampled] = 3.0
            assert still_holds("finite", values)
        assert still_holds("nonzero", values)
        values[unsampled] = np.inf
        assert still_holds("finite", values)  # what the rule gives up
        assert not still_holds("finite", values.copy())
        assert not still_holds("below", values)  # not asked before: looked at as a whole
    with sd.options(safe=True):
        assert not still_holds("finite", values)


@pytest.mark.parametrize("looks", [0, 1, 2, 3, 4, 40])
def test_no_value_is_overlooked_where_the_system_tells_of_writes(looks, told):
    values = np.ones(WHOLE + 1)
    unsampled = _unsampled(len(values))
    for _ in range(looks):
        assert still_holds("finite", values)
    for value in (np.inf, 3.0, np.nan, 2.0, -np.inf):
        values[unsampled] = value
        for _ in range(looks + 1):
            assert still_holds("finite", values) == np.isfinite(value)
            assert still_holds("nonzero", values)


def test_values_that_are_written_to_at_each_call_are_followed_less_and_less(told):
    values = np.ones(WHOLE + 1)
    followed = 0
    for turn in range(200):
        still_holds("finite", values)
        followed += unchanged._found[id(values)].follow.tracked is not None
        values[turn] = turn
    assert 0 < followed <= 5


@given(st.integers(WHOLE + 1, 2**50))
@example(WHOLE + 1)
def test_samples_lie_one_in_each_part_with_both_ends(count):
    places = unchanged._places(count)
    assert (places[0], places[-1]) == (0, count - 1)
    np.testing.assert_array_equal(places * len(places) // count, np.arange(len(places)))


@pytest.mark.parametrize("change", [lambda x: x.view(np.int64), lambda x: x.reshape(2, -1)])
def test_an_array_that_changed_its_form_is_looked_at_anew(change):
    values = np.ones(WHOLE + 2)
    sample = unchanged.Sample.of(values)
    assert sample.matches(values)
    assert not sample.matches(change(values))
    small = np.ones(4)
    assert not unchanged.Sample.of(small).matches(change(small))


def test_short_arguments_are_always_looked_at_as_a_whole():
    count = WHOLE
    A = sp.csr_array((np.ones(count), np.arange(count), [0, count // 2, count]), (2, count))
    x = np.ones(count)
    for _ in range(3):
        np.testing.assert_array_equal(spmv(A, x), [count / 2, count / 2])
    x[count // 3] = np.nan  # of which the second row stores nothing
    assert np.isnan(spmv(A, x)).all()


def test_long_arguments_are_looked_at_as_a_whole_when_safe():
    count = WHOLE + 64
    A = sp.csr_array((np.ones(4), np.arange(4), [0, 2, 4]), (2, count))
    x = np.ones(count)
    for _ in range(3):
        np.testing.assert_array_equal(spmv(A, x), [2.0, 2.0])
    x[-1] = np.inf  # a place of the sample
    assert np.isnan(spmv(A, x)).all()
    x[-1] = 1.0
    np.testing.assert_array_equal(spmv(A, x), [2.0, 2.0])
    x[_unsampled(count)] = np.inf
    with sd.options(safe=True):
        assert np.isnan(spmv(A, x)).all()


def test_fresh_arrays_leave_nothing_behind():
    gc.collect()
    before = len(unchanged._found)
    for _ in range(20):
        A = sp.csr_array((np.ones(4), np.arange(4), [0, 2, 4]), (2, WHOLE + 1))
        spmv(A, np.ones(WHOLE + 1))
    del A
    gc.collect()
    assert len(unchanged._found) <= before + 1  # at most that of the last call


def test_bound_values_are_looked_at_once_until_validated():
    A, x = sd.asarray(matrix()), np.ones(5)
    bound = sd.asarray(x)
    dense = A.to_numpy()
    for _ in range(3):
        np.testing.assert_array_equal(spmv(A, bound), dense @ x)
    x[:] = 2.0  # finite values may change
    np.testing.assert_array_equal(spmv(A, bound), dense @ x)
    x[1] = np.inf
    with np.errstate(invalid="ignore"):
        expected = dense @ x
    np.testing.assert_array_equal(spmv(A, bound.validate()), expected)
    np.testing.assert_array_equal(spmv(A, sd.asarray(x)), expected)
    np.testing.assert_array_equal(spmv(A, x), expected)


def test_index_arrays_changed_in_place_are_checked_again():
    A, x = matrix(), np.arange(5.0)
    for _ in range(3):
        spmv(A, x)
    row = slice(A.indptr[0], A.indptr[1])
    A.indices[row] = A.indices[row][::-1]  # unsorted: put right on a copy
    np.testing.assert_array_equal(spmv(A, x), A.toarray() @ x)
    A.indices[0] = 10**6
    with pytest.raises(sd.InvalidTensorError, match="indices"):
        spmv(A, x)
    A.indices[0] = 0
    A.indptr[1] = -3
    with pytest.raises(sd.InvalidTensorError):
        spmv(A, x)


def test_long_index_arrays_are_checked_again_where_they_changed_or_when_safe():
    count = WHOLE + 10
    A = sp.csr_array((np.ones(count), np.arange(count), [0, count]), (1, count))
    spmv(A, np.ones(count))
    assert recall(A) is not None
    with sd.options(safe=True):
        assert recall(A) is None
    A.indices[:] = A.indices[::-1].copy()
    assert recall(A) is None
    A.indices[:] = A.indices[::-1].copy()
    assert recall(A) is None  # until it is checked again
    spmv(A, np.ones(count))
    assert recall(A) is not None
