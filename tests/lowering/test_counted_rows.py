"""Sums of two matrices count each row before they merge it: given too little room, they stop."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsedsl as sd

UNTOUCHED = -7


@sd.kernel
def added(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] + B[i, j]
    return C


@sd.kernel
def scaled(A, B):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = 2.0 * A[i, j] + B[i, j]
    return C


@sd.kernel
def added_where_stored(A, B, M):
    i, j = sd.indices("i j")
    C = sd.output()
    C[i, j] = A[i, j] * M[i, j] + B[i, j]
    return C


def _operands(seed=0, shape=(7, 6)):
    rng = np.random.default_rng(seed)
    return [sp.random_array(shape, density=0.4, format="csr", rng=rng) for _ in range(3)]


def _given(kernel, operands, room):
    """Return the compiled function, its arguments, and the buffers that hold its output."""
    compiled = kernel.compile(*operands)
    rows, columns = operands[0].shape
    arrays = {"n_i": rows, "n_j": columns, "C_indptr": np.zeros(rows + 1, np.int32)}
    for name, matrix in zip("ABM", operands, strict=False):
        for part in ("indptr", "indices", "data"):
            arrays[f"{name}_{part}"] = getattr(matrix, part)
    buffers = {
        "C_indices": np.full(room + 40, UNTOUCHED, np.int32),
        "C_data": np.full(room + 40, float(UNTOUCHED)),
    }
    arrays |= {name: buffer[:room] for name, buffer in buffers.items()}
    function = compiled.njit
    code = function.py_func.__code__
    names = code.co_varnames[: code.co_argcount]
    return function, [arrays[name] for name in names], arrays, buffers


@pytest.mark.parametrize("kernel", [added, scaled])
def test_nothing_is_written_beyond_the_room_and_all_that_is_needed_is_told(kernel):
    A, B, _ = _operands()
    needed = A.nnz + B.nnz
    for room in range(needed + 2):
        function, arguments, arrays, buffers = _given(kernel, (A, B), room)
        found, count = function(*arguments)
        assert found == needed
        assert all((buffer[room:] == UNTOUCHED).all() for buffer in buffers.values())
        if room >= needed:
            parts = arrays["C_data"][:count], arrays["C_indices"][:count], arrays["C_indptr"]
            scale = 1.0 if kernel is added else 2.0
            expected = scale * A.toarray() + B.toarray()
            np.testing.assert_array_equal(sp.csr_array(parts, A.shape).toarray(), expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_whose_room_changes_from_call_to_call_are_whole(threads):
    with sd.options(threads=threads, parallel_threshold=0):
        for seed in range(4):
            A, B, M = _operands(seed, (30, 20 + seed))
            B.data[::3] = 0.0
            for _ in range(3):
                np.testing.assert_array_equal(
                    added(A, B).toarray(), A.toarray() + B.toarray(), strict=True
                )
                expected = A.toarray() * M.toarray() + B.toarray()
                np.testing.assert_allclose(added_where_stored(A, B, M).toarray(), expected)


def test_rows_are_counted_in_the_loop_that_merges_them_alone():
    A, B, M = _operands()
    (source,) = (u.source for u in added.lower(A, B).units)
    assert source.count("for i in range") == 1
    (source,) = (u.source for u in added_where_stored.lower(A, B, M).units)
    assert source.count("for i in range") > 1
