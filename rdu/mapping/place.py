"""Placing a kernel's units on the mesh: a snake through the sites, then simulated annealing.

Every site of the mesh holds one PCU and one PMU. Memory is reached at both ends of a row.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from rdu.errors import MappingError
from rdu.mapping.flows import Flow, Unit
from rdu.specs import Chip

Site: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Placement:
    """``sites[n]`` is the (row, column) of logical unit ``units[n]``."""

    units: tuple[Unit, ...]
    sites: tuple[Site, ...]

    def groups(self) -> dict[str, tuple[Site, ...]]:
        """Sites of each stage's PCUs (named as the stage) and of each buffer's PMUs."""
        found: dict[str, list[Site]] = {}
        for unit, site in zip(self.units, self.sites, strict=True):
            found.setdefault(unit.group, []).append(site)
        return {name: tuple(sites) for name, sites in found.items()}


def place(
    chip: Chip, units: Sequence[Unit], flows: Sequence[Flow], *, seed: int = 0, moves: int = 2000
) -> Placement:
    """Place units so that bytes times hops are small; the same seed gives the same placement.

    Raises
    ------
    MappingError
        If there are more units of a kind than the chip has.
    """
    snake = [
        (row, column if row % 2 == 0 else chip.mesh_columns - 1 - column)
        for row in range(chip.mesh_rows)
        for column in range(chip.mesh_columns)
    ]
    limit = {"pcu": chip.pcus, "pmu": chip.pmus}
    for kind, most in limit.items():
        need = sum(unit.kind == kind for unit in units)
        if need > most:
            raise MappingError(
                f"a kernel needs {need} {kind.upper()}s, the chip has {most}",
                hint="cut the graph into more kernels, for example with fusion='pattern'",
            )
    slots = _snake_slots(units, limit)
    sites = [snake[slot] for slot in slots]
    used = {
        kind: {s for u, s in zip(units, slots, strict=True) if u.kind == kind} for kind in limit
    }
    free = {
        kind: [snake[n] for n in range(most) if n not in used[kind]] for kind, most in limit.items()
    }
    annealed = _anneal(chip, units, list(sites), free, flows, random.Random(seed), moves)
    if wire_cost(chip, flows, annealed) > wire_cost(chip, flows, sites):
        annealed = sites
    return Placement(tuple(units), tuple(annealed))


def wire_cost(chip: Chip, flows: Sequence[Flow], sites: Sequence[Site]) -> int:
    """Bytes times the half perimeter of every flow's bounding box: what annealing lowers."""
    return sum(_Spans(chip, flows, sites).settled)


def _snake_slots(units: Sequence[Unit], limit: dict[str, int]) -> list[int]:
    """Start positions along the snake: PCUs in order, PMUs spread over their stage's PCUs."""
    pcu_of: dict[str, list[int]] = {}
    slots = [0] * len(units)
    count = 0
    for n, unit in enumerate(units):
        if unit.kind == "pcu":
            slots[n] = count
            pcu_of.setdefault(unit.group, []).append(count)
            count += 1
    taken: set[int] = set()
    last = 0
    groups: dict[str, list[int]] = {}
    for n, unit in enumerate(units):
        if unit.kind == "pmu":
            groups.setdefault(unit.group, []).append(n)
    for group, members in groups.items():
        span = pcu_of.get(group.rsplit(".", 1)[0])
        low, high = (span[0], span[-1] + 1) if span else (last, last + len(members))
        last = high
        for position, n in enumerate(members):
            wanted = low + int((position + 0.5) * (high - low) / len(members))
            slots[n] = _nearest(min(wanted, limit["pmu"] - 1), taken, limit["pmu"])
            taken.add(slots[n])
    return slots


def _nearest(wanted: int, taken: set[int], size: int) -> int:
    for distance in range(size):
        for slot in (wanted + distance, wanted - distance):
            if 0 <= slot < size and slot not in taken:
                return slot
    raise AssertionError("more units than slots")


def _anneal(
    chip: Chip,
    units: Sequence[Unit],
    sites: list[Site],
    free: dict[str, list[Site]],
    flows: Sequence[Flow],
    rng: random.Random,
    moves: int,
) -> list[Site]:
    touching: list[list[int]] = [[] for _ in units]
    for number, flow in enumerate(flows):
        for unit in _ends(flow):
            touching[unit].append(number)
    spans = _Spans(chip, flows, sites)
    movable = [n for n in range(len(units)) if touching[n]]
    if len(movable) < 2:
        return sites
    same = {k: [n for n in movable if units[n].kind == k] for k in ("pcu", "pmu")}
    heat = 0.05 * wire_cost(chip, flows, sites) / max(len(flows), 1)
    for move in range(moves):
        temperature = heat * (1 - move / moves) ** 2 + 1e-9
        a = rng.choice(movable)
        kind = units[a].kind
        spare = free[kind]
        if spare and rng.random() < 0.2:
            slot = rng.randrange(len(spare))
            old = spans.site(a)
            spans.move(a, spare[slot])
            if spans.settle(touching[a], temperature, rng):
                spare[slot] = old
            else:
                spans.move(a, old)
            continue
        b = rng.choice(same[kind])
        if a == b:
            continue
        spans.swap(a, b)
        if not spans.settle({*touching[a], *touching[b]}, temperature, rng):
            spans.swap(a, b)
    return [spans.site(n) for n in range(len(units))]


class _Spans:
    """Bytes times hops of flows while units move; rows and columns are kept apart for speed."""

    def __init__(self, chip: Chip, flows: Sequence[Flow], sites: Sequence[Site]) -> None:
        self.chip = chip
        self.flows = flows
        self.rows = [row for row, _ in sites]
        self.columns = [column for _, column in sites]
        # Twice the first end: a getter of one index would not return a tuple.
        self.ends = [itemgetter(_ends(flow)[0], *_ends(flow)) for flow in flows]
        self.settled = [self.cost(n) for n in range(len(flows))]

    def cost(self, number: int) -> int:
        """Bytes times the half perimeter of the bounding box of a flow."""
        flow, ends = self.flows[number], self.ends[number]
        rows, columns = ends(self.rows), ends(self.columns)
        left, right = min(columns), max(columns)
        span = max(rows) - min(rows) + right - left
        if flow.source is None or not flow.targets:
            span += min(left, self.chip.mesh_columns - 1 - right) + 1
        return flow.bytes * span

    def settle(self, numbers: Iterable[int], temperature: float, rng: random.Random) -> bool:
        """Whether a move that changed some flows is accepted; if so, their costs are noted."""
        costs = {n: self.cost(n) for n in numbers}
        before = sum(self.settled[n] for n in costs)
        if not _accept(sum(costs.values()) - before, temperature, rng):
            return False
        for n, cost in costs.items():
            self.settled[n] = cost
        return True

    def site(self, unit: int) -> Site:
        """Where a unit is."""
        return (self.rows[unit], self.columns[unit])

    def move(self, unit: int, site: Site) -> None:
        """Put a unit elsewhere."""
        self.rows[unit], self.columns[unit] = site

    def swap(self, a: int, b: int) -> None:
        """Exchange two units."""
        one = self.site(a)
        self.move(a, self.site(b))
        self.move(b, one)


def _ends(flow: Flow) -> tuple[int, ...]:
    """All units a flow touches, each once."""
    own = () if flow.source is None else (flow.source,)
    return tuple(dict.fromkeys((*flow.targets, *own)))


def _accept(delta: int, temperature: float, rng: random.Random) -> bool:
    return delta <= 0 or rng.random() < math.exp(-delta / temperature)
