"""Whether threads share a loop: how long a call takes, and how much memory each thread fills."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.runtime.arguments import Gather
from sparsedsl.runtime.sharing import Sharing


@pytest.mark.parametrize(("rows", "entries", "far"), [(1 << 20, 1, True), (1 << 20, 12, False)])
def test_threads_that_would_each_fill_much_memory_for_little_are_not_used(rows, entries, far):
    columns = np.random.default_rng(0).integers(0, rows // entries, (rows, entries), np.int32)
    columns += (rows // entries) * np.arange(entries, dtype=np.int32)
    pointers = np.arange(0, rows * entries + 1, entries)
    A = sp.csr_array((np.ones(columns.size), columns.ravel(), pointers), (rows, rows))
    x = sp.coo_array((np.ones(rows // 10), (np.arange(0, rows - 9, 10),)), (rows,))

    @sd.kernel(find={"x": "spread"})
    def product(A, x):
        i, j = sd.indices("i j")
        y = sd.output()
        y[i] = A[i, j] * x[j]
        return y

    (unit,) = product.lower(A, x).units
    assert unit.recipe.shared is not None
    assert unit.recipe.shared.far is far
    sharing = Sharing(unit.recipe, unit.recipe.shared, Gather(unit.recipe))
    with sd.options(threads=2) as chosen:
        assert sharing.worth("auto", chosen) is not far
        assert sharing.worth(True, chosen)


@sd.kernel
def masked(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[k, j]
    return C


@sd.kernel
def both_products(A, x, w):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[j] = A[i, j] * w[i]
    return y, z


@pytest.mark.parametrize("kernel", [masked, both_products], ids=["one output", "one pass"])
def test_a_recipe_has_the_time_that_explanations_tell(kernel):
    matrix, vector = sd.ShapeOf((1024, 1024), nnz=4**7), sd.ShapeOf((1024,))
    (unit,) = kernel.lower(*([matrix] * 3 if kernel is masked else [matrix, vector, vector])).units
    assert len(unit.turn) == (1 if kernel is masked else 2)
    assert unit.recipe.nanoseconds == pytest.approx(unit.spent.nanoseconds)


@pytest.mark.parametrize(("rows", "worth"), [(2**10, False), (2**14, True)])
def test_short_calls_stay_on_one_thread(rows, worth):
    matrix = sd.ShapeOf((rows, rows), nnz=16 * rows)
    (unit,) = masked.lower(matrix, matrix, matrix).units
    assert unit.recipe.shared is not None
    sharing = Sharing(unit.recipe, unit.recipe.shared, Gather(unit.recipe))
    with sd.options(threads=2) as chosen:
        assert sharing.worth("auto", chosen) is worth
        assert sharing.worth(True, chosen)
