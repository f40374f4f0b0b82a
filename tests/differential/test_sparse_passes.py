"""A sparse output and dense ones of one pass: the results of one after another, bit for bit."""

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.calls import specialisation
from sparsedsl.pipeline import stages

N = 5


def _product(o, A, B, x, i, j, k):
    C = o["C"]
    C[i, j] = A[i, j] * B[i, j]


def _matrix_product(o, A, B, x, i, j, k):
    D = o["D"]
    D[i, j] = A[i, k] * B[k, j]


def _quotient(o, A, B, x, i, j, k):
    P = o["P"]
    P[i, j] = A[i, j] / o["r"][i]


def _by_root(o, A, B, x, i, j, k):
    R = o["R"]
    R[i, j] = A[i, j] / sd.sqrt(o["n"][i])


def _row_sums(o, A, B, x, i, j, k):
    r = o["r"]
    r[i] = A[i, j]


def _row_squares(o, A, B, x, i, j, k):
    n = o["n"]
    n[i] = A[i, j] * A[i, j]


def _column_product(o, A, B, x, i, j, k):
    q = o["q"]
    q[j] = A[i, j] * x[i]


def _total(o, A, B, x, i, j, k):
    s = o["s"]
    s[()] = A[i, j] * A[i, j]


STATEMENTS = {
    **{"C": _product, "D": _matrix_product, "P": _quotient, "R": _by_root},
    **{"r": _row_sums, "n": _row_squares, "q": _column_product, "s": _total},
}
SEQUENCES = ("Cr", "rC", "Cq", "Cs", "rP", "nR", "Dr", "Dq", "qD", "rnC", "rqPs", "rCq")


def kernel(names, **options):
    @sd.kernel(**options)
    def several(A, B, x):
        i, j, k = sd.indices("i j k")
        outputs = {name: sd.output() for name in names}
        for name in names:
            STATEMENTS[name](outputs, A, B, x, i, j, k)
        return tuple(outputs[name] for name in names)

    return several


def always(*_):
    return True


def operands(layout, seed, n=N, density=0.5):
    rng = np.random.default_rng(seed)
    truth = {name: rng.integers(1, 5, (n, n)).astype(float) for name in "AB"}
    masks = {name: (rng.random((n, n)) < density) | np.eye(n, dtype=bool) for name in "AB"}
    truth = {name: np.where(masks[name], values, 0) for name, values in truth.items()}
    truth["x"], masks["x"] = rng.integers(-3, 4, n).astype(float), np.ones(n, bool)
    kinds = {"A": layout, "B": layout, "x": "dense"}
    return {m: store(v, masks[m], kinds[m]) for m, v in truth.items()}, truth


def same(one, two):
    assert one.keys() == two.keys()
    for array in one:
        assert one[array].tobytes() == two[array].tobytes()


def both(names, given, monkeypatch):
    """Results in passes and apart, and the outputs of each pass."""
    special = kernel(names).engine.specialise(list(given.values()))
    found = special.run(dict(given))
    with monkeypatch.context() as patch:
        patch.setattr(specialisation, "in_passes", lambda groups, *_: (groups, ()))
        expected = kernel(names).engine.specialise(list(given.values())).run(dict(given))
    for name in names:
        same(found[name].arrays, expected[name].arrays)
    return [group.made for group in special.groups]


@pytest.mark.parametrize("names", SEQUENCES)
@pytest.mark.parametrize("layout", ["csr", "csc", "dcsr"])
def test_results(layout, names, monkeypatch):
    monkeypatch.setattr(stages, "saves", always)
    tensors, truth = operands(layout, 0)
    with sd.options(threads=1), interpreting(), remembering_proofs():
        special = kernel(names).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)
        if layout == "csr":
            with compiling():
                check(special, tensors, truth)
        passes = both(names, tensors, monkeypatch)
    if layout == "csr":
        assert max(map(len, passes)) > 1


