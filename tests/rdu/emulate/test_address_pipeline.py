import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.emulate.address_pipeline import (
    AddressPipeline,
    Alu,
    Counters,
    Operation,
    parted,
    spanning,
)
from rdu.emulate.scratchpad import Banking, Scratchpad
from rdu.emulate.traffic import Traffic, simulate_network


def affine(*terms):
    """``a * x + b * y + ...`` of named counters, a multiplication and an addition each."""
    steps = []
    for n, (name, factor) in enumerate(terms):
        steps.append(Operation(f"m{n}", Alu.MULTIPLY, name, constant=factor))
        steps.append(Operation(f"s{n}", Alu.ADD, f"m{n}", f"s{n - 1}" if n else ""))
    return AddressPipeline(tuple(steps))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_counters_are_nested_loops_and_tell_when_they_are_done(extents):
    counters = Counters(tuple(extents))
    values = np.stack(counters.values(), axis=1).tolist()
    assert values == [list(index) for index in np.ndindex(*extents)]
    events = [0] * len(extents)
    for turn in range(counters.turns):
        done = counters.done(turn)
        for n in done:
            events[n] += 1
        # What moves on behind it is the next counter outside of those done.
        following = values[turn + 1] if turn + 1 < counters.turns else [0] * len(extents)
        changed = [n for n in range(len(extents)) if following[n] != values[turn][n]]
        assert set(changed) <= {*done, min((*done, len(extents))) - 1}
    assert events == [int(np.prod(extents[:n])) for n in range(len(extents))]


def test_a_transpose_is_two_pipelines_over_one_scratchpad():
    """Written by rows, read by columns; both at an address a cycle, their fill apart."""
    side = 16
    counters = Counters((side, side))
    r, c = counters.values()
    scalars = {"r": r, "c": c}
    write, read = affine(("r", side), ("c", 1)), affine(("c", side), ("r", 1))
    assert parted(10, read, write) == 2
    pad = Scratchpad(side * side, Banking(tuple(range(4)), diagonal=4))
    data = np.arange(side * side, dtype=np.float32)
    spent = 0
    for row in write.addresses(scalars).reshape(side, side):
        spent += pad.write(row, data[row])
    found = []
    for column in read.addresses(scalars).reshape(side, side):
        values, cycles = pad.read(column)
        found.append(values)
        spent += cycles
    assert np.array_equal(np.stack(found), data.reshape(side, side).T)
    # A vector of sixteen addresses a cycle both ways, none waits for a bank.
    assert spent == 2 * side
    assert read.cycles(side * side, side) == 4 + side - 1


@pytest.mark.parametrize("a_cycle", [1, 2, 4])
@pytest.mark.parametrize("stages", [1, 2, 5])
def test_the_last_address_is_there_when_the_pipeline_has_filled(stages, a_cycle):
    steps = [Operation("x", Alu.ADD, "x", constant=1)] * stages
    pipeline = AddressPipeline(tuple(steps))
    assert pipeline.addresses({"x": np.arange(20)}).tolist() == list(range(stages, 20 + stages))
    # Those that enter in cycle n leave the last stage ``stages`` cycles later.
    leaves = [n // a_cycle + stages for n in range(20)]
    assert pipeline.cycles(20, a_cycle) == max(leaves)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.integers(0, 12), st.integers(1, 8))
def test_bits_are_taken_out_and_set(word, low, width):
    take = Operation("x", Alu.EXTRACT, "w", constant=low, width=width)
    put = Operation("y", Alu.SET, "x", "base", constant=low)
    found = AddressPipeline((take, put)).addresses({"w": np.array([word]), "base": np.array([0])})
    text = f"{word:064b}"[::-1]
    assert int(found[0]) == sum(int(b) << (low + n) for n, b in enumerate(text[low : low + width]))


def test_the_halves_of_a_double_buffer_lie_in_other_banks():
    """The lowest bit of a tile's number is set where it chooses the bank."""
    n, k = Counters((4, 64)).values()
    half = (
        Operation("odd", Alu.EXTRACT, "n", constant=0, width=1),
        Operation("at", Alu.SET, "odd", "k", constant=9),
    )
    addresses = AddressPipeline(half).addresses({"n": n, "k": k}).reshape(4, 8, 8)
    pad = Scratchpad(1024, Banking((0, 1, 2, 9)))
    for tile in range(3):
        for vector in range(8):
            assert pad.together(addresses[tile, vector], addresses[tile + 1, vector]) == 1


def test_predicates_drop_the_addresses_of_other_units():
    """Two units hold the even and the odd blocks of four words of a tensor."""
    (x,) = Counters((32,)).values()
    scalars = {"x": x, "not": ~x}
    pads = [Scratchpad(32, Banking((0, 1))) for _ in range(2)]
    for pad, name in zip(pads, ("not", "x"), strict=True):
        mine = AddressPipeline((Operation("at", Alu.SELECT, "x", name, constant=2),))
        for vector in mine.addresses(scalars).reshape(8, 4):
            pad.write(vector, vector.astype(np.float32) + 1, vector >= 0)
    held = [np.flatnonzero(pad.words).tolist() for pad in pads]
    assert held[0] == [n for n in range(32) if n % 8 < 4]
    assert held[1] == [n for n in range(32) if n % 8 >= 4]


def test_sequence_ids_are_operands_of_write_addresses():
    """Packets of two sources, mixed on their way, land where they belong."""
    end, vector = (0, 3), 4
    flows = [
        Traffic((0, 0), (end,), (((0, 0), (0, 1)), ((0, 1), (0, 2)), ((0, 2), end)), 6, 1, 0, 2),
        Traffic((0, 2), (end,), (((0, 2), end),), 6, 3, 1, 2),
    ]
    run = simulate_network(flows, tracks=1, depth=2)
    arrived = np.array([arrival.sequence for arrival in run.arrivals])
    assert arrived.tolist() != sorted(arrived.tolist())
    pad = Scratchpad(64, Banking((0, 1)))
    lane = np.arange(vector)
    for sequence in arrived:
        at = affine(("id", vector), ("lane", 1)).addresses(
            {"id": np.full(vector, sequence), "lane": lane}
        )
        pad.write(at, at.astype(np.float32))
    assert np.array_equal(pad.words[: 12 * vector], np.arange(12 * vector))


def test_long_calculations_span_units():
    whole = affine(("i", 100), ("j", 10), ("k", 1))
    with pytest.raises(rdu.RDUError, match="another PMU compute 2 of them"):
        parted(8, whole, affine(("i", 1), ("j", 1)))
    first = AddressPipeline(whole.operations[:4])
    rest = AddressPipeline(whole.operations[4:])
    assert parted(8, rest, affine(("i", 1), ("j", 1))) == 2
    i, j, k = Counters((3, 4, 5)).values()
    scalars = {"i": i, "j": j, "k": k}
    both = spanning([first, rest], [3])
    assert both.addresses(scalars).tolist() == (100 * i + 10 * j + k).tolist()
    assert both.cycles(60) == whole.cycles(60) + 3
    with pytest.raises(rdu.RDUError, match="takes 's1', which no counter"):
        rest.addresses(scalars)
