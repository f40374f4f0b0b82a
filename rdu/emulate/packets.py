"""The packets of a kernel's tiles: sent when the emulation sends the tile, moved switch by switch.

The emulation moves whole tiles at the rate of the static bandwidth model. Here each tile becomes
packets that enter the network as its unit makes them, so that what waiting at switches adds is seen
tile by tile: counted, or fed back, so that late tiles hold up the units that wait for them.
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
from rdu.mapping.kernel import Kernel
from rdu.mapping.program import Program
from rdu.specs import Chip

# Emulation and network in turn: enough for both to agree, or to say that they do not.
_TURNS = 32


@dataclass(frozen=True, slots=True)
class Packets:
    """A run of the network; ``late[stream]`` is by how many cycles its latest tile came too late.

    ``streams[flow]`` is the stream whose tiles a flow carries, None within a stage. ``cycles`` are
    those of the kernel, and ``settled`` says that no tile came later than they allow for: without
    ``holds`` that none was late.
    """

    network: NetworkRun
    flows: tuple[Traffic, ...]
    streams: tuple[int | None, ...]
    late: Mapping[int, int]
    cycles: int
    settled: bool


def packets_of(program: Program, kernel: int = 0, *, holds: bool = False) -> Packets:
    """Emulate one kernel and send the packets of its tiles.

    Flows from several units to one buffer share its places in turn: sequence IDs restore their
    order.

    Parameters
    ----------
    holds:
        Tiles that arrive late hold up what waits for them: emulation and network run in turn, with
        the largest delay that a tile has had in any turn, until no tile is later still.

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
    waits: dict[int, list[int]] = {}
    turns = 0
    while True:
        turns += 1
        cycles, ends = _emulated(program, mapped, waits)
        found = _sent(chip, mapped, ends)
        before = {stream: waits.get(stream, [0] * len(late)) for stream, late in found.late.items()}
        waits = {
            stream: [max(pair) for pair in zip(before[stream], late, strict=True)]
            for stream, late in found.late.items()
        }
        settled = waits == before
        if settled or not holds or turns == _TURNS:
            break
    late = {stream: max(tiles) for stream, tiles in waits.items()}
    return Packets(found.network, found.flows, found.streams, late, cycles, settled)


def _emulated(
    program: Program, kernel: Kernel, waits: Mapping[int, Sequence[int]]
) -> tuple[int, list[list[int]]]:
    """Emulate with the cycles that tiles wait on their way; also return when each tile leaves."""
    engine = Engine(ticks_a_cycle(program, kernel))
    built = build(engine, program, kernel, 0, {}, None)
    for n, port in enumerate(built.ports):
        port.sent = []
        port.late = [cycles * engine.tick for cycles in waits.get(n, ())]
    cycles = finished(engine)
    return cycles, [[-(-t // engine.tick) for t in port.sent or ()] for port in built.ports]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A run of the network, and by how many cycles each tile of each stream came too late."""

    network: NetworkRun
    flows: tuple[Traffic, ...]
    streams: tuple[int | None, ...]
    late: Mapping[int, list[int]]


def _sent(chip: Chip, kernel: Kernel, ends: Sequence[Sequence[int]]) -> _Sent:
    """Move the packets of tiles that leave at the cycles ``ends``."""
    plain = traffic_of(chip, kernel, 1)
    routes = zip(kernel.routes.flows, kernel.routes.links, strict=True)
    streams = tuple(flow.stream for flow, links in routes if links)
    flows = [
        flow if stream is None else _of_tiles(flow, ends[stream])
        for flow, stream in zip(plain, streams, strict=True)
    ]
    flows = _numbered(flows, streams)
    run = simulate_network(
        flows, tracks=chip.vector_tracks, depth=chip.fifo_depth, hop_cycles=chip.hop_cycles
    )
    hops = [stream.hops * chip.hop_cycles for stream in kernel.streams]
    return _Sent(run, tuple(flows), streams, _late(run, flows, streams, ends, hops))


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
) -> dict[int, list[int]]:
    """By how much the last packet of each tile misses the tile's time."""
    late: dict[int, list[int]] = {}
    for arrival in run.arrivals:
        stream, flow = streams[arrival.flow], flows[arrival.flow]
        if stream is None:
            continue
        tiles = late.setdefault(stream, [0] * len(ends[stream]))
        number = (arrival.sequence - flow.first) // flow.stride
        tile = number * len(tiles) // flow.packets
        tiles[tile] = max(tiles[tile], arrival.cycle - ends[stream][tile] - hops[stream])
    return late
