"""Rows with equal indices taken together, from sparse operands to results."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.bench.inputs import blocks, uniform
from sparsedsl.calls import unevenness
from sparsedsl.loops.alike import takes_rows_together


@sd.kernel(find={"A": "spread"}, order="i j k", out="csr")
def sampled(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[j, k]
    return C


@sd.kernel(order="i k j", out="csr")
def masked(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[k, j]
    return C


KERNELS = {"sampled": sampled, "masked": masked}


def expected(name, M, A, B):
    with np.errstate(invalid="ignore"):
        return np.einsum("ij,ik,jk->ij", M, A, B.T if name == "masked" else B)


@pytest.fixture(scope="module", autouse=True)
def every_row_may_be_alike():
    """Small matrices are looked at, too, and taken to have rows alike, whether they do or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unevenness, "LEAST", 1)
        patch.setattr(unevenness, "_alike", lambda *_: 1.0)
        yield


SHAPES = {
    "sampled": ((200, 100), (200, 400), (100, 400)),
    "masked": ((200, 400), (200, 100), (100, 400)),
}


def in_runs(rng, shape, dtype="float64", index="int32"):
    """A matrix with runs of up to nine rows of the same columns, some of which store zeros."""
    rows = []
    while len(rows) < shape[0]:
        columns = np.sort(rng.choice(shape[1], rng.choice([0, *[16] * 9]), replace=False))
        rows += [columns] * int(rng.integers(1, 10))
    rows = rows[: shape[0]]
    pointer = np.r_[0, np.cumsum([row.size for row in rows])].astype(index)
    data = rng.integers(-3, 4, pointer[-1]).astype(dtype)
    return sp.csr_array((data, np.concatenate(rows).astype(index), pointer), shape)


def operands(name, seed, dtype="float64", index="int32"):
    rng = np.random.default_rng(seed)
    return [in_runs(rng, shape, dtype, index) for shape in SHAPES[name]]


def bits(matrix):
    return [array.tobytes() for array in (matrix.indptr, matrix.indices, matrix.data)]


def on_threads(kernel, given):
    """The result, after it was compared with that of several threads, bit for bit."""
    found = []
    for threads in (1, 2, 3):
        with sd.options(threads=threads, parallel_threshold=0):
            found.append(kernel(*given))
    assert bits(found[1]) == bits(found[2]) == bits(found[0])
    return found[0].toarray()


@pytest.mark.parametrize(
    ("dtype", "index"), [("float64", "int32"), ("float64", "int64"), ("float32", "int32")]
)
@pytest.mark.parametrize("name", KERNELS)
def test_results_are_those_of_numpy_whoever_computes_them(name, dtype, index):
    kernel = KERNELS[name]
    for seed in range(8):
        given = operands(name, seed, dtype, index)
        (unit,) = kernel.lower(*given).units
        assert takes_rows_together(unit.kernel)
        dense = expected(name, *(matrix.toarray() for matrix in given))
        np.testing.assert_array_equal(on_threads(kernel, given), dense)


@pytest.mark.parametrize("name", KERNELS)
def test_any_values_have_the_same_bits_on_any_number_of_threads(name):
    rng, given = np.random.default_rng(1), operands(name, 1)
    for matrix in given:
        matrix.data[:] = rng.standard_normal(matrix.nnz)
    dense = expected(name, *(matrix.toarray() for matrix in given))
    np.testing.assert_allclose(on_threads(KERNELS[name], given), dense, 1e-12, 1e-12)


def test_a_mask_may_be_what_is_multiplied():
    rng = np.random.default_rng(6)
    for _ in range(4):
        M, B = in_runs(rng, (300, 300)), in_runs(rng, (300, 300))
        dense = expected("masked", *(x.toarray() for x in (M, M, B)))
        np.testing.assert_array_equal(on_threads(KERNELS["masked"], (M, M, B)), dense)


@pytest.mark.parametrize("name", KERNELS)
def test_complex_rows_are_taken_one_by_one(name):
    given = [matrix.astype(complex) * (1 - 2j) for matrix in operands(name, 2)]
    dense = expected(name, *(matrix.toarray() for matrix in given))
    np.testing.assert_array_equal(KERNELS[name](*given).toarray(), dense)


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", KERNELS)
def test_infinities_meet_implicit_zeros_as_in_numpy(name, odd):
    given = operands(name, 2)
    for place in range(3):
        matrices = [matrix.copy() for matrix in given]
        matrices[place].data[0] = odd
        dense = expected(name, *(matrix.toarray() for matrix in matrices))
        found = sd.kernel(KERNELS[name].function, out="csr")(*matrices)
        np.testing.assert_array_equal(found.toarray(), dense)


@pytest.mark.parametrize("name", KERNELS)
def test_only_operands_with_rows_alike_have_the_version(name, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(unevenness, "_alike", ALIKE)
    kernel = sd.kernel(KERNELS[name].function, **OPTIONS[name])
    for matrix, together in ((blocks(8), True), (uniform(1536, 40), False)):
        lowered = kernel.lower(matrix, matrix, matrix.copy())
        (unit,) = lowered.units
        assert takes_rows_together(unit.kernel) is together
        told = "rows whose indices equal those of the row before are taken together"
        explained = lowered.explain()
        assert (told in explained) is together
        assert ("_rows: float64[" in explained) is together  # what the lanes lie in
        assert ("float64[len(" in explained) is False  # of which the size is known


ALIKE = unevenness._alike
OPTIONS = {
    "sampled": {"find": {"A": "spread"}, "order": "i j k", "out": "csr"},
    "masked": {"order": "i k j", "out": "csr"},
}


@pytest.mark.parametrize("name", KERNELS)
def test_subscripts_that_are_tested_leave_rows_by_themselves(name):
    given = operands(name, 3)
    with sd.options(safe=True):
        kernel = sd.kernel(KERNELS[name].function, **OPTIONS[name])
        assert not any(takes_rows_together(u.kernel) for u in kernel.lower(*given).units)
        dense = expected(name, *(matrix.toarray() for matrix in given))
        np.testing.assert_array_equal(kernel(*given).toarray(), dense)
