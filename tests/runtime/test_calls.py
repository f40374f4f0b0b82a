"""Repeated calls: what is remembered from one to the next, and what is looked at anew."""

import gc
import warnings
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import sparsedsl as sd
from sparsedsl.interop import argument, recall
from sparsedsl.layouts.catalogue import hierarchical
from sparsedsl.prepared import MISS
from sparsedsl.runtime import unchanged
from sparsedsl.runtime.copies import copied
from sparsedsl.runtime.unchanged import WHOLE, still_holds
from sparsedsl.runtime.values import CHUNK, all_finite


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def spgemm(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def matrix(seed=0, shape=(6, 5)):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 5, shape) * (rng.random(shape) < 0.6)
    return sp.csr_array(dense.astype(float))


def dense_product(A, x):
    """What NumPy gives: implicit zeros meet every value of ``x``."""
    with np.errstate(invalid="ignore"):
        return A.toarray() @ x


# ---- values --------------------------------------------------------------------------

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


def test_long_arrays_are_looked_at_again_where_a_sample_changed():
    values = np.ones(WHOLE + 1)
    assert still_holds("finite", values)
    unsampled = next(k for k in range(len(values)) if k not in unchanged._places(len(values)))
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
    x[next(k for k in range(4, count) if k not in unchanged._places(count))] = np.inf
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


# ---- index arrays --------------------------------------------------------------------


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


def test_long_index_arrays_are_sampled_and_checked_when_safe():
    count = WHOLE + 10
    A = sp.csr_array((np.ones(count), np.arange(count), [0, count]), (1, count))
    spmv(A, np.ones(count))
    assert recall(A) is not None
    A.indices[:] = A.indices[::-1].copy()
    assert recall(A) is None
    A.indices[:] = A.indices[::-1].copy()
    assert recall(A) is not None
    with sd.options(safe=True):
        assert recall(A) is None


# ---- copies --------------------------------------------------------------------------


def unsorted(A):
    """The same matrix, the entries of each row backwards."""
    parts = [np.arange(a, b)[::-1] for a, b in zip(A.indptr, A.indptr[1:], strict=False)]
    order = np.concatenate(parts)
    return type(A)((A.data[order], A.indices[order], A.indptr.copy()), shape=A.shape)


def repeated(A):
    """A matrix that stores each entry twice."""
    indptr = 2 * A.indptr
    return type(A)((A.data.repeat(2), A.indices.repeat(2), indptr), shape=A.shape)


CHANGES = {
    "a value": lambda A: A.data.__setitem__(0, A.data[0] + 1.0),
    "the sign of a zero": lambda A: A.data.__setitem__(1, -0.0),
    "an infinity": lambda A: A.data.__setitem__(0, np.inf),
    "all values": lambda A: A.data.__imul__(3.0),
    "other values": lambda A: setattr(A, "data", A.data[::-1].copy()),
    "a coordinate": lambda A: A.indices.__setitem__(0, (A.indices[0] + 1) % A.shape[1]),
    "the shape": lambda A: A.resize(A.shape[0], A.shape[1]),
    "sorted": lambda A: A.sort_indices(),
    "nothing": lambda A: None,
}


@pytest.mark.parametrize("kind", [unsorted, repeated])
@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6))
def test_copies_of_unsorted_matrices_follow_every_change(kind, changes):
    A, x = kind(matrix()), np.arange(1.0, 6.0)
    for change in ["nothing", "nothing", *changes, "nothing"]:
        CHANGES[change](A)
        found = spmv(A, x)
        np.testing.assert_array_equal(found, dense_product(A, x))


