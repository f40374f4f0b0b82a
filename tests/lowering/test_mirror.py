"""Terms that read the same entries are computed in one loop over them."""

import numpy as np
import pytest
from levels import check, compiling, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.iteration.nodes import Scan
from sparsedsl.loops.nodes import For, If
from sparsedsl.loops.walk import bodies


def multiplied(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def nearest(A, x):
    i, j = sd.indices("i j")
    y = sd.output(fill_value=np.inf)
    y[i] = sd.min(sd.where(sd.pattern(A)[i, j], A[i, j] + x[j], np.inf), over=j)
    return y


def turned(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[j] = A[i, j] * x[i] * x[j]
    return y


def twice(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = sd.sum(A[i, j] * x[j] - A[i, j] * x[i], over=j)
    return y


def total(A, x):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = x[i] * A[i, j] * x[j]
    return s


def dense_columns(A, x):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[i, k] = A[i, j] * x[j, k]
    return y


def turned_columns(A, x):
    i, j, k = sd.indices("i j k")
    y = sd.output()
    y[j, k] = A[i, j] * x[i, k]
    return y


def between(A, x, y):
    i, j = sd.indices("i j")
    s = sd.output()
    s[()] = x[i] * A[i, j] * y[j]
    return s


def nearest_pair(A, x, y):
    i, j = sd.indices("i j")
    s = sd.output(fill_value=np.inf)
    s[()] = sd.min(sd.where(sd.pattern(A)[i, j], x[i] + A[i, j] - y[j], np.inf), over=(i, j))
    return s


def entries_loops(body):
    """Count the innermost loops of a body, of one branch where there are two versions."""
    found = 0
    for statement in body:
        if isinstance(statement, If) and statement.otherwise:
            found += entries_loops(statement.then)
            continue
        inner = sum(entries_loops(part) for part in bodies(statement))
        found += inner or isinstance(statement, For)
    return found


def operands(columns=None):
    rng = np.random.default_rng(0)
    lower = np.where(rng.random((6, 6)) < 0.5, rng.integers(1, 5, (6, 6)), 0.0)
    A = np.tril(lower) + np.tril(lower, -1).T
    x = rng.integers(-3, 4, 6 if columns is None else (6, columns)).astype(float)
    return A, x


@pytest.mark.parametrize("value", [None, np.inf, np.nan])
@pytest.mark.parametrize("body", [multiplied, nearest, turned, twice, total])
def test_results_are_those_of_two_loops(body, value):
    A, x = operands()
    if value is not None:
        x[2] = value
    truth = {"A": A, "x": x}
    tensors = {"A": store(A, A != 0, "symmetric"), "x": sd.asarray(x)}
    with np.errstate(all="ignore"), interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)


@pytest.mark.parametrize(
    ("body", "loops"), [(multiplied, 1), (turned, 1), (total, 1), (dense_columns, 1)]
)
def test_entries_are_read_once(body, loops):
    A, x = operands(4 if body is dense_columns else None)
    with remembering_proofs():
        lowered = sd.kernel(body).lower(store(A, A != 0, "symmetric"), x)
    (unit,) = lowered.units
    assert body is dense_columns or entries_loops(unit.kernel.body) == loops
    # what is summed over both indices doubles the entries of one half (``pipeline.mirrors``)
    doubled = body is total
    assert ("if i > j" in unit.source) == doubled
    assert ("each entry read once" in unit.source) == (loops == 1 and not doubled)


@pytest.mark.parametrize("value", [None, np.inf, np.nan])
@pytest.mark.parametrize("columns", [6, 4])
@pytest.mark.parametrize("body", [between, nearest_pair])
def test_sums_of_both_halves_read_entries_once(body, columns, value):
    A, x = operands()
    A = A[:, :columns]  # what has no mirror image in the shape is met by the first half alone
    y = np.arange(columns) - 2.0
    if value is not None:
        x[2] = value
    truth = {"A": A, "x": x, "y": y}
    tensors = {"A": store(A, A != 0, "symmetric"), "x": sd.asarray(x), "y": sd.asarray(y)}
    with np.errstate(all="ignore"), interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, truth)
        unit = special.unit(0)
    if value is None:
        assert "each entry read once" in unit.source
        assert entries_loops(unit.kernel.body) == 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "complex128"])
