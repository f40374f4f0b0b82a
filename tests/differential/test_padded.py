"""Reading beyond the edges: stencils and convolutions against ``np.pad`` and scipy."""

import numpy as np
import pytest
import scipy.signal
import scipy.sparse as sp
from levels import check, compiling, dense_of, interpreting, remembering_proofs, store

import sparsedsl as sd


@pytest.fixture(autouse=True)
def _proofs():
    with remembering_proofs():
        yield


def stencil(A):
    i, j = sd.indices("i j")
    P, C = sd.padded(A), sd.output()
    C[i, j] = P[i - 1, j] + P[i + 1, j] + P[i, j - 1] + P[i, j + 1] - 4 * A[i, j]
    return C


def same(A, W):
    i, j, k, m = sd.indices("i j k m")
    C = sd.output()
    C[i, j] = sd.padded(A)[i + k - 1, j + m - 1] * W[k, m]
    return C


def steps(x):
    i = sd.index("i")
    y = sd.output()
    y[i] = sd.maximum(sd.padded(x)[i - 1], x[i]) + sd.padded(x)[3 - i] * 2
    return y


def reductions(A):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.max(sd.padded(A)[i + j - 1, j], over=j) + sd.padded(A)[-1, i]
    return y


def run(body, *arguments, levels=(interpreting,)):
    """Run one plan on arguments, a pair of tensors and plain arrays each; return the results."""
    special = sd.kernel(body).engine.specialise(list(arguments[0][0].values()))
    (name,) = special.traced.program.results
    for level in levels:
        with level():
            for tensors, truth in arguments:
                check(special, tensors, truth)
            results = [dense_of(special.run(dict(tensors))[name]) for tensors, _ in arguments]
    return results


def matrix(shape, layout, fill=0, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.4 if layout != "dense" else np.ones(shape, bool)
    dense = np.where(mask, rng.integers(1, 5, shape), fill).astype(float)
    return store(dense, mask, layout, fill), dense


LAYOUTS = ("dense", "csr", "csc", "coo", "dcsr", "dia", "ell")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stencil(layout):
    pairs = [matrix(shape, layout) for shape in ((5, 6), (1, 1), (0, 3), (2, 1))]
    levels = (interpreting, compiling) if layout in ("dense", "csr") else (interpreting,)
    results = run(stencil, *(({"A": A}, {"A": dense}) for A, dense in pairs), levels=levels)
    for found, (_, dense) in zip(results, pairs, strict=True):
        p = np.pad(dense, 1)
        expected = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * dense
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("layouts", [("dense", "dense"), ("csr", "dense"), ("csr", "csr")], ids=str)
def test_convolution_of_the_same_size(layouts):
    A, dense = matrix((6, 5), layouts[0])
    W, weights = matrix((3, 3), layouts[1], seed=1)
    given = {"A": A, "W": W}, {"A": dense, "W": weights}
    (found,) = run(same, given, levels=(interpreting, compiling))
    expected = scipy.signal.correlate2d(dense, weights, mode="same")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("fill", [0, 1, np.inf])
def test_fill_values_lie_beyond_the_edges(fill):
    x, dense = matrix((5,), "csf", fill)
    p = np.pad(dense, 9, constant_values=fill)
    expected = np.maximum(p[8:13], dense) + [p[9 + 3 - i] * 2 for i in range(5)]
    np.testing.assert_array_equal(run(steps, ({"x": x}, {"x": dense}))[0], expected)


@pytest.mark.parametrize("layout", ["dense", "csr", "coo"])
def test_reductions(layout):
    A, dense = matrix((4, 4), layout)
    p = np.pad(dense, 9)
    expected = [max(p[9 + i + j - 1, 9 + j] for j in range(4)) for i in range(4)]
    np.testing.assert_array_equal(run(reductions, ({"A": A}, {"A": dense}))[0], expected)


def test_infinities_meet_the_padding():
    """An infinity meets zeros that are not there: dense NumPy has NaN for it."""

    def product(x, w):
        i, k = sd.indices("i k")
        y = sd.output()
        y[i] = sd.padded(x)[i + k - 1] * w[k]
        return y

    x, w = np.arange(4.0), np.array([1.0, np.inf])
    with np.errstate(all="ignore"):
        wide = np.array([0.0, *x, 0.0])
        expected = [wide[i] * w[0] + wide[i + 1] * w[1] for i in range(4)]
        given = {"x": sd.asarray(x), "w": sd.asarray(w)}, {"x": x, "w": w}
        (found,) = run(product, given)
    np.testing.assert_array_equal(found, expected)


def test_arrays_give_arrays_and_sparse_ones_sparse_ones():
    A = sp.random_array((8, 7), density=0.3, format="csr", rng=0)
    W = np.ones((3, 3))
    assert isinstance(sd.kernel(same)(A.toarray(), W), np.ndarray)
    assert isinstance(sd.kernel(stencil)(A), sp.csr_array)
    text = "y[i] = padded(x)[i - 1] + padded(x)[i + 1]"
    np.testing.assert_array_equal(sd.evaluate(text, x=np.array([1.0, 2, 4])), [2, 5, 2])


def test_intermediates_may_be_padded():
    def twice(A):
        i, j = sd.indices("i j")
        T, C = sd.output(), sd.output()
        T[i, j] = sd.padded(A)[i - 1, j] * 2
        C[i, j] = sd.padded(T)[i - 1, j] + A[i, j]
        return C

    A, dense = matrix((5, 4), "csr")
    shifted = np.pad(dense, ((2, 0), (0, 0)))[:5] * 2
    np.testing.assert_array_equal(run(twice, ({"A": A}, {"A": dense}))[0], shifted + dense)


def test_gradients_pass_through_the_padding():
    def energy(A, x):
        i, j = sd.indices("i j")
        s = sd.output()
        s[()] = sd.padded(A)[i - 1, j] * x[i, j]
        return s

    A = sp.csr_array(np.array([[1.0, 0, 2], [0, 3, 0]]))
    x = np.arange(6.0).reshape(2, 3)
    found = sd.grad(sd.kernel(energy), wrt="A")(A, x)
    expected = np.pad(x, ((0, 1), (0, 0)))[1:] * (A.toarray() != 0)
    np.testing.assert_array_equal(found.toarray(), expected)


def test_only_tensors_are_padded():
    with pytest.raises(sd.NotationError, match="expected a tensor, found Index"):
        sd.kernel(lambda x: sd.padded(sd.index("i")))(np.ones(3))
    with pytest.raises(sd.NotationError, match=r"padded needs subscripts: padded\(A\)"):
        sd.evaluate("y[i] = padded(x)", x=np.ones(3))
    with pytest.raises(sd.NotationError, match="index i has no extent"):
        sd.evaluate("y[i] = padded(x)[2*i - 1]", x=np.ones(3))
