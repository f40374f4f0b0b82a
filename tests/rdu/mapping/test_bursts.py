"""Requests to memory: counted one by one, in closed form, and in whole programs."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import rdu
import sparsedsl as sd
from rdu.emulate.run import Manner, simulate
from rdu.mapping.bursts import access, tile_access

NODE = rdu.sn40l_node(1)
PLAIN = NODE.chip


def counted(chip, runs):
    """Ask vector by vector; remember the last requests' bursts."""
    size, vector, window = chip.burst_bytes, chip.pmu_port_bytes_per_cycle, chip.coalesce_requests
    requests = merged = moved = 0
    last = {}
    for start, length in runs:
        for begin in range(start, start + length, vector):
            end = min(begin + vector, start + length)
            for burst in range(begin // size, (end - 1) // size + 1):
                if burst in last and requests - last[burst] <= window:
                    merged += 1
                else:
                    moved += size
                last[burst] = requests
            requests += 1
    return requests, merged, moved


chips = st.builds(
    lambda burst, window, port: PLAIN.with_changes(
        burst_bytes=burst, coalesce_requests=window, pmu_port_bytes_per_cycle=port
    ),
    st.sampled_from([1, 16, 32, 64, 256]),
    st.sampled_from([0, 1, 2, 5, 64]),
    st.sampled_from([16, 64]),
)


@given(chips, st.lists(st.integers(0, 2000), min_size=1, max_size=40), st.integers(1, 300))
def test_requests_one_by_one(chip, starts, length):
    found = access(chip, np.array(starts), length)
    expected = counted(chip, [(start, length) for start in starts])
    assert (found.requests, found.merged, found.moved) == expected
    assert found.bytes == len(starts) * length


@given(chips, st.data())
def test_tiles_of_tensors(chip, data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    element = data.draw(st.sampled_from([2, 4]))
    place = []
    for extent in shape:
        low = data.draw(st.integers(0, extent - 1))
        place.append(slice(low, data.draw(st.integers(low + 1, extent))))
    number = np.arange(np.prod(shape)).reshape(shape)[tuple(place)].reshape(-1)
    # Neighbours in memory are one run.
    runs = []
    for at in number * element:
        if runs and sum(runs[-1]) == at:
            runs[-1] = (runs[-1][0], runs[-1][1] + element)
        else:
            runs.append((int(at), element))
    lengths = {length for _, length in runs}
    found = tile_access(chip, shape, element, place)
    assert found.bytes == number.size * element
    if len(lengths) == 1:
        requests, _, moved = counted(chip, runs)
        assert (found.requests, found.moved) == (requests, moved)


@pytest.mark.parametrize("burst", [32, 64, 128])
@pytest.mark.parametrize("row", [2, 8, 32, 64, 256])
def test_a_column_in_closed_form(burst, row):
    """Rows of a narrow tile far apart: each moves a burst of its own, however many it uses."""
    chip = PLAIN.with_changes(burst_bytes=burst)
    found = tile_access(chip, (100, 4096), 2, (slice(0, 100), slice(0, row // 2)))
    assert found.moved == 100 * max(burst, row)
    assert found.bytes == 100 * row


@sd.kernel
def spmm(A, B):
    i, j, k = sd.indices("i j k")
    C = sd.output()
    C[i, j] = A[i, k] * B[k, j]
    return C


def embedding(tokens, width, **changes):
    """Rows of a table, chosen by one-hot rows: the report, the result and the table."""
    rng = np.random.default_rng(0)
    table = rng.integers(-8, 8, (4096, width)).astype(np.float32)
    hot = sp.csr_array(
        (np.ones(len(tokens)), (np.arange(len(tokens)), tokens)), (len(tokens), 4096)
    )
    chip = PLAIN.with_changes(**changes)
    program = rdu.compile(rdu.trace(spmm, hot, table), chip, moves=10)
    found, report = rdu.run(program, hot, table)
    np.testing.assert_array_equal(found, table[tokens])
    (kernel,) = program.kernels
    loads = [t for side in kernel.loads.values() for t in side if t.tensor == "B"]
    return report, sum(t.access.moved for t in loads), sum(t.access.bytes for t in loads)


PAIRS = np.add.outer(np.arange(0, 4096, 32), np.arange(2)).reshape(-1)


@pytest.mark.parametrize("width", [4, 8, 32, 128])
def test_embedding_rows_are_gathered(width):
    tokens = np.random.default_rng(1).choice(512, 60) * 8
    rows = len(np.unique(tokens))
    report, moved, asked = embedding(tokens, width)
    assert asked == rows * 2 * width
    assert moved == rows * max(2 * width, 64)
    assert report.memory["hbm"]["moved"] >= moved


def test_neighbouring_rows_share_bursts():
    _, merged, asked = embedding(PAIRS, 8)
    alone, single, _ = embedding(PAIRS, 8, coalesce_requests=0)
    # Four rows of 16 bytes lie in a burst of 64, two of them are wanted.
    assert (merged, single, asked) == (128 * 64, 256 * 64, 256 * 16)
    assert alone.memory["hbm"]["merged"] == 0
    # Bursts of one byte count bytes and nothing else.
    assert embedding(PAIRS, 8, burst_bytes=1)[1] == asked


def test_the_window_bounds_what_is_remembered():
    """Rows that share a burst come ``distance`` requests apart."""
    for distance in (4, 16, 17, 40):
        starts = [burst * 64 + half * 32 for half in (0, 1) for burst in range(distance)]
        found = access(PLAIN, np.array(starts), 32)
        assert found.merged == (distance if distance <= PLAIN.coalesce_requests else 0)


def test_merging_saves_time_and_changes_no_result():
    slow = PLAIN.hbm_tb_per_s / 4000
    reports = [
        embedding(PAIRS, 8, hbm_tb_per_s=slow, coalesce_requests=window)[0] for window in (16, 0)
    ]
    assert reports[0].cycles < reports[1].cycles
    assert reports[0].bytes == reports[1].bytes


@pytest.mark.parametrize(("burst", "window"), [*itertools.product([32, 128], [0, 16])])
def test_time_is_not_below_the_bursts(burst, window):
    """Also where tiles are short columns, with and without fast-forward."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((600, 70)), rng.standard_normal((70, 90))
    chip = PLAIN.with_changes(
        burst_bytes=burst, coalesce_requests=window, pmus=40, pcus=40, pmu_kib=16, hbm_tb_per_s=0.02
    )
    program = rdu.compile(rdu.trace(spmm, a, b), chip, moves=10)
    report = simulate(program, None)
    assert report == simulate(program, None, Manner(fast_forward=False))
    moved = report.memory["hbm"]["moved"]
    assert moved >= report.bytes["hbm"]
    assert (report.cycles - report.launch_cycles) * chip.hbm_bytes_per_cycle >= moved
