"""Repeated calls whose operands are looked at in one step: nothing that changed is missed."""

import gc
import weakref

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls import seen
from sparsedsl.calls.seen import MISS
from sparsedsl.runtime import unchanged

LONG = unchanged.WHOLE + 5


@pytest.fixture(autouse=True)
def _look_soon(monkeypatch):
    monkeypatch.setattr(seen, "FIRST_LOOK", 1)


@sd.kernel
def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def _matrix(rows=40, columns=30):
    rng = np.random.default_rng(3)
    return sp.random_array((rows, columns), density=0.2, format="csc", rng=rng)


def _vector(n):
    places = np.arange(0, n, 3, dtype=np.int32)
    return sp.coo_array((np.ones(places.size), (places,)), shape=(n,))


def _look():
    """Return the preparation of the last call, which has machine code that looks."""
    (newest, *_) = product.engine._runner._prepared
    assert newest.seen.look is not None
    return newest


def _warm(A, x, calls=5):
    for _ in range(calls):
        np.testing.assert_allclose(product(A, x), A.toarray() @ _dense(x))
    return _look()


def _dense(x):
    return x.toarray() if sp.issparse(x) else x


@pytest.mark.parametrize("bind", [lambda A: A, sd.asarray])
@pytest.mark.parametrize("vector", [_vector, np.ones])
def test_values_written_in_place_are_those_computed_with(bind, vector):
    A, x = _matrix(), vector(30)
    held = bind(A)
    for _ in range(5):
        product(held, x)
    _look()
    for value in (2.0, np.inf, 3.0, np.nan, 4.0):
        values = x.data if sp.issparse(x) else x
        values[2] = value
        with np.errstate(invalid="ignore"):
            expected = A.toarray() @ _dense(x)
        np.testing.assert_allclose(product(held, x), expected)


@pytest.mark.parametrize("rows", [40, LONG])
def test_index_arrays_that_are_written_to_are_checked_again(rows):
    A, x = _matrix(rows), _vector(30)
    _warm(A, x)
    A.indices[0] = rows
    with pytest.raises(sd.InvalidTensorError, match="indices"):
        product(A, x)
    A.indices[0] = 0
    A.sort_indices()
    np.testing.assert_allclose(product(A, x), A.toarray() @ x.toarray())


def test_arrays_that_are_replaced_are_met_anew():
    A, x = _matrix(), np.ones(30)
    _warm(A, x)
    A.data = 2 * A.data
    _warm(A, x)
    np.testing.assert_allclose(product(A, x.astype("float32")), A.toarray() @ x)
    np.testing.assert_allclose(product(A, np.ones(60)[::2]), A.toarray() @ x)
    np.testing.assert_allclose(product(A, x.tolist()), A.toarray() @ x)
    with pytest.raises(sd.SparseDSLError, match="x"):
        product(A, np.ones(31))


def test_long_values_are_looked_at_whole_once_a_sample_changed():
    rng = np.random.default_rng(0)
    A = sp.random_array((200, 300), density=0.4, format="csc", rng=rng)
    x = _vector(300)
    assert A.nnz > LONG
    newest = _warm(A, x)
    A.data[0], A.data[1] = 2.0, np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(product(A, x), A.toarray() @ x.toarray())
    A.data[1] = 3.0
    for _ in range(12):
        np.testing.assert_allclose(product(A, x), A.toarray() @ x.toarray())
    # what holds now is learnt: the next call is looked at in one step
    looks = _look().seen.long_looks
    product(A, x)
    assert (_look().seen.long_looks, newest.options) == (looks, _look().options)


def test_one_look_keeps_no_operand_alive():
    A, x = _matrix(), _vector(30)
    newest, gone = _warm(A, x), [weakref.ref(A), weakref.ref(x)]
    del A, x
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert newest.seen is None
    assert newest.run(()) is MISS


@sd.kernel
def both_ways(A, x, w):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[j] = A[i, j] * w[i]
    return z, y, z


def test_several_arrays_that_one_pass_fills_are_made_and_filled_in_the_same_step():
    A = sp.csr_array(_matrix())
    rng = np.random.default_rng(8)

    def agrees(A):
        x, w = rng.random(30), rng.random(40)
        z, y, again = both_ways(A, x, w)
        assert z is again
        np.testing.assert_allclose(y, A.toarray() @ x)
        np.testing.assert_allclose(z, A.toarray().T @ w)

    with sd.options(threads=1):
        for _ in range(6):
            agrees(A)
        (newest, *_) = both_ways.engine._runner._prepared
        assert newest.seen.run is not None
        looks = newest.seen.long_looks
        agrees(A)
        A.data[3] = -7.0
        agrees(A)
        assert newest.seen.long_looks == looks
        infinite = np.full(30, np.inf)
        with np.errstate(invalid="ignore"):
            expected = A.toarray() @ infinite
        np.testing.assert_allclose(both_ways(A, infinite, np.ones(40))[1], expected)
        A.indices[0] = 30
        with pytest.raises(sd.InvalidTensorError, match="indices"):
            both_ways(A, np.ones(30), np.ones(40))
        A.indices[0] = 0
        A.sort_indices()
        agrees(A)
        gone = weakref.ref(A)
        del A
        gc.collect()
        assert (gone(), newest.seen) == (None, None)


@pytest.mark.parametrize("order", ["000111000", "010101", "00110011", "012012", "0001222110"])
def test_operands_in_any_turn_give_their_own_results(order):
    matrices = [_matrix(rows) for rows in (40, 41, 42)]
    vectors = [_vector(30), sp.coo_array(([5.0], ([3],)), shape=(30,)), np.ones(30)]
    for _ in range(6):
        for each in map(int, order):
            for other in map(int, order[::2]):
                A, x = matrices[each], vectors[other]
                np.testing.assert_allclose(product(A, x), A.toarray() @ _dense(x))
    with sd.options(safe=True):
        np.testing.assert_allclose(product(A, x), A.toarray() @ _dense(x))
    matrices[0].indices[0] = 40
    for x in vectors:
        with pytest.raises(sd.InvalidTensorError, match="indices"):
            product(matrices[0], x)
