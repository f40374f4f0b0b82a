"""Calls that are made without branches or with them, whichever a clock says is faster."""

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls import learnt
from sparsedsl.calls.learnt import FIRST, LEARNING, LONGEST, SOON, TIMED, Learnt

TRIED = FIRST + TIMED + LEARNING + TIMED


class Calls:
    """Two ways to make a call, which take as long as they are said to; the ways that were taken."""

    def __init__(self, even, guessed):
        self.now = 0
        self.took = {"even": even, "guessed": guessed}
        self.ways = []

    def way(self, name):
        def run(x):
            self.ways.append(name)
            took = self.took[name]
            self.now += took(len(self.ways)) if callable(took) else took
            return name, x

        return run

    def learnt(self, kernel=None):
        kernel = SimpleNamespace(latest=None) if kernel is None else kernel
        return Learnt(self.way("even"), self.way("guessed"), kernel, lambda: self.now)


def _taken(calls, run, count):
    """The ways that so many calls take, which give what they gave."""
    before = len(calls.ways)
    found = [run(k) for k in range(count)]
    ways = calls.ways[before:]
    assert found == list(zip(ways, range(count), strict=True))
    return ways


@pytest.mark.parametrize(("guessed", "then"), [(20, "guessed"), (39, "guessed"), (41, "even")])
def test_the_faster_way_is_taken_once_both_were_timed(guessed, then):
    calls = Calls(40, guessed)
    ways = _taken(calls, calls.learnt(), TRIED + 50)
    even = FIRST + TIMED
    assert ways == ["even"] * even + ["guessed"] * (TRIED - even) + [then] * 50


def test_branches_are_learnt_before_they_are_timed():
    # the first calls with branches take much longer than those without, as processors have it
    calls = Calls(40, lambda call: 200 if call <= FIRST + TIMED + LEARNING else 20)
    assert _taken(calls, calls.learnt(), TRIED + 1)[-1] == "guessed"


def test_the_shortest_call_counts():
    # one of those that are timed is held up
    even, guessed = FIRST + 2, TRIED - 1
    calls = Calls(
        lambda call: 900 if call == even else 40, lambda call: 900 if call == guessed else 20
    )
    assert _taken(calls, calls.learnt(), TRIED + 1)[-1] == "guessed"


def test_long_calls_are_not_tried():
    calls = Calls(LONGEST + 1, 1)
    assert set(_taken(calls, calls.learnt(), 3 * TRIED)) == {"even"}


def test_operands_in_turn_are_not_guessed():
    kernel, calls = SimpleNamespace(latest=None), Calls(40, 20)
    one, other = calls.learnt(kernel), calls.learnt(kernel)
    for _ in range(2 * TRIED):
        one(0)
        other(0)
    assert set(calls.ways) == {"even"}
    # each alone is, from when it was tried, and no longer where the other one comes in between
    assert _taken(calls, one, TRIED + 9)[-9:] == ["guessed"] * 9
    assert _taken(calls, other, TRIED + 9)[-9:] == ["guessed"] * 9
    assert _taken(calls, one, SOON + 2) == ["even"] * SOON + ["guessed"] * 2
    for _ in range(5):
        assert _taken(calls, other, 1) == _taken(calls, one, 1) == ["even"]


def test_other_kernels_may_come_in_between():
    calls = Calls(40, 20)
    one, other = calls.learnt(), calls.learnt()
    for _ in range(TRIED):
        one(0)
        other(0)
    assert _taken(calls, one, 3) == _taken(calls, other, 3) == ["guessed"] * 3


@pytest.fixture
def tried(monkeypatch):
    """Whatever the clock says, branches are faster; the functions that chose among two ways."""
    made = []

    class Faster(Learnt):
        def __init__(self, even, guessed, kernel):
            self.ticks = iter(range(10**9))
            super().__init__(even, guessed, kernel, self.tick)
            self.guesses = 0
            made.append(self)
            self._guessed, self.run = self.guess, guessed

        def tick(self):
            # with branches a call takes no time
            return 0 if self.guesses else next(self.ticks)

        def guess(self, *given):
            self.guesses += 1
            return self.run(*given)

    monkeypatch.setattr(learnt, "Learnt", Faster)
    return made


def _added():
    @sd.kernel
    def added(A, B):
        i, j = sd.indices("i j")
        C = sd.output()
        C[i, j] = A[i, j] + B[i, j]
        return C

    return added


def _unrelated(seed, rows=30):
    rng = np.random.default_rng(seed)
    return [sp.random_array((rows, 60), density=0.3, format="csr", rng=rng) for _ in range(2)]


@pytest.mark.parametrize("bound", [False, True])
def test_results_are_the_same_bit_for_bit(tried, bound):
    added, operands = _added(), _unrelated(1)
    A, B = [sd.asarray(x) for x in operands] if bound else operands
    expected = added(A, B)
    with sd.options(threads=1):
        for _ in range(2 * TRIED):
            found = added(A, B)
            for name in ("data", "indices", "indptr"):
                mine, other = (
                    (x.arrays[name] if bound else getattr(x, name)) for x in (found, expected)
                )
                assert mine.tobytes() == other.tobytes()
    if tried:  # where machine code looks at operands
        assert tried[-1].guesses


def test_what_is_written_between_calls_is_read(tried):
    added, (A, B) = _added(), _unrelated(2)
    with sd.options(threads=1):
        for turn in range(2 * TRIED):
            A.data[turn % A.nnz] += 1.0
            np.testing.assert_array_equal(added(A, B).toarray(), A.toarray() + B.toarray())
        # the first row moves to other columns
        columns = A.indices[: A.indptr[1]]
        columns[:] = np.setdiff1d(np.arange(60), columns)[: columns.size]
        np.testing.assert_array_equal(added(A, B).toarray(), A.toarray() + B.toarray())


def test_no_operand_is_kept_alive():
    added, (A, B) = _added(), _unrelated(3)
    with sd.options(threads=1):
        for _ in range(2 * TRIED):
            added(A, B)
    held = weakref.ref(A.data)
    del A, B
    gc.collect()
    assert held() is None
