"""Choosing a schedule whose buffers fit once they are as deep as paths that rejoin need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rdu.graph.graph import Graph, kernel_reads, kernel_writes
from rdu.graph.nodes import Operator, loop_axes
from rdu.mapping.allocate import allocate, stage_targets, work
from rdu.mapping.kernel import Kernel
from rdu.mapping.schedule import Schedule
from rdu.mapping.search import Choice, choose, evaluate
from rdu.mapping.shapes import Shape, streamed_axes
from rdu.mapping.shortage import refusal
from rdu.mapping.stages import Stream, Tier, Transfer
from rdu.mapping.transfers import find_depths, make_loads, make_stores, make_streams
from rdu.specs import Chip

_ROUNDS = 6
# Shares of the PMUs that a schedule is chosen for, so that deeper buffers find room.
_SHARES = (1.0, 0.75, 0.5, 0.25)

Transfers = Mapping[Tier, tuple[Transfer, ...]]


def settle(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    tiers: Mapping[str, Tier],
    links: Mapping[str, float],
) -> Choice:
    """Return the cheapest schedule found whose buffers fit; ``links`` as in `choose`.

    Raises
    ------
    MappingError
        If there is none; says the smallest change that would make one fit.
    """
    found = _settled(chip, graph, group, tiers, links)
    if found is None:
        raise refusal(
            chip,
            graph,
            group,
            lambda larger: _settled(larger, graph, group, tiers, links) is not None,
        )
    return found


def settle_like(
    chip: Chip, graph: Graph, group: Sequence[Operator], tiers: Mapping[str, Tier], like: Kernel
) -> Choice:
    """Choose as for a kernel with the same loops under other names."""
    names: dict[str, str] = {}
    for operator, stage in zip(group, like.stages, strict=True):
        names |= dict(zip(loop_axes(stage.shape.operator), loop_axes(operator), strict=True))
    schedule = Schedule(
        tuple(names[a] for a in like.schedule.order),
        {names[a]: size for a, size in like.schedule.tile.items()},
        {names[a]: size for a, size in like.schedule.extents.items()},
    )
    wanted = tuple(stage.units for stage in like.stages)
    for smaller in _smaller(chip):
        choice = evaluate(smaller, graph, group, schedule)
        deep = None if choice is None else _deepened(chip, graph, group, choice, tiers)
        if deep is not None and deep.units == wanted:
            return deep
    raise AssertionError(f"{like.name} was mapped another way")


def joined(
    chip: Chip, graph: Graph, group: Sequence[Operator], choice: Choice, tiers: Mapping[str, Tier]
) -> tuple[tuple[Stream, ...], Transfers, Transfers]:
    """Return a kernel's streams, as deep as they must be, its loads and its stores."""
    schedule, axes, shapes = choice.schedule, streamed_axes(graph, group), choice.shapes
    busy = [
        -(-work(chip, graph, shape, schedule, unit.width, unit.every) // max(shape.firings, 1))
        for shape, unit in zip(shapes, choice.units, strict=True)
    ]
    streams = make_streams(graph, group, shapes)
    stores = make_stores(chip, graph, shapes, streams, schedule, axes, tiers)

    def ordered(busy: Sequence[int]) -> tuple[Transfers, list[int]]:
        loads = make_loads(chip, graph, group, shapes, streams, schedule, axes, tiers, busy)
        return loads, find_depths(shapes, streams, loads, stores)

    loads, depths = ordered(busy)
    if any(depth > stream.depth for stream, depth in zip(streams, depths, strict=True)):
        # A stage at full speed would run away from a slower one beside it, and what it makes
        # would wait where their paths rejoin. At one pace they stay together.
        slowest = max(b * shape.firings for b, shape in zip(busy, shapes, strict=True))
        paced = ordered([-(-slowest // max(shape.firings, 1)) for shape in shapes])
        loads, depths = min((loads, depths), paced, key=lambda found: sum(found[1]))
    deep = tuple(replace(s, depth=d) for s, d in zip(streams, depths, strict=True))
    return deep, loads, stores


def _settled(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    tiers: Mapping[str, Tier],
    links: Mapping[str, float],
) -> Choice | None:
    """Deepen the schedule chosen for all PMUs, or for fewer of them."""
    for smaller in _smaller(chip):
        choice = choose(smaller, graph, group, links)
        if choice is None:
            return None
        found = _deepened(chip, graph, group, choice, tiers)
        if found is not None:
            return found
    return None


def _smaller(chip: Chip) -> list[Chip]:
    return [chip.with_changes(pmus=max(int(share * chip.pmus), 1)) for share in _SHARES]


def _deepened(
    chip: Chip, graph: Graph, group: Sequence[Operator], choice: Choice, tiers: Mapping[str, Tier]
) -> Choice | None:
    """Enlarge buffers and give out units again until neither changes; None if they do not fit."""
    writes = set(kernel_writes(graph, tuple(group)))
    stored = [operator.output.tensor in writes for operator in group]
    outside = frozenset(kernel_reads(tuple(group)))
    for _ in range(_ROUNDS):
        shapes = _deeper(chip, graph, group, choice, tiers)
        if shapes is None:
            break
        targets = stage_targets(chip, graph, shapes, outside, choice.memory_bytes)
        units = allocate(chip, graph, shapes, choice.schedule, stored, targets)
        if units is None:
            return None
        choice = replace(choice, shapes=shapes, units=units)
    return choice


def _deeper(
    chip: Chip, graph: Graph, group: Sequence[Operator], choice: Choice, tiers: Mapping[str, Tier]
) -> tuple[Shape, ...] | None:
    """Enlarge the buffers in front of stages where paths rejoin; None where all are enough."""
    streams, _, _ = joined(chip, graph, group, choice, tiers)
    shapes = list(choice.shapes)
    for stream in streams:
        if stream.target is None:
            continue
        shape = shapes[stream.target]
        read = shape.reads[stream.read]
        if stream.depth != read.depth:
            reads = list(shape.reads)
            reads[stream.read] = replace(read, extra=stream.depth - 1)
            shapes[stream.target] = replace(shape, reads=tuple(reads))
    found = tuple(shapes)
    return None if found == choice.shapes else found
