"""The packets of a kernel's tiles: sent when the emulation sends the tile, moved switch by switch.

The emulation moves whole tiles at the rate of the static bandwidth model. Here each tile becomes
packets that enter the network as its unit makes them, so that what waiting at switches would add is
seen tile by tile. The network does not hold the units up: a tile that comes late is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rdu.emulate.engine import Engine
from rdu.emulate.network import NetworkRun, Traffic, simulate_network, traffic_of
from rdu.emulate.rates import ticks_a_cycle
from rdu.emulate.run import build, finished
from rdu.errors import RDUError
from rdu.graph.nodes import AllReduce
from rdu.mapping.program import Program


@dataclass(frozen=True, slots=True)
class Packets:
    """A run of the network; ``late[stream]`` is by how many cycles its latest tile came too late.

    ``streams[flow]`` is the stream whose tiles a flow carries, None within a stage.
    """

    network: NetworkRun
    flows: tuple[Traffic, ...]
    streams: tuple[int | None, ...]
    late: Mapping[int, int]


def packets_of(program: Program, kernel: int = 0) -> Packets:
    """Emulate one kernel and send the packets of its tiles.

    Flows from several units to one buffer share its places in turn: sequence IDs restore their
    order.

    Raises
    ------
    RDUError
        For a kernel number that the program does not have, or one joined to other sockets.
    DeadlockError
        If packets block each other.
    """
    if not 0 <= kernel < len(program.kernels):
        raise RDUError(f"the program has {len(program.kernels)} kernels, found number {kernel}")
    mapped, chip = program.kernels[kernel], program.node.chip
    reduces = any(isinstance(stage.shape.operator, AllReduce) for stage in mapped.stages)
    if program.pipeline or reduces:
        raise RDUError(
            f"{mapped.name} is joined to other sockets by streams that this network does not carry",
            hint="compile the graph for one socket",
        )
    engine = Engine(ticks_a_cycle(program, mapped))
    built = build(engine, program, mapped, 0, {}, None)
    for port in built.ports:
        port.sent = []
    finished(engine)
    ends = [[-(-ticks // engine.tick) for ticks in port.sent or ()] for port in built.ports]
    plain = traffic_of(chip, mapped, 1)
    routes = zip(mapped.routes.flows, mapped.routes.links, strict=True)
    streams = [flow.stream for flow, links in routes if links]
    flows = [
        flow if stream is None else _of_tiles(flow, ends[stream])
        for flow, stream in zip(plain, streams, strict=True)
    ]
    flows = _numbered(flows, streams)
    run = simulate_network(
        flows, tracks=chip.vector_tracks, depth=chip.fifo_depth, hop_cycles=chip.hop_cycles
    )
    hops = [stream.hops * chip.hop_cycles for stream in mapped.streams]
    return Packets(run, tuple(flows), tuple(streams), _late(run, flows, streams, ends, hops))


def _of_tiles(flow: Traffic, ends: Sequence[int]) -> Traffic:
    """Cut a flow's packets into those of its tiles, the last of which is made at the tile's end."""
    each = -(-flow.packets // max(len(ends), 1))
    enters = [max(end - each + n, 0) for end in ends for n in range(each)]
    return Traffic(flow.source, flow.ends, flow.links, len(enters), enters=tuple(enters))


def _numbered(flows: Sequence[Traffic], streams: Sequence[int | None]) -> list[Traffic]:
    """Give flows of one stream to one buffer places in turn."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for n, (flow, stream) in enumerate(zip(flows, streams, strict=True)):
        groups.setdefault((stream, flow.ends) if stream is not None else (n,), []).append(n)
    found = list(flows)
    for members in groups.values():
        for first, n in enumerate(members):
            found[n] = replace(flows[n], first=first, stride=len(members))
    return found


def _late(
    run: NetworkRun,
    flows: Sequence[Traffic],
    streams: Sequence[int | None],
    ends: Sequence[Sequence[int]],
    hops: Sequence[int],
) -> dict[int, int]:
    """By how much the last packet of each stream's latest tile misses the tile's time."""
    late: dict[int, int] = {}
    for arrival in run.arrivals:
        stream, flow = streams[arrival.flow], flows[arrival.flow]
        if stream is None:
            continue
        number = (arrival.sequence - flow.first) // flow.stride
        tile = number * len(ends[stream]) // flow.packets
        wanted = ends[stream][tile] + hops[stream]
        late[stream] = max(late.get(stream, 0), arrival.cycle - wanted)
    return late
