"""Reductions over symmetric tensors visit each stored entry once, and are those of the whole."""

import numpy as np
import pytest
from levels import check, compiling, dense_of, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.layouts.catalogue import layouts, resolve
from sparsedsl.pipeline.mirrors import mirror_of
from sparsedsl.spf.text import constraint_text

N = 5


def _quadratic(A, B, x, y, s, i, j, k):
    s[()] = x[i] * A[i, j] * x[j]


def _bilinear(A, B, x, y, s, i, j, k):
    s[()] = x[i] * A[i, j] * y[j] * x[j]


def _two_vectors(A, B, x, y, s, i, j, k):
    s[()] = x[i] * A[i, j] * y[j]


def _squares(A, B, x, y, s, i, j, k):
    s[()] = A[i, j] * A[j, i]


def _inner(A, B, x, y, s, i, j, k):
    s[()] = A[i, j] * B[j, i]


def _all_of_both(A, B, x, y, s, i, j, k):
    s[()] = A[i, j] + B[i, j] * B[i, j] - A[j, i] * y[i] * y[j] * y[j]


def _below(A, B, x, y, s, i, j, k):
    s[()] = A[i, j] * x[i] * x[j] * (i < j) + B[i, j] * (i - j)


def _largest(A, B, x, y, s, i, j, k):
    s[()] = sd.max(A[i, j], over=(i, j))


def _least_of_products(A, B, x, y, s, i, j, k):
    s[()] = sd.min(A[i, j] * x[j] * B[i, j], over=(i, j))


def _some(A, B, x, y, s, i, j, k):
    s[()] = sd.any((A[i, j] > 1) & (x[i] > 1) & (x[j] < 2), over=(i, j))


def _pattern(A, B, x, y, s, i, j, k):
    s[()] = sd.sum(sd.pattern(A)[i, j] * x[i] * x[j], over=(i, j))


def _columns(A, B, x, y, s, i, j, k):
    s[k] = B[i, j] * y[i] * (i - k) * (j - k) * y[j] * x[k]


def _path(A, B, x, y, s, i, j, k):
    s[()] = A[i, j] * A[j, k] * x[k]


def _with_fill(A, B, x, y, s, i, j, k):
    s[()] = sd.sum((A[i, j] + 1) * x[i] * x[j], over=(i, j))


HALVED = {
    *(_quadratic, _bilinear, _squares, _inner, _all_of_both, _below, _largest),
    *(_some, _pattern, _columns),
}
CASES = (
    *sorted(HALVED, key=lambda f: f.__name__),
    _two_vectors,
    _path,
    _with_fill,
    _least_of_products,
)


def kernel(statement):
    @sd.kernel
    def reduced(A, B, x, y):
        i, j, k = sd.indices("i j k")
        s = sd.output()
        statement(A, B, x, y, s, i, j, k)
        return s

    return reduced


def operands(layout, dtype, seed, n=N, special=()):
    rng = np.random.default_rng(seed)
    truth, masks = {}, {}
    for name in "AB":
        mask = rng.random((n, n)) < (1 if layout == "packed" else 0.5)
        masks[name] = np.tril(mask) | np.tril(mask).T
        lower = np.tril(np.where(mask, rng.integers(-3, 4, (n, n)), 0))
        truth[name] = (lower + np.tril(lower, -1).T).astype(dtype)
    for value, (row, column) in special:
        truth["A"][[row, column], [column, row]] = value
        masks["A"][[row, column], [column, row]] = True
    for name in "xy":
        truth[name] = rng.integers(-3, 4, n).astype(dtype)
        masks[name] = np.ones(n, bool)
    kinds = {"A": layout, "B": layout, "x": "dense", "y": "dense"}
    return {n: store(v, masks[n], kinds[n]) for n, v in truth.items()}, truth


def halved(special):
    """The operands of which one half is read."""
    units = [special.unit(place) for place in range(len(special.groups))]
    read = [o for u in units for chain in u.nest.chains for o in chain.operands]
    return {o.tensor.name for o in read if o.layout.name.startswith("part 0 of")}


