"""Rows of a narrow sparse operand laid out whole, against NumPy, and where they must not be."""

from dataclasses import replace

import numpy as np
import pytest
from levels import check_result, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.codegen import processor
from sparsedsl.find import costs
from sparsedsl.find.costs import Workload
from sparsedsl.loops.nodes import Allocate
from sparsedsl.loops.walk import statements
from sparsedsl.lowering import laying


def times_matrix(X, B):
    i, j, k, r = sd.indices("i j k r")
    M = sd.output("csf")
    M[i, j, r] = X[i, j, k] * B[k, r]
    return M


def operands(width, dtype="float64", seed=0):
    """A tensor with empty fibers, and a matrix with empty rows whose products cancel."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (5, 6, 20)) * (rng.random((5, 6, 20)) < 0.5)
    x[1], x[2, 3] = 0, 0
    b = rng.integers(-2, 3, (20, width)) * (rng.random((20, width)) < 0.3)
    b[3], b[4, :] = 0, -b[5, :]
    x[:, :, 4] = x[:, :, 5]
    return x.astype(dtype), b.astype(dtype)


def special(tensors, layout="csf"):
    found = sd.kernel(times_matrix, out=layout, order="i j k r").engine.specialise(tensors)
    with remembering_proofs():
        ordering = found.unit(0).nest.assembly.ordering
    return found, ordering


def run(width, dtype="float64", seed=0, matrix="csr"):
    x, b = operands(width, dtype, seed)
    tensors = [store(x, x != 0, "csf"), store(b, b != 0, matrix)]
    kernel, ordering = special(tensors)
    assert ordering == "whole"
    with remembering_proofs():
        found = kernel.run(dict(zip("XB", tensors, strict=True)))["M"]
    check_result(found, np.einsum("ijk,kr->ijr", x, b))
    return found


@pytest.mark.parametrize("width", [1, 7, 8, 16, 24, 65])
def test_widths_that_fill_strips_and_do_not(width):
    run(width)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_interpreted(dtype):
    with interpreting():
        run(19, dtype)


@pytest.mark.parametrize("matrix", ["csr", "csf", "dcsr"])
def test_layouts_whose_rows_an_array_bounds(matrix):
    x, b = operands(16)
    found = sd.kernel(times_matrix)(store(x, x != 0, "csf"), store(b, b != 0, matrix))
    check_result(found, np.einsum("ijk,kr->ijr", x, b))


def test_the_same_bits_without_masks(monkeypatch):
    """Processors without masks take the entries one by one."""
    rng = np.random.default_rng(3)
    x, b = (m * rng.standard_normal(m.shape) for m in operands(16))
    tensors = store(x, x != 0, "csf"), store(b, b != 0, "csr")
    with_masks = sd.kernel(times_matrix)(*tensors)
    monkeypatch.setattr(processor, "has_masks", lambda: False)
    found = sd.kernel(times_matrix, parallel=False)(*tensors)
    for name, array in with_masks.arrays.items():
        assert array.tobytes() == found.arrays[name].tobytes()


@pytest.mark.parametrize("dtype", ["int64", "complex128"])
def test_values_that_vectors_do_not_have(dtype):
    x, b = operands(16, dtype)
    tensors = [store(x, x != 0, "csf"), store(b, b != 0, "csr")]
    assert special(tensors)[1] == "word"
    check_result(sd.kernel(times_matrix)(*tensors), np.einsum("ijk,kr->ijr", x, b))


def test_infinities_meet_no_zero_that_is_not_stored():
    x, b = operands(16)
    x[0, 0, 0] = np.inf
    tensors = store(x, x != 0, "csf"), store(b, b != 0, "csr")
    with np.errstate(invalid="ignore"):
        expected = np.einsum("ijk,kr->ijr", x, b)
    found = sd.kernel(times_matrix)(*tensors).to_numpy()
    np.testing.assert_array_equal(found, expected)


def khatri_rao(X, B, C):
    i, j, k, r = sd.indices("i j k r")
    M = sd.output("csr")
    M[i, r] = X[i, j, k] * B[j, r] * C[k, r]
    return M


def khatri_rao_of(width, find="auto", dtype="float64", seed=0):
    """Return the product with two sparse matrices, what is expected, and the unit."""
    x, c = operands(width, dtype, seed)
    rng = np.random.default_rng(seed)
    b = rng.integers(-2, 3, (6, width)) * (rng.random((6, width)) < 0.4)
    b[2] = 0
    b = b.astype(dtype)
    given = [store(x, x != 0, "csf"), store(b, b != 0, "csr"), store(c, c != 0, "csr")]
    kernel = sd.kernel(khatri_rao, order="i j k r", find={"B": find}).engine.specialise(given)
    with remembering_proofs():
        unit = kernel.unit(0)
        found = kernel.run(dict(zip("XBC", given, strict=True)))["M"]
    check_result(found, np.einsum("ijk,jr,kr->ir", x, b, c))
    return found, unit


@pytest.mark.parametrize("width", [1, 7, 16, 65])
def test_what_a_search_spreads_is_multiplied_by_whole_rows(width):
    found, unit = khatri_rao_of(width, "spread")
    assert unit.nest.assembly.ordering == "whole"
    other, unit = khatri_rao_of(width, "table")
    assert unit.nest.assembly.ordering == "word"
    np.testing.assert_array_equal(found.arrays["indices"], other.arrays["indices"])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_a_search_that_spreads_interpreted(dtype):
    with interpreting():
        khatri_rao_of(19, "spread", dtype)


@pytest.fixture(params=[0.0, np.inf], ids=["all rows", "row by row"])
def rows_cost(request, monkeypatch):
    """What values of all rows are taken to cost: nothing, or more than anything."""
    monkeypatch.setattr(costs, "spread_rows", lambda _: request.param)
    return request.param


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("width", [1, 7, 16, 65])
def test_values_of_all_rows_are_spread_at_once(rows_cost, width, dtype):
    found, unit = khatri_rao_of(width, "spread", dtype)
    (shape,) = (s.shape for s in statements(unit.kernel.body) if is_made(s, "B_p_values"))
    assert len(shape) == (1 if rows_cost else 2)
    other, _ = khatri_rao_of(width, "binary", dtype)
    np.testing.assert_array_equal(found.arrays["indices"], other.arrays["indices"])


def is_made(statement, array):
    return isinstance(statement, Allocate) and statement.array == array


@pytest.mark.parametrize("matrix", ["csr", "dcsr", "csc", "ell"])
def test_values_of_all_rows_beside_other_layouts(rows_cost, matrix):
    x, c = operands(16)
    b = np.array([[0, 1, 2, 0] * 4, [0] * 16, [3, 0] * 8, [-1] * 16, [0] * 16, [4] + [0] * 15])
    given = store(x, x != 0, "csf"), store(b * 1.0, b != 0, matrix), store(c, c != 0, "csr")
    kernel = sd.kernel(khatri_rao, order="i j k r")
    with remembering_proofs(), interpreting():
        check_result(kernel(*given), np.einsum("ijk,jr,kr->ir", x, b * 1.0, c))


def test_values_of_all_rows_where_few_fit_are_spread_row_by_row():
    """What is more than the second cache holds is waited for again and again."""
    often = Workload(
        length=4.0, queries=1e4, setups=1e6, extent=32.0, met=4.0, hits=0.1, rows=4096.0
    )
    assert costs.spread_rows(often) < costs.table(often)
    assert costs.spread_rows(replace(often, rows=3 * 4096.0)) == np.inf
    assert costs.spread_rows(replace(often, rows=0.0)) == np.inf
    # of rows that are met once each, most places are laid out in vain
    once = replace(often, setups=4096.0, queries=2.0)
    assert costs.spread(once) < costs.spread_rows(once)


def masked(M, A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output("csr")
    C[i, j] = M[i, j] * A[i, k] * B[k, j]
    return C


@pytest.mark.parametrize("workspace", ["auto", "dense", "hash"])
@pytest.mark.parametrize("layout", ["csr", "dcsr"])
def test_masks_that_are_spread_leave_the_rest_out(workspace, layout):
    """Positions of the mask do not guide the workspace then."""
    rng = np.random.default_rng(5)
    dense = [rng.integers(-2, 3, (30, 30)) * (rng.random((30, 30)) < 0.2) for _ in range(3)]
    given = [store(x.astype("float64"), x != 0, layout) for x in dense]
    kernel = sd.kernel(masked, find={"M": "spread"}, workspace=workspace)
    m, a, b = dense
    found = kernel(*given)
    check_result(found, m * (a @ b).astype("float64"))
    assert 0 not in found.arrays["data"]


def test_wide_workspaces_are_not_touched_in_vain():
    """Each place that is touched is looked at, with a value or without."""
    _, unit = khatri_rao_of(1500)
    assert ("B_p", "spread") not in {choice[:2] for choice in unit.choices}
    with pytest.raises(sd.PlanError, match="neutral"):
        khatri_rao_of(1500, "spread")


def test_rows_not_proved_to_hold_a_coordinate_once_are_not_laid_out():
    """In a row that held a column twice, the first value would be lost."""
    rows = sd.Layout(
        "rows",
        "[N, M] -> { [i, p] -> [i, j] : 0 <= i < N and indptr(i) <= p < indptr(i + 1) "
        "and j = indices(p) and 0 <= j < M }",
        value="data(p)",
        properties=("indptr(0) = 0", "nondecreasing indptr"),
    )
    x, b = operands(16)
    tensors = [store(x, x != 0, "csf"), store(b, b != 0, rows)]
    kernel, ordering = special(tensors)
    assert ordering == "word"
    check_result(
        kernel.run(dict(zip("XB", tensors, strict=True)))["M"], np.einsum("ijk,kr->ijr", x, b)
    )


def test_a_fill_that_is_not_laid_out_is_caught(monkeypatch):
    right = laying.lay_out

    def without_entries(*arguments):
        return right(*arguments)[:-1]

    monkeypatch.setattr(laying, "lay_out", without_entries)
    with pytest.raises(AssertionError), interpreting():
        run(16)


def test_the_memory_of_laid_rows_is_announced():
    x, b = operands(16)
    shown = sd.kernel(times_matrix, out="csf", order="i j k r").explain(
        store(x, x != 0, "csf"), store(b, b != 0, "csr")
    )
    assert "workspace B_p_rows: float64[n_k, n_r] (2.56 kB)" in shown


def test_values_of_all_rows_are_announced(monkeypatch):
    monkeypatch.setattr(costs, "spread_rows", lambda _: 0.0)
    x, c = operands(16)
    b = np.ones((6, 16))
    given = store(x, x != 0, "csf"), store(b, b != 0, "csr"), store(c, c != 0, "csr")
    shown = sd.kernel(khatri_rao, order="i j k r", find={"B": "spread"}).explain(*given)
    assert "workspace B_p_values: float64[n_j, n_r] (768 bytes)" in shown
    assert "find in B by spread of all rows at once: B_p with B_indices(B_p) = r" in shown
