"""Placing a kernel's units on the mesh: a snake through the sites, then simulated annealing.

Every site of the mesh holds one PCU and one PMU. Memory is reached at both ends of a row.

A snake through bands of the mesh puts the units of a stage into a block of about a band's height;
of all heights that cut the mesh evenly the one with the shortest wires is annealed. Wires count by
their bytes and, a little, one by one: else units with few bytes would end up anywhere, and a tile
takes as many cycles as its way is long.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from rdu.errors import MappingError
from rdu.mapping.flows import Flow, Unit
from rdu.specs import Chip

Site: TypeAlias = tuple[int, int]

# What a wire of no bytes counts, as a part of the mean.
_LENGTH = 0.25


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
    chip: Chip, units: Sequence[Unit], flows: Sequence[Flow], *, seed: int = 0, moves: int = 4000
) -> Placement:
    """Place units so that bytes times hops are small; the same seed gives the same placement.

    Raises
    ------
    MappingError
        If there are more units of a kind than the chip has.
    """
    limit = {"pcu": chip.pcus, "pmu": chip.pmus}
    for kind, most in limit.items():
        need = sum(unit.kind == kind for unit in units)
        if need > most:
            raise MappingError(
                f"a kernel needs {need} {kind.upper()}s, the chip has {most}",
                hint="cut the graph into more kernels, for example with fusion='pattern'",
            )
    slots = _snake_slots(units, limit)
    heights = {-(-chip.mesh_rows // bands) for bands in range(1, chip.mesh_rows + 1)}
    snakes = [_snake(chip, height) for height in sorted(heights)]
    snake = min(snakes, key=lambda way: _cost(chip, flows, [way[slot] for slot in slots]))
    sites = [snake[slot] for slot in slots]
    used = {
        kind: {s for u, s in zip(units, slots, strict=True) if u.kind == kind} for kind in limit
    }
    free = {
        kind: [snake[n] for n in range(most) if n not in used[kind]] for kind, most in limit.items()
    }
    annealed = _anneal(chip, units, list(sites), free, flows, random.Random(seed), moves)
    if _cost(chip, flows, annealed) > _cost(chip, flows, sites):
        annealed = sites
    return Placement(tuple(units), tuple(annealed))


def wire_cost(chip: Chip, flows: Sequence[Flow], sites: Sequence[Site]) -> int:
    """Bytes times the half perimeter of every flow's bounding box."""
    spans = _Spans(chip, flows, sites)
    return sum(flow.bytes * spans.length(n) for n, flow in enumerate(flows))


def _cost(chip: Chip, flows: Sequence[Flow], sites: Sequence[Site]) -> int:
    """What annealing lowers."""
    return sum(_Spans(chip, flows, sites).settled)


def _snake(chip: Chip, height: int) -> list[Site]:
    """All sites, through bands of so many rows, to and fro; within a band column by column."""
    found: list[Site] = []
    for band, top in enumerate(range(0, chip.mesh_rows, height)):
        rows = range(top, min(top + height, chip.mesh_rows))
        for n in range(chip.mesh_columns):
            column = n if band % 2 == 0 else chip.mesh_columns - 1 - n
            found += [(row, column) for row in (rows if n % 2 == 0 else reversed(rows))]
    return found


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
    """Move units by turns to any site and to one near where their flows pull them.

    What is there comes back in exchange. The way from the pull shortens as the temperature falls.
    """
    touching: list[list[int]] = [[] for _ in units]
    for number, flow in enumerate(flows):
        for unit in _ends(flow):
            touching[unit].append(number)
    spans = _Spans(chip, flows, sites)
    movable = [n for n in range(len(units)) if touching[n]]
    if len(movable) < 2:
        return sites
    held: dict[str, dict[Site, int | None]] = {k: dict.fromkeys(some) for k, some in free.items()}
    for n, unit in enumerate(units):
        held[unit.kind][sites[n]] = n
    slots = {kind: list(places) for kind, places in held.items()}
    heat = 0.05 * sum(spans.settled) / max(len(flows), 1)
    reach = max(chip.mesh_rows, chip.mesh_columns) / 4
    for move in range(moves):
        left = 1 - move / moves
        a = rng.choice(movable)
        places, old = held[units[a].kind], spans.site(a)
        if move % 2:
            new = rng.choice(slots[units[a].kind])
        else:
            far = 1 + int(reach * left)
            row, column = spans.pull(a, touching[a])
            new = (row + rng.randint(-far, far), column + rng.randint(-far, far))
        if new == old or new not in places:
            continue
        b = places[new]
        spans.exchange(a, b, new)
        changed = touching[a] if b is None else {*touching[a], *touching[b]}
        if spans.settle(changed, heat * left**2 + 1e-9, rng):
            places[new], places[old] = a, b
        else:
            spans.exchange(a, b, old)
    if moves:
        _fetch_back(units, spans, touching, held, rng)
    return [spans.site(n) for n in range(len(units))]


