"""Object code of kernels, linked without Numba: what it computes, raises and refuses."""

import itertools

import numpy as np
import pytest

from sparsedsl.codegen.linkable import linkable_code
from sparsedsl.codegen.machine import kinds, linked, readable
from sparsedsl.codegen.numba_jit import load

HEAD = "import numpy as np\nfrom numba import njit\n\n\n@njit(nogil=True{flags})\n"


numbers = itertools.count()


def written(body, arguments, flags=""):
    """The function that links the code of a kernel; None where there is none."""
    dispatcher = load(HEAD.format(flags=flags) + body)
    code = linkable_code(dispatcher, kinds(arguments), f"written_{next(numbers)}")
    return None if code is None else linked(code)


def test_arrays_lie_as_the_code_reads_them_here():
    assert readable()


def test_arrays_of_every_rank_and_dtype():
    body = "def kernel(a, b, c, d, n):\n    return (a.size + n, b[1, 2], c.shape[2], int(d[()]))\n"
    arguments = [
        np.zeros(3, np.complex64),
        np.arange(12, dtype=np.int64).reshape(3, 4),
        np.zeros((2, 1, 5), bool),
        np.array(7.0, np.float32),
        np.int64(-2),
    ]
    assert written(body, arguments)(*arguments) == (1, 6, 5, 7)


def test_an_array_resized_in_place_is_read_where_it_is():
    body = "def kernel(x):\n    return (x.size, x[x.size - 1])\n"
    x = np.arange(4)
    found = written(body, [x])
    assert found(x) == (4, 3)
    x.resize(100_000, refcheck=False)
    x[-1] = 11
    assert found(x) == (100_000, 11)


@pytest.mark.parametrize(
    ("body", "error", "flags"),
    [
        ('if x[0] == 0: raise ValueError("told", 3)', ValueError("told", 3), ""),
        ("if x[0] == 0: raise OverflowError", OverflowError(), ""),
        ("return (x[7],)", IndexError(), ", boundscheck=True"),
        ("return (np.empty(1 << 62, np.int8).size,)", MemoryError(), ""),
        ("return (np.empty((1 << 60) - 1).size,)", MemoryError(), ""),
    ],
)
def test_what_a_kernel_raises_is_raised(body, error, flags):
    x = np.arange(5)
    found = written(f"def kernel(x):\n    {body}\n    return (x[0],)\n", [x], flags)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            found(x)
    if error.args:
        assert caught.value.args == error.args


def test_workspaces_are_aligned_and_freed():
    body = (
        "def kernel(x):\n    total = 0\n    for n in range(200):\n"
        "        w = np.zeros(50_000)\n        w[n] = x[0]\n        total += int(w.sum())\n"
        "    return (total,)\n"
    )
    x = np.array([3])
    found = written(body, [x])
    found(x)
    before = _resident()
    for _ in range(20):
        assert found(x) == (600,)
    # what 4000 workspaces of 400 kB take, were they kept, is 1.6 GB
    assert _resident() - before < 100 << 20


def _resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096


@pytest.mark.parametrize(
    "body",
    [
        'def kernel(x):\n    print("x", x[0])\n    return (x[0],)\n',
        "def kernel(x):\n    if x[0] < 9:\n        raise ValueError(x[0])\n    return (x[0],)\n",
        "def kernel(x):\n    return (x[0] / 2,)\n",
        "def kernel(x):\n    return x[0]\n",
        "def kernel(x):\n    return (x.no_such_thing,)\n",
    ],
)
def test_what_needs_numba_is_not_made(body):
    assert written(body, [np.arange(5)]) is None
