"""Several outputs of one pass: the results of one after another, bit for bit; which they are.

Each statement below is one output of a kernel; kernels are sequences of them.
"""

import re
from itertools import permutations
from random import Random

import numpy as np
import pytest
import scipy.sparse as sp
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.calls import specialisation
from sparsedsl.pipeline import stages

N, M = 5, 4
LAYOUTS = ("csr", "csc", "coo", "dcsr", "ell", "dense", "bitmap")


def _row_product(o, A, x, w, i, j):
    p = o["p"]
    p[i] = A[i, j] * x[j]


def _column_product(o, A, x, w, i, j):
    q = o["q"]
    q[j] = A[i, j] * w[i]


def _row_sums(o, A, x, w, i, j):
    r = o["r"]
    r[i] = A[i, j]


def _row_maxima(o, A, x, w, i, j):
    m = o["m"]
    m[i] = sd.max(A[i, j], over=j)


def _column_sums(o, A, x, w, i, j):
    v = o["v"]
    v[j] = A[i, j]


def _squares(o, A, x, w, i, j):
    s = o["s"]
    s[()] = A[i, j] * A[i, j]


def _total(o, A, x, w, i, j):
    t = o["t"]
    t[()] = A[i, j] * x[j] * w[i]


def _whole(o, A, x, w, i, j):
    D = o["D"]
    D[i, j] = A[i, j] * w[i] + 1


def _scaled(o, A, x, w, i, j):
    u = o["u"]
    u[i] = w[i] * w[i] - 2


def _after(o, A, x, w, i, j):
    a = o["a"]
    a[i] = o["p"][i] * w[i] + 1


def _norm(o, A, x, w, i, j):
    n = o["n"]
    n[()] = o["p"][i] * o["p"][i]


def _back(o, A, x, w, i, j):
    b = o["b"]
    b[j] = A[i, j] * o["p"][i]


def _again(o, A, x, w, i, j):
    c = o["c"]
    c[i] = A[i, j] * o["q"][j]


def _folded(o, A, x, w, i, j):
    f = o["f"]
    f[i] = o["D"][i, j] * x[j]


STATEMENTS = {
    **{"p": _row_product, "q": _column_product, "r": _row_sums, "m": _row_maxima},
    **{
        "v": _column_sums,
        "s": _squares,
        "t": _total,
        "D": _whole,
        "u": _scaled,
        "a": _after,
        "n": _norm,
    },
    **{"b": _back, "c": _again, "f": _folded},
}
NEEDS = {"a": "p", "n": "p", "b": "p", "c": "q", "f": "D"}


def kernel(names, results=None, **options):
    """A kernel of the statements of these outputs, in order."""

    @sd.kernel(**options)
    def several(A, x, w):
        i, j = sd.indices("i j")
        outputs = {name: sd.output("dense" if name == "D" else None) for name in names}
        for name in names:
            STATEMENTS[name](outputs, A, x, w, i, j)
        return tuple(outputs[name] for name in results or names)

    return several


def sequences(count):
    """Every sequence of so many statements in which each comes after what it reads."""
    for names in permutations(STATEMENTS, count):
        needs = [NEEDS.get(name) for name in names]
        if all(need is None or need in names[:place] for place, need in enumerate(needs)):
            yield names


def operands(layout, seed, value=None):
    rng = np.random.default_rng(seed)
    mask = rng.random((N, M)) < (1 if layout == "dense" else 0.5)
    truth = {
        "A": np.where(mask, rng.integers(-3, 4, (N, M)), 0).astype(float),
        "x": rng.integers(-3, 4, M).astype(float),
        "w": rng.integers(-3, 4, N).astype(float),
    }
    if value is not None:
        truth["xw"[seed % 2]][1] = value
    masks = {"A": mask, "x": np.ones(M, bool), "w": np.ones(N, bool)}
    layouts = {"A": layout, "x": "dense", "w": "dense"}
    return {n: store(v, masks[n], layouts[n]) for n, v in truth.items()}, truth


def apart(groups, *_):
    """What ``in_passes`` gives where nothing is to be joined."""
    return groups, ()


def both(names, given, monkeypatch, threads=1):
    """The results in passes and one after another, and the names of the outputs by pass."""
    with sd.options(threads=threads, parallel_threshold=0 if threads > 1 else 10**9):
        special = kernel(names).engine.specialise(list(given.values()))
        found = special.run(dict(given))
        with monkeypatch.context() as patch:
            patch.setattr(specialisation, "in_passes", apart)
            expected = kernel(names).engine.specialise(list(given.values())).run(dict(given))
    return found, expected, [group.made for group in special.groups]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs(layout, monkeypatch):
    """Every pair of statements: against NumPy and against one after another."""
    tensors, truth = operands(layout, 0)
    joined = 0
    with interpreting(), remembering_proofs():
        for names in sequences(2):
            if Random(f"{layout} {names}").random() < (0.7 if layout == "csr" else 0.25):
                special = kernel(names).engine.specialise(list(tensors.values()))
                check(special, tensors, truth)
                found, expected, passes = both(names, tensors, monkeypatch)
                for name in names:
                    assert found[name].values.tobytes() == expected[name].values.tobytes()
                joined += len(passes) == 1
    assert joined > (15 if layout == "csr" else 0)


