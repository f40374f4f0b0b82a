"""Statements of the DSL that are not plain products, against dense NumPy."""

import numpy as np
import pytest
import scipy.sparse as sp

import rdu
import sparsedsl as sd
from rdu.graph.nodes import Contract, Map, Rearrange, Reduction, SparseProduct
from sparsedsl.contraction.nodes import Access, Affine, Assign, Call, Program, Reduce, Tensor

NODE = rdu.sn40l_node()
RNG = np.random.default_rng(7)
A = RNG.standard_normal((7, 9)).astype(np.float32)
B = RNG.standard_normal((9, 5)).astype(np.float32)
SPARSE = sp.csr_array(A * (RNG.random(A.shape) < 0.4))


def run(kernel, *arrays):
    graph = rdu.trace(kernel, *arrays, precision="fp32")
    results = [rdu.run(rdu.compile(graph, NODE, fusion=f), *arrays)[0] for f in ("none", "spatial")]
    dense = [r.toarray() if sp.issparse(r) else np.asarray(r) for r in results]
    assert np.array_equal(*dense)
    return graph, dense[0]


def kinds(graph):
    return [type(op) for op in graph.operators]


def test_min_plus():
    @sd.kernel
    def kernel(a, b):
        i, j, k = sd.indices("i j k")
        c = sd.output(fill_value=np.inf)
        c[i, j] = sd.min(a[i, k] + b[k, j], over=k)
        return c

    graph, found = run(kernel, A, B)
    assert kinds(graph) == [Map, Reduction]
    np.testing.assert_allclose(found, (A[:, :, None] + B[None]).min(1), rtol=1e-6)


def test_chain_of_three_products():
    @sd.kernel
    def kernel(a, b, c):
        i, j, k, m = sd.indices("i j k m")
        d = sd.output()
        d[i, m] = a[i, k] * b[k, j] * c[j, m]
        return d

    c = RNG.standard_normal((5, 4))
    graph, found = run(kernel, A, B, c)
    assert kinds(graph) == [Contract, Contract]
    np.testing.assert_allclose(found, A @ B @ c, rtol=1e-4, atol=1e-5)