def _fetch_back(
    units: Sequence[Unit],
    spans: _Spans,
    touching: Sequence[Sequence[int]],
    held: Mapping[str, dict[Site, int | None]],
    rng: random.Random,
) -> None:
    """Move the eighth of the units that is furthest from its pull to the best site near it.

    Free sites next to it are tried, and those at both ends of its row, where memory is.
    """
    pulls = {n: spans.pull(n, touching[n]) for n in range(len(units)) if touching[n]}

    def strayed(unit: int) -> int:
        return _apart(spans.site(unit), pulls[unit])

    for a in sorted(pulls, key=lambda n: (-strayed(n), n))[: len(units) // 8]:
        places = held[units[a].kind]
        row, column = pulls[a]
        free = [site for site, unit in places.items() if unit is None]
        for goal in ((row, column), (row, 0), (row, spans.chip.mesh_columns - 1)):
            for new in heapq.nsmallest(8, free, key=lambda site, g=goal: (_apart(site, g), site)):
                old = spans.site(a)
                if places[new] is not None:
                    continue
                spans.exchange(a, None, new)
                if spans.settle(touching[a], 1e-9, rng):
                    places[new], places[old] = a, None
                else:
                    spans.exchange(a, None, old)


def _apart(one: Site, other: Site) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


class _Spans:
    """Weights times hops of flows while units move; rows and columns are kept apart for speed."""

    def __init__(self, chip: Chip, flows: Sequence[Flow], sites: Sequence[Site]) -> None:
        self.chip = chip
        self.outer = [flow.source is None or not flow.targets for flow in flows]
        mean = sum(flow.bytes for flow in flows) / max(len(flows), 1)
        self.weights = [flow.bytes + int(_LENGTH * mean) for flow in flows]
        self.rows = [row for row, _ in sites]
        self.columns = [column for _, column in sites]
        self.order = range(len(sites))
        # Twice the first end: a getter of one index would not return a tuple.
        self.ends = [itemgetter(_ends(flow)[0], *_ends(flow)) for flow in flows]
        self.settled = [self.cost(n) for n in range(len(flows))]

    def cost(self, number: int) -> int:
        """Weight times length of a flow."""
        return self.weights[number] * self.length(number)

    def length(self, number: int) -> int:
        """Half perimeter of the bounding box of a flow, and the way on to memory."""
        ends = self.ends[number]
        rows, columns = ends(self.rows), ends(self.columns)
        left, right = min(columns), max(columns)
        span = max(rows) - min(rows) + right - left
        if self.outer[number]:
            span += min(left, self.chip.mesh_columns - 1 - right) + 1
        return span

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

    def pull(self, unit: int, numbers: Sequence[int]) -> Site:
        """Median row and column of the other ends of a unit's flows; its own if there are none."""
        others = [end for n in numbers for end in self.ends[n](self.order)[1:] if end != unit]
        if not others:
            return self.site(unit)
        rows = sorted(self.rows[end] for end in others)
        columns = sorted(self.columns[end] for end in others)
        return rows[len(rows) // 2], columns[len(columns) // 2]

    def exchange(self, unit: int, other: int | None, site: Site) -> None:
        """Put a unit elsewhere, and the other one, if there is one, where it was."""
        if other is not None:
            self.rows[other], self.columns[other] = self.site(unit)
        self.rows[unit], self.columns[unit] = site


def _ends(flow: Flow) -> tuple[int, ...]:
    """All units a flow touches, each once."""
    own = () if flow.source is None else (flow.source,)
    return tuple(dict.fromkeys((*flow.targets, *own)))


def _accept(delta: int, temperature: float, rng: random.Random) -> bool:
    return delta <= 0 or rng.random() < math.exp(-delta / temperature)
