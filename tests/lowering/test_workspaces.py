"""Workspaces in each ordering, against dense NumPy: sums, order, entries that cancel."""

import numpy as np
import pytest
from levels import check_result, interpreting, remembering_proofs, store

import sparsedsl as sd
from sparsedsl.codegen import processor
from sparsedsl.find import ordering as orderings
from sparsedsl.loops import build as lb
from sparsedsl.loops.nodes import If, While
from sparsedsl.lowering import run as runs
from sparsedsl.lowering import workspace

ORDERINGS = {"word": 300, "run": 1100, "blocks": 1100, "range": 1100, "bitmap": 1100}
"""Orderings, and an extent at which each is chosen."""


def product(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def masked(A, B, M):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = M[i, j] * A[i, k] * B[k, j]
    return C


def operands(ordering, seed=0):
    """Two factors whose products meet, cancel and vanish; a row of many, a row of none."""
    rng = np.random.default_rng(seed)
    width = ORDERINGS[ordering]
    if ordering == "run":
        return few_operands(rng, width)
    a = rng.integers(-1, 2, (6, 12)).astype(float)
    a[1], a[2] = 1, 0
    b = rng.integers(-2, 3, (12, width)) * (rng.random((12, width)) < 0.08)
    b = b.astype(float)
    b[0, -1], b[1, -1], b[2, -1] = 1, -1, 2
    b[3, 64], b[4, 0] = 3, 1
    found = {"A": a, "B": b}
    if ordering == "range":
        found["M"] = rng.integers(0, 2, (6, width)) * (rng.random((6, width)) < 0.3) * 1.0
    return found


def few_operands(rng, width):
    """Factors with few products in most rows; in one row so many that its run grows long."""
    a, b = np.zeros((6, 12)), np.zeros((12, width))
    a[1, :2], a[0, 2], a[3, 3:5], a[5, 0] = 1, 2, (1, -1), 3
    for row, count in enumerate((20, 20, 5, 4)):
        b[row, rng.choice(width, count, replace=False)] = rng.integers(-2, 3, count)
    b[1, :4], b[0, :4] = (1, 2, 0, 1), (-1, 1, 2, -1)
    b[4] = b[3]
    return {"A": a, "B": b}


def expected(dense):
    return (dense["A"] @ dense["B"]) * dense.get("M", 1.0)


def special_of(ordering, tensors):
    # a kernel of its own, so that none is remembered
    body = masked if ordering == "range" else product
    special = sd.kernel(body, out="csr").engine.specialise(list(tensors.values()))
    with remembering_proofs():
        assert special.unit(0).nest.assembly.ordering == ordering
    return special


def run(ordering, seed=0):
    dense = operands(ordering, seed)
    # rows that are searched are not counted before
    layouts = {"B": "dcsr"} if ordering == "bitmap" else {}
    tensors = {n: store(x, x != 0, layouts.get(n, "csr")) for n, x in dense.items()}
    special = special_of(ordering, tensors)
    with remembering_proofs():
        check_result(special.run(dict(tensors))["C"], expected(dense))


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_interpreted(ordering):
    with interpreting():
        run(ordering)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_compiled(ordering):
    for seed in range(3):
        run(ordering, seed)


def test_short_rows_are_sorted():
    # every row stays below the length that is sorted by insertion
    dense = {"A": np.eye(6, 12) + np.eye(6, 12, 1), "B": operands("blocks")["B"]}
    dense["B"][:, 100:-1] = 0
    tensors = {n: store(x, x != 0, "csr") for n, x in dense.items()}
    with interpreting():
        found = special_of("blocks", tensors).run(dict(tensors))["C"]
    assert np.diff(found.arrays["indptr"]).max() <= workspace.SHORT
    check_result(found, dense["A"] @ dense["B"])


@pytest.mark.parametrize("width", [1087, 1088, 1089])
@pytest.mark.parametrize("level", ["interpreted", "compiled"])
def test_rows_that_are_full_and_others(width, level):
    """One kernel for both, which sees by their number where entries are taken from."""
    rng = np.random.default_rng(width)
    a = rng.integers(-1, 2, (9, 12)).astype(float)
    b = np.where(rng.random((12, width)) < 0.2, rng.integers(-2, 3, (12, width)), 0) * 1.0
    b[:, -1] = 1
    few = b * (np.arange(width) % 19 == width % 19 - 1)
    tensors = {"A": store(a, a != 0, "csr"), "B": store(b, b != 0, "csr")}
    special = special_of("blocks", tensors)
    for dense, layout in ((b, b != 0), (few, few != 0)):
        given = {"A": tensors["A"], "B": store(dense, layout, "csr")}
        visits = (a != 0).sum(axis=0) @ layout.sum(axis=1)
        assert (visits * orderings.FULL >= 9 * width) == (dense is b)
        if level == "interpreted":
            with interpreting():
                found = special.run(given)["C"]
        else:
            found = special.run(given)["C"]
        check_result(found, a @ dense)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_full_rows_that_take_all_the_room_there_is(monkeypatch, dtype, masks, threads):
    """No two products meet: where the last entry is, there is no place for one more."""
    if not masks:
        monkeypatch.setattr(processor, "has_masks", lambda: False)
    rng = np.random.default_rng(3)
    a = np.eye(12)[rng.permutation(12)[:9]].astype(dtype)
    b = (rng.random((12, 1087)) < 0.3).astype(dtype)
    given = {"A": store(a, a != 0, "csr"), "B": store(b, b != 0, "csr")}
    special = special_of("blocks", given)
    with sd.options(threads=threads):
        with interpreting():
            for _ in range(2):  # the second time it is known how many there are
                check_result(special.run(given)["C"], a @ b)
        check_result(special.run(given)["C"], a @ b)


def test_a_block_that_is_not_touched_is_caught(monkeypatch):
    right = workspace.add

    def without_touching(sink, *arguments):
        first, *rest = right(sink, *arguments)
        return [first] if sink.assembly.ordering == "blocks" else [first, *rest]

    monkeypatch.setattr(workspace, "add", without_touching)
    with pytest.raises((sd.InvalidTensorError, AssertionError)), interpreting():
        run("blocks")


def test_a_list_that_is_not_sorted_is_caught(monkeypatch):
    monkeypatch.setattr(workspace, "_insertion_sort", lambda *_: ())
    with pytest.raises((sd.InvalidTensorError, AssertionError)), interpreting():
        test_short_rows_are_sorted()


def test_a_run_that_is_not_in_order_is_caught(monkeypatch):
    monkeypatch.setattr(runs, "While", lambda _, body: While(lb.FALSE, body))
    with pytest.raises((sd.InvalidTensorError, AssertionError)), interpreting():
        run("run")


def test_a_run_that_is_not_spilled_is_caught(monkeypatch):
    monkeypatch.setattr(runs, "If", lambda c, then, other=(): If(c, then, other[:5]))
    with pytest.raises((sd.InvalidTensorError, AssertionError)), interpreting():
        run("run")


def test_a_slot_that_is_not_cleared_is_caught(monkeypatch):
    right = workspace._take

    def without_clearing(*arguments):
        load, _, *rest = right(*arguments)
        return (load, *rest)

    monkeypatch.setattr(workspace, "_take", without_clearing)
    for ordering in ORDERINGS.keys() - {"run"}:
        with pytest.raises((sd.InvalidTensorError, AssertionError)), interpreting():
            run(ordering)


def summed(A, B):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] + B[i, j]
    return C


