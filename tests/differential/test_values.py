"""Dtypes, fills, non-finite values and memory of every kind, in the loop interpreter."""

import numpy as np
import pytest
import scipy.sparse as sp
from expressions import EXPRESSIONS, draw
from levels import check, interpreting, remembering_proofs, store
from scipy.sparse import csgraph

import sparsedsl as sd
from sparsedsl.runtime.tensor import Tensor


@pytest.fixture(autouse=True)
def _level():
    with interpreting(), remembering_proofs():
        yield


def kernel_for(name, tensors, **choices):
    return sd.kernel(**choices)(EXPRESSIONS[name].body).engine.specialise(list(tensors.values()))


NAMES = [
    "spmv",
    "spgemm",
    "product",
    "add",
    "maximum",
    "sum_rows",
    "inner",
    "transpose",
    "min_rows",
]


DTYPES = ["float32", "complex64", "complex128", "bool", "int8", "int32", "int64", "uint8", "uint64"]
ORDERED = ("maximum", "min_rows")  # complex numbers have no order
TYPED = [(n, t) for n in NAMES for t in DTYPES if not (n in ORDERED and t.startswith("complex"))]


@pytest.mark.parametrize(("name", "dtype"), TYPED)
def test_dtypes(name, dtype):
    rng = np.random.default_rng(3)
    for layout in ("csr", "coo"):
        layouts = {n: layout for n, r in EXPRESSIONS[name].sparse()}
        arguments = draw(EXPRESSIONS[name], layouts, rng, dtype=dtype)
        check(kernel_for(name, arguments[0]), *arguments)


def test_mixed_dtypes():
    rng = np.random.default_rng(4)
    shape = (5, 6)
    for left in ("float32", "int16", "bool", "complex64"):
        for right in ("float64", "int32", "uint8"):
            a = rng.integers(0, 3, shape).astype(left)
            b = rng.integers(0, 3, shape).astype(right)
            tensors = {"A": store(a, a != 0, "csr"), "B": store(b, b != 0, "csc")}
            for name in ("product", "add"):
                special = kernel_for(name, tensors)
                check(special, tensors, {"A": a, "B": b})


def test_terms_summed_in_different_dtypes():
    def body(A, B):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * B[i]
        y[i] += sd.sum(A[i, j], over=j)
        return y

    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 3, (5, 6)).astype("float32"), rng.integers(0, 3, 5).astype(float)
    for layout in ("csr", "csc", "dense"):
        tensors = {"A": store(a, (a != 0) | (layout == "dense"), layout), "B": sd.asarray(b)}
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, {"A": a, "B": b})


@pytest.mark.parametrize("name", ["spmspv", "spgemm", "add", "ttv_sparse"])
def test_wide_indices(name):
    rng = np.random.default_rng(5)
    for layout in ("csr", "coo"):
        layouts = {n: layout if r == 2 else "csf" for n, r in EXPRESSIONS[name].sparse()}
        tensors, truth = draw(EXPRESSIONS[name], layouts, rng, index_dtype="int64")
        special = kernel_for(name, tensors)
        check(special, tensors, truth)
        result = special.run(dict(tensors))[special.traced.program.results[0]]
        for array in result.layout.functions:
            assert result.arrays[array].dtype == np.int64


