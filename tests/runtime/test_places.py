"""Pieces of sparse outputs assembled in their places: the same bits, nothing else written over."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsedsl as sd
from sparsedsl.runtime import places as module
from sparsedsl.runtime.places import PATIENCE, Places, Turns, _known, rows_of
from sparsedsl.runtime.windows import Output, Rows, Stored

STATEMENTS = {
    "union": "C[i,j] = A[i,j] + B[i,j]",
    "union of three": "C[i,j] = A[i,j] + B[i,j] + M[i,j]",
    "intersection": "C[i,j] = A[i,j] * B[i,j]",
    "product": "C[i,j] = A[i,k] * B[k,j]",
    "masked": "C[i,j] = M[i,j] * A[i,k] * B[k,j]",
    "scaled": "C[i,j] = A[i,j] * x[j]",
}


@pytest.fixture
def filled(monkeypatch):
    """Note of each call with known places whether it could be made."""
    found = []
    original = Places.fill

    def fill(self, threads, *rest):
        known = self.known(threads)
        counts = original(self, threads, *rest)
        if known:
            found.append(counts is not None)
        return counts

    monkeypatch.setattr(Places, "fill", fill)
    monkeypatch.setattr(module, "MOVED", 1.0)
    return found


def matrices(n, seed, layout="csr"):
    rng = np.random.default_rng(seed)
    made = {}
    for name in "ABM":
        filled = rng.random((n, n)) < rng.random((n, 1)) ** 3
        made[name] = np.where(filled, rng.standard_normal((n, n)), 0)
    vector = rng.standard_normal(n)
    return {name: sd.asarray(x, layout) for name, x in made.items()} | {"x": vector}


def given_to(statement, operands):
    return {name: x for name, x in operands.items() if f"{name}[" in statement}


def same(left, right):
    left.validate()
    for name, array in left.arrays.items():
        assert array.tobytes() == right.arrays[name].tobytes(), name


@pytest.mark.parametrize("case", STATEMENTS)
@pytest.mark.parametrize(("layout", "out"), [("csr", "csr"), ("dcsr", "dcsr"), ("dcsr", "csr")])
@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bits_as_on_one_thread(filled, case, layout, out, threads):
    statement = STATEMENTS[case]
    operands = given_to(statement, matrices(150, 3, layout))
    with sd.options(parallel_threshold=0, threads=1):
        alone = sd.evaluate(statement, out=out, **operands)
    with sd.options(parallel_threshold=0, threads=threads):
        for _ in range(PATIENCE + 4):
            same(sd.evaluate(statement, out=out, **operands), alone)
    if layout == "csr" and case in ("union", "product", "scaled"):
        assert filled
    assert all(filled)


def test_levels_below_levels(filled):
    """Ends of fibers are places in the level below, counted on from the pieces before."""
    rng = np.random.default_rng(2)
    dense = np.where(rng.random((60, 50, 40)) < 0.2, rng.standard_normal((60, 50, 40)), 0)
    X, B = sd.asarray(dense, "csf"), sp.random_array((40, 9), density=0.3, rng=4, format="csr")
    statement = "M[i,j,r] = X[i,j,k] * B[k,r]"
    with sd.options(parallel_threshold=0, threads=1):
        alone = sd.evaluate(statement, X=X, B=B)
    np.testing.assert_allclose(alone.to_numpy(), dense @ B.toarray(), atol=1e-12)
    with sd.options(parallel_threshold=0, threads=2):
        for _ in range(PATIENCE + 4):
            same(sd.evaluate(statement, X=X, B=B), alone)
    assert filled
    assert all(filled)


@pytest.mark.parametrize("case", STATEMENTS)
def test_values_that_change_are_noticed(filled, case):
    """Entries become the fill, and others appear again: the result has what it must have."""
    statement = STATEMENTS[case]
    operands = given_to(statement, matrices(150, 5))
    kept = operands["A"].values.copy()
    with sd.options(parallel_threshold=0, threads=2):
        for turn in range(4 * PATIENCE):
            if turn in (PATIENCE + 3, 2 * PATIENCE + 3):
                operands["A"].values[turn % 3 :: 3] = 0.0
            if turn == 2 * PATIENCE:
                operands["A"].values[:] = kept
            found = sd.evaluate(statement, out="csr", **operands)
            with sd.options(threads=1):
                same(found, sd.evaluate(statement, out="csr", **operands))
    if case in ("union", "product", "scaled"):
        assert any(filled)
        assert not all(filled)


def test_what_is_stored_ahead_of_what_is_kept():
    A = matrices(30, 1)["A"]
    scale, add = (sd.kernel(f) for f in (scaled, added))
    assert [u.recipe.shared.reach for u in scale.lower(A, np.ones(30)).units] == ["piece"]
    assert [u.recipe.shared.reach for u in add.lower(A, A).units] == ["next"]


reaches = st.sampled_from(("entry", "next", "turn", "piece"))

rooms = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda p: (max(p), min(p))), max_size=40
)


@given(rooms, st.integers(1, 8), reaches, st.booleans())
def test_steps_are_a_partition_that_nothing_is_written_over(lengths, groups, reach, joined):
    turns = turns_of(lengths)
    known = _known(turns, groups, reach, joined=joined)
    if known is None:
        return
    steps = [step for group in known.groups for step in group]
    assert [s.turns.begin for s in steps] == [0, *(s.turns.end for s in steps[:-1])]
    assert steps[-1].turns.end == len(turns)
    assert known.totals == (sum(count for _, count in lengths),)
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        assert step.before == (sum(count for _, count in lengths[: step.turns.begin]),)
        assert step.before[0] + step.turns.room <= known.length
        if step.placed and after is not None:
            longest = max(room for room, _ in lengths[step.turns.begin : step.turns.end])
            longest = 1 if reach in ("entry", "next") else longest
            exact = reach == "entry" or step.turns.room == step.turns.counts[0]
            assert (joined and exact) or (reach != "piece" and not after.placed)
            assert (joined and exact) or after.turns.counts[0] >= longest


@given(rooms, st.integers(1, 4), reaches, st.randoms(use_true_random=False))
def test_whoever_comes_first(lengths, groups, reach, draw):
    """Each turn stores as much as it has room for; what it leaves out is not to be seen."""
    turns = turns_of(lengths)
    output = Output(
        (Stored(0, np.dtype(int), 0, 0, 0),), (Rows(1, 0, gaps=False),), PIECE, (PIECE,), (0, 1)
    )
    arguments = [np.full(0, -1), np.zeros(len(turns) + 1, int), 0, 0, 0, 0]

    def kernel(data, ends, begin, end, first, past):
        part, at = lengths[begin:end], first
        needed = sum(room for room, _ in part)
        assert needed <= past - first
        if reach == "piece":
            data[first : first + needed] = -2
        for turn in range(begin, end):
            room, count = lengths[turn]
            if reach not in ("entry", "next"):
                data[at : at + room] = -3
            data[at : at + count] = 100 * turn + np.arange(count)
            if reach == "next" and room > count:
                data[at + count] = -4
            at += count
            ends[turn + 1] = at
        return needed, at

    def make(length):
        arguments[0] = np.full(length, -1)

    def each(pieces, run, _):
        pieces = list(pieces)
        draw.shuffle(pieces)
        for piece in pieces:
            run(piece)

    places = Places()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOVED", 1.0)
        patch.setattr(module, "each", each)
        places.learn(1, turns, groups, output, reach)
        counts = places.fill(1, kernel, arguments, make, output)
    if counts is None:
        assert not sum(count for _, count in lengths)
        return
    data, ends = arguments[:2]
    wanted = [100 * turn + k for turn, (_, count) in enumerate(lengths) for k in range(count)]
    assert data[: counts[0]].tolist() == wanted
    assert ends.tolist() == np.cumsum([0, *(count for _, count in lengths)]).tolist()


PIECE = {"begin": 2, "end": 3, "first": 4, "past": 5}


def turns_of(lengths):
    return [
        Turns(k, k + 1, room, (count,), (k + 1, k + 2)) for k, (room, count) in enumerate(lengths)
    ]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_rows_of_some_entries(lengths, data):
    """Rows outside have none of them."""
    ends = np.cumsum([0, *lengths])
    before = data.draw(st.integers(0, int(ends[-1])))
    count = data.draw(st.integers(0, int(ends[-1]) - before))
    first, past = rows_of(ends, before, count)
    with_some = [
        row + 1
        for row in range(len(lengths))
        if min(ends[row + 1], before + count) > max(ends[row], before)
    ]
    assert all(first <= row < past for row in with_some)
    if with_some:
        assert (first, past) == (with_some[0], with_some[-1] + 1)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_rows_are_found_without_a_copy_of_their_ends(dtype):
    ends = np.arange(100_000).astype(dtype)
    tracemalloc.start()
    try:
        assert rows_of(ends, 70_000, 5) == (70_001, 70_006)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


def scaled(A, x):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] * x[j]
    return C


def added(A, B):
    i, j = sd.indices("i j")
    C = sd.output("csr")
    C[i, j] = A[i, j] + B[i, j]
    return C


def test_places_are_forgotten_when_they_are_wrong_twice():
    places = Places()
    asked = [places.wanted(2) for _ in range(PATIENCE + 2)]
    assert asked == [False] * PATIENCE + [True] * 2
    places.learn(2, [], 4, Output((), (), PIECE, (PIECE,), (0, 1)), "turn")
    assert not places.wanted(2)
    assert places.wanted(3)
    places.forget()
    assert not places.wanted(2)
