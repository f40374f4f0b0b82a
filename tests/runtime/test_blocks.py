"""Memory of results is used again once no array lies in it, and not before."""

import gc
import os
import platform
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd
from sparsedsl.runtime import blocks, outputs

FLOAT = np.dtype("float64")

pytestmark = pytest.mark.skipif(not blocks.AVAILABLE, reason="the system cannot give memory back")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Memory is kept from a few hundred bytes on, in pages of a usual machine."""
    monkeypatch.setattr(blocks, "LEAST", 256)
    monkeypatch.setattr(blocks, "DENSE", 255)
    monkeypatch.setattr(blocks, "PAGES", 4096)
    monkeypatch.setattr(blocks, "MOST", 1 << 16)
    monkeypatch.setattr(blocks, "_kept", {})


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again():
    array = blocks.empty(1000, FLOAT)
    before = address(array)
    assert not blocks._kept
    del array
    assert len(blocks._kept) == 1
    again = blocks.empty((10, 100), FLOAT)
    assert address(again) == before
    assert type(again) is np.ndarray
    assert again.flags.c_contiguous
    assert again.flags.writeable
    assert not blocks._kept


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[3:5],
        lambda a: a.reshape(10, 100).T[1:],
        lambda a: a.view(np.int64),
        memoryview,
        lambda a: np.asarray(memoryview(a)),
        lambda a: sp.csr_array((a, np.zeros(1000, int), np.array([0, 1000]))),
        lambda a: np.lib.stride_tricks.as_strided(a, (4, 4), (8, 16)),
        lambda a: a.reshape(10, 100).view(np.matrix),
    ],
)
def test_not_while_a_view_is_there(view):
    array = blocks.empty(1000, FLOAT)
    array[:] = 7.0
    kept = view(array)
    del array
    gc.collect()
    assert not blocks._kept
    other = blocks.empty(1000, FLOAT)
    other[:] = 8.0
    values = kept.data if sp.issparse(kept) else np.asarray(kept)
    assert (values.view(np.float64) == 7.0).all()
    del kept, values
    gc.collect()
    assert len(blocks._kept) == 1


def test_no_two_arrays_lie_in_the_same_memory():
    """Arrays of many sizes come and go in any order; each holds what was written to it."""
    draw, live = random.Random(0), []
    for number in range(2000):
        if live and draw.random() < 0.5:
            array, value = live.pop(draw.randrange(len(live)))
            assert (array == value).all()
            if draw.random() < 0.3:
                live.append((array[: len(array) // 2], value))
        else:
            array = blocks.empty(draw.choice([10, 40, 100, 130, 700, 3000]), FLOAT)
            array[:] = number
            live.append((array, number))
        assert sum(m.used for m in blocks._kept.values()) <= blocks.MOST
    assert all((array == value).all() for array, value in live)


def test_threads_take_and_give_back():
    wrong = []

    def work(mine):
        for k in range(500):
            array = blocks.empty(100 + k % 7, FLOAT)
            array[:] = mine
            if not (array == mine).all():
                wrong.append(mine)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_smallest_that_fits_is_taken():
    large, small = blocks.empty(3000, FLOAT), blocks.empty(2000, FLOAT)
    places = [address(small), address(large)]
    del large, small
    first, second = blocks.empty(2000, FLOAT), blocks.empty(3000, FLOAT)
    assert [address(first), address(second)] == places


def test_each_is_filled_as_far_as_before():
    """What asks for several of a size in turn gets them in the same order the next time."""
    made = [blocks.empty(1000, FLOAT) for _ in range(4)]
    places = [address(array) for array in made]
    for place in (2, 0, 3, 1):
        made[place] = None
    again = [blocks.empty(1000, FLOAT) for _ in range(4)]
    assert [address(array) for array in again] == places


def test_zeros_in_memory_that_was_used():
    array = blocks.empty(4000, FLOAT)
    array[:] = 1.0
    before = address(array)
    del array
    again = blocks.zeros((40, 90), FLOAT)
    assert address(again) == before
    assert not again.any()
    again[:] = 2.0
    short = blocks.shortened(again.reshape(-1), 700)
    del again, short
    assert not blocks.zeros((4, 900), FLOAT).any()


@pytest.mark.parametrize("shape", [(0,), (2, 3), (40, 90)])
def test_zeros_in_new_memory(shape):
    array = blocks.zeros(shape, FLOAT)
    assert array.shape == shape
    assert not array.any()
    assert blocks.maker(shape, FLOAT, zero=True)(shape, FLOAT).tobytes() == array.tobytes()


def test_sizes_that_do_not_fit():
    """Memory of more than twice the size is not taken, and goes where there is need of other."""
    array = blocks.empty(4000, FLOAT)
    del array
    assert len(blocks._kept) == 1
    small = blocks.empty(600, FLOAT)
    assert not blocks._kept
    assert len(small.base) == 2 * 4096
    # what is more than may be kept goes at once
    much = blocks.empty(10000, FLOAT)
    del much
    assert not blocks._kept
    del small
    assert blocks._kept
    blocks.release()
    assert not blocks._kept


def test_the_rest_of_an_array_takes_no_memory():
    array = blocks.empty(4000, FLOAT)
    array[:] = 1.0
    short = blocks.shortened(array, 700)
    assert len(short) == 700
    assert (short == 1.0).all()
    # pages given back hold zeros when they are next read
    assert (array[1024:] == 0.0).all()
    del array, short
    (kept,) = blocks._kept.values()
    assert (kept.size, kept.used) == (8 * 4096, 2 * 4096)
    plain = np.ones(8)
    assert blocks.shortened(plain, 3).base is plain


def test_results_of_a_call(monkeypatch):
    """Results that are kept stay as they are while others are made and dropped."""
    monkeypatch.setattr(outputs, "KEEP_BYTES", 0)
    rng = np.random.default_rng(0)
    first, second = (sp.random_array((90, 80), density=0.3, format="csr", rng=rng) for _ in "AB")
    expected = (first + second).toarray()
    kept = []
    for k in range(20):
        made = sd.evaluate("C[i,j] = A[i,j] + B[i,j]", A=first, B=second)
        np.testing.assert_array_equal(made.toarray(), expected)
        if k % 3 == 0:
            kept.append(made)
    assert all((x.toarray() == expected).all() for x in kept)
    made.data[:] = 0.0
    made.eliminate_zeros()
    assert made.nnz == 0


YOUNG = """
import resource
import numpy as np, scipy.sparse as sp, sparsedsl as sd