def read_only(tensor):
    arrays = {name: array.copy() for name, array in tensor.arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return Tensor(tensor.layout, tensor.shape, arrays, tensor.fill_value, tensor.sizes)


@pytest.mark.parametrize("name", ["spmv", "spgemm", "add"])
def test_read_only_arrays(name):
    layouts = dict.fromkeys("AB", "csr")
    tensors, truth = draw(EXPRESSIONS[name], layouts, np.random.default_rng(6))
    tensors = {n: read_only(t) for n, t in tensors.items()}
    check(kernel_for(name, tensors), tensors, truth)


FILLS = [{"A": 1}, {"B": 2}, {"A": 1, "B": 2}, {"A": np.inf}, {"A": -1, "B": -1}]


@pytest.mark.parametrize("fills", FILLS, ids=str)
@pytest.mark.parametrize("name", ["product", "add", "maximum", "minimum", "copy", "min_plus"])
def test_fill_values(name, fills):
    rng = np.random.default_rng(7)
    fills = {n: v for n, v in fills.items() if n in dict(EXPRESSIONS[name].sparse())}
    if name == "min_plus":
        fills = {"A": np.inf, "B": np.inf}
    for layouts in ({"A": "csr", "B": "csr"}, {"A": "coo", "B": "csc"}):
        for least, most in ((3, 6), (0, 2)):
            tensors, truth = draw(
                EXPRESSIONS[name], layouts, rng, fills=fills, least=least, most=most
            )
            check(kernel_for(name, tensors), tensors, truth)


@pytest.mark.parametrize("reduction", ["sum", "prod", "min", "max"])
@pytest.mark.parametrize("fill", [0, 1, -2, np.inf, -np.inf])
def test_reductions_of_other_fills(reduction, fill):
    def body(A):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = getattr(sd, reduction)(A[i, j], over=j)
        return y

    rng = np.random.default_rng(8)
    for shape in ((4, 5), (3, 0), (0, 3), (1, 1), (6, 2)):
        mask = rng.random(shape) < 0.5
        a = np.where(mask, rng.integers(-2, 3, shape).astype(float), fill)
        for layout in ("csr", "csc", "coo"):
            tensors = {"A": store(a, mask, layout, fill)}
            special = sd.kernel(body).engine.specialise(list(tensors.values()))
            check(special, tensors, {"A": a})


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5])


def special_values(rng, shape, density):
    mask = rng.random(shape) < density
    return np.where(mask, rng.choice(SPECIAL, shape), 0.0), mask


@pytest.mark.parametrize("layouts", [("csr", "csr"), ("csr", "csc"), ("coo", "csr")], ids="-".join)
@pytest.mark.parametrize(
    "name", ["product", "add", "spgemm", "spmv", "sum_rows", "min_rows", "where", "relu_sum"]
)
def test_ieee(name, layouts):
    expr = EXPRESSIONS[name]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        tensors, truth = draw(expr, dict(zip("ABC", (*layouts, "csr"), strict=True)), rng)
        for operand in truth:
            dense, mask = special_values(rng, truth[operand].shape, 0.5)
            plain = operand.islower()
            layout = "dense" if plain else tensors[operand].layout
            truth[operand] = dense
            tensors[operand] = store(dense, np.ones_like(mask) if plain else mask, layout)
        check(kernel_for(name, tensors), tensors, truth)


def test_annihilator_semantics():
    a = np.array([[2.0, 0.0], [0.0, 0.0]])
    x = np.array([3.0, np.inf])
    tensors = {"A": store(a, a != 0, "csr"), "x": sd.asarray(x)}
    ieee = kernel_for("spmv", tensors).run(dict(tensors))["y"].to_numpy()
    np.testing.assert_array_equal(ieee, [np.nan, np.nan])
    chosen = kernel_for("spmv", tensors, semantics="annihilator").run(dict(tensors))["y"]
    np.testing.assert_array_equal(chosen.to_numpy(), [6.0, 0.0])


def test_stored_values_that_are_not_finite_change_the_kernel_back_and_forth():
    a = np.array([[0.0, 1.0], [2.0, 0.0]])
    tensors = {"A": store(a, a != 0, "csr"), "x": sd.asarray(np.ones(2))}
    special = kernel_for("spmv", tensors)
    for x in ([1.0, 2.0], [np.nan, 2.0], [1.0, 2.0], [np.inf, -np.inf]):
        given = dict(tensors, x=sd.asarray(np.array(x)))
        check(special, given, {"A": a, "x": np.array(x)})


def test_negative_zero_of_dense_results():
    a = np.array([[-1.0, 0.0], [0.0, -2.0]])
    tensors = {"A": store(a, a != 0, "csr"), "b": sd.asarray(np.zeros((2, 2)))}
    found = kernel_for("spmm", tensors).run(dict(tensors))["C"].to_numpy()
    assert not found.any()


def test_scalars_and_layouts_without_a_search_are_read_from_copies():
    def body(A, s, B):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = sd.max(sd.maximum(s[()] / 2, A[j, i + j]) - B[i, j], over=j)
        return y

    rng = np.random.default_rng(9)
    a, b = (rng.integers(0, 3, shape).astype(float) for shape in ((3, 5), (3, 3)))
    tensors = {
        "A": store(a, a != 0, "vbl"),
        "s": store(np.array(3.0), np.ones((), bool), "coo"),
        "B": store(b, b != 0, "rle"),
    }
    special = sd.kernel(body).engine.specialise(list(tensors.values()))
    check(special, tensors, {"A": a, "s": np.array(3.0), "B": b})