def test_entries_that_cancel_at_the_end_of_the_room_are_written_over():
    """Every entry has a place before its value is known: the last one in a full row too."""
    a = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    given = {"A": store(a, a != 0, "csr"), "B": store(-a, a != 0, "csr")}
    given["B"].values[1] = 5.0
    with interpreting():
        found = sd.kernel(summed)(*given.values())
    assert found.nnz == 1
    np.testing.assert_array_equal(found.to_numpy(), a + given["B"].to_numpy())


def test_entries_in_blocks_are_counted_by_the_block():
    """Blocks that an edge cuts short count as whole ones: the room is enough."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(-1, 2, (7, 11)), rng.integers(-1, 2, (11, 1100))
    b[rng.random(b.shape) < 0.97] = 0
    b[:, -1] = 1
    a, b = a.astype(float), b.astype(float)
    layout = sd.layouts["bcsr"](3, 3)
    given = [store(x, x != 0, layout) for x in (a, b)]
    blocked = sd.kernel(order="i k j", out="csr")(product)
    assert "B_indptr[u64(B_bi)], 0) * 3" in blocked.lower(*given).source
    with interpreting():
        check_result(blocked(*given), a @ b)
    check_result(blocked(*given), a @ b)


def test_entries_are_counted_for_every_chain_or_none():
    """The loops of a symmetric matrix differ: those of one part cannot be counted."""
    rng = np.random.default_rng(2)
    dense = rng.integers(-2, 3, (6, 6)).astype(float)
    dense = dense + dense.T

    @sd.kernel(out="csc", workspace="hash")
    def copy(A):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j]
        return C

    assert (copy(sd.convert(dense, "symmetric")).to_numpy() == dense).all()


@pytest.mark.parametrize("choice", [{"workspace": "sort"}, {"order": "j i"}])
def test_sums_of_matrices_are_sorted_where_that_is_asked_for(choice):
    @sd.kernel(out="csr", **choice)
    def total(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] + B[i, j]
        return C

    rng = np.random.default_rng(7)
    a, b = (np.where(rng.random((40, 30)) < 0.5, 1.0, 0.0) for _ in range(2))
    A, B = sd.convert(a, "csr"), sd.convert(b, "csc")
    (unit,) = total.lower(A, B).units
    assert unit.nest.assembly.kind == "stream"
    assert (total(A, B).to_numpy() == a + b).all()


@pytest.mark.parametrize("width", [2_000, 600_000])
def test_lists_of_every_length(width):
    """Rows of 0 to 60 entries: where insertion ends, and bits begin, depends on the width."""
    import scipy.sparse as sp

    rng = np.random.default_rng(4)
    lengths = np.arange(61)
    columns = [np.sort(rng.choice(width, n, replace=False)) for n in lengths]
    indptr = np.r_[0, np.cumsum(lengths)]
    indices = np.concatenate(columns)
    B = sp.csr_array((rng.random(len(indices)), indices, indptr), shape=(61, width))
    A = sp.csr_array(np.eye(61) + np.eye(61, k=-30))
    found = sd.kernel(product, out="csr", workspace="dense")(A, B)
    expected = A @ B
    expected.sort_indices()
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, 1e-15)