def test_a_sorted_copy_is_kept_with_its_matrix_and_is_of_no_one_else():
    A = unsorted(matrix())
    first = recall(A) or (spmv(A, np.ones(5)), recall(A))[1]
    assert recall(A) is first
    assert not np.shares_memory(first.values, sd.asarray(A).values)
    bound = sd.asarray(A)
    bound.values[:] = 7.0
    np.testing.assert_array_equal(spmv(A, np.ones(5)), A.toarray().sum(axis=1))
    A.data *= 2.0
    second = recall(A)
    assert second is not first
    assert second.arrays["indices"] is first.arrays["indices"]
    gone = weakref.ref(second)
    del A, second
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("bind", [lambda x: x, sd.asarray])
def test_copies_in_other_layouts_follow_every_value(bind):
    A, B = matrix(0, (60, 50)), matrix(1, (50, 60)).tocsc()
    kernel = sd.kernel(spgemm.function, order="i k j")
    operands = bind(A), bind(B)
    (copy,) = kernel.lower(*operands)._special.prepare(0).call.recipe.copies
    assert copy.source == "B"
    kept = []
    for value in (None, None, 3.5, 1e300, -0.0, 1.0, None):
        if value is not None:
            A.data[0] = B.data[-1] = value
        found = sd.asarray(kernel(*operands)).to_numpy()
        np.testing.assert_array_equal(found, A.toarray() @ B.toarray())
        kept.append(copied(argument(operands[1]), hierarchical(copy.order, copy.thin)))
    assert kept[0] is kept[1]
    assert kept[5] is kept[6]
    assert len(set(map(id, kept))) == 5


def test_copies_go_with_their_source():
    B = sd.asarray(matrix())
    gone = weakref.ref(copied(B, sd.layouts.CSC))
    assert copied(B, B.layout) is B
    assert gone() is not None
    del B
    gc.collect()
    assert gone() is None


# ---- what is kept --------------------------------------------------------------------


def test_calls_keep_no_operand_alive():
    def operands():
        A, B = matrix(), matrix(1)
        return [A, B, sd.asarray(A), sd.asarray(B)]

    held = operands()
    data = [weakref.ref(held[k].data) for k in (0, 1)]
    compiled = product.compile(*held[2:])
    for _ in range(3):
        product(*held[:2])
        product(*held[2:])
        compiled(*held[2:])
    del held
    gc.collect()
    assert [reference() for reference in data] == [None, None]


def test_the_next_call_may_be_of_any_kind():
    A, B, x = matrix(), matrix(1), np.arange(5.0)
    calls = [
        (A, x),
        (A, x),
        (A, x.copy()),
        (B, x),
        (A, x.astype(np.float32)),
        (A, np.arange(10.0)[::2]),
        (sd.asarray(A), x),
        (sd.asarray(A), sd.asarray(x)),
        (matrix(2, (3, 2)), x[:2]),
        (A.tocsc(), x),
        (A, list(x)),
    ]
    for A_, x_ in (*calls, *reversed(calls)):
        dense = A_.to_numpy() if isinstance(A_, sd.Tensor) else A_.toarray()
        values = x_.to_numpy() if isinstance(x_, sd.Tensor) else x_
        for _ in range(2):
            np.testing.assert_array_equal(spmv(A_, x_), dense @ values)
    for _ in range(2):
        with pytest.raises(sd.NotationError):
            spmv(A, x[:4])


def test_a_few_matrices_in_turn_are_each_met_again():
    kernel, x = sd.kernel(spmv.function), np.arange(5.0)
    matrices = [matrix(seed) for seed in range(3)]
    matrices.append(sp.random_array((500, 5), density=0.5, format="csr", rng=0))
    runner = kernel.engine._runner
    for turn in range(4):
        for A in matrices:
            A.data *= 1 + turn
            np.testing.assert_allclose(kernel(A, x), A @ x)
    assert all(runner.again((A, x)) is not MISS for A in matrices)
    infinite = np.array([0.0, 1.0, np.inf, 3.0, 4.0])
    assert all(runner.again((A, infinite)) is MISS for A in matrices)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(
            kernel(matrices[1], infinite), matrices[1].toarray() @ infinite
        )
    gone = weakref.ref(matrices.pop())
    del A
    gc.collect()
    assert gone() is None
    np.testing.assert_allclose(kernel(matrices[0], x), matrices[0] @ x)


def test_options_apply_to_the_next_call():
    A, x = matrix(), np.arange(5.0)
    for _ in range(3):
        spmv(A, x)
    with sd.options(safe=True, cache=False):
        np.testing.assert_array_equal(spmv(A, x), A @ x)
    np.testing.assert_array_equal(spmv(A, x), A @ x)


def test_read_only_arguments_need_no_code_of_their_own():
    A, x = matrix(), np.arange(5.0)
    kernel = sd.kernel(spmv.function)
    kernel(A, x)
    special = kernel.engine.specialise([sd.asarray(A), sd.asarray(x)])
    entry = special.prepare(0).entry
    arguments = A.indptr, A.data, A.indices, x, np.empty(5), 0, 5
    before = entry.function(arguments)
    for array in (A.data, A.indices, A.indptr, x):
        array.flags.writeable = False
    np.testing.assert_array_equal(kernel(A, x), A.toarray() @ x)
    assert entry.function(arguments) is before


