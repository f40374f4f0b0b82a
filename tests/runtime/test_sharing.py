"""Pieces of a loop on several threads: the same result, bit for bit, whatever the pieces."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from levels import interpreting, store

import sparsedsl as sd
from sparsedsl.runtime import threads as pools
from sparsedsl.runtime.recipe import Recipe
from sparsedsl.runtime.sharing import Sharing
from sparsedsl.runtime.splits import PATIENCE, Splits, split
from sparsedsl.runtime.threads import cuts, each
from sparsedsl.runtime.windows import Windows, grouped

# statement, layout of the operands, layout of the result, the same in NumPy
CASES = {
    "rows": ("y[i] = A[i,j] * x[j]", "csr", None, lambda A, x: A @ x),
    "rows of two terms": (
        "y[i] = A[i,j] * x[j] + B[i,j] * x[j]",
        "csr",
        None,
        lambda A, B, x: (A + B) @ x,
    ),
    "blocks": ("y[i] = A[i,j] * x[j]", "bcsr", None, lambda A, x: A @ x),
    "stored rows": ("y[i] = A[i,j] * x[j]", "dcsr", None, lambda A, x: A @ x),
    "union": ("C[i,j] = A[i,j] + B[i,j]", "csr", None, lambda A, B: A + B),
    "product": ("C[i,j] = A[i,k] * B[k,j]", "csr", None, lambda A, B: A @ B),
    "masked": ("C[i,j] = M[i,j] * A[i,k] * B[k,j]", "csr", None, lambda A, B, M: M * (A @ B)),
    "rows with gaps": ("C[i,j] = A[i,j] * x[j]", "dcsr", "csr", lambda A, x: A * x),
    "stored rows kept": ("C[i,j] = A[i,j] * x[j]", "dcsr", "dcsr", lambda A, x: A * x),
    "columns": ("y[j] = A[i,j] * x[i]", "csr", None, lambda A, x: x @ A),
    "sum": ("s[()] = A[i,j] * B[i,j]", "csr", None, lambda A, B: (A * B).sum()),
}


def operands(case, n=23, seed=0):
    """Rows of every length, empty ones too; values whose sums depend on their order."""
    statement, layout, _, _ = CASES[case]
    rng = np.random.default_rng(seed)
    layout = sd.layouts["bcsr"](3, 3) if layout == "bcsr" else layout
    plain, given = {}, {}
    for name in "ABMx":
        if name == "x" and "x[" in statement:
            plain[name] = given[name] = rng.standard_normal(n)
        elif f"{name}[" in statement:
            filled = rng.random((n, n)) < rng.random((n, 1)) ** 3
            plain[name] = np.where(filled, rng.standard_normal((n, n)), 0)
            given[name] = store(plain[name], filled, layout)
    return plain, given


def same_bits(case, given, numbers):
    """Evaluate on each number of threads; every array of the result must be the same."""
    statement, _, out, _ = CASES[case]
    results = []
    for threads in numbers:
        with sd.options(parallel_threshold=0, threads=threads):
            results.append(sd.evaluate(statement, out=out, **given))
    first, *others = (r.arrays if isinstance(r, sd.Tensor) else {"": r} for r in results)
    for other in others:
        for name, array in other.items():
            assert array.dtype == first[name].dtype
            assert array.tobytes() == first[name].tobytes(), name
    found = results[0]
    return found.to_numpy() if isinstance(found, sd.Tensor) else found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1, 23])
def test_any_number_of_threads_gives_the_same_bits(case, n):
    plain, given = operands(case, n)
    with interpreting():
        found = same_bits(case, given, (1, 2, 3, 7))
    np.testing.assert_allclose(found, CASES[case][3](**plain), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ["rows", "product", "stored rows kept", "sum"])
def test_compiled_pieces_agree(case):
    plain, given = operands(case, 300)
    found = same_bits(case, given, (1, 2, 3))
    np.testing.assert_allclose(found, CASES[case][3](**plain), rtol=1e-11, atol=1e-11)


@sd.kernel
def kept_rows(A, x):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] * x[j]
    return C


@pytest.mark.parametrize(
    ("layout", "extent", "pointer", "gaps"),
    [("csr", "i", "indptr", False), ("dcsr", "NR", "indptr", True)],
)
def test_the_plan_says_what_is_shared(layout, extent, pointer, gaps):
    given = store(np.eye(9), np.eye(9) > 0, layout), np.ones(9)
    (unit,) = kept_rows.lower(*given).units
    share = unit.recipe.shared
    assert (share.extent.name, share.pointer.name, share.gaps) == (extent, pointer, gaps)
    assert Recipe.from_json(unit.recipe.to_json()) == unit.recipe


def test_rows_that_may_repeat_are_not_shared():
    given = store(np.eye(9), np.eye(9) > 0, "coo"), np.ones(9)
    assert all(unit.recipe.shared is None for unit in kept_rows.lower(*given).units)


def diagonals(shape, offsets, dtype, rng):
    """Return a matrix of diagonals, dense and where it stores something."""
    filled = np.zeros(shape, bool)
    for offset in offsets:
        filled |= np.eye(*shape, offset, dtype=bool)
    values = rng.integers(-9, 9, shape) if dtype == "int32" else rng.standard_normal(shape)
    return np.where(filled, values, 0).astype(dtype), filled


INSIDE = {
    "sum": ("y[u] = A[u,v] * x[v]", "dia", 0, lambda A, x: A @ x),
    "least": ("y[u] = min(v, A[u,v] + x[v])", "dia", np.inf, lambda A, x: (A + x).min(axis=1)),
    "columns": ("C[u,r] = A[u,v] * B[v,r]", "dia", 0, lambda A, B: A @ B),
    "transposed": ("y[u] = A[v,u] * x[v]", "dense", 0, lambda A, x: x @ A),
}


@pytest.mark.parametrize("case", INSIDE)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "int32"])
@pytest.mark.parametrize("shape", [(17, 17), (17, 9), (9, 17), (1, 9)])
def test_a_loop_inside_is_shared_to_the_last_bit(monkeypatch, case, dtype, shape):
    statement, layout, fill, expected = INSIDE[case]
    if fill and not dtype.startswith("float"):
        dtype = "float64"  # no other dtype has infinity in order
    shared, whole = [], Sharing.fill

    def noted(self, *given):
        shared.append(self.share.repeats)
        whole(self, *given)

    monkeypatch.setattr(Sharing, "fill", noted)
    monkeypatch.setattr("sparsedsl.find.parallel.REPEATED", 1e9)
    monkeypatch.setattr("sparsedsl.runtime.sharing.LEAST", 1)
    rng = np.random.default_rng(0)
    # diagonals -12 and 12 lie outside of most of these, rows beyond the others are empty
    dense, filled = diagonals(shape, (-12, -3, 0, 2, 12), dtype, rng)
    factor = (shape[case != "transposed"], 3)[: 2 if "B" in statement else 1]
    other = (9 * rng.standard_normal(factor)).astype(dtype)
    dense = np.where(filled, dense, dense.dtype.type(fill))
    given = {"A": dense if layout == "dense" else store(dense, filled, layout, fill)}
    given["B" if "B" in statement else "x"] = other
    results = []
    with interpreting():
        for threads in (1, 2, 3, 40):
            with sd.options(parallel_threshold=0, threads=threads):
                results.append(sd.evaluate(statement, out="dense", **given))
    # a loop over a single row, which costs nothing, may be the outermost one
    inside = not (case == "columns" and shape[0] == 1)
    assert shared == [inside] * 3
    assert len({r.tobytes() for r in results}) == 1
    np.testing.assert_allclose(results[0], expected(dense, other), rtol=1e-4, atol=1e-4)


@sd.kernel
def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


def test_a_loop_inside_is_shared_where_those_outside_cost_little():
    n = 20000
    x = np.random.default_rng(0).standard_normal(n)
    wide = sp.diags_array([x[5:], x, x[:-7]], offsets=[-5, 0, 7], shape=(n, n)).todia()
    (unit,) = product.lower(wide, x).units
    assert unit.recipe.shared.extent.name == "i"
    assert unit.recipe.shared.repeats
    assert "loop over i, each going through the loops outside" in str(product.explain(wide, x))
    results = []
    for threads in (1, 2, 3):
        with sd.options(parallel_threshold=0, threads=threads):
            results.append(product(wide, x).tobytes())
    assert len(set(results)) == 1
    np.testing.assert_allclose(np.frombuffer(results[0]), wide @ x)
    # as many diagonals as rows: pieces would go through the loop over them for nothing
    many = sp.dia_array((np.ones((60, 60)), np.arange(60) - 30), shape=(60, 60))
    (unit,) = product.lower(many, x[:60]).units
    assert unit.recipe.shared is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 9))
def test_cuts_are_a_partition_of_about_equal_work(lengths, pieces):
    pointer = np.cumsum([0, *lengths])
    found = cuts(len(lengths), pieces, pointer)
    assert [t for a, b in found for t in range(a, b)] == list(range(len(lengths)))
    assert len(found) <= pieces
    fair = (pointer[-1] + len(lengths)) / pieces
    for a, b in found:
        # a piece is over its part by less than one turn
        assert pointer[b] - pointer[a] + b - a < fair + max(lengths) + 2


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 9))
def test_groups_keep_every_range_and_place(rooms, pieces):
    ranges = [(3 * k, 3 * k + 3) for k in range(len(rooms))]
    parts = grouped(ranges, rooms, pieces)
    assert len(parts) <= pieces
    assert (parts[0].begin, parts[-1].end) == (0, 3 * len(rooms))
    for before, after in pairwise(parts):
        assert before.end == after.begin
    for part in parts:
        assert part.room == sum(rooms[part.begin // 3 : part.end // 3])


@pytest.mark.parametrize("case", ["union", "product", "rows with gaps", "stored rows kept"])
@pytest.mark.parametrize("entries", [1, 40])
def test_many_small_pieces_follow_each_other(monkeypatch, case, entries):
    """Pieces of a few entries: more than are counted apart, some longer than was thought."""
    monkeypatch.setattr("sparsedsl.runtime.sharing.WINDOW", entries)
    monkeypatch.setattr("sparsedsl.runtime.sharing.PREPARING", 1e9)
    whole, pieces = Windows.fill, []

    def noted(self, *given):
        pieces.append(self._pieces)
        return whole(self, *given)

    monkeypatch.setattr(Windows, "fill", noted)
    plain, given = operands(case, 120)
    with interpreting():
        found = same_bits(case, given, (1, 2, 3))
    np.testing.assert_allclose(found, CASES[case][3](**plain), rtol=1e-12, atol=1e-12)
    assert len(pieces) == 2
    assert all(len(p) > 24 for p in pieces)
    assert entries > 1 or not all(piece.counted for p in pieces for piece in p)


def test_levels_below_levels_are_put_together(monkeypatch):
    """Ends of fibers point to where entries of their piece went."""
    monkeypatch.setattr("sparsedsl.runtime.sharing.WINDOW", 7)
    monkeypatch.setattr("sparsedsl.runtime.sharing.PREPARING", 1e9)
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((17, 6, 9)) < 0.2, rng.standard_normal((17, 6, 9)), 0)
    dense[4:9] = 0
    factor = np.where(rng.random((9, 5)) < 0.4, rng.standard_normal((9, 5)), 0)
    X, B = sd.asarray(dense, "csf"), sd.asarray(factor, "csr")
    results = []
    for threads in (1, 2, 3):
        with sd.options(parallel_threshold=0, threads=threads):
            results.append(sd.evaluate("M[i,j,r] = X[i,j,k] * B[k,r]", out="csf", X=X, B=B))
    np.testing.assert_allclose(results[0].to_numpy(), dense @ factor, atol=1e-12)
    for other in results[1:]:
        other.validate()
        for name, array in other.arrays.items():
            assert array.tobytes() == results[0].arrays[name].tobytes(), name


def test_every_piece_runs_once_and_errors_arrive():
    ran, lock = [], threading.Lock()

    def note(piece):
        with lock:
            ran.append(piece)
        if piece == 30:
            raise ValueError("from a piece")

    each(range(20), note, 4)
    assert sorted(ran) == list(range(20))
    with pytest.raises(ValueError, match="from a piece"):
        each(range(25, 40), note, 3)


def test_nothing_holds_on_to_what_pieces_ran():
    """The pool may keep the last work for a while: not the arrays that it was about."""
    array = np.zeros(4)
    gone = weakref.ref(array)
    kept = []
    pool = ThreadPoolExecutor(1)

    class Keeping:
        def submit(self, work):
            kept.append(work)
            return pool.submit(work)

    with pool, patch.object(pools, "_pool", lambda *_: Keeping()):
        each(range(8), partial(array.__setitem__, 0), 2)
        del array
        assert gone() is None
    assert kept


@pytest.mark.parametrize("n", [0, 1])
def test_sums_of_nothing_are_shared(n):
    """The trace of a matrix by column blocks sets up a workspace as long as the matrix."""

    @sd.kernel(order="j")
    def trace(A):
        j = sd.index("j")
        s = sd.output()
        s[()] = sd.sum(A[j, j], over=j)
        return s

    A = store(np.ones((n, n)), np.ones((n, n), bool), sd.layouts["bcsc"](3, 2))
    with sd.options(threads=2, parallel_threshold=0):
        assert trace(A) == n


SPLIT = {
    "vector": ("y[i] = A[i,j] * x[j]", "csc", lambda A, x: A @ x),
    "transposed": ("y[j] = A[i,j] * x[i]", "csr", lambda A, x: A.T @ x),
    "columns": ("C[j,r] = A[i,j] * x[i,r]", "csr", lambda A, x: A.T @ x),
    "stored columns": ("y[i] = A[i,j] * x[j]", "dcsc", lambda A, x: A @ x),
    "least": ("y[i] = min(j, A[i,j] + x[j])", "csc", lambda A, x: (A + x).min(axis=1)),
}


def split_operands(case, n, seed):
    """Columns of every length, empty ones and full ones too."""
    rng = np.random.default_rng(seed)
    filled = rng.random((n, n)) < rng.random((1, n)) ** 4
    filled[:, n // 2] = True
    fill = np.inf if case == "least" else 0.0
    dense = np.where(filled, rng.standard_normal((n, n)), fill)
    x = rng.standard_normal((n, 3) if case == "columns" else n)
    return dense, store(dense, filled, SPLIT[case][1], fill), x


@pytest.mark.parametrize("case", SPLIT)
@pytest.mark.parametrize("n", [1, 70])
def test_ranges_are_split_to_the_last_bit(monkeypatch, case, n):
    statement, _, expected = SPLIT[case]
    dense, A, x = split_operands(case, n, 3)
    parts, whole = [], Splits.among

    def noted(self, *given):
        found = whole(self, *given)
        parts.append(len(found))
        return found

    monkeypatch.setattr(Splits, "among", noted)
    monkeypatch.setattr("sparsedsl.runtime.splits.CHUNK", 16)
    monkeypatch.setattr("sparsedsl.find.parallel.SPLIT", 1e9)
    results = []
    for threads in (1, 2, 3, 7):
        with sd.options(parallel_threshold=0, threads=threads):
            results += [sd.evaluate(statement, A=A, x=x).tobytes() for _ in range(PATIENCE + 3)]
    assert len(set(results)) == 1
    assert {2, 3, 7} <= set(parts)
    np.testing.assert_allclose(np.frombuffer(results[0]), expected(dense, x).ravel(), atol=1e-11)


@sd.kernel
def two_products(A, x, w):
    i, j = sd.indices("i j")
    y, z = sd.output(), sd.output()
    y[i] = A[i, j] * x[j]
    z[i] = A[i, j] * w[j]
    return y, z


@pytest.mark.parametrize("n", [1, 70])
def test_ranges_of_one_pass_are_split_to_the_last_bit(monkeypatch, n):
    dense, A, x = split_operands("vector", n, 4)
    w = np.random.default_rng(6).standard_normal(n)
    parts, whole = [], Splits.among

    def noted(self, *given):
        found = whole(self, *given)
        parts.append(len(found))
        return found

    monkeypatch.setattr(Splits, "among", noted)
    monkeypatch.setattr("sparsedsl.find.parallel.SPLIT", 1e9)
    results = []
    for threads in (1, 2, 3, 7):
        with sd.options(parallel_threshold=0, threads=threads):
            assert len(two_products.lower(A, x, w).units) == 1
            for _ in range(PATIENCE + 3):
                y, z = two_products(A, x, w)
                results.append(y.tobytes() + z.tobytes())
                np.testing.assert_allclose(y, dense @ x, atol=1e-11)
                np.testing.assert_allclose(z, dense @ w, atol=1e-11)
    assert len(set(results)) == 1
    assert {2, 3, 7} <= set(parts)


def test_ranges_of_one_pass_are_split_anew_after_a_change():
    n, rng = 60, np.random.default_rng(7)
    A = sp.random_array((n, n), density=0.4, format="csc", rng=rng)
    A.sort_indices()
    x, w = rng.standard_normal(n), rng.standard_normal(n)
    with sd.options(parallel_threshold=0, threads=2):
        for _ in range(3):
            for _ in range(PATIENCE + 3):
                y, z = two_products(A, x, w)
                np.testing.assert_allclose(y, A @ x, atol=1e-12)
                np.testing.assert_allclose(z, A @ w, atol=1e-12)
            for j in range(n):
                column = A.indices[A.indptr[j] : A.indptr[j + 1]]
                column[:] = (n - 1 - column)[::-1]


def test_ranges_are_split_anew_after_a_change():
    n, rng = 60, np.random.default_rng(5)
    A = sp.random_array((n, n), density=0.4, format="csc", rng=rng)
    A.sort_indices()
    x = rng.standard_normal(n)
    with sd.options(parallel_threshold=0, threads=2):
        for _ in range(PATIENCE + 3):
            sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x)
        # what was in the upper half of the rows is in the lower one
        for j in range(n):
            column = A.indices[A.indptr[j] : A.indptr[j + 1]]
            column[:] = (n - 1 - column)[::-1]
        for _ in range(PATIENCE + 3):
            np.testing.assert_allclose(sd.evaluate("y[i] = A[i,j] * x[j]", A=A, x=x), A @ x)


def test_ranges_that_are_not_sorted_are_not_split():
    given = store(np.eye(9), np.eye(9) > 0, "coo"), np.ones(9)
    assert all(unit.recipe.shared is None for unit in product.lower(*given).units)


def test_the_plan_says_what_is_split():
    A = sp.random_array((300, 300), density=0.1, format="csc", rng=np.random.default_rng(0))
    (unit,) = product.lower(A, np.ones(300)).units
    share = unit.recipe.shared
    assert (share.extent.name, share.pointer.name, share.split.name) == ("i", "indptr", "indices")
    assert Recipe.from_json(unit.recipe.to_json()) == unit.recipe
    assert "threads may share the coordinates i" in str(product.explain(A, np.ones(300)))


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=12), max_size=9),
    st.integers(0, 31),
    st.sampled_from([np.int32, np.int64]),
)
def test_a_split_is_where_the_coordinates_reach_the_bound(ranges, bound, dtype):
    pointer = np.cumsum([0, *map(len, ranges)]).astype(dtype)
    coordinates = np.array([c for r in ranges for c in sorted(r)], dtype)
    found = split(pointer, coordinates, bound)
    assert found.dtype == dtype
    wanted = [p + np.searchsorted(sorted(r), bound) for p, r in zip(pointer, ranges, strict=False)]
    assert found.tolist() == wanted
