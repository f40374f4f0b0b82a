"""Logical units of a kernel and the bytes that flow between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rdu.graph.graph import Graph
from rdu.graph.streams import Accumulate, Compute, Fetch, in_memory, sources, targets
from rdu.mapping.sparse import SparseShape
from rdu.mapping.stages import Stage, Stream
from rdu.specs import Chip


class Fabric(Enum):
    """The packet-switched networks: what one packet carries."""

    VECTOR = "vector"
    SCALAR = "scalar"


@dataclass(frozen=True, slots=True)
class Unit:
    """One logical unit: ``kind`` is ``"pcu"`` or ``"pmu"``, ``group`` the stage or buffer."""

    kind: str
    group: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes from one unit to several over a whole kernel.

    ``source`` None comes from memory; no ``targets`` means that it goes there. ``stage`` is
    set for what a stage reads from its own buffers and for the tokens between its units,
    ``stream`` for tiles between stages or to and from memory.
    """

    source: int | None
    targets: tuple[int, ...]
    bytes: int
    stage: int | None = None
    stream: int | None = None
    fabric: Fabric = Fabric.VECTOR


def logical_units(stages: Sequence[Stage]) -> tuple[Unit, ...]:
    """List a kernel's units, stage by stage: operand buffers, PCUs, accumulators, output."""
    found: list[Unit] = []
    for stage in stages:
        for read, count in enumerate(stage.units.reads):
            found += [Unit("pmu", stage.buffer(read))] * count
        found += [Unit("pcu", stage.name)] * stage.units.pcus
        found += [Unit("pmu", f"{stage.name}.sums")] * stage.units.accumulators
        found += [Unit("pmu", f"{stage.name}.out")] * stage.units.output
    return tuple(found)


def kernel_flows(
    chip: Chip,
    graph: Graph,
    stages: Sequence[Stage],
    streams: Sequence[Stream],
    units: Sequence[Unit],
) -> tuple[Flow, ...]:
    """List all flows of a kernel."""
    groups: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        groups.setdefault(unit.group, []).append(index)
    flows: list[Flow] = []
    for index, stage in enumerate(stages):
        pcus = groups.get(stage.name, [])
        for read, total in enumerate(stage.inside if pcus else ()):
            pmus = groups[stage.buffer(read)]
            # The arrays form a grid: a row shares its left operand, a column its right one.
            order = pcus if read == 0 else _by_column(pcus, max(stage.rates[0], 1))
            share = -(-total // len(pmus))
            flows += [Flow(a, b, share, index) for a, b in fan(pmus, order)]
        flows += _tokens(chip, graph, stage, index, groups)
    for number, stream in enumerate(streams):
        flows += _between(stages, stream, number, groups)
    return tuple(flow for flow in flows if flow.bytes)


def _tokens(
    chip: Chip, graph: Graph, stage: Stage, index: int, groups: dict[str, list[int]]
) -> list[Flow]:
    """Streams between the units of a sparse stage, for each of its copies.

    Coordinates, references and values of one number are scalars: at most as many as there are
    items, or turns of the loops around them. Blocks are vectors and come from buffers.
    """
    shape = stage.shape
    if not isinstance(shape, SparseShape) or shape.streams is None:
        return []
    nodes = shape.streams.nodes
    blocks = shape.block.elements > 1
    makes = {
        stream: n
        for n, node in enumerate(nodes)
        if not (blocks and isinstance(node, (Fetch, Compute, Accumulate)))
        for stream in targets(node)
    }
    readers: dict[int, list[int]] = {}
    for n, node in enumerate(nodes):
        for stream in sources(node):
            readers.setdefault(stream, []).append(n)
    nesting = shape.streams.nesting()
    runs = [graph.extents[axis] for axis in shape.streams.loops]
    flows: list[Flow] = []
    for copy in range(shape.copies):
        unit = _units_of_nodes(stage, shape, copy, groups)
        flows += [
            Flow(
                unit[n],
                tuple(dict.fromkeys(unit[r] for r in readers[s])),
                chip.scalar_bytes * min(shape.items, math.prod(runs[: nesting[s]])) // shape.copies,
                index,
                fabric=Fabric.SCALAR,
            )
            for s, n in makes.items()
            if s in readers
        ]
    return flows


def _units_of_nodes(
    stage: Stage, shape: SparseShape, copy: int, groups: dict[str, list[int]]
) -> list[int]:
    """The unit that each stream node of one copy runs on."""
    assert shape.streams is not None
    inside = shape.copies * shape.streams.memory_nodes
    memory = iter(groups[f"{stage.name}.sums"][stage.units.accumulators - inside :])
    compute = iter(groups[stage.name])
    found: list[int] = []
    for _ in range(copy + 1):
        found = [next(memory if in_memory(node) else compute) for node in shape.streams.nodes]
    return found


def _between(
    stages: Sequence[Stage], stream: Stream, number: int, groups: dict[str, list[int]]
) -> list[Flow]:
    if stream.target is None:
        assert stream.source is not None
        source = stages[stream.source]
        ends = groups.get(f"{source.name}.out") or _makers(source, groups)
        return [Flow(end, (), -(-source.out_bytes // len(ends)), None, number) for end in ends]
    target = stages[stream.target]
    read = target.shape.reads[stream.read]
    pmus = groups[target.buffer(stream.read)]
    total = read.sent * read.tile_bytes
    if stream.source is None:
        return [Flow(None, (pmu,), -(-total // len(pmus)), None, number) for pmu in pmus]
    makers = _makers(stages[stream.source], groups)
    # Every byte goes to one PMU; with fewer makers each serves its PMUs in turn.
    flows: list[Flow] = []
    for a, b in fan(makers, pmus):
        share = -(-total // max(len(makers), len(pmus)))
        flows += [Flow(a, (pmu,), share, None, number) for pmu in b]
    return flows


def _by_column(pcus: Sequence[int], rows: int) -> list[int]:
    """Order a row-major grid of ``rows`` rows column by column."""
    columns = -(-len(pcus) // rows)
    return sorted(pcus, key=lambda n: ((n - pcus[0]) % columns, n))


def _makers(stage: Stage, groups: dict[str, list[int]]) -> list[int]:
    """Units that send a stage's result: its PCUs, or the buffer that an access pattern reads."""
    return groups.get(stage.name) or groups[stage.buffer(0)]


def fan(sources: Sequence[int], targets: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Pair sources with targets evenly: one to many when sources are fewer, else many to one.

    >>> fan([0, 1], [5, 6, 7, 8])
    [(0, (5, 6)), (1, (7, 8))]
    >>> fan([0, 1, 2], [5])
    [(0, (5,)), (1, (5,)), (2, (5,))]
    """
    if len(sources) >= len(targets):
        return [(s, (targets[n * len(targets) // len(sources)],)) for n, s in enumerate(sources)]
    parts: list[list[int]] = [[] for _ in sources]
    for n, target in enumerate(targets):
        parts[n * len(sources) // len(targets)].append(target)
    return [(s, tuple(part)) for s, part in zip(sources, parts, strict=True)]
