"""Sparse kernels traced from the DSL: streams against NumPy, fused against unfused."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
import sparsedsl as sd
from rdu.emulate.functional import rounded
from rdu.graph.graph import Precision
from rdu.graph.nodes import SparseProduct, SparseUnion
from rdu.models.experts import expert_layer, expert_layer_reference

NODE = rdu.sn40l_node()


@sd.kernel
def spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@sd.kernel
def transposed_spmv(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = A[i, j] * x[i]
    return y


@sd.kernel
def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


@sd.kernel
def inner_product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[j, k]
    return C


@sd.kernel
def sddmm(S, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = S[i, j] * A[i, k] * B[k, j]
    return C


@sd.kernel
def added(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@sd.kernel
def subtracted(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] - B[i, j]
    return C


@sd.kernel
def multiplied(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C


@sd.kernel
def scaled(A, x):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = 2.0 * A[i, j] * x[j]
    return C


@sd.kernel
def exponential(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = sd.exp(A[i, j])
    return C


@sd.kernel
def turned(A):
    i, j = sd.indices("i j")
    C = sd.output()
    C[j, i] = A[i, j]
    return C


@sd.kernel
def total(A):
    i, j = sd.indices("i j")
    c = sd.output()
    c[()] = A[i, j]
    return c


@sd.kernel
def row_maximum(A):
    i, j = sd.indices("i j")
    c = sd.output()
    c[i] = sd.max(A[i, j], over=j)
    return c


def matrix(rng, rows, columns, density=0.3):
    dense = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < density)
    return sp.csr_array(dense)


def vector(rng, n):
    return rng.standard_normal(n)


CASES = {
    "spmv": (spmv, lambda r, n, m, k: (matrix(r, n, m), vector(r, m)), lambda A, x: A @ x),
    "transposed spmv": (
        transposed_spmv,
        lambda r, n, m, k: (matrix(r, n, m), vector(r, n)),
        lambda A, x: A.T @ x,
    ),
    "spmm": (
        product,
        lambda r, n, m, k: (matrix(r, n, k), r.standard_normal((k, m))),
        lambda A, B: A @ B,
    ),
    "dense by sparse": (
        product,
        lambda r, n, m, k: (r.standard_normal((n, k)), matrix(r, k, m)),
        lambda A, B: A @ B,
    ),
    "spgemm": (
        product,
        lambda r, n, m, k: (matrix(r, n, k), matrix(r, k, m)),
        lambda A, B: A @ B,
    ),
    "inner product": (
        inner_product,
        lambda r, n, m, k: (matrix(r, n, k), matrix(r, m, k)),
        lambda A, B: A @ B.T,
    ),
    "sddmm": (
        sddmm,
        lambda r, n, m, k: (matrix(r, n, m), r.standard_normal((n, k)), r.standard_normal((k, m))),
        lambda S, A, B: S * (A @ B),
    ),
    "add": (added, lambda r, n, m, k: (matrix(r, n, m), matrix(r, n, m)), lambda A, B: A + B),
    "sub": (subtracted, lambda r, n, m, k: (matrix(r, n, m), matrix(r, n, m)), lambda A, B: A - B),
    "mul": (
        multiplied,
        lambda r, n, m, k: (matrix(r, n, m), matrix(r, n, m, 0.6)),
        lambda A, B: A * B,
    ),
    "scale": (scaled, lambda r, n, m, k: (matrix(r, n, m), vector(r, m)), lambda A, x: 2 * A * x),
    "exp": (exponential, lambda r, n, m, k: (matrix(r, n, m),), np.exp),
    "transpose": (turned, lambda r, n, m, k: (matrix(r, n, m),), lambda A: A.T),
    "sum": (total, lambda r, n, m, k: (matrix(r, n, m),), np.sum),
    "max": (row_maximum, lambda r, n, m, k: (matrix(r, n, m),), lambda A: A.max(1)),
}


def dense(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def run_all(graph, arrays, node=NODE):
    results = []
    for fusion in ("none", "pattern", "spatial"):
        program = rdu.compile(graph, node, fusion=fusion, moves=100)
        result, report = rdu.run(program, *arrays)
        assert rdu.estimate(program).cycles == report.cycles
        assert report.bytes["hbm"] == program.bytes("hbm")
        results.append(dense(result))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kernel(name, precision):
    kernel, make, reference = CASES[name]
    arrays = make(np.random.default_rng(5), 17, 11, 9)
    graph = rdu.trace(kernel, *arrays, precision=precision)
    found = run_all(graph, arrays)
    storage = Precision(precision)
    rounded_arrays = [rounded(dense(a), storage).astype(np.float64) for a in arrays]
    exact = reference(*rounded_arrays)
    unit = 2.0**-8 if storage is Precision.BF16 else 2.0**-20
    magnitude = np.abs(reference(*(np.abs(a) for a in rounded_arrays)))
    if name == "sub":
        magnitude = np.abs(rounded_arrays[0]) + np.abs(rounded_arrays[1])
    steps = 2 if name == "scale" else 1
    assert np.all(np.abs(found - exact) <= 1.01 * steps * unit * magnitude + 1e-30)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(CASES)),
    st.integers(0, 999),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 5),
)
def test_random_shapes(name, seed, n, m, k):
    kernel, make, reference = CASES[name]
    arrays = make(np.random.default_rng(seed), n, m, k)
    graph = rdu.trace(kernel, *arrays, precision="fp32")
    found = run_all(graph, arrays)
    exact = reference(*(dense(a) for a in arrays))
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_results_of_two_trees_are_sparse():
    rng = np.random.default_rng(0)
    a, b = matrix(rng, 8, 9), matrix(rng, 9, 7)
    graph = rdu.trace(product, a, b, precision="fp32")
    result, _ = rdu.run(rdu.compile(graph, NODE), a, b)
    assert isinstance(result, sp.csr_array)
    pattern = (abs(a) @ abs(b)).toarray() != 0
    assert np.array_equal(result.toarray() != 0, pattern)


def test_operators_are_streams():
    rng = np.random.default_rng(0)
    a = matrix(rng, 8, 9)
    graph = rdu.trace(added, a, a)
    assert [type(op) for op in graph.operators] == [SparseUnion]
    graph = rdu.trace(product, a, rng.standard_normal((9, 4)))
    assert [type(op) for op in graph.operators] == [SparseProduct]
    assert graph.flops == 2 * a.nnz * 4


def test_empty_matrix():
    empty = sp.csr_array((5, 6))
    graph = rdu.trace(product, empty, np.ones((6, 3)))
    assert not run_all(graph, (empty, np.ones((6, 3)))).any()
    graph = rdu.trace(added, empty, empty)
    assert not run_all(graph, (empty, empty)).any()


def test_shapes_alone_are_enough_to_estimate():
    x = sd.ShapeOf((200, 300), "float32", nnz=900)
    graph = rdu.trace(product, x, sd.ShapeOf((300, 16), "float32"))
    assert graph.assumed == ("A",)
    report = rdu.estimate(rdu.compile(graph, NODE))
    assert report.assumed == ("A",)
    assert report.flops == 2 * 900 * 16


def test_more_entries_than_traced_are_refused():
    rng = np.random.default_rng(0)
    a, x = matrix(rng, 8, 9), vector(rng, 9)
    program = rdu.compile(rdu.trace(spmv, a, x), NODE)
    more = sp.csr_array(np.ones((8, 9)))
    with pytest.raises(rdu.RDUError, match="72 stored entries"):
        rdu.run(program, more, x)


def test_other_pattern_of_the_same_size_runs():
    rng = np.random.default_rng(0)
    a, x = matrix(rng, 8, 9), vector(rng, 9)
    program = rdu.compile(rdu.trace(spmv, a, x, precision="fp32"), NODE)
    other = sp.csr_array(np.flip(a.toarray(), (0, 1)))
    found, _ = rdu.run(program, other, x)
    np.testing.assert_allclose(found, other @ x, rtol=1e-5, atol=1e-6)


# --- the routed expert layer ---------------------------------------------------------------


@sd.kernel
def experts(R, x, W1, W3, W2):
    t, e, d, h, g = sd.indices("t e d h g")
    up = sd.output()
    gate = sd.output()
    y = sd.output()
    up[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W1[e, d, h]
    gate[t, e, h] = sd.pattern(R)[t, e] * x[t, d] * W3[e, d, h]
    silu = up[t, e, h] * sd.sigmoid(up[t, e, h])
    y[t, g] = R[t, e] * (silu * gate[t, e, h]) * W2[e, h, g]
    return y


def expert_arrays(seed, t=24, e=6, d=16, h=20, unused=()):
    rng = np.random.default_rng(seed)
    dense_r = np.zeros((t, e))
    allowed = [n for n in range(e) if n not in unused]
    for row in dense_r:
        row[rng.choice(allowed, 2, replace=False)] = rng.random(2) + 0.1
    shapes = ((e, d, h), (e, d, h), (e, h, d))
    weights = [rng.standard_normal(s) / np.sqrt(s[1]) for s in shapes]
    return dense_r, [sp.csr_array(dense_r), rng.standard_normal((t, d)), *weights]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_expert_layer_from_the_dsl(precision):
    dense_r, arrays = expert_arrays(0)
    graph = rdu.trace(experts, *arrays, precision=precision)
    found = run_all(graph, arrays)
    storage = Precision(precision)
    exact = expert_layer_reference(
        rounded(dense_r, storage), *(rounded(a, storage) for a in arrays[1:])
    )
    unit = 2.0**-8 if storage is Precision.BF16 else 2.0**-20
    assert np.abs(found - exact).max() <= 4 * unit * np.abs(exact).max()


def test_fusing_the_expert_layer_saves_traffic_and_launches():
    dense_r, arrays = expert_arrays(1, unused=(2, 5))
    routing = np.argwhere(dense_r).astype(np.int64)
    graph = expert_layer(24, 6, 16, 20, routing=routing)
    reports = {}
    for fusion in ("none", "spatial"):
        program = rdu.compile(graph, NODE, fusion=fusion, orchestration="software")
        _, reports[fusion] = rdu.run(program, *arrays)
    assert (len(reports["none"].kernels), len(reports["spatial"].kernels)) == (4, 1)
    assert reports["spatial"].bytes["hbm"] < reports["none"].bytes["hbm"]
    assert reports["spatial"].launch_seconds < reports["none"].launch_seconds


def test_weights_of_unused_experts_stay_in_memory():
    read = {}
    for unused in ((), (0, 3)):
        dense_r, _ = expert_arrays(2, e=6, unused=unused)
        graph = expert_layer(24, 6, 128, 256, routing=np.argwhere(dense_r).astype(np.int64))
        (kernel,) = rdu.compile(graph, NODE).kernels
        loads = [t for side in kernel.loads.values() for t in side if t.access.requests]
        read[unused] = sum(t.bytes for t in loads if t.tensor.startswith("W"))
    assert read[()] == 3 * 6 * 128 * 256 * 2
    assert read[0, 3] == 3 * 4 * 128 * 256 * 2


def test_complex_data_and_wrong_precision_are_refused():
    with pytest.raises(rdu.RDUError, match="real numbers"):
        rdu.trace(spmv, sp.csr_array(np.eye(3) * 1j), np.ones(3))
    with pytest.raises(rdu.RDUError, match="precision"):
        rdu.trace(spmv, sp.csr_array(np.eye(3)), np.ones(3), precision="fp8")
    with pytest.raises(rdu.RDUError, match="decorate"):
        rdu.trace(len, np.ones(3))


@pytest.mark.parametrize("width", [8, 64])
def test_rows_of_a_sparse_times_dense_product_are_shared_among_copies(width):
    """As many parts of the rows run side by side as there are units for, and give the same bits."""
    rng = np.random.default_rng(0)
    left = sp.random_array((400, 300), density=0.05, rng=rng, format="csr")
    right = rng.standard_normal((300, width))
    chip = rdu.sn40l_node(1).chip
    graph = rdu.trace(product, left, right, precision="fp32")
    cycles, results = {}, []
    for pcus in (120, 260, 1040):
        program = rdu.compile(graph, chip.with_changes(pcus=pcus), moves=10)
        found, report = rdu.run(program, left, right)
        results.append(found)
        (stage,) = program.kernels[0].stages
        copies = stage.shape.copies
        assert copies == pcus // 64
        assert program.kernels[0].pcus <= pcus
        cycles[copies] = report.stages[0].busy
        # A copy fetches a row's vectors one a cycle, and has at least its share of the items.
        assert cycles[copies] >= left.nnz / copies * max(width * 4 // 64, 1)
    assert all(np.array_equal(results[0], other) for other in results[1:])
    assert cycles[1] > 3 * cycles[4] > 9 * cycles[16]