def test_arguments_that_are_not_aligned():
    x = np.zeros(5 * 8 + 1, np.uint8)[1:].view(np.float64)
    x[:] = np.arange(5.0)
    A = matrix()
    for _ in range(3):
        np.testing.assert_array_equal(spmv(A, x), A @ np.arange(5.0))


# ---- scipy's objects -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["csr", "csc"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_scipy_results_are_as_from_the_constructor(name, index):
    A = matrix().asformat(name)
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)
    found = sd.asarray(A).to_scipy()
    found.check_format(full_check=True)
    kind = type(A)
    made = kind((A.data, A.indices, A.indptr), shape=A.shape)
    assert type(found) is kind
    assert vars(found).keys() - vars(made).keys() <= {
        "_has_canonical_format",
        "_has_sorted_indices",
    }
    assert found.shape == made.shape
    assert found.has_canonical_format
    assert found.indices.dtype == index
    for operation in (
        lambda m: m @ m.T,
        lambda m: m + m,
        lambda m: m.T,
        lambda m: m[1:3, [0, 2]],
        lambda m: m.tocoo(),
        lambda m: m.multiply(m),
    ):
        np.testing.assert_array_equal(operation(found).toarray(), operation(made).toarray())
    found[0, 0] = 7.0
    made[0, 0] = 7.0
    np.testing.assert_array_equal(found.toarray(), made.toarray())
    again = sd.asarray(A).to_scipy()
    np.testing.assert_array_equal(again.toarray(), A.toarray())


@pytest.mark.parametrize("out", ["csr", "csc", "coo", "dcsr", "bitmap"])
def test_every_call_gives_scipy_a_matrix_of_its_own(out):
    A, B = matrix(), matrix(1)
    kernel = sd.kernel(product.function, out=out)
    expected = A.toarray() * B.toarray()
    found = [kernel(A, B) for _ in range(4)]
    for made in found:
        if made.format in ("csr", "csc"):
            made.check_format(full_check=True)
        assert type(made) is type(found[0])
        np.testing.assert_array_equal(made.toarray(), expected)
    found[0].data[:] = 0
    np.testing.assert_array_equal(found[3].toarray(), expected)
    np.testing.assert_array_equal(kernel(B, A).toarray(), expected)


# ---- results in a pattern that is there ----------------------------------------------


@pytest.mark.parametrize("bind", [lambda x: x, sd.asarray])
def test_every_call_of_compute_writes_to_out(bind):
    A, B = matrix(), matrix(1)
    operands = bind(A), bind(B)
    compiled = product.compile(*operands)
    C = compiled.assemble(*operands)
    for factor in (1.0, 1.0, 2.0, 2.0, 1.0, 3.0):
        A.data[:] = matrix().data * factor
        assert compiled.compute(*operands, out=C) is C
        found = sd.asarray(C).to_numpy()
        np.testing.assert_array_equal(found, A.toarray() * B.toarray())
    A.data[:] = 0.0
    with pytest.raises(sd.InvalidTensorError, match="another pattern"):
        compiled.compute(*operands, out=C)
    np.testing.assert_array_equal(sd.asarray(C).to_numpy(), found)


def test_values_that_compute_wrote_are_looked_at_anew():
    A, B = matrix(), sd.asarray(matrix())
    compiled = product.compile(A, B)
    C = compiled.assemble(A, B)
    other = sp.csr_array((5, 5))
    assert spgemm(C, other).nnz == 0  # C is finite
    A.data[0] = np.inf
    compiled.compute(A, B, out=C)
    with np.errstate(invalid="ignore"):
        expected = C.to_numpy() @ other.toarray()
    np.testing.assert_array_equal(sd.asarray(spgemm(C, other)).to_numpy(), expected)


def test_compute_needs_the_arrays_of_out_themselves():
    A, B = matrix(), matrix(1)
    compiled = product.compile(A, B)
    C = unsorted(compiled.assemble(A, B))
    before = C.data.copy()
    for _ in range(3):
        with pytest.raises(sd.InvalidTensorError, match="what assemble returned"):
            compiled.compute(A, B, out=C)
    np.testing.assert_array_equal(C.data, before)