@pytest.mark.parametrize("names", ["Cr", "Dq", "rP", "Cs", "rqD"])
def test_room_that_is_too_little_at_first(names, monkeypatch):
    """Nothing is added to dense outputs twice."""
    monkeypatch.setattr(stages, "saves", always)
    for seed in range(3):
        tensors, _ = operands("csr", seed, n=40, density=0.1)
        with sd.options(threads=1):
            assert max(map(len, both(names, tensors, monkeypatch))) > 1


@pytest.mark.parametrize("names", ["Cr", "rP", "nR", "Cs", "Dr", "Cq", "rC"])
def test_any_number_of_threads_gives_the_same(names):
    rng = np.random.default_rng(1)
    A, B = (
        (sp.random_array((700, 700), density=0.03, rng=rng) + sp.eye_array(700)).tocsr()
        for _ in "AB"
    )
    x = rng.standard_normal(700)
    found = []
    for threads in (1, 2, 3):
        for least in (0, 10**9):
            with sd.options(threads=threads, parallel_threshold=least):
                found.append((least, kernel(names)(A, B, x)))
    for least, other in found:
        first = next(f for at, f in found if at == least)
        for one, two in zip(first, other, strict=True):
            if sp.issparse(one):
                parts = ("indptr", "indices", "data")
                same(*({p: getattr(m, p) for p in parts} for m in (one, two)))
            else:
                assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def test_threads_share_the_pass():
    A = sd.ShapeOf((10**5, 10**5), "float64", nnz=10**6)
    x = sd.ShapeOf((10**5,), "float64")
    with sd.options(threads=2), remembering_proofs():
        (unit,) = kernel("rP").lower(A, A, x).units
        assert unit.group.made == ("r", "P")
        assert unit.recipe.shared is not None
        text = kernel("Cs").explain(A, A, x)
        assert "not in one pass: C and s: threads share a loop of C by itself" in text


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_what_must_hold_of_an_output_is_looked_at_afterwards(value):
    """A quotient by what turns out to be zero is dense semantics' once more."""
    matrix = np.array([[2.0, 0, 1], [0, value, 0], [1, 0, 1]])
    A = sp.csr_array((matrix[matrix != 0], np.nonzero(matrix)), shape=(3, 3))
    good = sp.csr_array(np.array([[2.0, 0, 1], [0, 3, 0], [1, 0, 1]]))
    with sd.options(threads=1), np.errstate(all="ignore"):
        several = kernel("rP")
        for given in (good, A, good, A, A):
            r, P = several(given, good, np.ones(3))
            dense = given.toarray()
            np.testing.assert_array_equal(r, dense.sum(axis=1))
            expected = dense / dense.sum(axis=1)[:, None]
            np.testing.assert_array_equal(P.toarray() if sp.issparse(P) else P, expected)


def test_calls_give_new_arrays():
    rng = np.random.default_rng(2)
    several, kept = kernel("rP"), []
    with sd.options(threads=1):
        for _ in range(3):
            A = (sp.random_array((30, 30), density=0.2, rng=rng) + sp.eye_array(30)).tocsr()
            for _ in range(4):
                r, P = several(A, A, np.ones(30))
                np.testing.assert_allclose(r, A.sum(axis=1), rtol=1e-13)
                np.testing.assert_allclose(P.toarray(), A.toarray() / r[:, None], rtol=1e-13)
                kept.append((r, r.copy(), P, P.toarray()))
    for r, before, P, dense in kept:
        np.testing.assert_array_equal(r, before)
        np.testing.assert_array_equal(P.toarray(), dense)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("CD", "what they read alike takes little"),
        ("Dr", "what they read alike, A, takes little"),
    ],
)
def test_why_not(names, why):
    A = sd.ShapeOf((10**4, 10**4), "float64", nnz=10**6)
    with sd.options(threads=1), remembering_proofs():
        text = kernel(names).explain(A, A, sd.ShapeOf((10**4,), "float64"))
    assert any(why.split(",")[0] in line for line in text.splitlines() if "not in one" in line)
