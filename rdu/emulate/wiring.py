"""Units, streams and memory of one kernel on one socket, made for a simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdu.emulate.channel import Channel
from rdu.emulate.collective import Add, Peers
from rdu.emulate.engine import Engine
from rdu.emulate.network import Network
from rdu.emulate.packets import check_wires, stage_operands, stream_port
from rdu.emulate.peers import Built, Unit
from rdu.emulate.rates import tier_rates
from rdu.emulate.rounds import Rounds
from rdu.emulate.sparse import SparseStage
from rdu.emulate.stages import DenseStage, Loader, Port, StaticPort, Store, Storer, slowed
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Program
from rdu.mapping.sparse import SparseShape
from rdu.mapping.stages import Tier


@dataclass(frozen=True, slots=True)
class _Site:
    """One kernel on one socket of a simulation; ``rounds`` are told of its units."""

    engine: Engine
    program: Program
    kernel: Kernel
    socket: int
    network: Network | None
    rounds: Rounds | None


def build(
    engine: Engine,
    program: Program,
    kernel: Kernel,
    socket: int,
    peers: Mapping[int, Peers],
    arrays: dict[str, Any] | None,
    rounds: Rounds | None = None,
    network: Network | None = None,
) -> Built:
    """Create the contexts and channels of one kernel on one socket; tell ``rounds`` of them.

    Raises
    ------
    MappingError
        If tiles go through a network, and a link has too few wires for their control tokens.
    """
    if network is not None:
        check_wires(program.node.chip, kernel)
    site = _Site(engine, program, kernel, socket, network, rounds)
    store = None if arrays is None else Store(program.local, kernel, arrays)
    channels, ports = _streams(site)
    units: list[Unit] = []
    for index in range(len(kernel.stages)):
        inward = _inward(kernel, index, channels)
        outward = [ports[n] for n, s in enumerate(kernel.streams) if s.source == index]
        units.append(
            _unit(site, index, peers.get(index), inward, outward, values=store is not None)
        )
    _add_memory(site, channels, ports, store)
    return Built(kernel, tuple(units), tuple(channels), tuple(ports), store)


def _streams(site: _Site) -> tuple[list[Channel], list[Port]]:
    """Make a channel for each stream of the kernel, and the port that sends on it."""
    kernel, engine, chip = site.kernel, site.engine, site.program.node.chip
    channels: list[Channel] = []
    ports: list[Port] = []
    for number, stream in enumerate(kernel.streams):
        end = "memory" if stream.target is None else kernel.stages[stream.target].name
        begin = "memory" if stream.source is None else kernel.stages[stream.source].name
        name = f"{stream.tensor} ({begin} -> {end})"
        if site.program.sockets > 1:
            name += f" of socket {site.socket}"
        channel = engine.channel(name, stream.depth, stream.hops * chip.hop_cycles)
        channels.append(channel)
        if site.network is not None:
            ports.append(stream_port(site.network, chip, kernel, site.socket, number, channel))
        else:
            ticks = slowed(stream.tile_cycles, kernel.slowdown) * engine.tick
            ports.append(StaticPort(channel, ticks))
    return channels, ports


def _inward(kernel: Kernel, index: int, channels: Sequence[Channel]) -> list[Channel]:
    """Return the channels that a stage reads, in the order of its operands."""
    return [
        channels[n]
        for r in range(len(kernel.stages[index].shape.reads))
        for n, stream in enumerate(kernel.streams)
        if stream.target == index and stream.read == r
    ]


def _unit(
    site: _Site,
    index: int,
    peers: Peers | None,
    inward: Sequence[Channel],
    outward: Sequence[Port],
    *,
    values: bool,
) -> Unit:
    """Make the context of a stage; one with ``peers`` adds up over sockets."""
    program, kernel, engine, rounds = site.program, site.kernel, site.engine, site.rounds
    stage, chip, graph = kernel.stages[index], program.node.chip, program.local
    feed = None
    if site.network is not None:
        feed = stage_operands(site.network, chip, kernel, site.socket, index)
    if peers is not None:
        adder = Add(program.node, graph, kernel, stage, site.socket, peers, values=values)
        if feed is not None:
            adder.feed = feed
        adder.register(engine, inward[0], outward, index, rounds)
        return adder
    kind = SparseStage if isinstance(stage.shape, SparseShape) else DenseStage
    context = kind(chip, graph, kernel, stage, inward, outward, values=values)
    if feed is not None:
        context.feed = feed
    engine.add(context)
    if rounds is not None:
        kinds = context.kinds() if isinstance(context, SparseStage) else ()
        rounds.add_stage(context, index, kinds)
    return context


def _add_memory(
    site: _Site, channels: Sequence[Channel], ports: Sequence[Port], store: Store | None
) -> None:
    """Add what loads and stores the kernel's tiles in HBM and DDR."""
    kernel, engine, chip, rounds = site.kernel, site.engine, site.program.node.chip, site.rounds
    for tier, latency_ns in ((Tier.HBM, chip.hbm_latency_ns), (Tier.DDR, chip.ddr_latency_ns)):
        reads, writes = map(engine.ticks_per_byte, tier_rates(chip, kernel, tier))
        latency = chip.cycles(1e-9 * latency_ns)
        if loads := kernel.loads.get(tier, ()):
            loader = Loader(f"load {tier.value}", loads, ports, reads, latency, store)
            engine.add(loader)
            if rounds is not None:
                rounds.add_transfers(loader, kernel, loads, loads=True)
        if stores := kernel.stores.get(tier, ()):
            storer = Storer(f"store {tier.value}", stores, channels, writes, latency, store)
            engine.add(storer)
            if rounds is not None:
                rounds.add_transfers(storer, kernel, stores, loads=False)
