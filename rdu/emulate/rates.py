"""Bytes a cycle of memory tiers and links, exact, and the ticks of a cycle that suit them all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from rdu.graph.graph import Graph
from rdu.graph.nodes import AllReduce
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Crossing, Program
from rdu.mapping.stages import Tier
from rdu.specs import Chip, Node


def exact(rate: float) -> Fraction:
    """Return a rate from a spec as a fraction."""
    return Fraction(rate).limit_denominator(1 << 16)


def tier_rate(chip: Chip, tier: Tier) -> Fraction:
    """Bytes a cycle of one memory tier."""
    return exact(chip.hbm_bytes_per_cycle if tier is Tier.HBM else chip.ddr_bytes_per_cycle)


def tier_rates(chip: Chip, kernel: Kernel, tier: Tier) -> tuple[Fraction, Fraction]:
    """Rates of a tier's loads and stores in a kernel.

    Loads leave room for all stores, so that both together never take less than their bytes
    need; a store, when its tile is there, goes at full rate.
    """
    whole = tier_rate(chip, tier) / kernel.slowdown
    loads = sum(t.access.moved for t in kernel.loads.get(tier, ()))
    stores = sum(t.access.moved for t in kernel.stores.get(tier, ()))
    both = max(loads + stores, 1)
    return whole * max(loads, 1) / both, whole


def reduction_rates(node: Node, graph: Graph, operator: AllReduce) -> tuple[Fraction, Fraction]:
    """Rates from one socket to another of partial sums, and of results.

    What a socket sends is shared among all others, and between partial sums and results by
    their bytes, so that both take equal cycles.
    """
    rate = exact(node.p2p_bytes_per_cycle) / max(operator.sockets - 1, 1)
    part, result = (
        graph.tensor(o.tensor).element_bytes for o in (operator.operand, operator.output)
    )
    return rate * Fraction(part, part + result), rate * Fraction(result, part + result)


def crossing_rate(program: Program, crossing: Crossing) -> Fraction:
    """Rate of a tensor that crosses; those that one socket sends share by their bytes."""
    graph = program.graph
    total = sum(
        graph.tensor(c.tensor).bytes for c in program.crossings if c.source == crossing.source
    )
    share = Fraction(graph.tensor(crossing.tensor).bytes, max(total, 1))
    return exact(program.node.p2p_bytes_per_cycle) * share


def ticks_a_cycle(program: Program, *kernels: Kernel) -> int:
    """Return the least number of ticks in which a byte takes whole ticks at every rate."""
    return math.lcm(*(rate.numerator for rate in _rates(program, *kernels)))


def _rates(program: Program, *kernels: Kernel) -> Iterator[Fraction]:
    chip = program.node.chip
    yield tier_rate(chip, Tier.HBM)
    for kernel in kernels:
        for tier in (Tier.HBM, Tier.DDR):
            yield from tier_rates(chip, kernel, tier)
        for stage in kernel.stages:
            if isinstance(operator := stage.shape.operator, AllReduce):
                yield from reduction_rates(program.node, program.local, operator)
    for crossing in program.crossings:
        yield crossing_rate(program, crossing)
