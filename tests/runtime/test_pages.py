"""What the system tells of writes to memory: every write, from wherever, and nothing else."""

import gc
import mmap
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from sparsedsl.runtime import pages
from sparsedsl.runtime.pages import FEWEST, PAGE, Tracked

COUNT = 40_000

pytestmark = pytest.mark.usefixtures("told")


def _tracked(array):
    made = Tracked.of(array)
    assert made is not None
    assert made.holds(array)
    return made


@pytest.mark.parametrize("place", [0, 1, 1023, 1024, 5000, COUNT // 2, COUNT - 2, COUNT - 1])
@pytest.mark.parametrize("dtype", ["int32", "float64", ">i4"])
def test_one_element_that_is_written_is_noticed(place, dtype):
    x = np.arange(COUNT).astype(dtype)
    made = _tracked(x)
    x.sum()
    assert made.holds(x)
    x[place] = 7 if place != 7 else 8
    assert not made.holds(x)
    again = _tracked(x)
    assert not made.holds(x)
    x[place] += 1
    assert not again.holds(x)


@pytest.mark.parametrize("length", [COUNT, 10_000_000])
def test_what_the_kernel_writes_for_a_process_is_noticed(length, tmp_path):
    x = np.zeros(length, np.int32)
    made = _tracked(x)
    (tmp_path / "bytes").write_bytes(b"\1" * 64)
    with (tmp_path / "bytes").open("rb", buffering=0) as stream:
        stream.readinto(memoryview(x)[30_000:30_016])
    assert x[30_000] == 0x01010101
    assert not made.holds(x)


def test_what_another_thread_writes_is_noticed():
    x = np.arange(COUNT)
    made = _tracked(x)
    thread = threading.Thread(target=x.__setitem__, args=(20_000, 1))
    thread.start()
    thread.join()
    assert not made.holds(x)


def test_writes_beside_an_array_do_not_count():
    memory = np.zeros(COUNT * 3, np.int32)
    x = memory[COUNT : 2 * COUNT]
    made = _tracked(x)
    memory[:COUNT], memory[2 * COUNT :] = 1, 1
    assert made.holds(x)


def test_of_two_who_follow_one_array_both_notice():
    x = np.arange(COUNT)
    first, second = _tracked(x), _tracked(x)
    assert first.pages is second.pages
    x[20_000] = 1
    assert not first.holds(x)
    third = _tracked(x)  # protects the pages again
    assert not second.holds(x)
    assert third.holds(x)


def test_pages_that_overlap_are_followed_once():
    x = np.arange(COUNT)
    made = _tracked(x)
    assert Tracked.of(x[: COUNT // 2]) is None
    assert made.holds(x)


def test_an_array_that_moved_is_not_what_it_was():
    x = np.arange(COUNT)
    made = _tracked(x)
    assert not made.holds(x.copy())
    x.resize(100 * COUNT, refcheck=False)
    assert not made.holds(x)
    del made  # it may have grown where it lay
    assert _tracked(x) is not None


def test_memory_that_others_can_write_to_is_not_followed(tmp_path):
    shared = np.frombuffer(mmap.mmap(-1, 1 << 20), np.int32)
    assert Tracked.of(shared) is None
    path = tmp_path / "array"
    path.write_bytes(bytes(1 << 20))
    assert Tracked.of(np.memmap(path, np.int32, "r+")) is None
    assert Tracked.of(np.memmap(path, np.int32, "r")) is None
    private = np.memmap(path, np.int32, "c")
    assert Tracked.of(private) is None


def test_short_and_strided_arrays_are_not_followed():
    assert Tracked.of(np.zeros(FEWEST * PAGE // 2, np.uint8)) is None
    assert Tracked.of(np.arange(2 * COUNT)[::2]) is None


def test_ranges_are_let_go_of_and_never_too_many():
    gc.collect()
    before = len(pages._ranges)
    x = np.zeros(16 * PAGE * (pages.MOST + 20), np.uint8)
    parts = [x[k * 16 * PAGE :][: 14 * PAGE] for k in range(pages.MOST + 20)]
    made = [Tracked.of(part) for part in parts]
    assert sum(m is not None for m in made) == pages.MOST - before
    del made
    gc.collect()
    assert len(pages._ranges) == before
    assert _tracked(parts[-1]) is not None


def test_memory_that_was_given_back_is_let_go_of():
    x = np.arange(4_000_000)
    made = _tracked(x)
    del x
    gc.collect()
    y = np.arange(4_000_000)  # most likely where the other lay
    assert not made.holds(y)
    assert _tracked(y) is not None


def test_pages_whose_memory_was_given_back_can_be_followed_again():
    memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    x = np.frombuffer(memory, np.int32)
    x[:] = 1
    made = _tracked(x)
    made.pages.lost = True  # as when the system knows the pages no more
    assert not made.holds(x)
    again = _tracked(x)
    x[20_000] = 2
    assert not again.holds(x)


LEFT = """
import numpy as np
from sparsedsl.runtime import pages
pages.left = pages.Tracked.of(np.arange(40_000))
assert pages.left is not None
"""


def test_a_process_that_ends_while_pages_are_followed_says_nothing():
    ended = subprocess.run(
        [sys.executable, "-c", LEFT], capture_output=True, text=True, check=True, timeout=300
    )
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_forked_process_begins_anew():
    x = np.arange(COUNT)
    made = _tracked(x)
    child = os.fork()
    if not child:
        right = False
        try:
            right = not made.holds(x)
            own = Tracked.of(x)
            right = right and own is not None and own.holds(x) and not made.holds(x)
            x[20_000] = 1
            right = right and own is not None and not own.holds(x)
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert made.holds(x)
    x[20_000] = 1
    assert not made.holds(x)
