"""Coordinates that are stored several times add up, in every expression and conversion."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsedsl as sd
from sparsedsl.layouts.catalogue import resolve

SHAPE = (5, 4)


@st.composite
def lists(draw):
    """Coordinates with repeats, and what they stand for."""
    count = draw(st.integers(0, 12))
    rows = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    columns = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    values = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
    return np.array(rows, int), np.array(columns, int), np.array(values, float)


def dense_of(rows, columns, values, shape=SHAPE):
    dense = np.zeros(shape)
    np.add.at(dense, (rows, columns), values)
    return dense


def tensor_of(rows, columns, values, shape=SHAPE):
    arrays = {"crd0": rows, "crd1": columns, "data": values}
    return sd.from_arrays("coo_repeated", shape, arrays)


def plain(x):
    return x.to_numpy() if isinstance(x, sd.Tensor) else np.asarray(x)


EXPRESSIONS = {
    "y[i] = A[i,j] * x[j]": lambda a, b, x: a @ x,
    "y[j] = A[i,j]": lambda a, b, x: a.sum(axis=0),
    "C[i,j] = A[i,j] * B[i,j]": lambda a, b, x: a * b,
    "C[i,j] = A[i,j] + B[i,j]": lambda a, b, x: a + b,
    "C[i,k] = A[i,j] * B[k,j]": lambda a, b, x: a @ b.T,
    "C[i,k] = A[i,j] * A[k,j]": lambda a, b, x: a @ a.T,
    "y[i] = A[i,j] * A[i,j]": lambda a, b, x: (a * a).sum(axis=1),
    "C[i,j] = abs(A[i,j])": lambda a, b, x: abs(a),
}


@given(lists(), lists())
def test_expressions_see_sums(first, second):
    tensor, dense, other = tensor_of(*first), dense_of(*first), dense_of(*second)
    x = np.arange(1.0, 5.0)
    given_ = {"A": tensor, "B": sd.asarray(other, "csr"), "x": x}
    for text, meaning in EXPRESSIONS.items():
        used = {name: value for name, value in given_.items() if f"{name}[" in text}
        assert (plain(sd.evaluate(text, **used)) == meaning(dense, other, x)).all(), text


def test_the_largest_of_a_row_is_the_largest_sum():
    @sd.kernel
    def largest(A):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.max(A[i, j], over=j)
        return y

    rows, columns = np.array([0, 0, 0, 1]), np.array([1, 1, 2, 3])
    tensor = tensor_of(rows, columns, np.array([2.0, 3.0, 4.0, 1.0]))
    assert largest(tensor).tolist() == [5, 1, 0, 0, 0]


def test_entries_are_read_as_they_are_where_each_adds_its_product():
    @sd.kernel
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    tensor = tensor_of(np.array([0, 0]), np.array([1, 1]), np.array([2.0, 3.0]))
    (unit,) = product.lower(tensor, np.ones(4)).units
    assert not unit.nest.conversions


@pytest.mark.parametrize("fill", [0.0, 7.0])
@pytest.mark.parametrize("name", ["csr", "csc", "coo", "csf", "dense", "ell", "coo_repeated"])
def test_conversions_add_up(name, fill):
    """Long lists, so that conversions are compiled where counting serves."""
    rng = np.random.default_rng(5)
    count, shape = 30_000, (200, 300)
    rows, columns = rng.integers(0, 200, count), rng.integers(0, 300, count)
    values = rng.integers(1, 5, count).astype(float)
    arrays = {"crd0": rows, "crd1": columns, "data": values}
    tensor = sd.from_arrays("coo_repeated", shape, arrays, fill)
    dense = dense_of(rows, columns, values, shape)
    dense[dense == 0] = fill
    made = tensor.convert(resolve(name, 2, (1, 0)) if name == "coo_repeated" else name)
    made.validate()
    assert (made.to_numpy() == dense).all()


def test_scipy_shares_the_lists():
    rows, columns, values = np.array([0, 0]), np.array([1, 1]), np.array([2.0, 3.0])
    found = tensor_of(rows, columns, values).to_scipy()
    assert isinstance(found, sp.coo_array)
    assert np.shares_memory(found.data, values)
    assert found.nnz == 2
    assert found.toarray()[0, 1] == 5


def test_gradients_by_repeated_entries():
    """Every entry at a coordinate has the derivative by that coordinate."""

    @sd.kernel
    def weighted(A, x):
        i, j = sd.indices("i j")
        s = sd.output()
        s[()] = A[i, j] * x[j] * A[i, j]
        return s

    tensor = tensor_of(np.array([0, 0, 2]), np.array([1, 1, 3]), np.array([2.0, 3.0, 1.0]))
    x = np.array([1.0, 2.0, 3.0, 4.0])
    found = sd.grad(weighted, "A")(tensor, x)
    assert found.values.tolist() == [2 * 5 * 2, 2 * 5 * 2, 2 * 1 * 4]
