"""Routes in dimension order, one tree for a multicast, and the static load of every link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rdu.mapping.flows import Flow
from rdu.mapping.place import Placement, Site
from rdu.specs import Chip

Link: TypeAlias = tuple[Site, Site]


@dataclass(frozen=True, slots=True)
class Routes:
    """``links[n]`` carry flow n; ``load`` is the bytes over each link in a whole kernel.

    Column -1 and column ``mesh_columns`` are the memory ports (AGCU) at the ends of a row.
    """

    flows: tuple[Flow, ...]
    links: tuple[tuple[Link, ...], ...]
    hops: tuple[int, ...]
    load: Mapping[Link, int] = field(default_factory=dict[Link, int])

    def floor(self, link_bytes_per_cycle: int) -> int:
        """Cycles the busiest link needs."""
        return -(-max(self.load.values(), default=0) // link_bytes_per_cycle)


def route(chip: Chip, placement: Placement, flows: Sequence[Flow]) -> Routes:
    """Route every flow; of the two dimension orders each takes the one whose links are freer."""
    load: dict[Link, int] = {}
    chosen: dict[int, tuple[tuple[Link, ...], int]] = {}
    ports: dict[Site, int] = {}
    for number in sorted(range(len(flows)), key=lambda n: (-flows[n].bytes, n)):
        flow = flows[number]
        best: tuple[int, int, tuple[Link, ...], int] | None = None
        gate = _gate(chip, placement, flow, ports)
        for option, columns_first in enumerate((True, False)):
            links, hops = _tree(placement, flow, gate, columns_first)
            peak = max((load.get(link, 0) for link in links), default=0)
            if best is None or (peak, option) < best[:2]:
                best = (peak, option, links, hops)
        assert best is not None
        _, _, links, hops = best
        for link in links:
            load[link] = load.get(link, 0) + flow.bytes
        chosen[number] = (links, hops)
    ordered = [chosen[n] for n in range(len(flows))]
    return Routes(
        tuple(flows), tuple(links for links, _ in ordered), tuple(h for _, h in ordered), load
    )


def _gate(chip: Chip, placement: Placement, flow: Flow, ports: dict[Site, int]) -> Site | None:
    """Choose the memory port of a flow: the least loaded, the nearest among equals."""
    if flow.source is not None and flow.targets:
        return None
    row, column = placement.sites[flow.targets[0] if flow.source is None else flow.source]
    rows = min(chip.mesh_rows, -(-chip.agcus // 2))
    best = min(
        ((r, edge) for r in range(rows) for edge in (-1, chip.mesh_columns)),
        key=lambda port: (
            ports.get(port, 0),
            abs(port[0] - row) + abs(port[1] - column),
            port,
        ),
    )
    ports[best] = ports.get(best, 0) + flow.bytes
    return best


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