rng = np.random.default_rng(0)

def rows():
    columns = np.sort(rng.integers(0, 1 << 15, (1 << 14, 4)) * 4 + np.arange(4), axis=1)
    pointers = np.arange(0, (1 << 16) + 1, 4, dtype=np.int32)
    parts = np.ones(1 << 16), columns.ravel().astype(np.int32), pointers
    return sp.csr_array(parts, shape=(1 << 14, 1 << 17))

one, other = rows(), rows()

@sd.kernel(find="table")
def product(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * B[i, j]
    return C

for _ in range(10):
    product(one, other)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    product(one, other)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_a_kernel_finds_the_pages_of_its_table_again(tmp_path):
    """The table has 128 pages: in a process that gave back nothing large, they came anew."""
    # Dask sets thresholds of the allocator, for processes that tests of it start
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    own |= {"SPARSEDSL_CACHE_DIR": str(tmp_path), "SPARSEDSL_NO_CACHE": ""}
    told = ""
    for _ in range(2):  # to compile is to give back much
        told = subprocess.run(
            [sys.executable, "-c", YOUNG],
            env=own,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout
    assert float(told) < 64


LEFT = """
import numpy as np
from sparsedsl.runtime import blocks
blocks._left = blocks.empty((1 << 20,), np.dtype("float64"))
"""


def test_a_process_that_ends_with_an_array_says_nothing():
    ended = subprocess.run(
        [sys.executable, "-c", LEFT], capture_output=True, text=True, check=True, timeout=300
    )
    assert (ended.stdout, ended.stderr) == ("", "")