@pytest.mark.parametrize("width", [1, 3, 20, 70])
@pytest.mark.parametrize("columns", [6, 4])
@pytest.mark.parametrize(
    ("layout", "body"),
    [
        ("symmetric", dense_columns),
        ("symmetric", turned_columns),
        ("packed", dense_columns),
    ],
)
def test_rows_of_a_dense_operand(layout, body, columns, width, dtype):
    A, _ = operands()
    A = A[:, :columns].astype(dtype)  # rows below have no mirror image
    rows = columns if body is dense_columns else 6
    x = np.random.default_rng(1).integers(-3, 4, (rows, width)).astype(dtype)
    stored = np.ones(A.shape, bool) if layout == "packed" else A != 0
    tensors = {"A": store(A, stored, layout), "x": sd.asarray(x)}
    with interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, {"A": A, "x": x})
        text = special.unit(0).source
        with compiling():
            check(special, tensors, {"A": A, "x": x})
    assert "each entry read once" in text
    assert ("columns of both rows" in text) == (dtype in ("float64", "float32"))


@pytest.mark.parametrize("order", [None, "i k j l", "j i k l"])
@pytest.mark.parametrize("columns", [6, 4])
@pytest.mark.parametrize("layout", ["symmetric", "packed"])
def test_slices_of_a_dense_operand(layout, columns, order):
    def slices(A, x):
        i, j, k, m = sd.indices("i j k l")
        y = sd.output()
        y[i, j, m] = A[i, k] * x[k, j, m]
        return y

    A, _ = operands()
    A = A[:, :columns]
    x = np.random.default_rng(3).integers(-3, 4, (columns, 3, 9)).astype(float)
    stored = np.ones(A.shape, bool) if layout == "packed" else A != 0
    tensors = {"A": store(A, stored, layout), "x": sd.asarray(x)}
    with interpreting(), remembering_proofs():
        special = sd.kernel(slices, order=order).engine.specialise(list(tensors.values()))
        check(special, tensors, {"A": A, "x": x})
        with compiling():
            check(special, tensors, {"A": A, "x": x})
    once = "each entry read once" in special.unit(0).source
    assert once or order is not None or layout == "packed"


@pytest.mark.parametrize("width", [3, 70])
def test_rows_are_set_where_their_sums_start(width):
    rng = np.random.default_rng(2)
    A = np.round(np.tril(rng.random((30, 30))), 2)
    A += np.tril(A, -1).T
    x = np.round(rng.random((30, width)), 2)
    tensors = store(A, A != 0, "symmetric"), sd.asarray(x)
    kernel = sd.kernel(dense_columns)
    (unit,) = kernel.lower(*tensors).units
    assert unit.recipe.overwritten == (width == 70)
    out = np.full((30, width), np.nan)
    for threads in (1, 2):
        with sd.options(threads=threads, parallel_threshold=0):
            np.testing.assert_allclose(kernel.compile(*tensors).compute(*tensors, out=out), A @ x)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("body", [multiplied, turned, dense_columns])
def test_packed_entries_are_read_once(body, n):
    A = np.arange(1.0, n * n + 1).reshape(n, n)
    A += A.T
    x = np.arange(3.0 * n).reshape(n, 3) if body is dense_columns else np.arange(1.0, n + 1)
    tensors = {"A": store(A, np.ones((n, n), bool), "packed"), "x": sd.asarray(x)}
    with interpreting(), remembering_proofs():
        special = sd.kernel(body).engine.specialise(list(tensors.values()))
        check(special, tensors, {"A": A, "x": x})
        with compiling():
            check(special, tensors, {"A": A, "x": x})
    assert n < 7 or "each entry read once" in special.unit(0).source


def test_triangles_are_read_along_their_rows():
    """Each turn of a loop down a column begins in another row."""
    T = store(np.tril(np.ones((300, 300))), np.tril(np.ones((300, 300), bool)), "triangular")
    for body in (multiplied, turned):
        (unit,) = sd.kernel(body).lower(T, np.ones(300)).units
        loops = [s.variable for s in unit.nest.chains[0].steps if isinstance(s, Scan)]
        assert loops[0] == "i"


def test_no_copy_of_both_halves_is_made():
    """A copy would hold twice the entries."""
    A = store(np.ones((200, 200)), np.ones((200, 200), bool), "symmetric")
    for width in (1, 8, 64):
        (unit,) = sd.kernel(dense_columns).lower(A, np.ones((200, width))).units
        assert not unit.nest.conversions
    text = sd.kernel(dense_columns).explain(A, np.ones((200, 4)))
    told = "each stored entry is visited once, for both of its coordinates"
    assert f"A: float64 in symmetric\n    {told}" in text


def test_two_terms_of_one_matrix_share_its_loop():
    A, x = operands()
    with remembering_proofs():
        lowered = sd.kernel(twice).lower(store(A, A != 0, "csr"), x)
    (unit,) = lowered.units
    assert "each entry read once" in unit.source
    assert unit.source.count("in range(i64(A_indptr") == 1
