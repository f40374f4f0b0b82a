"""Routes in dimension order, one tree for a multicast, and the static load of every link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rdu.mapping.flows import Fabric, Flow
from rdu.mapping.place import Placement, Site
from rdu.specs import Chip

Link: TypeAlias = tuple[Site, Site]
# Links, and how many of them the longest path has.
Way: TypeAlias = tuple[tuple[Link, ...], int]
Rank: TypeAlias = tuple[int, int, Site]

# Times that all flows choose, at most.
_TURNS = 4
# Equal parts of memory's bytes that a port near a unit may carry.
_SHARES = 2


@dataclass(frozen=True, slots=True)
class Routes:
    """``links[n]`` carry flow n; ``load`` is the bytes over each link in a whole kernel.

    Scalars have links of their own beside those of vectors, with ``scalar_load``.
    Column -1 and column ``mesh_columns`` are the memory ports (AGCU) at the ends of a row.
    """

    flows: tuple[Flow, ...]
    links: tuple[tuple[Link, ...], ...]
    hops: tuple[int, ...]
    load: Mapping[Link, int] = field(default_factory=dict[Link, int])
    scalar_load: Mapping[Link, int] = field(default_factory=dict[Link, int])

    def floor(self, chip: Chip) -> int:
        """Cycles the busiest link needs."""
        vectors = max(self.load.values(), default=0)
        scalars = max(self.scalar_load.values(), default=0)
        return max(
            -(-vectors // chip.hop_bytes_per_cycle), -(-scalars // chip.hop_scalar_bytes_per_cycle)
        )


def route(chip: Chip, placement: Placement, flows: Sequence[Flow]) -> Routes:
    """Route every flow; of the two dimension orders each takes the one whose links are freer.

    Large flows choose first. Then each chooses again, now that all others lie, for a few turns.
    """
    biggest_first = sorted(range(len(flows)), key=lambda n: (-flows[n].bytes, n))
    gates = _gates(chip, placement, flows, biggest_first)
    ways = [_ways(placement, flow, gates.get(n)) for n, flow in enumerate(flows)]
    loads: dict[Fabric, dict[Link, int]] = {fabric: {} for fabric in Fabric}
    chosen: dict[int, Way] = {}
    for _ in range(_TURNS):
        before = dict(chosen)
        for n in biggest_first:
            load = loads[flows[n].fabric]
            if n in chosen and len(ways[n]) > 1:
                _put(load, chosen[n], -flows[n].bytes)
            if n not in chosen or len(ways[n]) > 1:
                chosen[n] = min(ways[n], key=lambda way, load=load: _busiest(load, way))
                _put(load, chosen[n], flows[n].bytes)
        if chosen == before:
            break
    ordered = [chosen[n] for n in range(len(flows))]
    return Routes(
        tuple(flows),
        tuple(links for links, _ in ordered),
        tuple(hops for _, hops in ordered),
        *({link: n for link, n in loads[fabric].items() if n} for fabric in Fabric),
    )


def _put(load: dict[Link, int], way: Way, count: int) -> None:
    for link in way[0]:
        load[link] = load.get(link, 0) + count


def _busiest(load: Mapping[Link, int], way: Way) -> int:
    return max((load.get(link, 0) for link in way[0]), default=0)


def _ways(placement: Placement, flow: Flow, gate: Site | None) -> list[Way]:
    """Trees of both dimension orders, once where they are the same."""
    return list(dict.fromkeys(_tree(placement, flow, gate, first) for first in (True, False)))


def _gates(
    chip: Chip, placement: Placement, flows: Sequence[Flow], order: Sequence[int]
) -> dict[int, Site]:
    """Choose the memory port of every flow that needs one.

    It is the nearest of those that would carry no more than `_SHARES` of an equal part, the least
    loaded if there is none.
    """
    rows = min(chip.mesh_rows, -(-chip.agcus // 2))
    ports = {(row, edge): 0 for row in range(rows) for edge in (-1, chip.mesh_columns)}
    outer = [n for n in order if flows[n].source is None or not flows[n].targets]
    enough = _SHARES * sum(flows[n].bytes for n in outer) // len(ports)
    found: dict[int, Site] = {}
    for n in outer:
        flow = flows[n]
        row, column = placement.sites[flow.targets[0] if flow.source is None else flow.source]

        def rank(port: Site, row: int = row, column: int = column, size: int = flow.bytes) -> Rank:
            distance = abs(port[0] - row) + abs(port[1] - column)
            return (max(ports[port] + size, enough), distance, port)

        found[n] = min(ports, key=rank)
        ports[found[n]] += flow.bytes
    return found


def _tree(
    placement: Placement, flow: Flow, gate: Site | None, columns_first: bool
) -> tuple[tuple[Link, ...], int]:
    sites = placement.sites
    ends = [sites[t] for t in flow.targets]
    if flow.source is None:
        assert gate is not None
        start, columns_first = gate, True
    else:
        start = sites[flow.source]
    if not ends:
        assert gate is not None
        ends, columns_first = [gate], False
    links: dict[Link, None] = {}
    longest = 0
    for end in ends:
        path = _path(start, end, columns_first)
        longest = max(longest, len(path))
        links |= dict.fromkeys(path)
    return tuple(links), longest


def _path(start: Site, end: Site, columns_first: bool) -> list[Link]:
    row, column = start
    path: list[Link] = []

    def walk(target: int, along_columns: bool) -> None:
        nonlocal row, column
        while (column if along_columns else row) != target:
            here = (row, column)
            if along_columns:
                column += 1 if target > column else -1
            else:
                row += 1 if target > row else -1
            path.append((here, (row, column)))

    for along_columns in (columns_first, not columns_first):
        walk(end[1] if along_columns else end[0], along_columns)
    return path