def test_index_summed_in_one_factor_only():
    @sd.kernel
    def kernel(a, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = a[i, j] * x[i]
        return y

    x = RNG.standard_normal(7)
    _, found = run(kernel, A, x)
    np.testing.assert_allclose(found, A.sum(1) * x, rtol=1e-5)


def test_transposed_elementwise_result_is_an_access_pattern():
    @sd.kernel
    def kernel(a, b):
        i, j = sd.indices("i j")
        c = sd.output()
        c[j, i] = a[i, j] * b[i, j]
        return c

    graph, found = run(kernel, A, A)
    assert kinds(graph) == [Map, Rearrange]
    np.testing.assert_allclose(found, (A * A).T)


def test_diagonal_shift_and_constant_index():
    @sd.kernel
    def kernel(a, x):
        i = sd.index("i")
        y = sd.output()
        y[i] = a[i, i] + x[i + 2] + a[i, 3]
        return y

    square = RNG.standard_normal((6, 6))
    x = RNG.standard_normal(8)
    _, found = run(kernel, square, x)
    np.testing.assert_allclose(found, np.diag(square) + x[2:] + square[:, 3], rtol=1e-5)


def test_predicates_and_where():
    @sd.kernel
    def kernel(a):
        i, j = sd.indices("i j")
        c = sd.output()
        c[i, j] = sd.where((i < j) & (a[i, j] > 0), a[i, j], 0.0)
        return c

    _, found = run(kernel, A)
    assert np.array_equal(found, np.where(np.triu(np.ones_like(A), 1).astype(bool) & (A > 0), A, 0))


def test_accumulating_statements():
    @sd.kernel
    def kernel(a, b):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = a[i, j]
        y[i] += b[j] * a[i, j]
        return y

    b = RNG.standard_normal(9)
    _, found = run(kernel, A, b)
    np.testing.assert_allclose(found, A.sum(1) + A @ b, rtol=1e-4, atol=1e-5)


def test_broadcast_literal_and_scalar():
    @sd.kernel
    def kernel(a, x):
        i, j = sd.indices("i j")
        c = sd.output()
        c[i, j] = 2 * x[j] - a[i, j] / 4
        return c

    x = RNG.standard_normal(9)
    _, found = run(kernel, A, x)
    np.testing.assert_allclose(found, 2 * x - A / 4, rtol=1e-5, atol=1e-6)


def test_tree_with_an_operator_that_needs_everything():
    @sd.kernel
    def kernel(a, x):
        i, j = sd.indices("i j")
        c = sd.output()
        c[i, j] = sd.maximum(a[i, j], x[j])
        return c

    x = RNG.standard_normal(9)
    _, found = run(kernel, SPARSE, x)
    np.testing.assert_allclose(found, np.maximum(SPARSE.toarray(), x), rtol=1e-6)


def test_trees_that_nest_in_opposite_orders():
    @sd.kernel
    def kernel(a, b):
        i, j = sd.indices("i j")
        c = sd.output()
        c[i, j] = a[i, j] * b[j, i]
        return c

    other = sp.csr_array(SPARSE.T * 2.0)
    _, found = run(kernel, SPARSE, other)
    np.testing.assert_allclose(found, 2 * SPARSE.toarray() ** 2, rtol=1e-5)


def test_mttkrp_with_a_three_mode_tree():
    @sd.kernel
    def kernel(x, b, c):
        i, j, k, r = sd.indices("i j k r")
        a = sd.output()
        a[i, r] = x[i, j, k] * b[j, r] * c[k, r]
        return a

    dense = RNG.standard_normal((4, 5, 6)) * (RNG.random((4, 5, 6)) < 0.3)
    x = sp.coo_array(dense)
    tensor = sd.asarray(dense).convert("csf")
    b, c = RNG.standard_normal((5, 3)), RNG.standard_normal((6, 3))
    graph = rdu.trace(kernel, tensor, b, c, precision="fp32")
    assert kinds(graph) == [SparseProduct]
    found, _ = rdu.run(rdu.compile(graph, NODE), tensor, b, c)
    np.testing.assert_allclose(found, np.einsum("ijk,jr,kr->ir", dense, b, c), rtol=1e-4, atol=1e-5)
    again, _ = rdu.run(rdu.compile(graph, NODE), x, b, c)
    assert np.array_equal(found, again)


def test_a_program_without_the_frontend():
    i, j, k = (Affine.of(n) for n in "ijk")
    body = Call("mul", (Access("A", (i, k)), Access("B", (k, j))))
    program = Program(
        (Tensor("A", 2, "float64", total=True), Tensor("B", 2, "float64", total=True)),
        (Tensor("C", 2, "float64"),),
        (Assign("C", (i, j), Reduce("add", ("k",), body)),),
        ("C",),
    )
    graph, found = run(program, A, B)
    assert kinds(graph) == [Contract]
    np.testing.assert_allclose(found, A @ B, rtol=1e-4, atol=1e-5)
    with pytest.raises(rdu.RDUError, match="2 inputs"):
        rdu.trace(program, A)


def test_targets_at_computed_indices_are_refused():
    program = Program(
        (Tensor("A", 1, "float64", total=True),),
        (Tensor("C", 2, "float64"),),
        (Assign("C", (Affine.of("i"), Affine.of("i")), Access("A", (Affine.of("i"),))),),
        ("C",),
    )
    with pytest.raises(rdu.RDUError, match="repeated indices"):
        rdu.trace(program, np.ones(3))


@pytest.mark.parametrize(("form", "levels"), [("csr", (0, 1)), ("csc", (1, 0)), ("coo", (0, 1))])
def test_levels_nest_as_they_are_stored(form, levels):
    @sd.kernel
    def kernel(a, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = a[i, j] * x[j]
        return y

    x = RNG.standard_normal(9)
    for stored in (SPARSE.asformat(form), sd.asarray(SPARSE.asformat(form))):
        graph, found = run(kernel, stored, x)
        tensor = graph.tensor("a")
        assert [tensor.axes.index(axis) for axis in tensor.structure.levels] == list(levels)
        np.testing.assert_allclose(found, SPARSE @ x, rtol=1e-5, atol=1e-6)


def test_a_stored_zero_belongs_to_the_pattern():
    @sd.kernel
    def kernel(a, b):
        i, j = sd.indices("i j")
        c = sd.output()
        c[i, j] = sd.where(sd.pattern(b)[i, j], a[i, j], 0.0)
        return c

    b = sp.csr_array(([0.0, 2.0], ([1, 3], [2, 4])), shape=A.shape)
    _, found = run(kernel, A, b)
    expected = np.zeros_like(A)
    expected[[1, 3], [2, 4]] = A[[1, 3], [2, 4]]
    np.testing.assert_allclose(found, expected)


def test_shapes_that_disagree_are_refused():
    @sd.kernel
    def kernel(a, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = a[i, j] * x[j]
        return y

    with pytest.raises(rdu.RDUError, match=r"index j: expected 9 .* found 5"):
        rdu.trace(kernel, A, np.ones(5))
    with pytest.raises(rdu.RDUError, match="index j has the extent 0"):
        rdu.trace(kernel, np.ones((7, 0)), np.ones(0))
