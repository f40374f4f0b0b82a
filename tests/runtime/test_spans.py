"""Arrays side by side in memory: one question about all, and nothing that changed is missed."""

import gc
import os
import resource
import threading

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.calls import seen as seen_module
from sparsedsl.calls.seen import MISS
from sparsedsl.codegen import looking
from sparsedsl.runtime import looks, pages, spans
from sparsedsl.runtime.pages import PAGE, Tracked

pytestmark = pytest.mark.usefixtures("told")

WORDS = PAGE // 8


def _memory(count):
    """Return so many pages of float64, whole pages from the start on."""
    memory = np.zeros((count + 1) * WORDS)
    skip = -(memory.ctypes.data // 8) % WORDS
    return memory[skip : skip + count * WORDS]


def _questions(*arrays):
    tracked = [Tracked.of(array) for array in arrays]
    assert None not in tracked
    found = spans.asking(tracked)
    assert found is not None
    return [asked.file >= 0 for asked in found], (tracked, found)


def test_arrays_that_share_a_page_are_asked_about_together():
    memory = _memory(100)
    first, second, third = memory[5:20000], memory[20003:40000], memory[40000:51000]
    asked, _ = _questions(third, first, second)
    assert asked == [True, False, False]
    # one array is enough to ask about itself
    assert _questions(second, second)[0] == [True, False]


def test_arrays_far_apart_are_asked_about_one_by_one():
    for between in range(4):
        memory, size = _memory(40), 10 * WORDS
        asked, _ = _questions(memory[:size], memory[size + between * WORDS :])
        assert asked == [True, between > spans.NEAR]


def test_nothing_is_asked_of_no_arrays():
    assert spans.asking([]) == ()


def test_pages_between_that_are_written_to_again_and_again_are_let_be():
    memory = _memory(60)
    first, second = memory[: 20 * WORDS + 9], memory[20 * WORDS + 20 : 50 * WORDS]
    kept = []
    for turn in range(4):
        asked, held = _questions(first, second)
        kept.append(held)
        assert asked == [True, turn >= spans.QUIET]
        memory[20 * WORDS + 15] += 1.0


@sd.kernel
def product(A, x):
    i, j = sd.indices("i j")
    y = sd.output()
    y[i] = A[i, j] * x[j]
    return y


@pytest.fixture(autouse=True, params=[False, True], ids=["asked", "faults counted"])
def _look_soon(monkeypatch, request):
    monkeypatch.setattr(seen_module, "FIRST_LOOK", 1)
    monkeypatch.setattr(looks, "costly", lambda _: request.param)


def _side_by_side():
    """A matrix whose arrays share pages, with what is between them."""
    rng = np.random.default_rng(5)
    made = sp.random_array((20_000, 60_000), density=5e-5, format="csc", rng=rng)
    memory, arrays, gaps, at = _memory(400), [], [], 3
    for array in (made.indptr, made.indices, made.data):
        words = -(-array.nbytes // 8)
        place = memory[at : at + words].view(array.dtype)[: array.size]
        place[:] = array
        arrays.append(place)
        gaps.append(memory[at + words : at + words + 2])
        at += words + 2
    indptr, indices, data = arrays
    A = sp.csc_array((20_000, 60_000))
    A.indptr, A.indices, A.data = indptr, indices, data
    places = np.arange(0, 60_000, 7, dtype=np.int32)
    x = sp.coo_array((np.ones(places.size), (places,)), shape=(60_000,))
    for _ in range(12):
        product(A, x)
    (newest, *_) = product.engine._runner._prepared
    assert newest.seen.look is not None
    assert newest.seen.look(A, x)
    return A, x, gaps[:2], newest


side_by_side = pytest.fixture(_side_by_side)


def test_one_question_covers_a_matrix(side_by_side):
    A, *_ = side_by_side
    tracked = [Tracked.of(array) for array in (A.indptr, A.indices, A.data)]
    assert [asked.file >= 0 for asked in spans.asking(tracked) or ()] == [True, False, False]


@pytest.mark.parametrize("place", [0, 1, 700, 20_000, -700, -2, -1])
def test_a_value_that_changes_anywhere_is_seen(side_by_side, place):
    A, x, _, newest = side_by_side
    A.data[place] = np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(product(A, x), A.toarray() @ x.toarray())
    A.data[place] = 2.0
    np.testing.assert_allclose(product(A, x), A @ x.toarray())
    assert newest.run((A, x)) is not MISS


@pytest.mark.parametrize("place", [0, 1, 700, 20_000, -700, -2, -1])
def test_an_index_that_changes_anywhere_is_seen(side_by_side, place):
    A, x, *_ = side_by_side
    before, A.indices[place] = A.indices[place], 20_000
    for _ in range(3):
        with pytest.raises(sd.InvalidTensorError, match="indices"):
            product(A, x)
    A.indices[place] = before
    np.testing.assert_allclose(product(A, x), A @ x.toarray())


def _faults():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_minflt + used.ru_majflt


def _looker(array, file=None):
    """Return what says whether an array is as it is, and where it keeps how many faults it saw."""
    seen = Tracked.of(array)
    assert seen is not None
    ((own, *rest, _),) = spans.asking([seen]) or ()
    question = looking.Question(own if file is None else file, *rest, kept=seen)
    words = seen.address, seen.before, seen.after, question
    record, faults = looking.untouched(array, *words), np.full(1, -1)
    code = looks._machine_code()
    assert code is not None
    look = looking.looker(code, [(0, record)], 1, faults)
    assert look is not None
    return look, faults


def test_nothing_is_asked_where_there_was_no_fault():
    array, file = np.zeros(40 * WORDS), os.open(os.devnull, os.O_RDONLY)
    # this file answers no question, so that whoever asks is told that nothing is as it was
    look, faults = _looker(array, file)
    assert not look(array)
    assert faults[0] == -1
    found = []
    while not any(found) and len(found) < 100:  # the process may have one at any time
        faults[0] = _faults()
        found.append(look(array))
    assert any(found)
    array[20 * WORDS] = 1.0
    assert not look(array)
    os.close(file)


def _from_a_file(array, path):
    path.write_bytes(b"\1" * 64)
    with path.open("rb", buffering=0) as stream:
        stream.readinto(memoryview(array)[20 * WORDS : 20 * WORDS + 8])


def _in_a_thread(array, _):
    thread = threading.Thread(target=array.__setitem__, args=(20 * WORDS, 1.0))
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "write", [_from_a_file, _in_a_thread, lambda array, _: array.__setitem__(20 * WORDS, 1.0)]
)
def test_every_write_is_a_fault(write, tmp_path):
    array = np.zeros(40 * WORDS)
    look, faults = _looker(array)
    for _ in range(5):
        assert look(array)
        assert 0 < faults[0] <= _faults()
    write(array, tmp_path / "bytes")
    assert array[20 * WORDS] != 0.0
    assert not look(array)
    assert not look(array)


def test_faults_are_counted_where_that_is_less_than_to_ask():
    def asked(*sizes):
        arrays = [np.zeros(size * WORDS) for size in sizes]
        found = spans.asking([Tracked.of(array) for array in arrays])
        assert found is not None
        return spans.costly(found)

    assert not asked(100)
    assert not asked()
    assert asked(2000)
    assert asked(20, 300, 30)


def test_what_lies_between_is_no_part_of_the_matrix(side_by_side):
    A, x, gaps, newest = side_by_side
    expected = A @ x.toarray()
    for turn in range(40):
        gaps[turn % 2][:] = turn
        assert newest.run((A, x)) is not MISS
        np.testing.assert_allclose(product(A, x), expected)


def test_pages_between_are_let_go_of_with_the_operands():
    held = _side_by_side()
    before = len(pages._followed())
    del held
    gc.collect()
    assert len(pages._followed()) <= before - 5
