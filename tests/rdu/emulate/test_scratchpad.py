import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.scratchpad import Banking, Scratchpad, filled, transpose
from rdu.mapping.timing import bank_conflicts

LOW = tuple(range(4))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 200), st.integers(1, 16))
def test_unaligned_vectors_take_one_cycle(start, length):
    assert Banking(LOW).cycles(np.arange(start, start + length)) == 1


@pytest.mark.parametrize("side", [16, 32])
def test_a_striped_transpose_takes_one_cycle_a_vector(side):
    plain = Scratchpad(side * side, Banking(LOW))
    bits = side.bit_length() - 1
    striped = Scratchpad(side * side, Banking(LOW, diagonal=bits))
    expected = np.arange(side * side).reshape(side, side).T.reshape(-1)
    vectors = side * side // 16
    values, cycles = transpose(striped, side, side, 16)
    assert np.array_equal(values, expected)
    assert cycles == vectors
    values, cycles = transpose(plain, side, side, 16)
    assert np.array_equal(values, expected)
    assert cycles == 16 * vectors
    assert striped.conflicts == 0
    assert plain.conflicts == 15 * vectors


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("striped", [False, True])
def test_the_mapper_counts_what_the_banks_do(across, striped):
    banking = Banking(LOW, diagonal=4 if striped else None)
    step = 16 if across else 1
    found = banking.cycles(np.arange(16) * step)
    assert found == bank_conflicts(16, 16, across=across, striped=striped)


def test_halves_of_a_double_buffer_never_wait_for_each_other():
    # Half 1 begins at address 512. With bit 9 among the bank bits it has banks of its own.
    rng = np.random.default_rng(0)
    own = Scratchpad(1024, Banking((0, 1, 2, 9)))
    shared = Scratchpad(1024, Banking((0, 1, 2, 3)))
    waited = 0
    for _ in range(50):
        read = rng.integers(0, 504) + np.arange(8)
        write = 512 + rng.integers(0, 504) + np.arange(8)
        assert own.together(read, write) == 1
        waited += shared.together(read, write) - 1
    assert waited > 0


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(0, 999))
def test_a_tensor_spread_by_address_range(pads, seed):
    rng = np.random.default_rng(seed)
    units = [Scratchpad(16, Banking(LOW), low=16 * n) for n in range(pads)]
    data = rng.standard_normal(16 * pads).astype(np.float32)
    for start in range(0, 16 * pads, 8):
        at = np.arange(start, start + 8)
        for unit in units:
            unit.write(at, data[at])
    wanted = rng.integers(0, 16 * pads, 12)
    assert np.array_equal(filled(units, wanted), data[wanted])


def test_predicated_words_are_dropped():
    pad = Scratchpad(8, Banking((0, 1)))
    mask = np.array([True, False, True, False])
    pad.write(np.arange(4), np.float32([1, 2, 3, 4]), mask)
    assert pad.words[:4].tolist() == [1, 0, 3, 0]
    values, cycles = pad.read(np.arange(4), ~mask)
    assert (values.tolist(), cycles) == ([0, 0, 0, 0], 1)
    with pytest.raises(rdu.RDUError, match="at least one word"):
        Scratchpad(0, Banking((0,)))