@pytest.mark.parametrize("seed", range(6))
def test_triples_and_more(seed, monkeypatch):
    random = Random(seed)
    with interpreting(), remembering_proofs(), np.errstate(all="ignore"):
        for count in (3, 3, 4, 5):
            names = random.choice(_SEQUENCES[count])
            layout = random.choice(LAYOUTS)
            value = random.choice((None, np.inf, np.nan)) if count == 3 else None
            tensors, truth = operands(layout, random.randrange(100), value)
            special = kernel(names).engine.specialise(list(tensors.values()))
            check(special, tensors, truth)
            found, expected, _ = both(names, tensors, monkeypatch)
            for name in names:
                np.testing.assert_array_equal(found[name].values, expected[name].values)


def _some(count):
    """Sequences of so many statements, drawn."""
    random, found = Random(count), []
    while len(found) < 40:
        names = random.sample(list(STATEMENTS), count)
        names.sort(key=lambda name: name in NEEDS)
        if all(NEEDS.get(name, name) in names for name in names):
            found.append(tuple(names))
    return found


_SEQUENCES = {count: _some(count) for count in (3, 4, 5)}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("names", ["pq", "rm", "pb", "pn", "mrqp", "qr", "rv", "ps"], ids=str)
def test_compiled_bit_for_bit(names, whole, monkeypatch):
    """Values that are rounded: rows are added up in the same order with and without others.

    Unless their loops are joined, too, which is done whatever threads there are, or not at all.
    """
    if not whole:
        monkeypatch.setattr(stages, "at_once", lambda *_, **__: False)
    rng, n = np.random.default_rng(1), 60 if whole else 300  # kernels of other sizes are others
    A = sp.random_array((n, 50), density=0.3, format="csr", rng=rng)
    given = {"A": sd.asarray(A), "x": sd.asarray(rng.random(50)), "w": sd.asarray(rng.random(n))}
    found, expected, passes = both(tuple(names), given, monkeypatch)
    assert len(passes) == 1
    for name in names:
        if found[name].shape and not whole:
            assert found[name].values.tobytes() == expected[name].values.tobytes()
        else:  # a sum of everything is taken in another order in any case
            np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-13)


@pytest.mark.parametrize("least", [0, 20_000, 10**9])
@pytest.mark.parametrize("names", ["pq", "rm", "pan", "rs", "pb", "qs", "pnb", "Df"], ids=str)
def test_any_number_of_threads_gives_the_same(names, least):
    """Whether outputs share a pass may depend on threads; not so in which order sums are taken."""
    rng = np.random.default_rng(2)
    A = sp.random_array((700, 600), density=0.05, format="csr", rng=rng)
    x, w = rng.standard_normal(600), rng.standard_normal(700)
    found = []
    for threads in (1, 2, 3, 5):
        with sd.options(threads=threads, parallel_threshold=least):
            found.append(kernel(tuple(names))(A, x, w))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def test_threads_share_a_loop_that_all_parts_share():
    A, x = sd.ShapeOf((10**5, 10**5), "float64", nnz=10**6), sd.ShapeOf((10**5,), "float64")
    with remembering_proofs():
        with sd.options(threads=2):
            sums, products = kernel("rm").lower(A, x, x), kernel("pq").lower(A, x, x)
            assert [u.group.made for u in sums.units] == [("r", "m")]
            assert sums.units[0].recipe.shared is not None
            assert len(products.units) == 2
            assert "p and q: threads share a loop of q by itself" in products.explain()
        with sd.options(threads=2):
            (unit,) = kernel("pq", parallel=False).lower(A, x, x).units
            assert unit.recipe.shared is None


