"""Gradients against central differences of the dense oracle: 18 expressions, six layouts."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import interpreting, remembering_proofs

import sparsedsl as sd
from sparsedsl.contraction.derivatives import derivatives
from sparsedsl.contraction.interpret import interpret
from sparsedsl.contraction.nodes import Access, Assign, Call, Program, Tensor
from sparsedsl.contraction.operators import OPERATORS

N, K = 3, 2
STEP = 1e-6


def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def transposed(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = A[i, j] * x[i]
    return y


def quadratic(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[()] = x[i] * A[i, j] * x[j]
    return y


def spmm(A, X):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, k] = A[i, j] * X[j, k]
    return y


def sampled(A, X, Y):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, j] = A[i, j] * X[i, k] * Y[k, j]
    return y


def squared(A):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, j] = A[i, k] * A[k, j]
    return y


def union(A, X, Y):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, j] = 2 * A[i, j] + X[i, k] * Y[k, j]
    return y


def diagonal(A, x):
    i = sd.index("i")
    y = sd.output()
    y[i] = A[i, i] * x[i]
    return y


def shifted(A, w):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, j] = A[i + k, j] * w[k]
    return y


def activated(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i, j] = sd.tanh(A[i, j] * x[j]) + sd.relu(A[i, j] - 0.8)
    return y


def normalised(A, x):
    i, j = sd.indices("i j")
    s, y = sd.output(), sd.output()
    s[i] = sd.sum(A[i, j] * A[i, j], over=j) + 1.0
    y[i] = A[i, j] * x[j] / sd.sqrt(s[i])
    return y


def attention(A, X, Y):
    i, j, k = sd.indices("i j k")
    e, z, y = sd.output(), sd.output(), sd.output()
    e[i, j] = sd.pattern(A)[i, j] * sd.exp(A[i, j] * sd.sum(X[i, k] * Y[k, j], over=k))
    z[i] = e[i, j]
    y[i, k] = e[i, j] * X[j, k] / (z[i] + 1.0)
    return y


def shortest(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.max(A[i, j] * x[j] - x[j], over=j)
    return y


def chosen(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.where(i < j, A[i, j] * x[j], A[i, j] ** 2)
    return y


def loss(A, X, Y):
    i, j, k = sd.indices("i j k")
    h, y = sd.output(), sd.output()
    h[i, k] = sd.silu(sd.sum(A[i, j] * X[j, k], over=j))
    y[()] = sd.square(h[i, k] - Y[k, i])
    return y


def regularised(A, X, Y):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[()] = sd.sum((A[i, j] - sd.sum(X[i, k] * Y[k, j], over=k)) ** 2, over=(i, j))
    y[()] += 0.1 * sd.sum(X[i, k] ** 2, over=(i, k))
    y[()] += 0.2 * sd.sum(Y[k, j] ** 3, over=(k, j))
    return y


def read_early(A, x):
    i, j = sd.indices("i j")
    e, y = sd.output(), sd.output()
    e[i] = A[i, j] * x[j]
    y[()] = sd.square(e[i])
    e[i] += x[i] ** 2
    y[()] += e[i] * x[i]
    return y


def likelihood(A, X, Y):
    i, j, k = sd.indices("i j k")
    p, z, y = sd.output(), sd.output(), sd.output()
    stored = sd.pattern(A)[i, j]
    p[i, j] = sd.where(stored, sd.exp(sd.sum(X[i, k] * Y[k, j], over=k)), 0)
    z[i] = p[i, j]
    y[()] = sd.sum(sd.where(stored, A[i, j] * sd.log(p[i, j] / z[i]), 0), over=(i, j))
    return y


EXPRESSIONS = [
    *(spmv, transposed, quadratic, spmm, sampled, squared, union, diagonal, shifted),
    *(activated, normalised, attention, shortest, chosen, loss),
    *(regularised, read_early, likelihood),
]
LAYOUTS = {
    "csr": "csr",
    "csc": "csc",
    "coo": "coo",
    "dcsr": "dcsr",
    "dia": "dia",
    "ell": "ell",
}
RNG = np.random.default_rng(3)
DENSE = np.where(RNG.random((N, N)) < 0.6, RNG.random((N, N)) + 0.5, 0)
DENSE[1] = 0
DENSE[0, 1] = 0.9
OPERANDS = {
    "w": RNG.random(2),
    "x": RNG.random(N) + 0.5,
    "X": RNG.random((N, K)) + 0.3,
    "Y": RNG.random((K, N)) + 0.2,
}


def _oracle(kernel, tensors, dense, patterns, cotangent):
    program = kernel.contraction(*tensors).program
    (result,) = program.results
    return (interpret(program, dense, patterns)[result] * cotangent).sum()


def _differences(kernel, tensors, dense, patterns, cotangent, name, places):
    """Central differences of the weighted result by the coordinates ``places`` of ``name``."""
    found = []
    for place in places:
        values = []
        for step in (STEP, -STEP):
            moved = dense[name].copy()
            moved[place] += step
            arrays = {**dense, name: moved}
            values.append(_oracle(kernel, tensors, arrays, patterns, cotangent))
        found.append((values[0] - values[1]) / (2 * STEP))
    return np.array(found)


def _check(function, layout):
    kernel = sd.kernel(function)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    A = sd.convert(DENSE, layout)
    tensors = [A if n == "A" else OPERANDS[n] for n in names]
    dense = {n: DENSE if n == "A" else OPERANDS[n] for n in names}
    coords, _ = A.coordinates()
    stored = np.zeros(DENSE.shape, bool)
    stored[tuple(coords)] = True
    patterns = {n: stored if n == "A" else np.ones(dense[n].shape, bool) for n in names}
    program = kernel.contraction(*tensors).program
    result = interpret(program, dense, patterns)[program.results[0]]
    cotangent = np.random.default_rng(1).random(np.shape(result)) + 0.5
    found = sd.grad(kernel, names)(*tensors, cotangent=cotangent)
    for name, gradient in zip(names, found, strict=True):
        if name == "A":
            assert gradient.layout == A.layout
            places = [tuple(c) for c in coords.T]
            _, ours = gradient.coordinates()
        else:
            assert gradient.shape == dense[name].shape
            places = list(np.ndindex(gradient.shape))
            ours = gradient.ravel()
        expected = _differences(kernel, tensors, dense, patterns, cotangent, name, places)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", EXPRESSIONS, ids=lambda f: f.__name__)
def test_gradients_are_central_differences(function, layout):
    with interpreting(), remembering_proofs():
        _check(function, LAYOUTS[layout])


def test_compiled_gradients_are_too():
    _check(sampled, "csr")


def test_the_gradient_of_a_scipy_matrix_is_one_with_its_pattern():
    A = sp.csr_array(DENSE)
    x = np.ones(N)
    found = sd.grad(sd.kernel(spmv), "A")(A, x, cotangent=np.arange(3.0))
    assert isinstance(found, sp.csr_array)
    np.testing.assert_array_equal(found.indices, A.indices)
    np.testing.assert_array_equal(found.data, np.repeat(np.arange(3.0), np.diff(A.indptr)))


def test_a_value_that_stands_in_two_places_gets_the_sum():
    S = sd.convert(np.array([[1.0, 2.0], [2.0, 3.0]]), "symmetric")
    with interpreting():
        found = sd.grad(sd.kernel(quadratic), "A")(S, np.array([5.0, 7.0]))
    weights = found.to_numpy()
    np.testing.assert_array_equal(np.diag(weights), [25.0, 49.0])
    assert weights[0, 1] == 70.0


POINTS = {"arctan": 0.3, "log": 0.7, "floor": 0.4, "ceil": 0.4, "rint": 0.4, "trunc": 0.4}


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if n != "where"])
def test_every_operator_has_its_derivative(name):
    operator = OPERATORS[name]
    inputs = tuple(Tensor(f"x{n}", 0, "float64") for n in range(operator.arity))
    node = Call(name, tuple(Access(t.name, ()) for t in inputs))
    try:
        dtype = operator.result(("float64",) * operator.arity)
    except sd.NotationError:  # logic has no floating arguments
        assert derivatives(node, "float64") == (None,) * operator.arity
        return
    point = {t.name: np.float64(p) for t, p in zip(inputs, (0.63, 1.7), strict=False)}

    def value(expression, at):
        y = Tensor("y", 0, "float64")
        program = Program(inputs, (y,), (Assign("y", (), expression),), ("y",))
        return interpret(program, at, {})["y"]

    for tensor, part in zip(inputs, derivatives(node, dtype), strict=True):
        ends = [value(node, {**point, tensor.name: point[tensor.name] + s}) for s in (STEP, -STEP)]
        expected = (float(ends[0]) - float(ends[1])) / (2 * STEP)
        found = 0.0 if part is None else float(value(part, point))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_mistakes_are_told():
    kernel = sd.kernel(spmv)
    x = np.ones(N)
    with pytest.raises(sd.NotationError, match="takes A, x"):
        sd.grad(kernel, "B")
    with pytest.raises(sd.NotationError, match="cotangent"):
        sd.grad(kernel, "A")(DENSE, x)
    with pytest.raises(sd.InvalidTensorError, match="floating"):
        sd.grad(kernel, "A")(DENSE.astype(int), x, cotangent=x)
    with pytest.raises(sd.NotationError, match="of shape"):
        sd.grad(kernel, "A")(DENSE, x, cotangent=np.ones(N + 1))

    @sd.kernel
    def product(x):
        y = sd.output()
        y[()] = sd.prod(x[sd.index("i")], over="i")
        return y

    with pytest.raises(sd.PlanError, match="'mul'"):
        sd.grad(product, "x")(x)
