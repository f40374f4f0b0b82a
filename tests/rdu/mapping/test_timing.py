import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rdu
from rdu.mapping.timing import (
    Cycles,
    access,
    bank_conflicts,
    passes,
    reduction,
    simd,
    systolic,
    systolic_ports,
)

CHIP = rdu.sn40l_node().chip
SQUARE = CHIP.with_changes(systolic_rows=16, systolic_columns=16, clock_ghz=1.2)


def test_one_block_on_one_array():
    # 32 x 6 outputs stay in place, 100 operand pairs stream in; the last result leaves the
    # far corner R + C - 2 cycles after the first could, through a tail of 4.
    assert systolic(CHIP, 1, 32, 100, 6, 1) == Cycles(100, 32 + 6 - 2 + 4)
    assert systolic(SQUARE, 1, 16, 100, 16, 1) == Cycles(100, 34)


def test_blocks_go_round_and_may_be_turned():
    assert systolic(SQUARE, 1, 64, 50, 32, 1).busy == 8 * 50
    assert systolic(SQUARE, 1, 64, 50, 32, 3).busy == 3 * 50
    assert passes(CHIP, 6, 32) == passes(CHIP, 32, 6) == 1


def test_short_sums_are_bound_by_draining():
    assert systolic(CHIP, 1, 32, 1, 6, 1).busy == CHIP.systolic_columns


def test_simd_and_reduction():
    assert simd(CHIP, 32 * 10, 1) == Cycles(10, 6 + 4)
    assert simd(CHIP, 32 * 10 + 1, 2).busy == 6
    assert reduction(CHIP, 320, 1) == Cycles(10, 6 + 4 + 5)
    assert access(CHIP, 64 * 7, 1).busy == 7
    assert access(CHIP, 1, 8).busy == 1


@settings(deadline=None, max_examples=100)
@given(*(st.integers(1, 300) for _ in range(3)), st.integers(1, 64))
def test_never_faster_than_the_peak(m, k, n, pcus):
    cycles = systolic(CHIP, 1, m, k, n, pcus)
    macs = CHIP.systolic_rows * CHIP.systolic_columns * pcus
    assert cycles.busy * macs >= m * k * n


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.integers(1, 400))
def test_ports_cover_the_operand_rates(n, pcus):
    left, right = systolic_ports(CHIP, n, pcus, 2)
    columns = min(pcus, -(-n // CHIP.systolic_columns))
    rows = -(-pcus // columns)
    assert left * 64 >= rows * CHIP.systolic_rows * 2
    assert right * 64 >= columns * CHIP.systolic_columns * 2


@pytest.mark.parametrize("banks", [4, 16, 17])
def test_diagonal_stripes_have_no_conflicts(banks):
    for across in (False, True):
        assert bank_conflicts(banks, banks, across=across, striped=True) == 1
    assert bank_conflicts(banks, banks, across=False, striped=False) == 1
    assert bank_conflicts(banks, banks, across=True, striped=False) == banks


def test_diagonal_stripes_hold_for_every_row_and_column():
    banks, size = 8, 24
    for line in range(size):
        for start in range(0, size, banks):
            row = {(line + c) % banks for c in range(start, start + banks)}
            column = {(r + line) % banks for r in range(start, start + banks)}
            assert len(row) == len(column) == banks