def test_calls_seen_before_and_new_values():
    """The short ways of calls fill new arrays each time."""
    rng = np.random.default_rng(3)
    A = sp.random_array((40, 30), density=0.2, format="csr", rng=rng)
    several = kernel(("p", "q", "b", "n"))
    kept = []
    for _ in range(4):
        x, w = rng.random(30), rng.random(40)
        for _ in range(3):
            found = several(A, x, w)
            p = A @ x
            for one, two in zip(found, (p, A.T @ w, A.T @ p, p @ p), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-13)
            kept.append((found, [np.array(one) for one in found]))
    for found, copies in kept:
        for one, two in zip(found, copies, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("sparse", ["csr", "csc"])
def test_a_sum_that_overflows_is_noticed_afterwards(sparse):
    """What must be finite of an output of the pass is looked at once it is there."""
    A = sp.csr_array(np.array([[1e200, 0.0], [0.0, 1.0], [1e200, 0.0]])).asformat(sparse)
    several = kernel(("p", "b"))
    w = np.ones(3)
    for x in (np.array([1.0, 2.0]), np.array([1e200, 2.0]), np.array([3.0, 4.0])):
        for _ in range(3):
            p, b = several(A, x, w)
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(p, [1e200 * x[0], x[1], 1e200 * x[0]])
                dense = A.toarray()
                expected = [sum(dense[r, c] * p[r] for r in range(3)) for c in range(2)]
            np.testing.assert_array_equal(b, expected)


def test_a_result_beside_what_is_not_one():
    """``out`` is filled, whichever output of the pass it is for."""
    rng = np.random.default_rng(4)
    A, x, w = (
        sp.random_array((30, 20), density=0.3, format="csr", rng=rng),
        *(rng.random(n) for n in (20, 30)),
    )
    for names, result, size, expected in (
        ("pq", "p", 30, A @ x),
        ("pb", "b", 20, A.T @ (A @ x)),
    ):
        several = kernel(tuple(names), results=(result,))
        assert len(several.lower(A, x, w).units) == 1
        compiled = several.compile(A, x, w)
        for _ in range(3):
            out = np.full(size, 7.0)
            assert compiled.compute(A, x, w, out=out) is out
            np.testing.assert_allclose(out, expected, rtol=1e-13)
            np.testing.assert_allclose(compiled(A, x, w)[0], expected, rtol=1e-13)


def test_what_was_refused_is_not_planned_again(monkeypatch):
    A, x = sd.ShapeOf((10**5, 10**5), "float64", nnz=10**7), sd.ShapeOf((10**5,), "float64")
    planned = []
    usual = stages.compile_group

    def counted(group, *rest):
        planned.append(group.made)
        return usual(group, *rest)

    monkeypatch.setattr(stages, "compile_group", counted)
    with sd.options(threads=7), remembering_proofs():
        for _ in range(2):
            assert len(kernel("pq").lower(A, x, x).units) == 2
    assert planned.count(("p", "q")) == 1


def test_the_explanation_tells():
    tensors, _ = operands("csr", 0)
    with sd.options(threads=1):
        text = kernel("pq").explain(*tensors.values())
        assert "one pass computes p and q: what they read alike, " in text
        assert re.findall("time of .*", text)[1:] == ["time of p by itself", "time of q by itself"]
        assert "what they read alike, A, comes from memory once" in text
        assert text.count("\noutput ") == 2
        assert (
            "the outermost loops of p and q are one:" in kernel("pq").lower(*tensors.values()).plan
        )
        text = kernel("qc").explain(*tensors.values())
        assert "not in one pass: q and c: c touches q_data where other turns of q do" in text


def test_an_output_that_is_read_at_another_index_is_complete_before():
    A, x = sp.eye_array(6, format="csr") * 2.0, np.arange(6.0)

    @sd.kernel
    def twice(A, x):
        i, j = sd.indices("i j")
        y, z = sd.output(), sd.output()
        y[i] = A[i, j] * x[j]
        z[i] = A[i, j] * y[j]
        return y, z

    with sd.options(threads=1):
        assert "not in one pass: y and z: z needs y as a whole" in twice.explain(A, x)
        for found, factor in zip(twice(A, x), (2, 4), strict=True):
            np.testing.assert_array_equal(found, factor * x)


def test_one_kernel_of_several_outputs_is_not_one_loop_nest():
    tensors, _ = operands("csr", 0)
    with sd.options(threads=1):
        lowered = kernel("pq").lower(*tensors.values())
        with pytest.raises(sd.PlanError, match="one loop nest, found 2"):
            _ = lowered.compile().njit


@pytest.mark.parametrize(
    ("names", "made"),
    [("pn", 1), ("pa", 2), ("pb", 1), ("mrqp", 1), ("rv", 1), ("ps", 1), ("st", 2)],
)
def test_which_outputs_are_computed_together(names, made):
    tensors, truth = operands("csr", 1)
    with sd.options(threads=1), interpreting(), remembering_proofs():
        special = kernel(tuple(names)).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)
        with compiling():
            check(special, tensors, truth)
    assert len(special.groups) == made


def test_much_at_random_and_much_work():
    """Two gathers in large vectors are waited for at once; columns take longer than ``A``."""
    A = sd.ShapeOf((10**6, 10**6), "float64", nnz=10**7)
    x = sd.ShapeOf((10**6,), "float64")

    @sd.kernel
    def columns(A, X):
        i, j, k = sd.indices("i j k")
        Y, Z = sd.output(), sd.output()
        Y[i, k] = A[i, j] * X[j, k]
        Z[i, k] = A[i, j] * X[j, k] * X[j, k]
        return Y, Z

    with sd.options(threads=1), remembering_proofs():
        text = kernel("pq").explain(A, x, x)
        assert "not in one pass" not in text
        A, X = sd.ShapeOf((10**4, 10**4), "float64", nnz=10**5), sd.ShapeOf((10**4, 8), "float64")
        text = columns.explain(A, X)
        assert "not in one pass: Y and Z: what they read alike takes little" in text
