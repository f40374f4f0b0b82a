"""Results in symmetric layouts: one half is computed where the other is the same by form."""

import numpy as np
import pytest
from levels import check, compiling, dense_of, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.aot import module_text

N = 6


def _sum(A, B, R, x, X, i, j, k):
    return A[i, j] + B[j, i]


def _product(A, B, R, x, X, i, j, k):
    return A[i, j] * B[i, j]


def _scaled(A, B, R, x, X, i, j, k):
    return A[i, j] * x[i] * x[j]


def _sampled(A, B, R, x, X, i, j, k):
    return A[j, i] * X[i, k] * X[j, k]


def _difference(A, B, R, x, X, i, j, k):
    return sd.where(sd.pattern(A)[i, j], A[i, j] - 2 * B[i, j], 0)


def _one_sided(A, B, R, x, X, i, j, k):
    return A[i, j] * x[i]


def _against(A, B, R, x, X, i, j, k):
    return A[i, j] * R[i, j]


def _whole_rows(A, B, R, x, X, i, j, k):
    return A[i, k] * B[k, j]


HALVED = (_sum, _product, _scaled, _sampled, _difference)


def kernel(statement, layout):
    @sd.kernel
    def made(A, B, R, x, X):
        i, j, k = sd.indices("i j k")
        S = sd.output(layout)
        S[i, j] = statement(A, B, R, x, X, i, j, k)
        return S

    return made


def operands(layout, dtype="float64", n=N, seed=0, whole=True):
    """Whole numbers, of which products are exact in any order; others show rounding."""
    rng = np.random.default_rng(seed)
    truth, masks = {}, {}
    for name in "AB":
        mask = np.ones((n, n), bool) if layout == "packed" else rng.random((n, n)) < 0.4
        lower = np.tril(np.where(mask, rng.standard_normal((n, n)) * 8, 0))
        truth[name] = (lower + np.tril(lower, -1).T).astype(dtype)
        masks[name] = np.tril(mask) | np.tril(mask).T
    given = {"R": rng.random((n, n)), "x": rng.random(n), "X": rng.random((n, 3))}
    truth |= {name: (value * 8).astype(dtype) for name, value in given.items()}
    if whole:
        truth = {name: np.trunc(value.real).astype(dtype) for name, value in truth.items()}
    kinds = {"A": layout, "B": layout, "R": "csr", "x": "dense", "X": "dense"}
    full = {name: np.ones(v.shape, bool) for name, v in truth.items()} | masks
    return {n: store(v, full[n], kinds[n]) for n, v in truth.items()}, truth


@pytest.mark.parametrize("statement", HALVED, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("layout", ["symmetric", "packed"])
def test_one_half_is_computed(layout, statement):
    for seed, dtype in enumerate(("float64", "float32", "int64", "complex128")):
        tensors, truth = operands(layout, dtype, seed=seed)
        with interpreting(), remembering_proofs():
            special = kernel(statement, layout).engine.specialise(list(tensors.values()))
            check(special, tensors, truth)
            if dtype == "float64":
                with compiling():
                    check(special, tensors, truth)
        (group,) = special.groups
        assert group.halved
        for chain in special.unit(0).nest.chains:
            read = {o.tensor.name: o.layout.name for o in chain.operands}
            assert all(read[n].startswith("part 0 of") for n in read if n in ("A", "B"))


def test_results_with_stored_halves():
    for layout in ("symmetric", "packed"):
        tensors, truth = operands(layout, whole=False)
        S = kernel(_scaled, layout)(*tensors.values())
        assert S.layout.name == layout
        S.validate()
        assert "one half, which" in kernel(_scaled, layout).explain(*tensors.values())
        expected = truth["A"] * truth["x"][:, None] * truth["x"]
        np.testing.assert_allclose(dense_of(S), expected, rtol=1e-14)
        np.testing.assert_array_equal(dense_of(S), dense_of(S).T)


@pytest.mark.parametrize("statement", [_one_sided, _against, _whole_rows])
def test_others_are_computed_as_a_whole(statement):
    """Where they are symmetric they are stored all the same."""
    tensors, truth = operands("symmetric", whole=False)
    made = kernel(statement, "symmetric")
    with interpreting(), remembering_proofs():
        special = made.engine.specialise(list(tensors.values()))
    (group,) = special.groups
    assert not group.halved
    with pytest.raises(sd.InvalidTensorError, match="symmetric"):
        made(*tensors.values())
    alike = {**tensors, "R": store(truth["A"], truth["A"] != 0, "csr"), "x": np.ones(N)}
    alike["B"] = store(np.eye(N), np.eye(N, dtype=bool), "symmetric")
    expected = truth["A"] ** 2 if statement is _against else truth["A"]
    np.testing.assert_allclose(dense_of(made(*alike.values())), expected, rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_small_shapes(n):
    for statement in HALVED:
        tensors, truth = operands("symmetric", n=n)
        with interpreting(), remembering_proofs():
            special = kernel(statement, "symmetric").engine.specialise(list(tensors.values()))
            check(special, tensors, truth)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_shapes_that_are_not_square(shape):
    rows = shape[0]
    arrays = {
        "indptr": np.arange(rows + 1),
        "indices": np.zeros(rows, int),
        "data": np.arange(1.0, rows + 1),
    }
    A = sd.from_arrays("symmetric", shape, arrays)
    B = sd.from_arrays("symmetric", shape, {**arrays, "data": arrays["data"] * 2})

    @sd.kernel
    def added(A, B):
        i, j = sd.indices("i j")
        S = sd.output("symmetric")
        S[i, j] = A[i, j] + B[i, j]
        return S

    np.testing.assert_array_equal(dense_of(added(A, B)), 3 * dense_of(A))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_values_that_are_not_finite(value):
    for statement in (_product, _sum):
        tensors, truth = operands("symmetric", seed=3)
        row, column = np.argwhere(np.tril(truth["A"]))[0]
        truth["A"][[row, column], [column, row]] = value
        tensors["A"] = store(truth["A"], truth["A"] != 0, "symmetric")
        with interpreting(), remembering_proofs(), np.errstate(all="ignore"):
            special = kernel(statement, "symmetric").engine.specialise(list(tensors.values()))
            check(special, tensors, truth)


def test_an_existing_pattern_is_used_again():
    tensors, truth = operands("symmetric", whole=False)
    compiled = kernel(_scaled, "symmetric").compile(*tensors.values())
    S = compiled.assemble(*tensors.values())
    compiled.compute(*tensors.values(), out=S)
    expected = truth["A"] * truth["x"][:, None] * truth["x"]
    np.testing.assert_allclose(dense_of(S), expected, rtol=1e-14)


def test_threads_give_the_same_bits():
    tensors, _ = operands("symmetric", n=40, whole=False)
    found = []
    for threads in (1, 2):
        with sd.options(threads=threads, parallel_threshold=0):
            found.append(dense_of(kernel(_sampled, "symmetric")(*tensors.values())))
    assert found[0].tobytes() == found[1].tobytes()


def test_a_kernel_without_the_library_cannot_give_one_half():
    tensors, _ = operands("symmetric")
    lowered = kernel(_scaled, "symmetric").lower(*tensors.values())
    with pytest.raises(sd.PlanError, match="one half of S"):
        module_text(lowered)
