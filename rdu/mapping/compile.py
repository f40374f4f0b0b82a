"""From a graph to a program: fuse, schedule, give out units, place, route, check."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from rdu.errors import MappingError, RDUError
from rdu.graph.fusion import Fusion
from rdu.graph.graph import Graph, Rounding, kernel_reads, kernel_writes
from rdu.graph.nodes import Operator
from rdu.graph.split import Sharded, shard
from rdu.mapping.allocate import rates_of, work
from rdu.mapping.flows import Flow, Unit, kernel_flows, logical_units
from rdu.mapping.kernel import Kernel
from rdu.mapping.memory import memory_map
from rdu.mapping.pipeline import check_windows, parts_of, received, stays, window_pmus
from rdu.mapping.place import Placement, place
from rdu.mapping.program import Crossing, Orchestration, Program, Symbol
from rdu.mapping.repeat import group_key
from rdu.mapping.route import Routes, route
from rdu.mapping.search import Choice
from rdu.mapping.settle import joined, settle, settle_like
from rdu.mapping.shapes import streamed_axes
from rdu.mapping.sparse import SparseShape
from rdu.mapping.stages import Stage, Stream, Tier, Transfer
from rdu.mapping.verify import verify
from rdu.specs import Chip, Node

# Placements that are tried while a link is too busy.
_SEEDS = 3


def compile_graph(
    graph: Graph,
    node: Node | Chip,
    *,
    fusion: Fusion = "spatial",
    orchestration: str = "hardware",
    split: str | Sequence[str] = (),
    pipeline: bool = False,
    tiers: Mapping[str, str] | None = None,
    seed: int = 0,
    moves: int = 4000,
) -> Program:
    """Map a graph onto one socket, or onto all sockets of a node.

    Parameters
    ----------
    graph:
        What ``rdu.trace`` or a model returns.
    node:
        A node or a chip. Without ``split`` the first socket alone is used.
    fusion:
        ``"none"`` (every operator its own kernel), ``"pattern"`` (contractions with the
        elementwise operators that follow), ``"spatial"`` (one kernel), or named groups.
    orchestration:
        ``"hardware"`` or ``"software"``: who starts each kernel. ``"looped"`` is hardware where
        kernels of one program that follow each other, such as equal layers between another first
        and last one, are launched once.
    split:
        Axes of the graph (``graph.extents`` lists them) to cut over all sockets of the node.
        Operators that keep the axis work on their parts; where it is summed, an all-reduce
        over peer-to-peer streams joins the partial results.
    pipeline:
        Cut the operators into as many consecutive kernels as there are sockets, one a socket.
        All run at once; tiles stream from one to the next peer to peer.
    tiers:
        Tensor name -> ``"hbm"`` or ``"ddr"``; the rest goes to HBM while it fits.
    seed, moves:
        Of the simulated annealing that places units: at most 8 moves a unit are tried.

    Raises
    ------
    MappingError
        If a kernel does not fit the chip; says what, and the smallest change that would fit.
    CapacityError
        If the tensors do not fit HBM and DDR.
    RDUError
        On an unknown orchestration, tier or fusion, or an axis that cannot be cut.

    Examples
    --------
    >>> import rdu
    >>> graph = rdu.models.monarch_fft(64, 16)
    >>> for fusion in ("none", "spatial"):
    ...     len(rdu.compile(graph, rdu.sn40l_node(), fusion=fusion).kernels)
    4
    1
    """
    if not isinstance(graph, Graph):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RDUError(
            f"expected a graph, found {type(graph).__name__}",
            hint="make one with rdu.trace(kernel, *arrays), or take one of rdu.models",
        )
    if not isinstance(node, Node | Chip):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RDUError(
            f"expected a node or a chip, found {type(node).__name__}",
            hint="such as rdu.sn40l_node(sockets=1)",
        )
    chip_node = node if isinstance(node, Node) else Node(node, 1, 100.0)
    who = _orchestration(orchestration)
    if pipeline and split:
        raise RDUError("split and pipeline both use the sockets of the node: choose one")
    if pipeline:
        return _pipeline(graph, chip_node, who, tiers or {}, seed, moves)
    return _alike(graph, chip_node, fusion, who, split, tiers or {}, seed, moves)


def _orchestration(name: str) -> Orchestration:
    try:
        return Orchestration(name)
    except ValueError:
        known = ", ".join(repr(one.value) for one in Orchestration)
        raise RDUError(f"orchestration must be one of {known}, found {name!r}") from None


def _alike(
    graph: Graph,
    node: Node,
    fusion: Fusion,
    who: Orchestration,
    split: str | Sequence[str],
    wanted: Mapping[str, str],
    seed: int,
    moves: int,
) -> Program:
    """Map the same kernels to every socket, each with its part of the axes that are cut."""
    shards = _shards(graph, node, split)
    local = graph if shards is None else shards.local
    groups = local.groups(fusion)
    memory = memory_map(node.chip, local, groups, wanted)
    where = {symbol.tensor: symbol.tier for symbol in memory}
    kernels: list[Kernel] = []
    known: dict[Hashable, int] = {}
    for n, group in enumerate(groups):
        key = group_key(local, group, where)
        twin = None if key is None else known.setdefault(key, n)
        like = kernels[twin] if twin is not None and twin < n else None
        kernel = compile_kernel(node.chip, local, group, where, f"k{n}", seed, moves, like)
        kernels.append(kernel if like is None else replace(kernel, twin=twin))
    label = fusion if isinstance(fusion, str) else "custom"
    program = Program(graph, node, label, who, tuple(kernels), memory, shards)
    verify(program)
    return program


def _shards(graph: Graph, node: Node, split: str | Sequence[str]) -> Sharded | None:
    """Cut a graph over the sockets of a node, if asked to."""
    if split and graph.rounding is Rounding.STOCHASTIC:
        raise RDUError(
            "stochastic rounding of a graph that is cut over sockets is not modelled",
            hint="compile it for one socket, or as a pipeline",
        )
    cut = (split,) if isinstance(split, str) else tuple(split)
    return shard(graph, cut, node.sockets) if cut and node.sockets > 1 else None


def _pipeline(
    graph: Graph,
    node: Node,
    who: Orchestration,
    wanted: Mapping[str, str],
    seed: int,
    moves: int,
) -> Program:
    """Map one kernel to every socket."""
    chip = node.chip
    groups = parts_of(chip, graph, node.sockets)
    memory: list[Symbol] = []
    kernels: list[Kernel] = []
    between: list[Crossing] = []
    for n, group in enumerate(groups):
        mine = memory_map(chip, graph, groups, wanted, stays(graph, groups, n), n)
        where = {symbol.tensor: symbol.tier for symbol in mine}
        inside = (*kernel_reads(group), *kernel_writes(graph, group))
        # What another socket makes or reads; a result that no other reads stays here.
        crossing = {
            name: Tier.PEER
            for name in inside
            if name not in graph.inputs and (name not in where or _read(groups, name, n))
        }
        links = dict.fromkeys(crossing, node.p2p_bytes_per_cycle)
        tiers = where | crossing
        compiled = partial(
            compile_kernel,
            graph=graph,
            group=group,
            tiers=tiers,
            name=f"s{n}",
            seed=seed,
            moves=moves,
            links=links,
        )
        kernels.append(compiled(chip))
        between += _with_windows(chip, graph, groups, kernels, compiled)
        memory += mine
    program = Program(
        graph, node, "pipeline", who, tuple(kernels), tuple(memory), None, True, tuple(between)
    )
    verify(program)
    return program


def _with_windows(
    chip: Chip,
    graph: Graph,
    groups: Sequence[tuple[Operator, ...]],
    kernels: list[Kernel],
    compiled: Callable[[Chip], Kernel],
) -> tuple[Crossing, ...]:
    """Return what comes to the last kernel; map it to fewer units if they leave no room for that.

    Raises
    ------
    MappingError
        If there is no room then either.
    """
    last = len(kernels) - 1
    found = received(graph, groups, kernels, last)
    left = chip.pmus - window_pmus(chip, found)
    if 0 < left < kernels[last].pmus:
        try:
            smaller = [*kernels[:last], compiled(chip.with_changes(pmus=left))]
        except MappingError:
            pass  # The units are all needed; the check below says what there is no room for.
        else:
            kernels[:] = smaller
            found = received(graph, groups, kernels, last)
    check_windows(chip, kernels[last], found)
    return found


def _read(groups: Sequence[tuple[Operator, ...]], name: str, socket: int) -> bool:
    """Whether another socket reads a tensor."""
    return any(name in kernel_reads(g) for n, g in enumerate(groups) if n != socket)


def compile_kernel(
    chip: Chip,
    graph: Graph,
    group: Sequence[Operator],
    tiers: Mapping[str, Tier],
    name: str,
    seed: int,
    moves: int,
    like: Kernel | None = None,
    links: Mapping[str, float] | None = None,
) -> Kernel:
    """Map one kernel; ``like`` is a kernel that differs in names only, to copy decisions from.

    ``links`` gives the bytes a cycle of tensors from and to other sockets.
    """
    choice = (
        settle(chip, graph, group, tiers, links or {})
        if like is None
        else settle_like(chip, graph, group, tiers, like)
    )
    schedule, axes = choice.schedule, streamed_axes(graph, group)
    streams, loads, stores = joined(chip, graph, group, choice, tiers)
    stages = _stages(chip, graph, choice)
    units = logical_units(stages)
    flows = kernel_flows(chip, graph, stages, streams, units)
    interval = static_interval(chip, stages, loads, stores)
    if like is None:
        placement, routes = _placed(chip, units, flows, seed, moves, interval)
    else:
        placement = Placement(units, like.placement.sites)
        routes = route(chip, placement, flows)
    streams = _routed(chip, stages, streams, routes)
    # Static bandwidth model: when a link cannot carry its bytes in the time of the slowest
    # stage, stages and memory are slowed alike until it can.
    slowdown = max(Fraction(1), Fraction(routes.floor(chip), interval))
    config = sum(s.units.pcus for s in stages) * chip.pcu_config_kib
    config += sum(s.units.pmus for s in stages) * chip.pmu_config_kib
    label = f"{name}:{group[0].name}" + (f"+{len(group) - 1}" if len(group) > 1 else "")
    return Kernel(
        label,
        schedule,
        stages,
        streams,
        loads,
        stores,
        placement,
        routes,
        math.ceil(config * 1024),
        axes,
        interval,
        slowdown,
    )


def _placed(
    chip: Chip,
    units: Sequence[Unit],
    flows: Sequence[Flow],
    seed: int,
    moves: int,
    interval: int,
) -> tuple[Placement, Routes]:
    """Place and route; where a link would slow the kernel, with other seeds as well."""
    found: list[tuple[Placement, Routes]] = []
    for n in range(_SEEDS):
        placed = place(chip, units, flows, seed=seed + n, moves=min(moves, 8 * len(units)))
        found.append((placed, route(chip, placed, flows)))
        if found[-1][1].floor(chip) <= interval:
            return found[-1]
    return min(found, key=lambda pair: pair[1].floor(chip))


def _stages(chip: Chip, graph: Graph, choice: Choice) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for shape, units in zip(choice.shapes, choice.units, strict=True):
        out = graph.tensor(shape.operator.output.tensor)
        busy = work(chip, graph, shape, choice.schedule, units.width, units.every)
        rates = rates_of(chip, graph, shape, choice.schedule, units.width, units.every)
        if isinstance(shape, SparseShape):
            inside = tuple(read.sent * read.tile_bytes for read in shape.reads)
        else:
            inside = tuple(rate * chip.pmu_port_bytes_per_cycle * busy for rate in rates)
        stages.append(
            Stage(
                shape.operator.name,
                shape,
                units,
                busy,
                rates,
                inside,
                out.bytes,
            )
        )
    return tuple(stages)


def _routed(
    chip: Chip, stages: Sequence[Stage], streams: Sequence[Stream], routes: Routes
) -> tuple[Stream, ...]:
    """Note for every stream its longest path and the cycles a tile takes through its ports."""
    carried = [0] * len(streams)
    hops_of = [0] * len(streams)
    for flow, hops in zip(routes.flows, routes.hops, strict=True):
        if flow.stream is not None:
            carried[flow.stream] = max(carried[flow.stream], flow.bytes)
            hops_of[flow.stream] = max(hops_of[flow.stream], hops)
    sent: list[Stream] = []
    for stream, count, hops in zip(streams, carried, hops_of, strict=True):
        if stream.target is None:
            tiles = stages[stream.source or 0].shape.emitted
        else:
            tiles = stages[stream.target].shape.reads[stream.read].sent
        per_tile = -(-count // (max(tiles, 1) * chip.link_bytes_per_cycle))
        sent.append(replace(stream, hops=hops, tile_cycles=per_tile))
    return tuple(sent)


def static_interval(
    chip: Chip,
    stages: Sequence[Stage],
    loads: Mapping[Tier, Sequence[Transfer]],
    stores: Mapping[Tier, Sequence[Transfer]],
) -> int:
    """Cycles of the slowest of stages and memory tiers, each at full rate all the time."""
    slowest = max((stage.busy for stage in stages), default=1)
    for tier, rate in ((Tier.HBM, chip.hbm_bytes_per_cycle), (Tier.DDR, chip.ddr_bytes_per_cycle)):
        moved = sum(t.access.moved for side in (loads, stores) for t in side.get(tier, ()))
        slowest = max(slowest, math.ceil(moved / rate))
    return max(slowest, 1)