@pytest.mark.parametrize("special", [None, np.inf, -np.inf, np.nan])
def test_min_plus_skips_implicit_infinities_unless_an_entry_survives_them(special):
    rng = np.random.default_rng(10)
    tensors, truth = draw(
        EXPRESSIONS["min_plus"], dict.fromkeys("AB", "csr"), rng, fills={"A": np.inf, "B": np.inf}
    )
    kernel = kernel_for("min_plus", tensors)
    assert all(group.annihilating for group in kernel.groups)
    assert kernel.groups[0].layout.name == "csr"
    if special is not None:
        tensors["A"].values[0] = special
        truth["A"] = tensors["A"].to_numpy()
    check(kernel, tensors, truth)
    assert bool(kernel.variants) == (special is not None and not special > -np.inf)


@pytest.mark.parametrize("seed", range(3))
def test_relaxing_edges_gives_the_shortest_paths(seed):
    def relax(A, x):
        i, j = sd.indices("i j")
        y = sd.output(fill_value=np.inf)
        y[j] = sd.minimum(x[j], sd.min(A[i, j] + x[i], over=i))
        return y

    graph = sp.random_array((12, 12), density=0.2, format="csr", rng=seed)
    expected = csgraph.bellman_ford(graph, indices=0)
    parts = {"indptr": graph.indptr, "indices": graph.indices, "data": graph.data}
    edges = sd.from_arrays("csr", graph.shape, parts, fill_value=np.inf)
    distances = np.full(12, np.inf)
    distances[0] = 0
    special = sd.kernel(relax).engine.specialise([edges, sd.asarray(distances)])
    for _ in range(12):
        found = special.run({"A": edges, "x": sd.asarray(distances)})
        distances = found["y"].to_numpy()
    np.testing.assert_allclose(distances, expected)


def test_the_sign_of_a_skipped_zero_does_not_change_a_quotient():
    def body(A, x):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = 1 / (A[i, j] * x[j])
        return C

    a, x = np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([1.0, -1.0])
    tensors = {"A": store(a, a != 0, "csr"), "x": sd.asarray(x)}
    special = sd.kernel(body).engine.specialise(list(tensors.values()))
    check(special, tensors, {"A": a, "x": x})


@pytest.mark.parametrize("operator", ["max", "min", "prod", "all"])
def test_nothing_to_reduce_is_the_identity_of_a_sparse_result_too(operator):
    """Its loops deliver nothing then, and its fill would show."""

    @sd.kernel(out="csf")
    def reduced(A, B):
        i, j, k = sd.indices("i j k")
        R = sd.output()
        value = A[i, k] + B[i, j] > 0 if operator == "all" else A[i, k] + B[i, j]
        R[k] = getattr(sd, operator)(value, over=(i, j))
        return R

    for rows in (0, 2):
        truth = {"A": np.ones((rows, 3)), "B": np.ones((rows, 2))}
        tensors = {n: store(x, x != 0, "csr") for n, x in truth.items()}
        special = reduced.engine.specialise(list(tensors.values()))
        for _ in range(3):
            check(special, tensors, truth)


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "uint64", "bool"])
@pytest.mark.parametrize("shift", [np.nan, np.inf, -1.5, 300.0])
def test_a_fill_that_the_dtype_does_not_hold(dtype, shift):
    """What NumPy leaves undefined is some value of the dtype; nothing is raised."""

    @sd.kernel
    def shifted(A):
        i, j = sd.indices("i j")
        R = sd.output("dense", dtype=dtype)
        R[i, j] = A[i, j] + shift
        return R

    exact = np.array([[0.0, 1.5, 0.0], [2.0, 0.0, -300.0]]) + shift
    found = shifted(sd.convert(exact - shift if np.isfinite(shift) else np.eye(2, 3), "csr"))
    assert found.dtype == dtype
    assert found.shape == (2, 3)
    if np.isfinite(shift):
        limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        held = (np.trunc(exact) >= limits[0]) & (np.trunc(exact) <= limits[1])
        np.testing.assert_array_equal(found[held], exact[held].astype(dtype))
