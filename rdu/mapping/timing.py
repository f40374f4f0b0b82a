"""Closed forms: how many cycles one firing keeps a unit busy, and how long it takes to appear.

``busy`` cycles pass before the same units can start the next firing; the result leaves
``busy + fill`` cycles after the start, because units are pipelined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rdu.graph.graph import Precision
from rdu.specs import Chip


@dataclass(frozen=True, slots=True)
class Cycles:
    """Initiation interval and pipeline depth of one firing."""

    busy: int
    fill: int

    def every(self, interval: int) -> Cycles:
        """Return the cycles if a vector enters every so many cycles only."""
        return self if interval == 1 else Cycles(self.busy * interval, self.fill)


def interval(chip: Chip, precision: Precision) -> int:
    """Cycles from one vector that enters a unit to the next, by the kind of its numbers."""
    return chip.int32_interval_cycles if precision is Precision.INT32 else 1


def passes(chip: Chip, m: int, n: int) -> int:
    """Blocks an output-stationary array needs for an ``m x n`` result, the better way round."""
    r, c = chip.systolic_rows, chip.systolic_columns
    return min(_ceil(m, r) * _ceil(n, c), _ceil(m, c) * _ceil(n, r))


def systolic(chip: Chip, batch: int, m: int, k: int, n: int, pcus: int) -> Cycles:
    """A batch of ``m x k`` by ``k x n`` products on ``pcus`` output-stationary arrays.

    Each pass keeps one block of the result in place while k operand pairs stream through;
    the previous block drains, a vector a cycle, at the same time.

    >>> from rdu.specs import sn40l_node
    >>> systolic(sn40l_node().chip, 1, 32, 100, 6, 1)
    Cycles(busy=100, fill=40)
    """
    r, c = chip.systolic_rows, chip.systolic_columns
    rounds = _ceil(batch * passes(chip, m, n), pcus)
    return Cycles(rounds * max(k, c), r + c - 2 + chip.tail_cycles)


def simd(chip: Chip, elements: int, pcus: int, sweeps: int = 1) -> Cycles:
    """``sweeps`` passes of an elementwise pipeline over ``elements``.

    >>> from rdu.specs import sn40l_node
    >>> simd(sn40l_node().chip, 6400, 2)
    Cycles(busy=100, fill=10)
    """
    vectors = _ceil(elements, chip.simd_lanes)
    return Cycles(max(_ceil(vectors, pcus), 1) * sweeps, chip.simd_stages + chip.tail_cycles)


def reduction(chip: Chip, elements: int, pcus: int) -> Cycles:
    """A reduction of ``elements``: the elementwise pipeline and the cross-lane tree."""
    base = simd(chip, elements, pcus)
    return Cycles(base.busy, base.fill + math.ceil(math.log2(max(chip.simd_lanes, 2))))


def access(chip: Chip, count: int, pmus: int) -> Cycles:
    """Read ``count`` bytes from ``pmus`` scratchpads at one vector a cycle each."""
    return Cycles(max(_ceil(count, chip.pmu_port_bytes_per_cycle * pmus), 1), 1)


def systolic_ports(chip: Chip, n: int, pcus: int, element_bytes: int) -> tuple[int, int]:
    """PMU ports that feed the left and the right operand of ``pcus`` arrays at full rate.

    The arrays stand in a grid; a row of it shares its left operand, a column its right one.
    """
    columns = min(pcus, _ceil(n, chip.systolic_columns))
    rows = _ceil(pcus, columns)
    port = chip.pmu_port_bytes_per_cycle
    left = _ceil(rows * chip.systolic_rows * element_bytes, port)
    right = _ceil(columns * chip.systolic_columns * element_bytes, port)
    return left, right


def simd_ports(chip: Chip, pcus: int, element_bytes: int) -> int:
    """PMU ports that feed one operand of ``pcus`` elementwise pipelines at full rate."""
    return _ceil(pcus * chip.simd_lanes * element_bytes, chip.pmu_port_bytes_per_cycle)


def bank_conflicts(banks: int, vector: int, *, across: bool, striped: bool) -> int:
    """Cycles one vector read takes: the most of its elements that lie in one bank.

    Element ``(r, c)`` of a tensor written plainly lies in bank ``c mod banks``, of one written
    diagonally in ``(r + c) mod banks``. ``across`` reads down a column. Diagonal striping
    makes both directions as fast as the plain row.

    >>> [bank_conflicts(16, 16, across=True, striped=s) for s in (False, True)]
    [16, 1]
    """
    counts = [0] * banks
    for n in range(vector):
        row, column = (n, 0) if across else (0, n)
        counts[(row + column if striped else column) % banks] += 1
    return max(counts)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
