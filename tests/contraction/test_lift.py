"""Factors are moved into sums only where that changes no value: infinity times 0 is NaN."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.contraction.lift import FACTORS, lifted
from sparsedsl.contraction.nodes import Access, Call, Reduce


def scaled(x, B):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, j] = x[i] * sd.sum(B[k, j], over=k)
    return y


def sampled(S, A, B, of=lambda s: s):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = of(S[i, j]) * sd.sum(A[i, k] * B[k, j], over=k)
    return C


DENSE = np.array([[0.0, 2.0, -1.0], [3.0, 4.0, 1.0]])
S = np.array([[0.0, 4.0, 0.0], [1.0, 0.0, 9.0]])
PAIR = np.arange(4.0).reshape(2, 2), np.array([[1.0, -1.0, 0.0], [0.0, 2.0, 1.0]])


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_sums_are_taken_before_an_infinite_factor(layout):
    kernel, B = sd.kernel(scaled), sd.convert(DENSE, layout)
    for x in (np.array([2.0, 1.0]), np.array([np.inf, 1.0]), np.array([-1.0, np.nan])):
        with np.errstate(invalid="ignore"):
            wanted = x[:, None] * DENSE.sum(axis=0)
        np.testing.assert_array_equal(kernel(x, B), wanted)


def test_what_is_moved_is_asked_to_be_finite():
    arguments = sd.convert(S, "csr"), *PAIR
    lowered = sd.kernel(sampled).lower(*arguments)
    once = lifted(lowered.program)
    assert once.moved == {"S"}
    assert once.factored == {"C"}
    assert len(once.program.statements) == 1
    assert isinstance(once.program.statements[0].expression, Reduce)
    for unusual in ("S", FACTORS):
        kept = lifted(lowered.program, frozenset({unusual}))
        assert not kept.moved
        assert not kept.factored
        assert len(kept.program.statements) == 2
    assert "S" in lowered.units[0].group.finite


def test_nothing_is_computed_more_often():
    for dtype in ("float64", "int64"):
        x = np.ones(2, dtype)
        lowered = sd.kernel(scaled).lower(x, sd.convert(DENSE.astype(dtype), "csr"))
        once = lifted(lowered.program)
        assert not once.moved
        assert (
            len(once.program.statements) == 2
        )  # one sum for each column, not one for each element

    @sd.kernel
    def both(x, y):
        i, j = sd.indices("i j")
        s = sd.output()
        s[()] = sd.sum(x[i], over=i) * sd.sum(y[j], over=j)
        return s

    lowered = both.lower(np.ones(3), np.ones(4))
    assert len(lifted(lowered.program).program.statements) == 3


@pytest.mark.parametrize("stored", [1.0, 0.0, np.inf])
def test_a_function_that_may_overflow_is_looked_at(stored):
    """``log`` gives an infinity for 0: a sum of it times zeros would be NaN."""
    given = np.where(S != 0, stored, 0.0)
    dense = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    for of, plain in ((sd.log1p, np.log1p), (sd.log, np.log), (sd.sqrt, np.sqrt)):
        kernel = sd.kernel(lambda S, A, B, of=of: sampled(S, A, B, of))
        found = kernel(sp.csr_array(given), *dense)
        with np.errstate(all="ignore"):
            wanted = plain(given) * (dense[0] @ dense[1])
        found = found.toarray() if sp.issparse(found) else found
        np.testing.assert_array_equal(found, wanted)


def test_an_intermediate_that_is_a_factor_is_finite_or_not_moved():
    @sd.kernel
    def halved(x, A):
        i, k = sd.indices("i k")
        t, y = sd.output(), sd.output()
        t[i] = 1 / x[i]
        y[i] = t[i] * sd.sum(A[i, k], over=k)
        return y

    A = sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))
    for x in (np.array([2.0, 4.0]), np.array([0.0, 4.0]), np.array([np.nan, -0.0])):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(halved(x, A), 1 / x * A.sum(axis=1))


def test_a_sampled_sum_inside_a_function_stays_sampled():
    @sd.kernel
    def rectified(S, A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = sd.relu(S[i, j] * sd.sum(A[i, k] * B[k, j], over=k))
        return C

    found = rectified(sp.csr_array(S), *PAIR)
    np.testing.assert_array_equal(found.toarray(), np.maximum(S * (PAIR[0] @ PAIR[1]), 0))
    first = rectified.lower(sp.csr_array(S), *PAIR).units[0].group
    assert first.layout.label == "csr"


def test_a_narrow_integer_sum_wraps_before_it_is_multiplied():
    @sd.kernel
    def weighted(x, A):
        i, k = sd.indices("i k")
        y = sd.output()
        y[i] = x[i] * sd.sum(A[i, k], over=k)
        return y

    A = np.array([[100, 100, 0], [100, 0, -3]], "int8")
    for x in (np.array([1.0, 0.5]), np.array([300, 2], "int64"), np.array([3, 5], "int8")):
        with np.errstate(over="ignore"):
            wanted = x * A.sum(axis=1, dtype="int8")
        np.testing.assert_array_equal(weighted(x, sp.csr_array(A)), wanted)


def test_integers_are_always_moved():
    arguments = sp.csr_array(S.astype("int64")), *(x.astype("int64") for x in PAIR)
    lowered = sd.kernel(sampled).lower(*arguments)
    assert lifted(lowered.program, frozenset({"S"})).moved == frozenset()
    assert len(lowered.units) == 1
    assert lowered.units[0].group.finite == ()


def weighted(a, A):
    i, k = sd.indices("i k")
    y = sd.output()
    y[i] = a[i] * sd.sum(A[i, k], over=k)
    return y


LARGE = np.array([[1e10, -1e10, 0.0], [1.0, 0.0, 2.0]])


@pytest.mark.parametrize("layout", ["csr", "coo", "dense"])
def test_a_sum_is_taken_before_a_factor_with_which_its_terms_overflow(layout):
    for a in (np.array([1e300, 2.0]), np.array([5e-324, 2.0])):
        for A in (LARGE, 0.4 * (LARGE > 0)):
            found = sd.kernel(weighted)(a, sd.convert(A, layout))
            np.testing.assert_array_equal(found, a * A.sum(axis=1))


@pytest.mark.parametrize("wrap", [sp.csr_array, lambda S: sd.convert(S, "csr"), sp.coo_array])
def test_a_sparse_factor_with_which_terms_overflow_is_multiplied_afterwards(wrap):
    kernel = sd.kernel(sampled)
    B = np.array([[1e10, 1.0, 1.0], [-1e10, 1.0, 2.0]])
    A = np.ones((2, 2))
    for scale in (1.0, 1e300, 2.0, 1e300):
        scaled = scale * np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 3.0]])
        for _ in range(3):  # the third call of a kernel is a prepared one
            given = wrap(scaled)
            for _ in range(3):
                found = kernel(given, A, B)
                found = found.to_numpy() if isinstance(found, sd.Tensor) else found.toarray()
                np.testing.assert_array_equal(found, scaled * (A @ B))


def test_values_that_overflow_between_prepared_calls_are_seen():
    kernel, S = sd.kernel(sampled), sp.csr_array(np.array([[1e300, 0.0, 0.0], [0.0, 2.0, 3.0]]))
    A, B = np.ones((2, 2)), np.array([[1.0, 1.0, 1.0], [-1.0, 1.0, 2.0]])
    for top in (1.0, 1.0, 1.0, 1e10, 1e10, 2.0):
        B[:, 0] = top, -top
        np.testing.assert_array_equal(kernel(S, A, B).toarray(), S.toarray() * (A @ B))


def test_several_statements_with_a_factor_that_overflows():
    @sd.kernel
    def two(S, A, B):
        i, j, k = sd.indices("i j k")
        C, y = sd.output(), sd.output()
        C[i, j] = S[i, j] * sd.sum(A[i, k] * B[k, j], over=k)
        y[i] = sd.sum(sd.relu(C[i, j]), over=j)
        return C, y

    A, B = np.ones((2, 2)), np.array([[1e10, 1.0, 1.0], [-1e10, 1.0, 2.0]])
    S = sp.csr_array(np.array([[1e300, 0.0, 0.0], [0.0, 2.0, 3.0]]))
    for _ in range(3):
        C, y = two(S, A, B)
        wanted = S.toarray() * (A @ B)
        np.testing.assert_array_equal(C.toarray(), wanted)
        np.testing.assert_array_equal(y, wanted.sum(axis=1))


def read_at(mask, S, A, B, reduce=sd.sum, no=0.0):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = sd.where(mask(S, i, j), 1 + 2 * reduce(A[i, k] * B[k, j], over=k), no)
    return C


def taken(mask, S, *operands, **choices):
    """The first statement of what is left of a kernel that reads a reduction at a mask."""
    kernel = sd.kernel(lambda S, A, B: read_at(mask, S, A, B, **choices))
    return lifted(kernel.lower(S, *operands).program).program.statements[0].expression


MASKS = {
    "stored": lambda S, i, j: sd.pattern(S)[i, j],
    "compared": lambda S, i, j: S[i, j] > 0,
    "both": lambda S, i, j: sd.pattern(S)[i, j] & (S[i, j] < 5),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layout", ["csr", "coo", "dense"])
@pytest.mark.parametrize(
    ("reduce", "plain"), [(sd.sum, np.sum), (sd.min, np.min), (sd.max, np.max), (sd.prod, np.prod)]
)
def test_a_reduction_that_a_mask_reads_is_right_there(mask, layout, reduce, plain):
    rng = np.random.default_rng(4)
    S = np.where(rng.random((6, 7)) < 0.4, rng.integers(1, 9, (6, 7)), 0).astype(float)
    A, B = (rng.integers(-3, 4, shape).astype(float) for shape in ((6, 5), (5, 7)))
    B[2, 3] = np.inf
    A[:, 2] = 0, 1, -1, 0, np.nan, 2
    kernel = sd.kernel(lambda S, A, B: read_at(MASKS[mask], S, A, B, reduce, -1.0))
    with np.errstate(invalid="ignore"):
        whole = 1 + 2 * plain(A[:, :, None] * B, axis=1)
    here = {"stored": S != 0, "compared": S > 0, "both": (S != 0) & (S < 5)}[mask]
    found = kernel(sd.convert(S, "csr"), sd.convert(A, layout), B)
    found = found if isinstance(found, np.ndarray) else found.to_numpy()
    np.testing.assert_array_equal(found, np.where(here, whole, -1.0))


def test_a_sum_that_a_sparse_mask_reads_is_taken_there_alone():
    S_ = sp.csr_array(S)
    for mask in MASKS.values():
        body = taken(mask, S_, *PAIR).body
        assert isinstance(body, Call)
        assert body.operator == "where"
    kernel = sd.kernel(lambda S, A, B: read_at(MASKS["stored"], S, A, B))
    first = kernel.lower(S_, *PAIR).units[0].group
    assert first.layout.label == "csr"

    # not where every product is asked for, nor where the mask tells less than the sum gives
    others = (
        (lambda S, i, j: S[i, j] > 0, S),
        (lambda S, i, j: S[i, j] >= 0, S_),
        (lambda S, i, j: i < j, S_),
        (lambda S, i, j: ~sd.pattern(S)[i, j], S_),
    )
    for mask, operand in others:
        assert taken(mask, operand, *PAIR).body == taken(others[0][0], S, *PAIR).body

    @sd.kernel
    def rows(S, A):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = sd.where(sd.pattern(S)[i, j], sd.sum(A[i, k], over=k), 0.0)
        return C

    program = lifted(rows.lower(S_, PAIR[0]).program).program
    assert isinstance(program.statements[0].expression.body, Access)
    found = rows(S_, PAIR[0])
    np.testing.assert_array_equal(found.toarray(), (S != 0) * PAIR[0].sum(1)[:, None])


def test_the_other_side_of_a_mask_is_taken_everywhere():
    @sd.kernel
    def either(S, A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        product = sd.sum(A[i, k] * B[k, j], over=k)
        C[i, j] = sd.where(sd.pattern(S)[i, j], sd.exp(product), product)
        return C

    whole = PAIR[0] @ PAIR[1]
    np.testing.assert_allclose(
        either(sp.csr_array(S), *PAIR), np.where(S != 0, np.exp(whole), whole)
    )


@pytest.mark.parametrize("turned", [False, True])
def test_what_an_implicit_zero_multiplies_is_not_taken_where_it_annihilates(turned):
    def scored(S, A, B):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        score = sd.exp(sd.sum(A[i, k] * B[k, j], over=k))
        C[i, j] = score * S[i, j] if turned else S[i, j] * score
        return C

    A, B = PAIR[0].copy(), PAIR[1]
    A[0, 0] = np.inf
    kernel = sd.kernel(scored, semantics="annihilator")
    with np.errstate(invalid="ignore"):
        expected = np.where(S != 0, S * np.exp(A @ B), 0)
    found = kernel(sp.csr_array(S), A, B)
    np.testing.assert_allclose(found.toarray(), expected)
    assert kernel.lower(sp.csr_array(S), A, B).units[0].group.layout.label == "csr"
    dense = sd.kernel(scored).lower(sp.csr_array(S), A, B)
    assert dense.units[0].group.layout.label == "dense"


def test_narrow_integers_wrap_in_a_mask_too():
    @sd.kernel
    def kernel(S, A):
        i, j, k = sd.indices("i j k")
        C = sd.output()
        C[i, j] = sd.where(sd.pattern(S)[i, j], sd.sum(A[i, k] * A[j, k], over=k), 0)
        return C

    A = np.array([[100, 100, 0], [100, 0, -3]], "int8")
    mask = np.array([[0, 1], [1, 1]], "int8")
    with np.errstate(over="ignore"):
        whole = (A[:, None] * A).sum(2, dtype="int8")
    np.testing.assert_array_equal(kernel(sp.csr_array(mask), A).toarray(), whole * mask)