@pytest.mark.parametrize("statement", CASES, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("layout", ["symmetric", "packed"])
def test_reductions(layout, statement):
    for seed, dtype in enumerate(("float64", "int64", "float32", "complex128")):
        ordered = statement in (_largest, _least_of_products, _some)
        if dtype == "complex128" and ordered:
            continue
        tensors, truth = operands(layout, dtype, seed)
        with interpreting(), remembering_proofs():
            special = kernel(statement).engine.specialise(list(tensors.values()))
            check(special, tensors, truth)
            if dtype == "float64":
                with compiling():
                    check(special, tensors, truth)
        if layout == "symmetric":
            assert bool(halved(special)) == (statement in HALVED)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_small_shapes(n):
    for statement in (_quadratic, _squares, _inner, _all_of_both):
        tensors, truth = operands("symmetric", "float64", 3, n)
        with interpreting(), remembering_proofs():
            special = kernel(statement).engine.specialise(list(tensors.values()))
            check(special, tensors, truth)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e308])
@pytest.mark.parametrize("place", [(0, 0), (3, 1)])
def test_values_that_are_not_finite(value, place):
    for statement in (_squares, _quadratic, _all_of_both):
        tensors, truth = operands("symmetric", "float64", 4, special=[(value, place)])
        with interpreting(), remembering_proofs(), np.errstate(all="ignore"):
            special = kernel(statement).engine.specialise(list(tensors.values()))
            check(special, tensors, truth)


@pytest.mark.parametrize("wide", ["int8", "int64", "float64"])
def test_sums_of_narrow_integers(wide):
    """Values that are added twice wrap around where their sum does."""
    _, truth = operands("symmetric", "int8", 5)
    values = np.where(truth["A"] > 0, 100, truth["A"]).astype("int8")

    @sd.kernel
    def total(A):
        i, j = sd.indices("i j")
        s = sd.output(dtype=wide)
        s[()] = sd.sum(A[i, j], over=(i, j))
        return s

    with interpreting(), remembering_proofs():
        for layout in ("symmetric", "csr"):
            given = {"A": store(values, values != 0, layout)}
            check(total.engine.specialise(list(given.values())), given, {"A": values})


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3)])
def test_entries_whose_image_is_outside_of_the_shape(shape):
    """The layout holds matrices that are not square: rows further down have no mirror image."""
    rows = shape[0]
    arrays = {
        "indptr": np.arange(rows + 1),
        "indices": np.zeros(rows, int),
        "data": np.arange(1.0, rows + 1),
    }
    A = sd.from_arrays("symmetric", shape, arrays)

    @sd.kernel
    def squares(A):
        i, j = sd.indices("i j")
        s = sd.output()
        s[()] = A[i, j] * A[i, j]
        return s

    assert "each stored entry is visited once" in squares.explain(A)
    assert squares(A) == np.square(dense_of(A)).sum()


def test_a_tensor_with_others_at_both_indices_is_read_as_a_whole():
    rng = np.random.default_rng(6)
    tensors, truth = operands("symmetric", "float64", 6)
    B = rng.integers(-3, 4, (N, N)).astype(float)
    given = {**tensors, "B": store(B, B != 0, "csr")}
    with interpreting(), remembering_proofs():
        special = kernel(_inner).engine.specialise(list(given.values()))
        check(special, given, {**truth, "B": B})
    assert not halved(special)


def test_which_layouts_are_mirrored():
    found = {}
    for name in layouts:
        mirror = mirror_of(resolve(name, 2))
        if mirror is not None:
            found[name] = [constraint_text(c) for c in mirror.where]
    assert found == {
        "symmetric": ["c0 < n1", "c1 < c0"],
        "packed": ["c0 < n1", "c1 < c0"],
    }


def test_the_explanation_tells():
    tensors, _ = operands("symmetric", "float64", 7)
    text = kernel(_quadratic).explain(*tensors.values())
    told = "each stored entry is visited once, for both of its coordinates"
    assert f"A: float64 in symmetric\n    {told}" in text
    assert "threads may share the loop over i" in text
