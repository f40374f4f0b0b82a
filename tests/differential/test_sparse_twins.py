"""Several sparse outputs of one pass: the results of one after another, bit for bit."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.aot import module_text
from sparsedsl.calls import specialisation
from sparsedsl.errors import PlanError
from sparsedsl.pipeline import stages
from sparsedsl.runtime import outputs

STATEMENTS = {
    "S": lambda A, B, x: A + B,
    "T": lambda A, B, x: A - B,
    "U": lambda A, B, x: 2 * A + B,
    "M": lambda A, B, x: sd.maximum(A, B),
    "P": lambda A, B, x: A * B,
    "Q": lambda A, B, x: A * B * x,
    "R": lambda A, B, x: -(A * B),
    "X": lambda A, B, x: A * x,
    "Y": lambda A, B, x: x * A * x,
}
UNIONS, PRODUCTS, SCALED = "STUM", "PQR", "XY"


def kernel(names, rank=2, layout=None, **options):
    @sd.kernel(**options)
    def several(A, B, x):
        at = sd.indices("i j k")[:rank]
        made = [sd.output(layout) for _ in names]
        for name, output in zip(names, made, strict=True):
            output[at] = STATEMENTS[name](A[at], B[at], x[at[0]])
        return tuple(made)

    return several


def operands(layout, seed, shape=(6, 5), density=0.4, dtype=float):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    low, high = (0, 2) if dtype.kind == "b" else (-3, 4)
    truth = {name: rng.integers(low, high, shape).astype(dtype) for name in "AB"}
    if dtype.kind == "c":
        truth = {name: values * (1 + 2j) for name, values in truth.items()}
    masks = {name: rng.random(shape) < density for name in "AB"}
    truth = {name: np.where(masks[name], values, 0) for name, values in truth.items()}
    truth["x"] = rng.integers(1, 4, shape[0]).astype(dtype)
    masks["x"] = np.ones(shape[0], bool)
    kinds = {"A": layout, "B": layout, "x": "dense"}
    return {m: store(v, masks[m], kinds[m]) for m, v in truth.items()}, truth


def same(one, two):
    assert one.shape == two.shape
    assert one.layout == two.layout
    assert one.arrays.keys() == two.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == two.arrays[name].dtype
        assert array.tobytes() == two.arrays[name].tobytes()


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(stages, "saves", lambda *_: True)


def results(several, given):
    return several(*given.values())


def apart(names, given, monkeypatch, **options):
    """The results of kernels of one output each."""
    with monkeypatch.context() as patch:
        patch.setattr(specialisation, "in_passes", lambda groups, *_: (groups, ()))
        return results(kernel(names, **options), given)


def passes(several, given):
    """How many outputs each pass computes."""
    special = several.engine.specialise(list(given.values()))
    return [len(group.turn) for group in special.groups]


@pytest.mark.parametrize("names", ["ST", "PQ", "XY", "STM", "PQR"])
@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dcsr", "csf"])
def test_results(layout, names, always):
    tensors, truth = operands(layout, 0)
    with sd.options(threads=1), interpreting(), remembering_proofs():
        special = kernel(names, layout=layout).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)
        if layout == "csr":
            with compiling():
                check(special, tensors, truth)
            assert [len(group.turn) for group in special.groups] == [len(names)]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8, np.complex128])
@pytest.mark.parametrize("names", ["ST", "PQ"])
def test_dtypes(names, dtype, always):
    tensors, truth = operands("csr", 1, dtype=dtype)
    with sd.options(threads=1), interpreting(), remembering_proofs():
        special = kernel(names).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)


@pytest.mark.parametrize("part", range(3))
def test_random_programs(part, monkeypatch):
    """Calls with new and with old operands, which have fewer or more entries than those before."""
    random = Random(part)
    joined = 0
    for _ in range(3):
        names = "".join(random.sample([*STATEMENTS], random.randint(2, 3)))
        several = kernel(names)
        for seed in range(4):
            density = random.choice([0.0, 0.02, 0.3, 0.9])
            given, _ = operands("csr", seed, (40, 30), density)
            expected = apart(names, given, monkeypatch)
            joined += max(passes(several, given)) > 1
            for _ in range(3):
                for one, two in zip(results(several, given), expected, strict=True):
                    same(one, two)
    assert joined


@pytest.mark.parametrize("names", ["ST", "PQ", "STU"])
def test_any_number_of_threads_gives_the_same(names):
    found = []
    given, _ = operands("csr", 3, (900, 700), 0.03)
    for threads in (1, 2, 3):
        for least in (0, 10**9):
            several = kernel(names)
            with sd.options(threads=threads, parallel_threshold=least):
                assert passes(several, given) == [len(names)]
                found.append([results(several, given) for _ in range(6)])
    for calls in found:
        for call in calls:
            for one, two in zip(call, found[0][0], strict=True):
                same(one, two)


@pytest.mark.parametrize("layout", ["csr", "dcsr", "csf"])
@pytest.mark.parametrize("rows", [0, 1, 6])
def test_operands_without_entries(layout, rows, always, monkeypatch):
    given, _ = operands(layout, 0, (rows, 5), 0.0)
    for names in ("ST", "PQ"):
        expected = apart(names, given, monkeypatch, layout=layout)
        for one, two in zip(results(kernel(names, layout=layout), given), expected, strict=True):
            same(one, two)
            assert one.nnz == 0


def test_scipys_results():
    rng = np.random.default_rng(5)
    A, B = (sp.random_array((200, 150), density=0.1, rng=rng, format="csr") for _ in "AB")
    several, x = kernel("ST"), np.ones(200)
    with sd.options(threads=1):
        for _ in range(5):
            S, T = several(A, B, x)
            assert isinstance(S, sp.csr_array)
            assert abs(S - (A + B)).max() == 0
            assert abs(T - (A - B)).max() == 0


def test_entries_that_cancel_are_not_stored():
    rng = np.random.default_rng(6)
    A = sp.random_array((50, 50), density=0.2, rng=rng, format="csr")
    B = A.copy()
    B.data[::2] *= -1
    for one, other in pairwise([A, B, A]):
        S, T = kernel("ST")(one, other, np.ones(50))
        for found, expected in ((S, one + other), (T, one - other)):
            expected.eliminate_zeros()
            assert found.nnz == expected.nnz
            np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_infinities_where_implicit_zeros_are_multiplied():
    _, truth = operands("csr", 7, (8, 8), 0.4)
    A = truth["A"].copy()
    A[tuple(np.argwhere(A)[0])] = np.inf
    with np.errstate(invalid="ignore"):
        several = kernel("PQ")
        for dense in (truth["A"], A, truth["A"], A):
            P, Q = several(sp.csr_array(dense), sp.csr_array(truth["B"]), truth["x"])
            product = dense * truth["B"]
            np.testing.assert_array_equal(np.asarray(sd.asarray(P).to_numpy()), product)
            np.testing.assert_array_equal(
                np.asarray(sd.asarray(Q).to_numpy()), product * truth["x"][:, None]
            )


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_without_memory_leaves_the_next_one_right(threads, monkeypatch):
    small, _ = operands("csr", 8, (30, 30), 0.05)
    given, _ = operands("csr", 9, (30, 30), 0.9)
    expected = apart("ST", given, monkeypatch)
    several = kernel("ST")
    with sd.options(threads=threads, parallel_threshold=0 if threads > 1 else 10**9):
        results(several, small)
        call = several.engine.specialise(list(given.values())).prepare(0).call
        for side in (call, *call.sides):
            side.expect(sum(t.values.size for n, t in given.items() if n != "x"), 1)
        with monkeypatch.context() as patch:
            patch.setattr(outputs, "memory_bytes", lambda: 100)
            with pytest.raises(PlanError, match="more than the"):
                results(several, given)
        for one, two in zip(results(several, given), expected, strict=True):
            same(one, two)


@sd.kernel
def sum_and_difference(A, B):
    i, j = sd.indices("i j")
    S, T = sd.output(), sd.output()
    S[i, j] = A[i, j] + B[i, j]
    T[i, j] = A[i, j] - B[i, j]
    return S, T


@sd.kernel
def sum_and_square(A, B):
    i, j = sd.indices("i j")
    S, X = sd.output(), sd.output()
    S[i, j] = A[i, j] + B[i, j]
    X[i, j] = A[i, j] * A[i, j] * B[i, i]
    return S, X


def test_what_is_told():
    A = sd.ShapeOf((10**4, 10**4), "float64", nnz=10**6)
    with sd.options(threads=1), remembering_proofs():
        text = sum_and_difference.explain(A, A)
        assert "one pass computes S and T: what they read alike, A, B, comes from memory" in text
        assert "the loops of S and T are the same and run once" in text
        (unit,) = sum_and_difference.lower(A, A).units
        assert [each.output for each in unit.recipe.appended] == ["S", "T"]
        assert unit.kernel.results == ("S_room", "S_n1", "T_room", "T_n1")
        text = sum_and_square.explain(A, A)
        assert "not in one pass: S and X: the loops of X are not those of S" in text


def test_modules_of_one_pass_are_refused():
    A = sd.ShapeOf((100, 100), nnz=1000)
    with pytest.raises(PlanError, match="one loop nest, found 2"):
        module_text(sum_and_difference.lower(A, A))
